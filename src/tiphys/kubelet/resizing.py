"""In-place resizes: `Resizing` follows one pod's from request to completion; whether there is room the node's `Account` says.

It belongs to the kubelet's loop and asks nobody. What was granted before a restart of the kubelet is read back from the pod's status.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from tiphys.client.events import NORMAL, WARNING
from tiphys.kubelet import allocation, spec
from tiphys.kubelet.account import Account
from tiphys.kubelet.allocation import Allocation, Refusal
from tiphys.kubelet.allocation_metrics import ResizeMetrics
from tiphys.kubelet.runtimes.interface import ContainerStatus
from tiphys.kubelet.seen import Resize, SeenContainer
from tiphys.kubelet.spec import Object
from tiphys.machinery import meta
from tiphys.machinery.retry import Backoff

DEFERRED_RETRY_SECONDS = 180.0
"""A deferred resize is tried again when another pod gives something back, and every so often."""
FAILURE_BACKOFF = Backoff(base_seconds=2.0, cap_seconds=60.0)
Record = Callable[[Object, str, str, str], None]
"""(pod, type, reason, message): an event."""


@dataclass(slots=True)
class Resizing:
    """One pod's: `granted` is what it runs with, `actual` what containers have by id, `enforced` what the pod's own cgroup was made for."""

    account: Account
    record: Record
    metrics: ResizeMetrics
    granted: Allocation = field(default_factory=dict)
    enforced: Allocation | None = None
    actual: dict[str, Object] = field(default_factory=dict)
    pending: Refusal | None = None
    is_in_progress: bool = False
    error: str = ""
    retry_at: datetime | None = None
    _asked_generation: int = 0
    _granted_generation: int = 0
    """Of the pod, when something was last refused, and granted."""
    _found: Allocation = field(default_factory=dict)
    """What containers have that were there before us."""
    _failures: int = 0
    _asked: Allocation | None = None
    """What the pod asked for when it was last looked at."""
    _trigger: str = ""
    """Why a deferred resize is tried again."""
    _told: tuple[int, bool, Allocation] | None = None
    """What the account knows of it: generation, whether it takes room, what it is granted."""

    def begin(self, pod: Object) -> None:
        """The first that is seen of it."""
        self.granted = self.enforced = self._found = allocation.reported(pod)
        self._told = None

    def decide(self, pod: Object, wake: Callable[[], None], *, takes_room: bool = True) -> Object:
        """The pod as it is granted now: as it asks, if the node agrees."""
        asked = allocation.wanted(pod)
        if self._asked is not None and asked != self._asked:
            self.metrics.requested(allocation.changes(asked, self._asked))
        self._asked = asked
        if meta.is_deleting(pod) or spec.is_finished(pod):
            self.pending = None
            self.is_in_progress = False
        elif allocation.are_same(asked, self.granted):
            self.pending = None
        else:
            self._ask(pod, asked, wake)
        granted = allocation.with_allocation(pod, self.granted)
        known = (meta.generation(pod), takes_room, self.granted)
        if known != self._told:
            self._told = known
            self.account.take(granted) if takes_room else self.account.release(meta.uid(pod))
        return granted

    def _ask(self, pod: Object, asked: Allocation, wake: Callable[[], None]) -> None:
        def tried_again(trigger: str) -> None:
            self._trigger = trigger
            wake()

        changed = {resource for resource, _, _ in allocation.changes(asked, self.granted)}
        refused = self.account.ask(pod, tried_again, changed)
        is_other = meta.generation(pod) != self._asked_generation
        if refused is None:
            if self.pending is not None:
                self.metrics.accepted_later("pod_updated" if is_other else self._trigger or "periodic_retry")
            self._trigger = ""
            self.granted, self.pending = asked, None
            self.is_in_progress, self.error, self.retry_at = True, "", None
            self._granted_generation = meta.generation(pod)
            self.record(pod, NORMAL, "ResizeStarted", f"Pod resize started: {allocation.summary(pod)}")
        elif refused != self.pending or is_other:
            if refused.reason == "Infeasible":
                self.metrics.infeasible(refused.detail)
            self.pending, self._asked_generation = refused, meta.generation(pod)
            told = allocation.summary(pod, refused.message)
            self.record(pod, WARNING, f"Resize{refused.reason}", f"Pod resize {refused.reason}: {told}")

    def look(self, pod: Object, containers: Iterable[SeenContainer]) -> None:
        """How far it is; `pod` as it is granted. Tells of the completion."""
        alive = [container.status for container in containers if container.is_alive]
        self.actual = {status.id: self._resources_of(pod, status.id, status.name) for status in alive}
        if self._is_there(pod, alive):
            if self.is_in_progress:
                self.record(
                    pod, NORMAL, "ResizeCompleted", f"Pod resize completed: {allocation.summary(pod)}"
                )
            self.is_in_progress, self.error, self.retry_at, self._failures = False, "", None, 0

    def _is_there(self, pod: Object, alive: Iterable[ContainerStatus]) -> bool:
        is_there = self.enforced == self.granted
        for status in alive:
            container = spec.find_container(pod, status.name)
            if container is None or status.name not in self.granted:
                continue
            if allocation.change(container, self.actual[status.id]) == "none":
                # What the kernel cannot tell apart is what it was granted.
                self.actual[status.id] = container.get("resources") or {}
            else:
                is_there = False
        return is_there

    @property
    def seen(self) -> Resize:
        return Resize(
            actual=dict(self.actual),
            enforced=self.enforced or {},
            pending=self.pending,
            is_in_progress=self.is_in_progress,
            error=self.error,
            asked_generation=self._asked_generation,
            granted_generation=self._granted_generation,
            retry_at=self.retry_at,
        )

    def _resources_of(self, pod: Object, id: str, name: str) -> Object:
        if id in self.actual:
            return self.actual[id]
        if name in self._found:
            return self._found[name]
        return (spec.find_container(pod, name) or {}).get("resources") or {}

    def made(self, container: Object, id: str) -> None:
        """A container was created with the resources that it is granted."""
        self.actual[id] = container.get("resources") or {}

    def failed(self, pod: Object, message: str, now: datetime) -> None:
        self._failures += 1
        self.retry_at = now + timedelta(seconds=FAILURE_BACKOFF.delay_seconds(self._failures))
        if message != self.error:
            self.error = message
            told = allocation.summary(pod, message)
            self.record(pod, WARNING, "ResizeError", f"Pod resize error: {told}")
