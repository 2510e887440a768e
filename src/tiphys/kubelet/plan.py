"""What to do about a pod: a pure function of the pod, what is seen of it, and the time.

The rules are upstream's (`kuberuntime` computePodActions, KEP-753 for sidecars): one usable sandbox; init containers in their
order; main containers side by side; restarts by policy, with a back-off that doubles from 10 s to 5 min. A pod that is deleted
or has come to its end gives everything back, in order: containers, sandbox, volumes, and the object itself if it is deleted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from tiphys.kubelet import allocation, restarting_all, spec, wording
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
from tiphys.kubelet.ending import Ending, ending
from tiphys.kubelet.labels import has_changed
from tiphys.kubelet.seen import ImageState, Problem, Seen, SeenContainer, Waiting
from tiphys.kubelet.spec import Kind, Object
from tiphys.machinery import meta
from tiphys.machinery.frozen import frozen
from tiphys.machinery.retry import CrashLoop

DEFERRED_RETRY_SECONDS = 180.0
"""A deferred resize is tried again when another pod gives something back, and every so often."""
KEPT_LIVES = 2
"""Of each container: the newest and the one before it, whose log is `logs --previous` and whose end is `lastState`."""
KEPT_SANDBOXES = 2


@frozen
class Plan:
    """`waiting`: why containers that are to run do not, by name; `ending`: set once the pod has come to its end."""

    actions: tuple[Action, ...] = ()
    requeue_after_seconds: float | None = None
    waiting: Mapping[str, Waiting] = field(default_factory=dict)
    ending: Ending | None = None
    is_done: bool = False
    """Nothing is left of the pod, here and in the API."""


def plan(pod: Object, seen: Seen, now: datetime) -> Plan:
    end = ending(pod, seen, now)
    if end is not None:
        return replace(_end(pod, seen, now, end), ending=end)
    return _Draft(pod, seen, now).finish()


# To its end


def _end(pod: Object, seen: Seen, now: datetime, end: Ending) -> Plan:
    if any(container.is_alive for container in seen.containers):
        return Plan(tuple(_stop_all(pod, seen, now, _remaining_grace(pod, end, now))))
    open_sandboxes = [box.id for box in seen.sandboxes if box.id not in seen.stopped_sandboxes]
    if open_sandboxes:
        return Plan(tuple(StopSandbox(id) for id in open_sandboxes))
    is_clean = seen.is_clean and (seen.are_files_gone or not end.deleted)
    leftovers: list[Action] = [] if is_clean else [CleanUp(logs=end.deleted)]
    if end.deleted:
        leftovers += [RemoveSandbox(box.id) for box in seen.sandboxes]
        if not leftovers and not seen.is_gone:
            leftovers.append(DeletePod())
    return Plan(tuple(leftovers), is_done=end.deleted and not leftovers)


def _stop_all(pod: Object, seen: Seen, now: datetime, grace: float) -> Iterable[Action]:
    """All at once as far as their hooks go; then main containers side by side, and the sidecars after them, the last one first."""
    order = [container["name"] for container in spec.sidecars(pod)]
    alive = [container for container in seen.containers if container.is_alive]
    names = [container.status.name for container in alive]
    first = tuple(name for name in names if name not in order)
    for container in alive:
        name, after = container.status.name, ()  # type: tuple[str, tuple[str, ...]]
        if name in order:
            after = (*first, *(later for later in order[order.index(name) + 1 :] if later in names))
        yield from _stop(container, seen, now, grace, after=after)


def _remaining_grace(pod: Object, end: Ending, now: datetime) -> float:
    """What is left of the deletion's grace when we come late to it, by a restart of ours; a pod that is thrown out may get less."""
    grace, deadline = spec.grace_seconds(pod), meta.deletion_time(pod)
    if end.grace_seconds is not None:
        grace = min(grace, max(end.grace_seconds, 1.0))
    if deadline is None:
        return grace
    return max(min(grace, (deadline - now).total_seconds() + 1), 1.0)


def _stop(
    container: SeenContainer,
    seen: Seen,
    now: datetime,
    grace: float,
    message: str = "",
    *,
    after: tuple[str, ...] = (),
    is_replaced: bool = False,
) -> Iterable[Action]:
    """Nothing when it is on its way already, unless it is to end sooner."""
    status = container.status
    deadline = seen.stopping.get(status.id)
    if deadline is None or now + timedelta(seconds=grace) < deadline - timedelta(seconds=0.5):
        text = message or wording.stopping(status.name)
        yield StopContainer(status.id, status.name, grace, text, after, is_replaced)


# On its way


@dataclass(slots=True)
class _Draft:
    """The plan for a pod that has something to do, while it is made."""

    pod: Object
    seen: Seen
    now: datetime
    actions: list[Action] = field(default_factory=list)
    waiting: dict[str, Waiting] = field(default_factory=dict)
    due: list[float] = field(default_factory=list)
    wanted: list[tuple[Object, int]] = field(default_factory=list)
    """Containers to start, and as which attempt."""
    resized: list[tuple[str, str]] = field(default_factory=list)
    """(id, name) of running containers that are granted something else than they have."""

    def finish(self) -> Plan:
        self._remove_old_lives()
        strays = self._strays()
        if strays:
            return Plan((*self.actions, *self._stop_each(strays)))
        if restarting_all.is_under_way(self.pod, self.seen):
            self.actions += self._restart_all()
            return self._plan()
        if self.seen.sandbox is not None:
            for container in spec.containers(self.pod, "ephemeral"):
                self._want(container, "ephemeral")
        if self._init_containers_are_done():
            for container in spec.containers(self.pod):
                self._want(container, "main")
        self._resize()
        if self._is_prepared():
            self._start_wanted()
        return self._plan()

    def _plan(self) -> Plan:
        self._watch_deadline()
        return Plan(tuple(self.actions), min(self.due, default=None), self.waiting)

    def _remove_old_lives(self) -> None:
        seen = self.seen
        lives = Counter[str]()
        for container in seen.containers:
            status = container.status
            lives[status.name] += 1
            if lives[status.name] > KEPT_LIVES and not container.is_alive:
                self.actions.append(RemoveContainer(status.id, status.name))
        alive = {container.sandbox_id for container in seen.containers if container.is_alive}
        old = [box.id for box in seen.sandboxes[KEPT_SANDBOXES:] if box.id not in alive]
        self.actions += [RemoveSandbox(id) for id in old]

    def _strays(self) -> list[SeenContainer]:
        """What runs in a sandbox that is not the usable one must end before anything else is started."""
        usable = self.seen.sandbox.id if self.seen.sandbox else ""
        return [
            container
            for container in self.seen.containers
            if container.is_alive and container.sandbox_id != usable
        ]

    def _stop_each(self, containers: Iterable[SeenContainer]) -> list[Action]:
        grace = spec.grace_seconds(self.pod)
        return [action for each in containers for action in _stop(each, self.seen, self.now, grace)]

    def _restart_all(self) -> Iterable[Action]:
        """Takes the pod back to its beginning: ends what runs, and then forgets what has ended; the cause of it in its own time."""
        alive = restarting_all.alive(self.pod, self.seen)
        if alive:
            return self._stop_each(alive)
        removals = restarting_all.removals(self.pod, self.seen)
        return [each for each in removals if not (each.is_restarted and self._must_wait(each.name))]

    def _must_wait(self, name: str) -> bool:
        """Its crash loop is not over yet."""
        newest = self.seen.newest(name)
        loop = self.seen.crash_loops.get(name, CrashLoop())
        finished = newest.status.finished_at if newest is not None else None
        wait = loop.wait_seconds(finished or self.now, self.now)
        if wait > 0:
            self.waiting[name] = Waiting(
                "CrashLoopBackOff", wording.crash_loop(self.pod, name, loop.delay_seconds)
            )
            self.due.append(wait)
        return wait > 0

    def _is_prepared(self) -> bool:
        """Volumes first, then the sandbox; images and containers come after both, so that one thing is told at a time."""
        is_current = self.seen.are_volumes_ready and not self.seen.are_volumes_stale
        if not is_current and not self._is_postponed(self.seen.volumes_problem):
            self.actions.append(PrepareVolumes())
        if not self.seen.are_volumes_ready:
            return False
        self._prepare_sandbox()
        return self.seen.sandbox is not None

    def _prepare_sandbox(self) -> None:
        seen = self.seen
        if seen.sandbox is not None:
            return
        unstopped = [box.id for box in seen.sandboxes if box.id not in seen.stopped_sandboxes]
        if unstopped:
            self.actions += [StopSandbox(id, is_replaced=True) for id in unstopped]
        elif not self._is_postponed(seen.sandbox_problem):
            self.actions.append(RunSandbox(seen.sandboxes[0].attempt + 1 if seen.sandboxes else 0))

    def _init_containers_are_done(self) -> bool:
        """Looks after the init containers, one after the other; True when main containers may run.

        Once a main container has started in this sandbox, ordinary init containers are history; sidecars are kept running.
        """
        has_begun = any(self.seen.current(container["name"]) for container in spec.containers(self.pod))
        for container in spec.containers(self.pod, "init"):
            is_passed = self._is_passed(container)
            if spec.is_sidecar(container) or not (is_passed or has_begun):
                self._want(container, "init")
            if not (is_passed or has_begun):
                return False
        return True

    def _is_passed(self, container: Object) -> bool:
        """The next init container may start."""
        current = self.seen.current(container["name"])
        if current is None:
            return False
        if spec.is_sidecar(container):
            id = current.status.id
            health = self.seen.health.get(id)
            return current.is_alive and id not in self.seen.starting and (health is None or health.started)
        return current.has_exited and current.status.exit_code == 0

    def _want(self, container: Object, kind: Kind) -> None:
        """Has the container running, or about to start, or waiting for its time."""
        name = container["name"]
        newest = self.seen.newest(name)
        if newest is None:
            self.wanted.append((container, self._next_attempt(name)))
        elif newest.is_alive:
            self.actions += self._replace(container, newest)
        elif newest.status.state == "Created":
            # We were interrupted between its creation and its start.
            self.actions.append(RemoveContainer(newest.status.id, name))
        elif self._has_more_to_do(container, kind, newest):
            self._restart(container, newest)

    def _has_more_to_do(self, container: Object, kind: Kind, newest: SeenContainer) -> bool:
        """In a new sandbox all init containers run again, whatever became of them in the old one."""
        if kind == "init" and newest is not self.seen.current(container["name"]):
            return True
        if newest.status.id in self.seen.replaced:
            return True
        return spec.should_restart(self.pod, container, kind, newest.status.exit_code)

    def _next_attempt(self, name: str) -> int:
        """When the runtime has forgotten a container, we or the API may still know how often it was restarted."""
        reported = spec.reported_status(self.pod, name) or {}
        known = int(reported.get("restartCount", 0)) + bool(reported.get("containerID"))
        return max(known, self.seen.attempts.get(name, -1) + 1)

    def _restart(self, container: Object, newest: SeenContainer) -> None:
        name, status = container["name"], newest.status
        loop = self.seen.crash_loops.get(name, CrashLoop())
        wait = loop.wait_seconds(status.finished_at or self.now, self.now)
        if has_changed(container, status.annotations):
            # It is another container by now: what became of the old one does not slow it down.
            wait = 0.0
        if status.reason == "StartError" and newest is not self.seen.current(name):
            # It could not start because its sandbox was dying under it: no fault of its own.
            wait = 0.0
        problem = self.seen.container_problems.get(name)
        if wait > 0 and problem is not None and self._is_postponed(problem):
            # For a moment one sees why it did not start, and then that it waits for its next try.
            self.waiting[name] = problem.waiting
        elif wait > 0:
            message = wording.crash_loop(self.pod, name, loop.delay_seconds)
            self.waiting[name] = Waiting("CrashLoopBackOff", message)
            self.due.append(wait)
        else:
            self.wanted.append((container, status.attempt + 1))

    def _replace(self, container: Object, current: SeenContainer) -> Iterable[Action]:
        """Ends a running container that failed its probe, whose definition is another one by now, or that must end to be resized."""
        seen, now, grace = self.seen, self.now, spec.grace_seconds(self.pod)
        name = container["name"]
        if current.status.state == "Unknown":
            # It may run or not (the runtime was killed while it was started): two of it must not.
            return _stop(current, seen, now, grace, wording.IN_UNKNOWN_STATE, is_replaced=True)
        if has_changed(container, current.status.annotations):
            return _stop(current, seen, now, grace, wording.definition_changed(name), is_replaced=True)
        health = seen.health.get(current.status.id)
        if health is not None and health.failure:
            own_grace = health.grace_seconds if health.grace_seconds is not None else grace
            comes_back = spec.is_restartable(self.pod, container)
            text = wording.will_be_restarted(health.failure) if comes_back else health.failure
            return _stop(current, seen, now, own_grace, text, is_replaced=comes_back)
        match self._resource_change(container, current):
            case "restart":
                return _stop(current, seen, now, grace, wording.resize_needs_restart(name), is_replaced=True)
            case "update":
                self.resized.append((current.status.id, name))
        return ()

    def _resource_change(self, container: Object, current: SeenContainer) -> allocation.Change:
        resize, id = self.seen.resize, current.status.id
        if resize is None or id not in resize.actual or id in self.seen.stopping:
            return "none"
        return allocation.change(container, resize.actual[id])

    def _resize(self) -> None:
        """Brings the pod's cgroup and its running containers to what is granted."""
        resize = self.seen.resize
        if resize is None:
            return
        if resize.pending is not None and resize.pending.reason == "Deferred":
            self.due.append(DEFERRED_RETRY_SECONDS)
        has_changed = bool(self.resized) or not allocation.are_same(
            resize.enforced, allocation.wanted(self.pod)
        )
        if not has_changed or self.seen.sandbox is None:
            return
        if resize.retry_at is not None and self.now < resize.retry_at:
            self.due.append((resize.retry_at - self.now).total_seconds())
        else:
            self.actions.append(Resize(tuple(self.resized)))

    def _start_wanted(self) -> None:
        """One after the other, in their order: each waits until the one before it has started, its hook included, or has failed."""
        if self.seen.starting or any(isinstance(action, Resize) for action in self.actions):
            return
        for container, attempt in self.wanted:
            if not self._start(container, attempt):
                return

    def _start(self, container: Object, attempt: int) -> bool:
        """The image first, and then the container; True when the next one may begin."""
        name, seen = container["name"], self.seen
        problem, image = seen.container_problems.get(name), seen.images.get(name) or ImageState()
        if problem is not None:
            self.waiting[name] = problem.waiting
            if self._is_postponed(problem):
                return True
        if image.problem is not None:
            self.waiting[name] = image.problem.waiting
            if not image.is_pulling and self._is_postponed(image.problem):
                return True
        if image.reference:
            self.actions.append(StartContainer(name, attempt))
            return not (container.get("lifecycle") or {}).get("postStart")
        if not image.is_pulling and not any(isinstance(action, StartContainer) for action in self.actions):
            self.actions.append(PullImage(name))
        return False

    def _is_postponed(self, problem: Problem | None) -> bool:
        if problem is None or self.now >= problem.retry_at:
            return False
        self.due.append((problem.retry_at - self.now).total_seconds())
        return True

    def _watch_deadline(self) -> None:
        limit = self.pod["spec"].get("activeDeadlineSeconds")
        started = (self.pod.get("status") or {}).get("startTime")
        if limit is not None and started:
            left = meta.parse_time(started) + timedelta(seconds=limit) - self.now
            self.due.append(left.total_seconds())
