"""What the pods of one node share: the runtime, the API, events, and everything that a pod is given besides containers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from tiphys.client.client import Client
from tiphys.client.events import EventRecorder
from tiphys.kubelet.account import Account
from tiphys.kubelet.admission import Admit
from tiphys.kubelet.hooks import Hooks
from tiphys.kubelet.images.keyring import Credential, Credentials
from tiphys.kubelet.metrics import KubeletMetrics
from tiphys.kubelet.pulling import ImagePuller
from tiphys.kubelet.runtimes.interface import (
    ContainerConfig,
    ContainerStatus,
    Resources,
    Runtime,
    SandboxConfig,
    SandboxStatus,
)
from tiphys.kubelet.seen import Health
from tiphys.kubelet.spec import Object
from tiphys.kubelet.stats.meter import Meter
from tiphys.machinery import meta
from tiphys.machinery.clock import Clock
from tiphys.machinery.retry import CRASH_LOOP, Backoff


class Unprovided(Exception):
    """Something that the pod needs cannot be had now. `reason` is the event's (FailedMount, …) or the container's.

    `others`: what else cannot be had, as reasons and messages of more events.
    """

    def __init__(self, reason: str, message: str, *, others: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.others = others

    @property
    def all(self) -> list[tuple[str, str]]:
        return [(self.reason, self.message), *self.others]


class Provisions(Protocol):
    """What a pod gets besides containers: directories, cgroups, volumes, environment. Calls may be repeated; all raise Unprovided."""

    async def sandbox_config(self, pod: Object, attempt: int) -> SandboxConfig:
        """Makes log directory and cgroup, too."""

    def warnings(self, pod: Object) -> list[tuple[str, str]]:
        """(reason, message) of what the pod asks for and its sandbox does not get."""

    async def prepare_volumes(self, pod: Object) -> float | None:
        """Makes them, or brings them up to date; in how many seconds they must be looked at again."""

    def volume_plugins(self, pod: Object) -> tuple[Sequence[str], Sequence[str]]:
        """The plugins of the volumes that it has, and of those that it shall have."""

    async def container_config(
        self, pod: Object, container: Object, attempt: int, image: str, sandbox: SandboxStatus
    ) -> ContainerConfig: ...

    def container_resources(self, pod: Object, container: Object) -> Resources:
        """What the kernel is to enforce for a container of the pod as it is granted."""

    async def resize_pod(self, pod: Object, before: Object | None = None) -> None:
        """Sets the limits of the pod's cgroup; with `before` to what is enough for both, while its containers change."""

    async def credentials(self, pod: Object, image: str) -> Credentials:
        """Of the pod's imagePullSecrets, those for the image's registry."""

    async def provided_credentials(self, pod: Object, image: str) -> tuple[Credential, ...]:
        """What the node's plugins have for it."""

    async def clean_up(self, pod: Object, *, logs: bool) -> None:
        """Volumes and cgroups, and with `logs` the pod's directories."""

    def last_words(self, status: ContainerStatus) -> str:
        """The termination message of an exited container."""

    def forget_life(self, status: ContainerStatus) -> None:
        """A container was removed: its log goes, too."""

    def leftovers(self) -> set[str]:
        """The uids of all pods that have something here."""

    def forget(self, uid: str) -> None:
        """The pod is gone: stop watching what it refers to."""


class Prober(Protocol):
    """Probes of running containers."""

    def update(self, pod: Object, running: Mapping[str, ContainerStatus], ips: tuple[str, ...]) -> None:
        """These are the pod's running containers now, by id; probing starts and ends accordingly."""

    def health(self, uid: str) -> Mapping[str, Health]:
        """By container id."""

    def forget(self, uid: str) -> None: ...


DeviceHealth = Callable[[str, str], Sequence[Mapping[str, Any]]]
"""(uid of a pod, container) → what its status says of the devices that it has."""


@dataclass(slots=True)
class Host:
    """One node, as the workers of its pods see it."""

    node: str
    ips: tuple[str, ...]
    client: Client
    runtime: Runtime
    recorder: EventRecorder
    images: ImagePuller
    provisions: Provisions
    prober: Prober
    hooks: Hooks
    meter: Meter
    clock: Clock
    admit: Admit
    account: Account
    metrics: KubeletMetrics = field(default_factory=KubeletMetrics)
    crash_loop: Backoff = CRASH_LOOP
    """How long its containers wait before they are restarted."""
    device_health: DeviceHealth = lambda uid, container: ()

    def record(
        self,
        pod: Object,
        type: str,
        reason: str,
        message: str,
        container: str = "",
        *,
        annotations: Mapping[str, str] | None = None,
    ) -> None:
        """An event about the pod, or about one of its containers."""
        self.recorder.record(reference(pod, container), type, reason, message, annotations=annotations)

    def record_node(self, type: str, reason: str, message: str) -> None:
        """An event about the node itself. Upstream's kubelet takes the name for the uid; kubectl looks for both."""
        node = {"kind": "Node", "apiVersion": "v1", "name": self.node, "uid": self.node}
        self.recorder.record(node, type, reason, message)


def reference(pod: Object, container: str = "") -> dict[str, Any]:
    """An ObjectReference to a pod; fieldPath names the container."""
    found = {
        "kind": "Pod",
        "apiVersion": "v1",
        "namespace": meta.namespace(pod),
        "name": meta.name(pod),
        "uid": meta.uid(pod),
        "resourceVersion": meta.resource_version(pod),
    }
    if container:
        found["fieldPath"] = f"{_field(pod, container)}{{{container}}}"
    return {name: value for name, value in found.items() if value}


def _field(pod: Object, container: str) -> str:
    for entries in ("initContainers", "ephemeralContainers"):
        if any(entry["name"] == container for entry in pod["spec"].get(entries) or ()):
            return f"spec.{entries}"
    return "spec.containers"
