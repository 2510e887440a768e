"""What the kubelet sees of one pod on its node: all that `plan` and `status` look at besides the pod itself.

Gathered by the pod's worker; frozen, so that a plan and the status that goes with it speak of the same moment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from datetime import datetime
from typing import Any

from tiphys.kubelet.admission import Rejection
from tiphys.kubelet.allocation import Allocation, Refusal
from tiphys.kubelet.runtimes.interface import ContainerStatus, SandboxStatus
from tiphys.machinery.frozen import frozen
from tiphys.machinery.retry import CrashLoop


@frozen
class SeenContainer:
    """A container of the pod, dead or alive, as the runtime last showed it."""

    sandbox_id: str
    status: ContainerStatus

    @property
    def is_alive(self) -> bool:
        return self.status.state in ("Running", "Unknown")

    @property
    def has_exited(self) -> bool:
        return self.status.state == "Exited"


@frozen
class Waiting:
    """Why a container does not run: reason and message of its `waiting` state."""

    reason: str
    message: str = ""


@frozen
class Problem:
    """Something failed, and is tried again at `retry_at`."""

    reason: str
    message: str
    retry_at: datetime

    @property
    def waiting(self) -> Waiting:
        return Waiting(self.reason, self.message)


@frozen
class ImageState:
    """The image of one container: `reference` is what to run once it is here; a problem when it could not be had."""

    reference: str = ""
    problem: Problem | None = None
    is_pulling: bool = False


@frozen
class Health:
    """What the probes say of one running container. `failure`: why it must be ended, empty when it need not."""

    started: bool = True
    ready: bool = True
    failure: str = ""
    grace_seconds: float | None = None
    """The failed probe's own terminationGracePeriodSeconds."""


@frozen
class Sentence:
    """The node ends a pod that runs: it is in need, or going down. The pod is Failed once nothing of it runs any more."""

    reason: str
    message: str
    grace_seconds: float | None = None
    """At most; None: the pod's own."""
    conditions: tuple[Mapping[str, str], ...] = ()
    """type, status, reason and message of what its status must say besides."""


@frozen
class Resize:
    """How far a change of the pod's resources has come. `actual`: what running containers have, by id; `enforced`: what the pod's
    own cgroup was made for."""

    actual: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    enforced: Allocation = field(default_factory=dict)
    pending: Refusal | None = None
    is_in_progress: bool = False
    error: str = ""
    asked_generation: int = 0
    granted_generation: int = 0
    """Of the pod: what is pending, and what is in progress."""
    retry_at: datetime | None = None


@frozen
class Seen:
    sandboxes: tuple[SandboxStatus, ...] = ()
    """Newest first."""
    containers: tuple[SeenContainer, ...] = ()
    """Newest first, of all sandboxes."""
    images: Mapping[str, ImageState] = field(default_factory=dict)
    """By container name, for those that are about to start."""
    crash_loops: Mapping[str, CrashLoop] = field(default_factory=dict)
    container_problems: Mapping[str, Problem] = field(default_factory=dict)
    """By container name: creating or starting it failed."""
    sandbox_problem: Problem | None = None
    volumes_problem: Problem | None = None
    are_volumes_ready: bool = False
    are_volumes_stale: bool = False
    """Something in them should be another thing by now; what runs, and what starts, does not wait for it."""
    health: Mapping[str, Health] = field(default_factory=dict)
    """By container id; none: it has no probes."""
    stopping: Mapping[str, datetime] = field(default_factory=dict)
    """Containers that are being stopped, and when they will be killed."""
    starting: frozenset[str] = frozenset()
    """Containers whose postStart hook is not through."""
    replaced: frozenset[str] = frozenset()
    """Containers that we ended to start them anew, whatever their restart policy says."""
    attempts: Mapping[str, int] = field(default_factory=dict)
    """The newest attempt of each container that we started."""
    resize: Resize | None = None
    """None: not looked at, nothing to do."""
    stopped_sandboxes: frozenset[str] = frozenset()
    """Those whose addresses were given back."""
    rejection: Rejection | None = None
    """Why the node does not take the pod, if so."""
    sentence: Sentence | None = None
    """Why the node ends the pod, if so."""
    devices: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    """By container name, for those that have devices: each resource and the health of each device."""
    is_gone: bool = False
    """The API has no such pod (any more)."""
    is_clean: bool = False
    """Volumes and cgroups of the pod are removed."""
    are_files_gone: bool = False
    """Its logs, and whatever else is kept for a pod that has ended, are removed too."""

    @property
    def sandbox(self) -> SandboxStatus | None:
        """The newest sandbox, if it is usable."""
        newest = self.sandboxes[0] if self.sandboxes else None
        return newest if newest is not None and newest.state == "Ready" else None

    def named(self, name: str) -> list[SeenContainer]:
        """All lives of one container, newest first."""
        return [container for container in self.containers if container.status.name == name]

    def newest(self, name: str) -> SeenContainer | None:
        return next((container for container in self.containers if container.status.name == name), None)

    def current(self, name: str) -> SeenContainer | None:
        """The newest life of a container if it belongs to the usable sandbox."""
        newest, sandbox = self.newest(name), self.sandbox
        is_current = newest is not None and sandbox is not None and newest.sandbox_id == sandbox.id
        return newest if is_current else None
