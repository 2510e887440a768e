"""One pod on this node: looks, plans, acts, reports; again and again until there is nothing to do. One worker a pod, one look at a time.

It has a task only while it works: a pod that rests costs nothing. What takes long (pulls, graceful stops) goes on in tasks of its
own, shows in what is seen, and wakes the worker when it is through. Made by the kubelet, which also says when to wake.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from tiphys.client.client import Client
from tiphys.client.events import NORMAL, WARNING
from tiphys.client.resources import PODS
from tiphys.kubelet import spec, wording
from tiphys.kubelet.actions import (
    Action,
    CleanUp,
    DeletePod,
    PrepareVolumes,
    PullImage,
    RemoveContainer,
    RemoveSandbox,
    RunSandbox,
    StartContainer,
    StopContainer,
    StopSandbox,
)
from tiphys.kubelet.admission import Rejection
from tiphys.kubelet.hooks import HookFailure
from tiphys.kubelet.host import Host, Unprovided
from tiphys.kubelet.plan import Plan, plan
from tiphys.kubelet.pod_images import PodImages
from tiphys.kubelet.reporter import Reporter
from tiphys.kubelet.runtime_classes import runtime_handler
from tiphys.kubelet.runtime_view import RuntimeView
from tiphys.kubelet.runtimes.interface import RuntimeFailure
from tiphys.kubelet.seen import Problem, Seen, Sentence, Waiting
from tiphys.kubelet.spec import Object
from tiphys.kubelet.stats.measured import MeasuredPod
from tiphys.kubelet.status import Reason, Status, pod_status
from tiphys.kubelet.volume_care import VolumeCare
from tiphys.machinery import meta
from tiphys.machinery.clock import Timer
from tiphys.machinery.errors import StatusError, is_conflict, is_not_found
from tiphys.machinery.retry import Backoff, CrashLoop, ItemBackoff

log = logging.getLogger(__name__)

PROVISION_BACKOFF = Backoff(base_seconds=0.5, cap_seconds=30.0)
CONTAINER_RETRY_SECONDS = 1.0
RUNTIME_RETRY_SECONDS = 1.0


@dataclass(slots=True)
class _Memory:
    """What is true of the pod beside what the runtime shows; becomes part of Seen."""

    crash_loops: dict[str, CrashLoop] = field(default_factory=dict)
    container_problems: dict[str, Problem] = field(default_factory=dict)
    sandbox_problem: Problem | None = None
    stopping: dict[str, datetime] = field(default_factory=dict)
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
        self._backoff: ItemBackoff[str] = ItemBackoff(PROVISION_BACKOFF)
        self._images = PodImages(host, self._spawn)
        self._volumes = VolumeCare(host, self.wake)
        self._reporter = Reporter(host.client, pod, host.clock)
        self._told: dict[str, Waiting] = {}
        self._status: Status = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._working: asyncio.Task[None] | None = None
        self._dirty = False
        self._timer: Timer | None = None
        self._is_leaving = False

    # Being told

    def set_pod(self, pod: Object) -> None:
        if _describes_itself(self.pod) != _describes_itself(pod):
            self._volumes.outdate()
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
        self._memory.container_problems.clear()
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
        status = self._status or self.pod.get("status") or {}
        return self._memory.is_admitted and status.get("phase") not in ("Succeeded", "Failed")

    @property
    def is_over(self) -> bool:
        """Nothing of it runs, and it has given back what it had."""
        return self._memory.is_clean and not any(entry.is_alive for entry in self.view.containers)

    async def close(self) -> None:
        """The kubelet ends; containers go on."""
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
        pod, seen, now = self.pod, self.see(), self._host.clock.now()
        decided = plan(pod, seen, now)
        self._report(pod, seen, decided, now)
        if decided.is_done:
            self._finish()
        elif decided.actions:
            await asyncio.gather(*(self._perform(pod, action) for action in decided.actions))
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
            self._host.record(pod, WARNING, memory.rejection.reason, memory.rejection.message)

    def see(self) -> Seen:
        """What is seen of the pod as of now; asks nobody."""
        memory, view = self._memory, self.view
        running = {
            entry.status.id: entry.status for entry in view.containers if entry.status.state == "Running"
        }
        ips = view.sandboxes[0].ips if view.sandboxes else ()
        self._host.prober.update(self.pod, running, ips or self._host.ips)
        return Seen(
            sandboxes=view.sandboxes,
            containers=view.containers,
            images=dict(self._images.states),
            crash_loops=dict(memory.crash_loops),
            container_problems=dict(memory.container_problems),
            sandbox_problem=memory.sandbox_problem,
            volumes_problem=self._volumes.problem,
            are_volumes_ready=self._volumes.are_ready,
            are_volumes_stale=self._volumes.are_stale,
            health=self._host.prober.health(self.uid),
            stopping=dict(memory.stopping),
            stopped_sandboxes=frozenset(memory.stopped_sandboxes),
            rejection=memory.rejection,
            sentence=memory.sentence,
            is_gone=memory.is_gone,
            is_clean=memory.is_clean,
            are_files_gone=memory.are_files_gone,
        )

    def _report(self, pod: Object, seen: Seen, decided: Plan, now: datetime) -> None:
        """Sends the status, unless the pod is being taken apart: then the last one stands."""
        is_taken_apart = self._is_leaving or any(
            isinstance(action, RemoveSandbox | DeletePod) for action in decided.actions
        )
        if decided.ending is not None and decided.ending.deleted and is_taken_apart:
            self._is_leaving = True
            return
        self._tell_of_crash_loops(pod, decided)
        self._status = pod_status(pod, seen, Reason(decided.waiting, decided.ending), self._host.ips, now)
        self._reporter.report(self._status)

    def measured(self) -> MeasuredPod | None:
        """What there is to measure, as last seen; asks nobody."""
        sandbox = next((box for box in self.view.sandboxes if box.state == "Ready"), None)
        if sandbox is None:
            return None
        running = tuple(
            life.status
            for life in self.view.containers
            if life.status.state == "Running" and life.sandbox_id == sandbox.id
        )
        return MeasuredPod(self.pod, sandbox, running)

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
                case StopSandbox(id):
                    await self._host.runtime.stop_sandbox(id)
                    self._memory.stopped_sandboxes.add(id)
                    self.view.mark_sandbox(id)
                case RemoveSandbox(id):
                    await self._host.runtime.remove_sandbox(id)
                    self.view.mark_sandbox(id)
                case PrepareVolumes():
                    self._memory.is_clean = self._memory.are_files_gone = False
                    await self._volumes.prepare(pod)
                case PullImage(name):
                    self._images.pull(pod, name)
                case StartContainer(name, attempt):
                    await self._start(pod, name, attempt)
                case StopContainer():
                    self._stop(pod, action)
                case RemoveContainer(id):
                    await self._remove_container(id)
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
        try:
            config = await self._host.provisions.sandbox_config(pod, attempt)
            handler = await runtime_handler(self._host.client, pod)
            id = await self._host.runtime.run_sandbox(replace(config, runtime_handler=handler))
        except (RuntimeFailure, Unprovided) as error:
            told = error.described if isinstance(error, RuntimeFailure) else error.message
            message = f"Failed to create pod sandbox: {told}"
            self._host.record(pod, WARNING, "FailedCreatePodSandBox", message)
            memory.sandbox_problem = self._problem("sandbox", "FailedCreatePodSandBox", message)
            return
        memory.sandbox_problem = None
        self._backoff.forget("sandbox")
        self.view.mark_sandbox(id)

    def _problem(self, what: str, reason: str, message: str) -> Problem:
        delay = self._backoff.failed(what)
        return Problem(reason, message, self._host.clock.now() + timedelta(seconds=delay))

    # Containers

    async def _start(self, pod: Object, name: str, attempt: int) -> None:
        """Creates and starts it; what goes wrong becomes the reason why it waits."""
        container, sandbox = spec.find_container(pod, name), self.view.sandboxes[0]
        assert container is not None
        host, memory = self._host, self._memory
        image = self._images.states[name].reference
        self._note_restart(name)
        stage = "CreateContainerConfigError"
        try:
            config = await host.provisions.container_config(pod, container, attempt, image, sandbox)
            stage = "CreateContainerError"
            id = await host.runtime.create_container(
                sandbox.id, config, await host.provisions.sandbox_config(pod, sandbox.attempt)
            )
            host.record(pod, NORMAL, "Created", "Container created", name)
            stage = "RunContainerError"
            await host.runtime.start_container(id)
        except (RuntimeFailure, Unprovided) as error:
            host.record(pod, WARNING, "Failed", f"Error: {error.message}", name)
            reason = error.reason if isinstance(error, Unprovided) else stage
            retry_at = host.clock.now() + timedelta(seconds=self._retry_seconds(name, stage))
            memory.container_problems[name] = Problem(reason, error.message, retry_at)
        else:
            host.record(pod, NORMAL, "Started", "Container started", name)
            memory.container_problems.pop(name, None)
            self._backoff.forget(name)
            hook = (container.get("lifecycle") or {}).get("postStart")
            if hook:
                await self._after_start(pod, container, id, hook)
        self._images.forget(name)
        self.view.mark_sandbox(sandbox.id)

    async def _remove_container(self, id: str) -> None:
        found = next((entry for entry in self.view.containers if entry.status.id == id), None)
        await self._host.runtime.remove_container(id)
        if found is not None:
            self._host.provisions.forget_life(found.status)
        self.view.mark(id)

    def _retry_seconds(self, name: str, stage: str) -> float:
        """A container that could be created has its crash loop to slow it down."""
        if stage == "RunContainerError":
            return CONTAINER_RETRY_SECONDS
        return max(self._backoff.failed(name), CONTAINER_RETRY_SECONDS)

    def _note_restart(self, name: str) -> None:
        previous = next((entry for entry in self.view.containers if entry.status.name == name), None)
        if previous is not None and previous.status.finished_at is not None:
            loop = self._memory.crash_loops.get(name, CrashLoop())
            self._memory.crash_loops[name] = loop.restart(previous.status.finished_at)

    async def _after_start(self, pod: Object, container: Object, id: str, hook: dict[str, Any]) -> None:
        """postStart: the container counts as started once it is through, and must end when it fails."""
        sandbox = self.view.sandboxes[0]
        try:
            await self._host.hooks.run(hook, container, id, sandbox.ips[0] if sandbox.ips else "127.0.0.1")
        except HookFailure as failure:
            # What the hook said may be secret: it goes to our log, not into an event.
            log.info(
                "pod %s: the postStart hook of %s failed: %s", spec.described(pod), container["name"], failure
            )
            self._host.record(pod, WARNING, "FailedPostStartHook", "PostStartHook failed", container["name"])
            stop = StopContainer(id, container["name"], spec.grace_seconds(pod), "FailedPostStartHook")
            self._stop(pod, stop)

    def _stop(self, pod: Object, action: StopContainer) -> None:
        now = self._host.clock.now()
        is_new = action.id not in self._memory.stopping
        self._memory.stopping[action.id] = now + timedelta(seconds=action.grace_seconds)
        if is_new:
            self._host.record(pod, NORMAL, "Killing", action.message, action.name)
        self._spawn(self._stop_and_wait(pod, action, is_new=is_new))

    async def _stop_and_wait(self, pod: Object, action: StopContainer, *, is_new: bool) -> None:
        grace = action.grace_seconds
        container = spec.find_container(pod, action.name) or {}
        hook = (container.get("lifecycle") or {}).get("preStop")
        if hook and is_new:
            grace = await self._before_stop(pod, container, action, hook)
        try:
            await self._host.runtime.stop_container(action.id, grace)
        except RuntimeFailure as error:
            log.warning("pod %s: cannot stop %s: %s", spec.described(pod), action.name, error.message)
            await self._host.clock.sleep(RUNTIME_RETRY_SECONDS)
        self._memory.stopping.pop(action.id, None)
        self.view.mark(action.id)

    async def _before_stop(
        self, pod: Object, container: Object, action: StopContainer, hook: dict[str, Any]
    ) -> float:
        """preStop, within the grace period; what is left of it, two seconds at least."""
        clock, sandboxes = self._host.clock, self.view.sandboxes
        ip = sandboxes[0].ips[0] if sandboxes and sandboxes[0].ips else "127.0.0.1"
        began = clock.monotonic()
        try:
            async with asyncio.timeout(action.grace_seconds):
                await self._host.hooks.run(hook, container, action.id, ip)
        except TimeoutError:
            log.info("pod %s: the preStop hook of %s took too long", spec.described(pod), action.name)
        except HookFailure as failure:
            log.info("pod %s: the preStop hook of %s failed: %s", spec.described(pod), action.name, failure)
            self._host.record(pod, WARNING, "FailedPreStopHook", "PreStopHook failed", action.name)
        return max(action.grace_seconds - (clock.monotonic() - began), min(2.0, action.grace_seconds))

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

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Goes on beside the worker, and wakes it at the end."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        if task.exception() is not None:
            log.error("pod %s", spec.described(self.pod), exc_info=task.exception())
        self.wake()


def _describes_itself(pod: Object) -> tuple[Any, Any]:
    """What of a running pod its own downwardAPI volumes show."""
    return meta.labels(pod), meta.annotations(pod)
