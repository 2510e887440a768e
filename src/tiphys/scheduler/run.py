"""The scheduler's loop: follows pods and nodes, decides one pod after the other, and binds them side by side.

A decision is assumed at once: the pod counts on its node while the binding is on its way, so the next decision sees it there.
If the binding fails the pod is taken off again. Started by `cluster/` with a client; ends by cancellation.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from random import Random
from typing import Any

from tiphys.client.client import Client
from tiphys.client.event_series import SeriesRecorder
from tiphys.client.events import NORMAL, WARNING
from tiphys.client.reflector import Informers
from tiphys.client.resources import NODES, PODS
from tiphys.client.transport import STRATEGIC_MERGE_PATCH, Object
from tiphys.machinery import meta
from tiphys.machinery.clock import Clock
from tiphys.machinery.errors import StatusError, is_not_found
from tiphys.scheduler.cycle import Decision, decide
from tiphys.scheduler.metrics import ERROR, SCHEDULED, UNSCHEDULABLE, SchedulerMetrics
from tiphys.scheduler.plugins import interface as changes
from tiphys.scheduler.queue import QueuedPod, SchedulingQueue
from tiphys.scheduler.snapshot import PodInfo, Snapshot

log = logging.getLogger(__name__)

DEFAULT_SCHEDULER = "default-scheduler"
WRITES_AT_ONCE = 64
FAILURES = (StatusError, OSError, TimeoutError)


class Scheduler:
    """Runs until cancelled: `await Scheduler(informers, clock=clock).run()`. Pods of other schedulerNames are left alone."""

    def __init__(
        self,
        informers: Informers,
        *,
        clock: Clock,
        client: Client | None = None,
        recorder: SeriesRecorder | None = None,
        name: str = DEFAULT_SCHEDULER,
        random: Random | None = None,
    ) -> None:
        self.snapshot = Snapshot()
        self.queue = SchedulingQueue(clock)
        self._name = name
        self._informers = informers
        self._client = client or informers.client
        self._clock = clock
        self._recorder = recorder or SeriesRecorder(self._client, name, clock=clock)
        self._random = random or Random()
        self._metrics = SchedulerMetrics(informers.metrics, name, lambda: self.queue.waiting)
        self._writes: set[asyncio.Task[None]] = set()
        self._slots = asyncio.Semaphore(WRITES_AT_ONCE)

    async def run(self) -> None:
        detach: list[Callable[[], None]] = []
        try:
            # Nodes first: a pod that is tried before its nodes are known would be told that there are none.
            nodes, pods = self._informers.cache(NODES), self._informers.cache(PODS)
            await self._informers.wait_synced()
            detach.append(nodes.add_handler(self._node_changed))
            detach.append(pods.add_handler(self._pod_changed))
            while True:
                await self._schedule(await self.queue.pop())
        finally:
            for stop in detach:
                stop()
            writes = list(self._writes)
            for write in writes:
                write.cancel()
            await asyncio.gather(*writes, return_exceptions=True)
            await self._recorder.stop()

    # From events to the queue and the snapshot

    def _node_changed(self, type: str, old: Object | None, new: Object | None) -> None:
        if new is None:
            self.snapshot.remove_node(meta.name(old or {}))
            return
        self.snapshot.set_node(new)
        for change in node_changes(old, new):
            self.queue.happened(change)

    def _pod_changed(self, type: str, old: Object | None, new: Object | None) -> None:
        pod = PodInfo(new or old or {})
        if new is None or _is_finished(new):
            self.queue.remove(pod.uid)
            if self.snapshot.place_of(pod.uid) is not None:
                self.snapshot.remove_pod(pod.uid)
                self.queue.happened(changes.POD_DELETED)
        elif pod.node_name:
            self.queue.remove(pod.uid)
            self._confirm(old, pod)
        elif self._is_ours(pod):
            self.queue.add(pod)
        else:
            self.queue.remove(pod.uid)

    def _confirm(self, old: Object | None, pod: PodInfo) -> None:
        # Most updates of a running pod are of its status: what it takes of the node stays the same.
        if (
            self.snapshot.place_of(pod.uid) == pod.node_name
            and old
            and old.get("spec") == pod.obj.get("spec")
        ):
            return
        self.snapshot.place(pod, pod.node_name)
        if old and PodInfo(old).node_name and PodInfo(old).requests != pod.requests:
            self.queue.happened(changes.POD_SHRUNK)

    def _is_ours(self, pod: PodInfo) -> bool:
        if meta.is_deleting(pod.obj) or pod.spec.get("schedulingGates"):
            return False
        return (pod.spec.get("schedulerName") or DEFAULT_SCHEDULER) == self._name

    # From the queue to a node

    async def _schedule(self, queued: QueuedPod) -> None:
        began = self._clock.monotonic()
        try:
            decision = decide(queued.pod, self.snapshot, self._random)
        except Exception:
            log.exception("cannot decide about pod %s", queued.pod.key)
            self._metrics.tried(ERROR, self._clock.monotonic() - began)
            self.queue.failed(queued)
            return
        took = self._clock.monotonic() - began
        self._metrics.decided(took)
        if not decision.node:
            self._metrics.tried(UNSCHEDULABLE, took)
            self.queue.unschedulable(queued, decision.rejected_by)
            await self._start(self._report(queued.pod, "Unschedulable", decision.message))
            return
        self.snapshot.place(queued.pod, decision.node)
        await self._start(self._bind(queued, decision, began))

    async def _start(self, writing: Coroutine[Any, Any, None]) -> None:
        """Lets a write go its way, when not too many are under way already."""
        await self._slots.acquire()
        task = asyncio.get_running_loop().create_task(writing)
        self._writes.add(task)
        task.add_done_callback(self._written)
        # A long queue must not keep the loop from the writes it has begun.
        await asyncio.sleep(0)

    def _written(self, task: asyncio.Task[None]) -> None:
        self._writes.discard(task)
        self._slots.release()
        if not task.cancelled() and task.exception() is not None:
            log.error("a write of the scheduler failed", exc_info=task.exception())

    async def _bind(self, queued: QueuedPod, decision: Decision, began: float) -> None:
        pod = queued.pod
        try:
            await self._client.create_subresource(
                PODS, meta.name(pod.obj), "binding", binding(pod, decision.node), meta.namespace(pod.obj)
            )
        except FAILURES as error:
            self._metrics.tried(ERROR, self._clock.monotonic() - began)
            await self._binding_failed(queued, error)
            return
        self._metrics.tried(SCHEDULED, self._clock.monotonic() - began, tries=queued.attempts)
        self.queue.done(queued)
        message = f"Successfully assigned {pod.key} to {decision.node}"
        self._recorder.record(as_pod(pod.obj), NORMAL, "Scheduled", message, action="Binding")

    async def _binding_failed(self, queued: QueuedPod, error: Exception) -> None:
        pod = queued.pod
        seen = self._informers.cache(PODS).get(pod.key)
        if seen is not None and meta.uid(seen) == pod.uid and PodInfo(seen).node_name:
            # Somebody else bound it, or the answer got lost: the cache knows better.
            self.snapshot.place(PodInfo(seen), PodInfo(seen).node_name)
            self.queue.done(queued)
            return
        self.snapshot.remove_pod(pod.uid)
        self.queue.happened(changes.POD_DELETED)
        if is_not_found(error):
            self.queue.remove(pod.uid)
            return
        self.queue.failed(queued)
        await self._report(pod, "SchedulerError", f"binding rejected: {error}")

    async def _report(self, pod: PodInfo, reason: str, message: str) -> None:
        """The event FailedScheduling and the condition PodScheduled; a pod that is gone meanwhile needs neither."""
        self._recorder.record(as_pod(pod.obj), WARNING, "FailedScheduling", message, action="Scheduling")
        condition = meta.find_condition(meta.conditions(pod.obj), "PodScheduled") or {}
        if (condition.get("status"), condition.get("reason"), condition.get("message")) == (
            "False",
            reason,
            message,
        ):
            return
        conditions = meta.set_condition(
            [condition] if condition else [],
            "PodScheduled",
            "False",
            self._clock.now(),
            reason=reason,
            message=message,
            observedGeneration=meta.generation(pod.obj),
        )
        try:
            await self._client.patch(
                PODS,
                meta.name(pod.obj),
                {"metadata": {"uid": pod.uid}, "status": {"conditions": conditions}},
                meta.namespace(pod.obj),
                content_type=STRATEGIC_MERGE_PATCH,
                subresource="status",
            )
        except FAILURES as error:
            log.info("pod %s: its condition was not written: %s", pod.key, error)


def node_changes(old: Object | None, new: Object) -> list[str]:
    """Which words of `plugins.interface` an update of a node means; heartbeats mean none."""
    if old is None:
        return [changes.NODE_ADDED]
    found = []
    if meta.labels(old) != meta.labels(new):
        found.append(changes.NODE_LABELS)
    if _spec(old, "taints") != _spec(new, "taints") or _spec(old, "unschedulable") != _spec(
        new, "unschedulable"
    ):
        found.append(changes.NODE_TAINTS)
    if (old.get("status") or {}).get("allocatable") != (new.get("status") or {}).get("allocatable"):
        found.append(changes.NODE_ALLOCATABLE)
    return found


def binding(pod: PodInfo, node: str) -> dict[str, Any]:
    """The body of POST pods/{name}/binding; its uid spares a namesake."""
    metadata = {"name": meta.name(pod.obj), "namespace": meta.namespace(pod.obj), "uid": pod.uid}
    return {
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": metadata,
        "target": {"apiVersion": "v1", "kind": "Node", "name": node},
    }


def as_pod(obj: Mapping[str, Any]) -> Object:
    """Objects that came in a list may lack what an event must name."""
    return {"apiVersion": "v1", "kind": "Pod", **obj}


def _spec(node: Object, name: str) -> object:
    return (node.get("spec") or {}).get(name) or None


def _is_finished(pod: Object) -> bool:
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")
