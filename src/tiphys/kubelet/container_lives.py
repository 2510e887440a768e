"""The containers of one pod as they are started and ended: their hooks, their restarts counted, and what went wrong with them.

Part of the pod's worker, which has it carry out the actions about containers. What takes long (hooks, graceful stops) goes on in
tasks of its own, shows in what is seen, and wakes the worker when it is through.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from tiphys.client.events import NORMAL, WARNING
from tiphys.kubelet import spec
from tiphys.kubelet.actions import StopContainer
from tiphys.kubelet.hooks import HookFailure
from tiphys.kubelet.host import Host, Unprovided
from tiphys.kubelet.labels import has_changed
from tiphys.kubelet.pod_images import PodImages
from tiphys.kubelet.pod_metrics import container_started
from tiphys.kubelet.runtime_view import RuntimeView
from tiphys.kubelet.runtimes.interface import RuntimeFailure
from tiphys.kubelet.seen import Problem, SeenContainer
from tiphys.kubelet.spec import Object
from tiphys.machinery.clock import within
from tiphys.machinery.retry import Backoff, CrashLoop, ItemBackoff

log = logging.getLogger(__name__)

CREATE_BACKOFF = Backoff(base_seconds=1.0, cap_seconds=30.0)
CONTAINER_RETRY_SECONDS = 1.0
RUNTIME_RETRY_SECONDS = 1.0
SHORTEST_GRACE_SECONDS = 2.0
"""What every stop gets, also when its hook has used up the grace, or none was granted."""

Spawn = Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None]"]
"""Runs something beside the pod's worker, and wakes it at the end."""


@dataclass(slots=True)
class ContainerLives:
    """`problems`, `crash_loops`: by container name; `stopping`, `starting`, `replaced`: by container id. See Seen."""

    host: Host
    view: RuntimeView
    images: PodImages
    spawn: Spawn
    problems: dict[str, Problem] = field(default_factory=dict)
    crash_loops: dict[str, CrashLoop] = field(default_factory=dict)
    stopping: dict[str, datetime] = field(default_factory=dict)
    starting: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    replaced: set[str] = field(default_factory=set)
    attempts: dict[str, int] = field(default_factory=dict)
    _ending: set[str] = field(default_factory=set)
    """By id: those whose end was told, and whose preStop hook was run; a runtime that fails to stop one is asked again, no more."""
    _turns: dict[str, tuple[tuple[str, ...], asyncio.Event]] = field(default_factory=dict)
    """By id: containers that wait for others, by name, to end before them."""
    _backoff: ItemBackoff[str] = field(default_factory=lambda: ItemBackoff(CREATE_BACKOFF))

    def retry_now(self) -> None:
        """Something that the pod refers to has changed: what failed may work now."""
        self.problems.clear()

    @property
    def _new_loop(self) -> CrashLoop:
        return CrashLoop(self.host.crash_loop)

    # Starting

    async def start(self, pod: Object, name: str, attempt: int) -> str:
        """Creates and starts it; its id. What goes wrong becomes the reason why it waits, and the id is empty."""
        container, sandbox = spec.find_container(pod, name), self.view.sandboxes[0]
        assert container is not None
        host = self.host
        self._note_restart(container)
        self.attempts[name] = attempt
        stage = "CreateContainerConfigError"
        try:
            image = self.images.states[name].reference
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
            self._note_problem(name, reason, error.message, self._retry_seconds(name, stage))
            container_started(host.metrics, pod, name, reason)
            return ""
        else:
            host.record(pod, NORMAL, "Started", "Container started", name)
            container_started(host.metrics, pod, name)
            self.problems.pop(name, None)
            self._backoff.forget(name)
            hook = (container.get("lifecycle") or {}).get("postStart")
            if hook:
                self.starting[id] = self.spawn(self._after_start(pod, container, id, hook))
            return id
        finally:
            self.images.forget(name)
            self.view.mark_sandbox(sandbox.id)

    def _retry_seconds(self, name: str, stage: str) -> float:
        """A container that could be created has its crash loop to slow it down."""
        return CONTAINER_RETRY_SECONDS if stage == "RunContainerError" else self._backoff.failed(name)

    def _note_problem(self, name: str, reason: str, message: str, seconds: float) -> None:
        self.problems[name] = Problem(reason, message, self.host.clock.now() + timedelta(seconds=seconds))

    def _note_restart(self, container: Object) -> None:
        name = container["name"]
        previous = next((entry for entry in self.view.containers if entry.status.name == name), None)
        if previous is not None and previous.status.finished_at is not None:
            is_other = has_changed(container, previous.status.annotations)
            loop = self._new_loop if is_other else self.crash_loops.get(name, self._new_loop)
            self.crash_loops[name] = loop.restart(previous.status.finished_at)

    async def _after_start(self, pod: Object, container: Object, id: str, hook: dict[str, Any]) -> None:
        """postStart: the container counts as started once it is through, and must end when it fails."""
        name = container["name"]
        try:
            await self.host.hooks.run(hook, pod, container, id, self._address())
        except HookFailure as failure:
            # What the hook said may be secret: it goes to the status, whose readers may see the pod, not into an event.
            log.info("pod %s: the postStart hook of %s failed: %s", spec.described(pod), name, failure)
            self.host.record(pod, WARNING, "FailedPostStartHook", "PostStartHook failed", name)
            self._note_problem(name, "PostStartHookError", str(failure), CONTAINER_RETRY_SECONDS)
            self.stop(pod, StopContainer(id, name, spec.grace_seconds(pod), "FailedPostStartHook"))
        finally:
            self.starting.pop(id, None)
            self.view.mark(id)

    def _address(self) -> str:
        """Where hooks find the pod."""
        sandboxes = self.view.sandboxes
        return sandboxes[0].ips[0] if sandboxes and sandboxes[0].ips else "127.0.0.1"

    # Ending

    def stop(self, pod: Object, action: StopContainer) -> None:
        now = self.host.clock.now()
        is_new = action.id not in self._ending
        self._ending.add(action.id)
        self.stopping[action.id] = now + timedelta(seconds=action.grace_seconds)
        if action.is_replaced:
            self.replaced.add(action.id)
        if is_new:
            self.host.record(pod, NORMAL, "Killing", action.message, action.name)
        hook = self.starting.get(action.id)
        if hook is not None and hook is not asyncio.current_task():
            hook.cancel()
        self.spawn(self._stop_and_wait(pod, action, is_new=is_new))

    async def _stop_and_wait(self, pod: Object, action: StopContainer, *, is_new: bool) -> None:
        grace = action.grace_seconds
        container = spec.find_container(pod, action.name) or {}
        hook = (container.get("lifecycle") or {}).get("preStop")
        if hook and is_new:
            grace = await self._before_stop(pod, container, action, hook)
        if action.after:
            grace = await self._await_turn(action, grace)
        try:
            await self.host.runtime.stop_container(action.id, max(grace, SHORTEST_GRACE_SECONDS))
        except RuntimeFailure as error:
            log.warning("pod %s: cannot stop %s: %s", spec.described(pod), action.name, error.message)
            await self.host.clock.sleep(RUNTIME_RETRY_SECONDS)
        self.stopping.pop(action.id, None)
        self.view.mark(action.id)

    async def _before_stop(
        self, pod: Object, container: Object, action: StopContainer, hook: dict[str, Any]
    ) -> float:
        """preStop, within the grace period; what is left of it."""
        clock, began = self.host.clock, self.host.clock.monotonic()
        try:
            work = self.host.hooks.run(hook, pod, container, action.id, self._address())
            await within(clock, action.grace_seconds, work)
        except TimeoutError:
            log.info("pod %s: the preStop hook of %s took too long", spec.described(pod), action.name)
        except HookFailure as failure:
            log.info("pod %s: the preStop hook of %s failed: %s", spec.described(pod), action.name, failure)
            self.host.record(pod, WARNING, "FailedPreStopHook", "PreStopHook failed", action.name)
        return max(action.grace_seconds - (clock.monotonic() - began), 0.0)

    async def _await_turn(self, action: StopContainer, grace_seconds: float) -> float:
        """Until those that go first have ended, or the grace is used up; what is left of it."""
        clock, began = self.host.clock, self.host.clock.monotonic()
        turn = asyncio.Event()
        self._turns[action.id] = (action.after, turn)
        self.let_go(self.view.containers)
        with contextlib.suppress(TimeoutError):
            await within(clock, grace_seconds, turn.wait())
        return max(grace_seconds - (clock.monotonic() - began), 0.0)

    def let_go(self, containers: Iterable[SeenContainer]) -> None:
        """Looks for whom the turn has come."""
        alive = {container.status.name for container in containers if container.is_alive}
        for id, (first, turn) in list(self._turns.items()):
            if not alive.intersection(first):
                turn.set()
                del self._turns[id]

    async def remove(self, id: str, *, is_restarted: bool = False) -> None:
        """`is_restarted`: what comes of it counts as its restart."""
        found = next((entry for entry in self.view.containers if entry.status.id == id), None)
        await self.host.runtime.remove_container(id)
        if found is not None:
            self.host.provisions.forget_life(found.status)
            if is_restarted and found.status.finished_at is not None:
                loop = self.crash_loops.get(found.status.name, self._new_loop)
                self.crash_loops[found.status.name] = loop.restart(found.status.finished_at)
        self.replaced.discard(id)
        self._ending.discard(id)
        self.view.mark(id)
