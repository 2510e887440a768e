"""What a simulated pod gets besides containers: nothing, in the right form."""

from __future__ import annotations

from tiphys.kubelet import labels, spec
from tiphys.kubelet.runtimes.interface import (
    ContainerConfig,
    ContainerStatus,
    RegistryAuth,
    SandboxConfig,
    SandboxStatus,
)
from tiphys.kubelet.spec import Object
from tiphys.machinery import meta


class SimulatedProvisions:
    """`Provisions` without files, volumes, environments or secrets."""

    async def sandbox_config(self, pod: Object, attempt: int) -> SandboxConfig:
        return SandboxConfig(
            name=meta.name(pod),
            namespace=meta.namespace(pod),
            uid=meta.uid(pod),
            attempt=attempt,
            labels=labels.of_pod(pod),
            annotations=meta.annotations(pod),
            host_network=spec.uses_host_network(pod),
        )

    async def prepare_volumes(self, pod: Object) -> float | None:
        return None

    async def container_config(
        self, pod: Object, container: Object, attempt: int, image: str, sandbox: SandboxStatus
    ) -> ContainerConfig:
        return ContainerConfig(
            name=container["name"],
            image=image,
            attempt=attempt,
            command=tuple(container.get("command") or ()),
            args=tuple(container.get("args") or ()),
            labels=labels.of_container(pod, container),
            annotations=labels.of_life(pod, container, attempt),
        )

    async def credentials(self, pod: Object, image: str) -> tuple[RegistryAuth, ...]:
        return ()

    async def clean_up(self, pod: Object, *, logs: bool) -> None:
        pass

    def last_words(self, status: ContainerStatus) -> str:
        return ""

    def forget_life(self, status: ContainerStatus) -> None:
        pass

    def leftovers(self) -> set[str]:
        return set()

    def forget(self, uid: str) -> None:
        pass
