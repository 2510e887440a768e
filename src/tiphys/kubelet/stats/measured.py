"""What there is to measure of a node's pods."""

from __future__ import annotations

from dataclasses import dataclass

from tiphys.kubelet.runtimes.interface import ContainerStatus, SandboxStatus
from tiphys.kubelet.spec import Object
from tiphys.machinery import meta


@dataclass(frozen=True, slots=True)
class MeasuredPod:
    """A pod that has a sandbox. `containers`: those that run in it."""

    pod: Object
    sandbox: SandboxStatus
    containers: tuple[ContainerStatus, ...]

    @property
    def uid(self) -> str:
        return meta.uid(self.pod)
