"""Pods that wait for a node, in three places (KEP-4247, `pkg/scheduler/backend/queue`):

active          to be tried now: highest priority first, then first come
backoff         tried without success: again after 1 s, 2 s, 4 s, 8 s, 10 s
unschedulable   nothing helps until something changes: a change wakes the pods whose rejecting plugins care about it;
                after five minutes a pod is tried in any case
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import count

from tiphys.machinery.clock import Clock, Timer
from tiphys.scheduler.plugins import FILTERS
from tiphys.scheduler.snapshot import PodInfo

FIRST_BACKOFF_SECONDS = 1.0
LONGEST_BACKOFF_SECONDS = 10.0
LONGEST_UNSCHEDULABLE_SECONDS = 300.0
ANY_CHANGE = "any change"

WAKES_ON: Mapping[str, frozenset[str]] = {plugin.name: plugin.wakes_on for plugin in FILTERS}


@dataclass(eq=False)
class QueuedPod:
    """A pod on its way to a node. `rejected_by` are the plugins of the last attempt; empty: it failed for another reason."""

    pod: PodInfo
    order: int
    attempts: int = 0
    failed_at: float = 0.0
    rejected_by: frozenset[str] = frozenset()
    woken: bool = field(default=False)
    """Something that may help happened while it was being tried."""

    def __lt__(self, other: QueuedPod) -> bool:
        return (-self.pod.priority, self.order) < (-other.pod.priority, other.order)


class SchedulingQueue:
    """Used on one event loop only."""

    def __init__(self, clock: Clock, *, wakes_on: Mapping[str, frozenset[str]] = WAKES_ON) -> None:
        self._clock = clock
        self._wakes_on = wakes_on
        self._order = count()
        self._known: dict[str, QueuedPod] = {}
        self._active: list[QueuedPod] = []
        self._in_active: set[str] = set()
        self._unschedulable: dict[str, QueuedPod] = {}
        self._timers: dict[str, Timer] = {}
        self._arrived = asyncio.Event()

    def __len__(self) -> int:
        return len(self._known)

    @property
    def waiting(self) -> dict[str, int]:
        """How many pods wait where: for metrics and tests."""
        backoff = len(self._known) - len(self._in_active) - len(self._unschedulable)
        return {"active": len(self._in_active), "backoff": backoff, "unschedulable": len(self._unschedulable)}

    # What the world does

    def add(self, pod: PodInfo) -> None:
        """A pod that needs a node; one that is known already is brought up to date."""
        known = self._known.get(pod.uid)
        if known is None:
            self._known[pod.uid] = known = QueuedPod(pod, next(self._order))
            self._activate(known)
            return
        changed = known.pod.obj.get("spec") != pod.obj.get("spec") or _labels(known.pod) != _labels(pod)
        known.pod = pod
        if changed and pod.uid in self._unschedulable:
            self._wake(known)
        elif pod.uid in self._in_active:
            heapq.heapify(self._active)  # its priority may have changed

    def remove(self, uid: str) -> None:
        """It was bound, deleted, or is somebody else's now."""
        self._known.pop(uid, None)
        self._unschedulable.pop(uid, None)
        self._in_active.discard(uid)
        timer = self._timers.pop(uid, None)
        if timer is not None:
            timer.cancel()

    def happened(self, change: str) -> None:
        """Something changed in the cluster (a word of `plugins.interface`): wakes the pods that it may help."""
        for queued in [queued for queued in self._known.values() if self._may_help(change, queued)]:
            if queued.pod.uid in self._unschedulable:
                self._wake(queued)
            else:
                queued.woken = True

    def _may_help(self, change: str, queued: QueuedPod) -> bool:
        if change == ANY_CHANGE or not queued.rejected_by:
            return True
        return any(change in self._wakes_on.get(name, ()) for name in queued.rejected_by)

    # What the scheduler does

    async def pop(self) -> QueuedPod:
        """The next pod to try; it is in none of the three places until one of the methods below."""
        while True:
            while self._active:
                queued = heapq.heappop(self._active)
                if queued.pod.uid in self._in_active and self._known.get(queued.pod.uid) is queued:
                    self._in_active.discard(queued.pod.uid)
                    queued.attempts += 1
                    queued.woken = False
                    return queued
            self._arrived.clear()
            await self._arrived.wait()

    def done(self, queued: QueuedPod) -> None:
        """It has a node."""
        if self._known.get(queued.pod.uid) is queued:
            self.remove(queued.pod.uid)

    def unschedulable(self, queued: QueuedPod, rejected_by: frozenset[str]) -> None:
        """It fits nowhere now. If something that may help happened meanwhile, it only backs off."""
        if self._known.get(queued.pod.uid) is not queued:
            return
        queued.rejected_by = rejected_by
        queued.failed_at = self._clock.monotonic()
        if queued.woken:
            self._back_off(queued)
            return
        self._unschedulable[queued.pod.uid] = queued
        self._after(queued, LONGEST_UNSCHEDULABLE_SECONDS, self._wake)

    def failed(self, queued: QueuedPod) -> None:
        """The attempt failed for a reason that is not the pod's: try again after a while."""
        if self._known.get(queued.pod.uid) is not queued:
            return
        queued.rejected_by = frozenset()
        queued.failed_at = self._clock.monotonic()
        self._back_off(queued)

    # Between the places

    def _wake(self, queued: QueuedPod) -> None:
        self._unschedulable.pop(queued.pod.uid, None)
        self._back_off(queued)

    def _back_off(self, queued: QueuedPod) -> None:
        """Active once the time since the last attempt is over."""
        remaining = queued.failed_at + backoff_seconds(queued.attempts) - self._clock.monotonic()
        if remaining <= 0:
            self._activate(queued)
        else:
            self._after(queued, remaining, self._activate)

    def _activate(self, queued: QueuedPod) -> None:
        uid = queued.pod.uid
        self._cancel_timer(uid)
        if uid not in self._in_active:
            self._in_active.add(uid)
            heapq.heappush(self._active, queued)
            self._arrived.set()

    def _after(self, queued: QueuedPod, seconds: float, action: Callable[[QueuedPod], None]) -> None:
        uid = queued.pod.uid
        self._cancel_timer(uid)

        def due() -> None:
            self._timers.pop(uid, None)
            if self._known.get(uid) is queued:
                action(queued)

        self._timers[uid] = self._clock.call_later(seconds, due)

    def _cancel_timer(self, uid: str) -> None:
        timer = self._timers.pop(uid, None)
        if timer is not None:
            timer.cancel()


def backoff_seconds(attempts: int) -> float:
    """1, 2, 4, 8, 10, 10… seconds after the first, second… attempt."""
    return float(min(FIRST_BACKOFF_SECONDS * 2 ** min(attempts - 1, 10), LONGEST_BACKOFF_SECONDS))


def _labels(pod: PodInfo) -> object:
    return (pod.obj.get("metadata") or {}).get("labels")
