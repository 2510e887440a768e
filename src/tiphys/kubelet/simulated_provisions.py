"""What a simulated pod gets besides containers: nothing, in the right form; and a place for its logs where somebody writes them."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from tiphys.kubelet import labels, spec
from tiphys.kubelet.images.keyring import Credential, Credentials
from tiphys.kubelet.runtimes.interface import (
    ContainerConfig,
    ContainerStatus,
    Resources,
    SandboxConfig,
    SandboxStatus,
)
from tiphys.kubelet.simulated_references import SimulatedReferences
from tiphys.kubelet.spec import Object
from tiphys.machinery import meta


class SimulatedProvisions:
    """`Provisions` without files, volumes or environments: only that what they are made of is there is made sure of.

    `logs`: the directory of pods' logs; None: there are none.
    """

    def __init__(self, references: SimulatedReferences, logs: Path | None = None) -> None:
        self._references = references
        self._logs = logs

    async def sandbox_config(self, pod: Object, attempt: int) -> SandboxConfig:
        return SandboxConfig(
            name=meta.name(pod),
            namespace=meta.namespace(pod),
            uid=meta.uid(pod),
            attempt=attempt,
            log_directory=str(self._directory(pod) or ""),
            labels=labels.of_pod(pod),
            annotations=meta.annotations(pod),
            host_network=spec.uses_host_network(pod),
        )

    def warnings(self, pod: Object) -> list[tuple[str, str]]:
        return []

    async def prepare_volumes(self, pod: Object) -> float | None:
        await self._references.check_volumes(pod)
        return None

    def volume_plugins(self, pod: Object) -> tuple[Sequence[str], Sequence[str]]:
        return (), ()

    async def container_config(
        self, pod: Object, container: Object, attempt: int, image: str, sandbox: SandboxStatus
    ) -> ContainerConfig:
        await self._references.check_environment(pod, container)
        return ContainerConfig(
            name=container["name"],
            image=image,
            attempt=attempt,
            command=tuple(container.get("command") or ()),
            args=tuple(container.get("args") or ()),
            labels=labels.of_container(pod, container),
            annotations=labels.of_life(pod, container, attempt),
            log_path=f"{container['name']}/{attempt}.log" if self._logs else "",
        )

    def container_resources(self, pod: Object, container: Object) -> Resources:
        return Resources()

    async def resize_pod(self, pod: Object, before: Object | None = None) -> None:
        pass

    async def credentials(self, pod: Object, image: str) -> Credentials:
        return Credentials()

    async def provided_credentials(self, pod: Object, image: str) -> tuple[Credential, ...]:
        return ()

    async def clean_up(self, pod: Object, *, logs: bool) -> None:
        directory = self._directory(pod)
        if logs and directory is not None:
            shutil.rmtree(directory, ignore_errors=True)

    def _directory(self, pod: Object) -> Path | None:
        if self._logs is None:
            return None
        return self._logs / f"{meta.namespace(pod)}_{meta.name(pod)}_{meta.uid(pod)}"

    def last_words(self, status: ContainerStatus) -> str:
        return ""

    def forget_life(self, status: ContainerStatus) -> None:
        pass

    def leftovers(self) -> set[str]:
        return set()

    def forget(self, uid: str) -> None:
        self._references.forget(uid)
