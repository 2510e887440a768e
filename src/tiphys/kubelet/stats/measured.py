"""What there is to measure of a node's pods."""

from __future__ import annotations

from collections.abc import Iterable

from tiphys.kubelet.runtimes.interface import ContainerStatus, SandboxStatus
from tiphys.kubelet.seen import SeenContainer
from tiphys.kubelet.spec import Object
from tiphys.machinery import meta
from tiphys.machinery.frozen import frozen


@frozen
class MeasuredPod:
    """A pod that has a sandbox. `containers`: those that run in it."""

    pod: Object
    sandbox: SandboxStatus
    containers: tuple[ContainerStatus, ...]

    @property
    def uid(self) -> str:
        return meta.uid(self.pod)


def measured(
    pod: Object, sandboxes: Iterable[SandboxStatus], containers: Iterable[SeenContainer]
) -> MeasuredPod | None:
    """Of what is seen of a pod; both newest first."""
    sandbox = next((box for box in sandboxes if box.state == "Ready"), None)
    if sandbox is None:
        return None
    running = (
        life.status for life in containers if life.status.state == "Running" and life.sandbox_id == sandbox.id
    )
    return MeasuredPod(pod, sandbox, tuple(running))
