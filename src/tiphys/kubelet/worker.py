"""One pod on this node: looks, plans, acts, reports; again and again until there is nothing to do. One worker a pod, one look at a time.

It has a task only while it works: a pod that rests costs nothing. What takes long (pulls, graceful stops) goes on in tasks of its
own, shows in what is seen, and wakes the worker when it is through. Made by the kubelet, which also says when to wake.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from tiphys.client.client import Client
from tiphys.client.events import NORMAL, WARNING
from tiphys.client.resources import PODS
from tiphys.kubelet import allocation, spec, wording
from tiphys.kubelet.actions import (
    Action,
    CleanUp,
    DeletePod,
    PrepareVolumes,
    PullImage,
    RemoveContainer,
    RemoveSandbox,
    Resize,
    RunSandbox,
    StartContainer,
    StopContainer,
    StopSandbox,
)
from tiphys.kubelet.admission import Rejection
from tiphys.kubelet.container_lives import RUNTIME_RETRY_SECONDS, ContainerLives
from tiphys.kubelet.ending import DEADLINE_EXCEEDED
from tiphys.kubelet.host import Host, Unprovided
from tiphys.kubelet.plan import Plan, plan
from tiphys.kubelet.pod_images import PodImages
from tiphys.kubelet.pod_metrics import PodMetrics
from tiphys.kubelet.reporter import Reporter
from tiphys.kubelet.resizing import Resizing
from tiphys.kubelet.runtime_classes import runtime_handler
from tiphys.kubelet.runtime_view import RuntimeView
from tiphys.kubelet.runtimes.interface import RuntimeFailure
from tiphys.kubelet.seen import Problem, Seen, SeenContainer, Sentence, Waiting
from tiphys.kubelet.spec import Object
from tiphys.kubelet.stats.measured import MeasuredPod, measured
from tiphys.kubelet.status import LISTS, Reason, Status, pod_status
from tiphys.kubelet.volume_care import VolumeCare
from tiphys.machinery import meta
from tiphys.machinery.clock import Timer
from tiphys.machinery.errors import StatusError, is_conflict, is_not_found
from tiphys.machinery.retry import Backoff, ItemBackoff

log = logging.getLogger(__name__)

PROVISION_BACKOFF = Backoff(base_seconds=0.5, cap_seconds=30.0)


@dataclass(slots=True)
class _Memory:
    """What is true of the pod beside what the runtime shows; becomes part of Seen."""

    sandbox_problem: Problem | None = None
    stopped_sandboxes: set[str] = field(default_factory=set)
    rejection: Rejection | None = None
    sentence: Sentence | None = None
    is_asked_for_admission: bool = False
    is_admitted: bool = False
    is_gone: bool = False
    is_clean: bool = False
    are_files_gone: bool = False


class PodWorker:
    """`pod` is the newest that the API showed. `on_done(uid)`: nothing is left of the pod; drop the worker."""

    def __init__(self, host: Host, pod: Object, on_done: Callable[[str], None]) -> None:
        self.pod = pod
        self.uid = meta.uid(pod)
        self.view = RuntimeView(host.runtime, host.provisions.last_words)
        self._host = host
        self._on_done = on_done
        self._memory = _Memory()
        self._metrics = PodMetrics(host.metrics, host.clock, pod)
        self._backoff: ItemBackoff[str] = ItemBackoff(PROVISION_BACKOFF)
        self._images = PodImages(host, self._spawn, self._metrics)
        self._volumes = VolumeCare(host, self.wake)
        self._lives = ContainerLives(host, self.view, self._images, self._spawn)
        self._resizing = Resizing(host.account, host.record, host.metrics.resizes)
        self._resizing.begin(pod)
        self._reporter = Reporter(host.client, pod, host.clock, host.metrics.delays.status_sent)
        self._told: dict[str, Waiting] = {}
        self._status: Status = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._working: asyncio.Task[None] | None = None
        self._dirty = False
        self._timer: Timer | None = None
        self._is_leaving = False
        self._is_late = False
        self._is_closed = False

    # Being told

    def set_pod(self, pod: Object) -> None:
        if _describes_itself(self.pod) != _describes_itself(pod):
            # Volumes show them, and an environment or a subPathExpr may be made of them.
            self._volumes.outdate()
            self._lives.retry_now()
        self.pod = pod
        self._reporter.saw(pod)
        self.wake()

    def set_gone(self) -> None:
        """The API has it no more: whatever still runs must end."""
        self._memory.is_gone = True
        self._reporter.close()
        self.wake()

    def retry_now(self) -> None:
        """Something that the pod refers to has changed: what failed may work now, and volumes may have new content."""
        self._volumes.outdate()
        self._lives.retry_now()
        self.wake()

    def condemn(self, sentence: Sentence) -> None:
        """The node wants it to end; the first sentence stands."""
        if self._memory.sentence is None:
            self._memory.sentence = sentence
            self.wake()

    def wake(self) -> None:
        """Look at the pod, now or after the look that is under way."""
        self._dirty = True
        if self._working is None:
            self._working = asyncio.get_running_loop().create_task(self._work(), name=f"pod {self.uid}")

    @property
    def is_active(self) -> bool:
        """It takes room on the node: admitted, and not at its end."""
        return self._memory.is_admitted and self.may_hold

    @property
    def may_hold(self) -> bool:
        """Neither refused nor at its end: a kubelet that has just begun may not have looked at it yet."""
        status = self._status or self.pod.get("status") or {}
        return self._memory.rejection is None and status.get("phase") not in ("Succeeded", "Failed")

    @property
    def resizing(self) -> Resizing:
        return self._resizing

    @property
    def running(self) -> list[SeenContainer]:
        return [life for life in self.view.containers if life.status.state == "Running"]

    @property
    def is_running(self) -> bool:
        """It has not come to its end, as far as the API knows."""
        return (self.pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed")

    @property
    def stage(self) -> str:
        """How far it is: sync, terminating, terminated."""
        if self.is_over:
            return "terminated"
        ends = self._memory.is_gone or self._memory.sentence is not None or meta.is_deleting(self.pod)
        return "terminating" if ends or not self.is_running else "sync"

    async def remove_container(self, id: str) -> None:
        """One that is dead. Raises RuntimeFailure."""
        await self._lives.remove(id)

    @property
    def granted(self) -> Object:
        """The pod with what the node has granted to it, whatever it asks for by now."""
        return allocation.with_allocation(self.pod, self._resizing.granted)

    @property
    def is_over(self) -> bool:
        """Nothing of it runs, and it has given back what it had."""
        return self._memory.is_clean and not any(entry.is_alive for entry in self.view.containers)

    async def close(self) -> None:
        """The kubelet ends; containers go on."""
        self._is_closed = True
        tasks = [*self._tasks, *([self._working] if self._working else [])]
        self._cancel_timers()
        self._reporter.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _cancel_timers(self) -> None:
        self._volumes.close()
        if self._timer is not None:
            self._timer.cancel()

    # Working

    async def _work(self) -> None:
        try:
            while self._dirty:
                self._dirty = False
                with self._metrics.look():
                    await self._look_and_act()
        except Exception:
            # A mistake of ours must not take the pod out of care for ever.
            log.exception("pod %s", spec.described(self.pod))
            self._wake_after(RUNTIME_RETRY_SECONDS * 10)
        finally:
            self._working = None

    async def _look_and_act(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        try:
            await self.view.refresh()
        except RuntimeFailure as error:
            log.warning("pod %s: cannot ask the runtime: %s", spec.described(self.pod), error.message)
            self._wake_after(RUNTIME_RETRY_SECONDS)
            return
        await self._admit(self.pod)
        granted_before = self._resizing.granted
        pod = self._resizing.decide(self._as_known(), self.wake, takes_room=self.is_active)
        now = self._host.clock.now()
        if self._resizing.granted is not granted_before:
            # Volumes may show it.
            self._volumes.outdate()
        self._lives.let_go(self.view.containers)
        self._resizing.look(pod, self.view.containers)
        seen = self.see()
        decided = plan(pod, seen, now)
        self._report(pod, seen, decided, now)
        if not self.is_active:
            self._host.account.release(self.uid)
        if decided.is_done:
            self._finish()
        elif decided.actions:
            starts = [action for action in decided.actions if isinstance(action, StartContainer)]
            others = [self._perform(pod, action) for action in decided.actions if action not in starts]
            await asyncio.gather(*others, self._start_in_order(pod, starts))
            self._dirty = True
        elif decided.requeue_after_seconds is not None:
            self._wake_after(decided.requeue_after_seconds)

    async def _admit(self, pod: Object) -> None:
        """Asks the node's rules once, before anything of the pod is made: what runs already is not ended for them."""
        memory = self._memory
        if memory.is_asked_for_admission:
            return
        memory.is_asked_for_admission = True
        if not (self.view.sandboxes or memory.is_gone or meta.is_deleting(pod) or spec.is_finished(pod)):
            memory.rejection = await self._host.admit(pod)
        memory.is_admitted = memory.rejection is None
        if memory.rejection is not None:
            self._host.metrics.rejected(memory.rejection.reason)
            self._host.record(pod, WARNING, memory.rejection.reason, memory.rejection.message)

    def _as_known(self) -> Object:
        """The pod with our own newest word on its containers, which the API may not have yet."""
        lists = {field: self._status[field] for field in LISTS.values() if field in self._status}
        return {**self.pod, "status": {**(self.pod.get("status") or {}), **lists}} if lists else self.pod

    def see(self) -> Seen:
        """What is seen of the pod as of now; asks nobody."""
        memory, view, lives = self._memory, self.view, self._lives
        running = {
            entry.status.id: entry.status
            for entry in view.containers
            if entry.status.state == "Running" and entry.status.id not in lives.starting
        }
        ips = view.sandboxes[0].ips if view.sandboxes else ()
        self._host.prober.update(self.pod, running, ips or self._host.ips)
        return Seen(
            sandboxes=view.sandboxes,
            containers=view.containers,
            images=dict(self._images.states),
            crash_loops=dict(lives.crash_loops),
            container_problems=dict(lives.problems),
            sandbox_problem=memory.sandbox_problem,
            volumes_problem=self._volumes.problem,
            are_volumes_ready=self._volumes.are_ready,
            are_volumes_stale=self._volumes.are_stale,
            health=self._host.prober.health(self.uid),
            stopping=dict(lives.stopping),
            starting=frozenset(lives.starting),
            replaced=frozenset(lives.replaced),
            attempts=dict(lives.attempts),
            resize=self._resizing.seen,
            stopped_sandboxes=frozenset(memory.stopped_sandboxes),
            rejection=memory.rejection,
            sentence=memory.sentence,
            devices=self._device_health(),
            is_gone=memory.is_gone,
            is_clean=memory.is_clean,
            are_files_gone=memory.are_files_gone,
        )

    def _device_health(self) -> dict[str, Sequence[Mapping[str, Any]]]:
        names = (container["name"] for container in spec.all_containers(self.pod))
        found = {name: self._host.device_health(self.uid, name) for name in names}
        return {name: health for name, health in found.items() if health}

    def _report(self, pod: Object, seen: Seen, decided: Plan, now: datetime) -> None:
        """Sends the status, unless the pod is being taken apart: then the last one stands."""
        is_taken_apart = self._is_leaving or any(
            isinstance(action, RemoveSandbox | DeletePod) for action in decided.actions
        )
        if decided.ending is not None and decided.ending.deleted and is_taken_apart:
            self._is_leaving = True
            return
        self._tell_of_crash_loops(pod, decided)
        if decided.ending is not None and decided.ending.reason == DEADLINE_EXCEEDED and not self._is_late:
            self._is_late = True
            self._host.record(pod, NORMAL, DEADLINE_EXCEEDED, decided.ending.message)
        self._status = pod_status(pod, seen, Reason(decided.waiting, decided.ending), self._host.ips, now)
        self._reporter.report(self._status)
        self._metrics.reported(pod, self._status)

    def measured(self) -> MeasuredPod | None:
        """What there is to measure, as last seen; asks nobody."""
        return measured(self.pod, self.view.sandboxes, self.view.containers)

    def reported(self, container: str) -> Object | None:
        """The newest status of one container, whether the API has it already or not."""
        return spec.reported_status({"status": self._status}, container)

    def _tell_of_crash_loops(self, pod: Object, decided: Plan) -> None:
        for name, why in decided.waiting.items():
            if why.reason == "CrashLoopBackOff" and self._told.get(name) != why:
                self._host.record(pod, WARNING, "BackOff", wording.crash_loop_event(pod, name), name)
        self._told = dict(decided.waiting)

    def _finish(self) -> None:
        self._host.prober.forget(self.uid)
        self._host.account.release(self.uid)
        self._host.provisions.forget(self.uid)
        self._reporter.close()
        self._cancel_timers()
        self._dirty = False
        self._on_done(self.uid)

    def _wake_after(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._host.clock.call_later(max(seconds, 0.001), self.wake)

    # Acting

    async def _perform(self, pod: Object, action: Action) -> None:
        try:
            match action:
                case RunSandbox(attempt):
                    await self._run_sandbox(pod, attempt)
                case StopSandbox(id, is_replaced):
                    if is_replaced:
                        self._host.record(pod, NORMAL, "SandboxChanged", wording.SANDBOX_CHANGED)
                    await self._stop_sandbox(pod, id)
                case RemoveSandbox(id):
                    await self._host.runtime.remove_sandbox(id)
                    self.view.mark_sandbox(id)
                case PrepareVolumes():
                    self._memory.is_clean = self._memory.are_files_gone = False
                    await self._volumes.prepare(pod)
                case PullImage(name):
                    self._images.pull(pod, name)
                case StartContainer():
                    await self._start(pod, action)
                case StopContainer():
                    self._lives.stop(pod, action)
                case Resize():
                    await self._resize(pod, action)
                case RemoveContainer(id, _, is_restarted):
                    await self._lives.remove(id, is_restarted=is_restarted)
                case CleanUp(logs):
                    await self._host.provisions.clean_up(pod, logs=logs)
                    self._memory.is_clean, self._memory.are_files_gone = True, logs
                case DeletePod():
                    await self._delete(pod)
        except (RuntimeFailure, Unprovided) as error:
            log.warning("pod %s: %s: %s", spec.described(pod), type(action).__name__, error.message)
            await self._host.clock.sleep(RUNTIME_RETRY_SECONDS)

    async def _run_sandbox(self, pod: Object, attempt: int) -> None:
        memory = self._memory
        memory.is_clean = memory.are_files_gone = False
        began, handler = self._host.clock.monotonic(), ""
        try:
            config = await self._host.provisions.sandbox_config(pod, attempt)
            handler = await runtime_handler(self._host.client, pod)
            id = await self._host.runtime.run_sandbox(replace(config, runtime_handler=handler))
        except (RuntimeFailure, Unprovided) as error:
            told = error.described if isinstance(error, RuntimeFailure) else error.message
            message = f"Failed to create pod sandbox: {told}"
            self._host.record(pod, WARNING, "FailedCreatePodSandBox", message)
            memory.sandbox_problem = self._problem("sandbox", "FailedCreatePodSandBox", message)
            self._metrics.sandbox_started(handler, began, failed=True)
            return
        self._metrics.sandbox_started(handler, began)
        for reason, message in self._host.provisions.warnings(pod):
            self._host.record(pod, WARNING, reason, message)
        memory.sandbox_problem = None
        self._backoff.forget("sandbox")
        self.view.mark_sandbox(id)

    async def _stop_sandbox(self, pod: Object, id: str) -> None:
        try:
            await self._host.runtime.stop_sandbox(id)
        except RuntimeFailure as error:
            told = wording.sandbox_not_killed(self.uid, error.described)
            self._host.record(pod, WARNING, "FailedKillPod", f"error killing pod: {told}")
            raise
        self._memory.stopped_sandboxes.add(id)
        self.view.mark_sandbox(id)

    def _problem(self, what: str, reason: str, message: str) -> Problem:
        delay = self._backoff.failed(what)
        return Problem(reason, message, self._host.clock.now() + timedelta(seconds=delay))

    # Containers

    async def _start_in_order(self, pod: Object, starts: Sequence[StartContainer]) -> None:
        """One after the other, as upstream does: a container may count on those before it."""
        for start in starts:
            await self._perform(pod, start)

    async def _start(self, pod: Object, start: StartContainer) -> None:
        id = await self._lives.start(pod, start.name, start.attempt)
        container = spec.find_container(pod, start.name)
        if id and container is not None:
            self._resizing.made(container, id)

    async def _resize(self, pod: Object, action: Resize) -> None:
        """The pod's cgroup never has less than its containers: it grows before them, and shrinks after them."""
        host, resizing = self._host, self._resizing
        began = host.clock.monotonic()
        before = allocation.with_allocation(pod, resizing.enforced or {})
        containers = [(id, spec.find_container(pod, name)) for id, name in action.containers]
        wanted = [(id, container) for id, container in containers if container is not None]
        wanted.sort(key=lambda each: not allocation.shrinks(each[1], resizing.actual.get(each[0], {})))
        try:
            await host.provisions.resize_pod(pod, before)
            for id, container in wanted:
                resources = host.provisions.container_resources(pod, container)
                await host.runtime.update_resources(id, resources)
                resizing.made(container, id)
            await host.provisions.resize_pod(pod)
        except (RuntimeFailure, Unprovided) as error:
            resizing.failed(pod, error.message, host.clock.now())
        else:
            resizing.enforced = resizing.granted
        host.metrics.resizes.actuated(host.clock.monotonic() - began, success=not resizing.error)

    async def _delete(self, pod: Object) -> None:
        await self._reporter.flush()
        client: Client = self._host.client
        try:
            await client.delete(
                PODS, meta.name(pod), meta.namespace(pod), uid=self.uid, grace_period_seconds=0
            )
        except (StatusError, OSError, TimeoutError) as error:
            if not (is_not_found(error) or is_conflict(error)):
                log.warning("cannot delete pod %s: %s", spec.described(pod), error)
                await self._host.clock.sleep(RUNTIME_RETRY_SECONDS)
                return
        self._memory.is_gone = True

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Goes on beside the worker, and wakes it at the end."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if self._is_closed:
            return
        if not task.cancelled() and task.exception() is not None:
            log.error("pod %s", spec.described(self.pod), exc_info=task.exception())
        self.wake()


def _describes_itself(pod: Object) -> tuple[Any, ...]:
    """What of a running pod may change, and its volumes show or depend on: an ephemeral container may want one more."""
    return meta.labels(pod), meta.annotations(pod), len(spec.containers(pod, "ephemeral"))
