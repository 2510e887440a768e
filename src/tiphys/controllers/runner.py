"""The form of a controller, and the one loop that runs them all.

A controller is a level-triggered function from what is to what should be done. It says which objects it looks after (`kind`),
which other objects concern them (`watches`), and gives two pure, synchronous functions:

    observe(obj, view) -> observed          reads the caches, decides nothing
    plan(obj, observed, now) -> Plan        decides, touches nothing

The runner does the rest: it keeps a queue of keys, gives each key to one worker at a time, performs the plan's actions, backs
off when one fails, and, before it looks at a key again, waits until the caches show everything that it wrote for it. So a plan
never acts twice on the same news, and no controller counts what it expects. A key carries no event: every look starts from
the whole current state, and a lost or doubled event costs nothing.

A controller that must ask the API server for something no cache holds adds `gather`, which runs between the two.
docs/add-a-controller.md is the checklist for a new one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from tiphys.api.resource import Resource
from tiphys.client.cache import View
from tiphys.client.client import Client
from tiphys.client.events import EventRecorder
from tiphys.client.parts import ALL
from tiphys.client.reflector import Informers
from tiphys.client.transport import Object
from tiphys.client.workqueue import ShutDown, WorkQueue
from tiphys.controllers.actions import Plan
from tiphys.controllers.executor import Executor, Failure, Write
from tiphys.controllers.visibility import when_all_visible
from tiphys.machinery import meta
from tiphys.machinery.clock import Clock
from tiphys.machinery.errors import is_conflict
from tiphys.machinery.frozen import frozen

log = logging.getLogger(__name__)

Observed = TypeVar("Observed")


@frozen
class Watch:
    """Objects of another kind that concern the controller's own: `keys(obj, view)` names the ones to look at again.

    It is asked about an object as it was and as it is. `changed(old, new)` False: an update that concerns nobody; it need not
    be asked about one that changes none of `parts` (`client.parts`).
    """

    resource: Resource
    keys: Callable[[Object, View], Iterable[str]]
    changed: Callable[[Object, Object], bool] | None = None
    parts: int = ALL


@dataclass(frozen=True, kw_only=True)
class Controller(Generic[Observed]):
    """One controller. `name` is upstream's, as in `--controllers`."""

    name: str
    kind: Resource
    observe: Callable[[Object, View], Observed]
    plan: Callable[[Object, Observed, datetime], Plan]
    concerns: Callable[[Object], bool] | None = None
    """Which objects of the kind it looks after; None: all. A key that somebody else names is looked at in any case."""
    parts: int = ALL
    """What of these objects it goes by (`client.parts`): an update that leaves all that as it was is no reason to look."""
    watches: Sequence[Watch] = ()
    reads: Sequence[Resource] = ()
    """Kinds that `observe` reads although their changes wake nobody."""
    gather: Callable[[Object, Observed, Client], Awaitable[Observed]] | None = None
    """Asks the API server for what no cache holds and adds it to what was observed."""
    gone: Callable[[str, View], Plan] | None = None
    """What to do for a key whose object is no more; most leave that to the garbage collector."""
    failed: Callable[[Object, Observed, Failure, datetime], Plan] | None = None
    """What to say when an action failed (a condition, say). The key is tried again in any case."""
    component: str = ""
    """What its events are signed with; None: its name."""
    workers: int = 5
    one_at_a_time: bool = False
    """For plans that share something among keys (address ranges): no key is looked at before the writes for the last are seen."""


def owner_keys(kind: str) -> Callable[[Object, View], Iterable[str]]:
    """For a Watch: the object's controlling owner, when that is of this kind."""

    def keys(obj: Object, view: View) -> Iterable[str]:
        owner = meta.controller_of(obj)
        if owner is None or owner.get("kind") != kind:
            return ()
        namespace = meta.namespace(obj)
        return (f"{namespace}/{owner['name']}" if namespace else owner["name"],)

    return keys


class Runner:
    """Runs one controller until cancelled: `await Runner(controller, informers, clock=clock).run()`."""

    def __init__(
        self,
        controller: Controller[Any],
        informers: Informers,
        *,
        clock: Clock,
        client: Client | None = None,
        recorder: EventRecorder | None = None,
    ) -> None:
        self.controller = controller
        self.queue: WorkQueue[str] = WorkQueue(
            clock, metrics=informers.queue_metrics.of(controller.name.removesuffix("-controller"))
        )
        self._informers = informers
        self._client = client or informers.client
        self._clock = clock
        self._recorder = recorder or EventRecorder(
            self._client, controller.component or controller.name, clock=clock
        )
        self._executor = Executor(self._client, self._recorder)
        self._detach: list[Callable[[], None]] = []

    async def run(self) -> None:
        """Follows the caches and works; ends by cancellation, with nothing left behind."""
        try:
            self._follow()
            await self._informers.wait_synced()
            async with asyncio.TaskGroup() as workers:
                for _ in range(1 if self.controller.one_at_a_time else self.controller.workers):
                    workers.create_task(self._work(), name=self.controller.name)
        finally:
            self.queue.close()
            for detach in self._detach:
                detach()
            await self._recorder.stop()

    # From events to keys

    def _follow(self) -> None:
        for resource in (*self.controller.reads, *(watch.resource for watch in self.controller.watches)):
            self._informers.cache(resource)
        own = self._informers.cache(self.controller.kind)
        self._detach.append(own.add_handler(self._own_changed, self.controller.parts))
        for watch in self.controller.watches:
            cache = self._informers.cache(watch.resource)
            self._detach.append(cache.add_handler(self._follower(watch), watch.parts))

    def _own_changed(self, type: str, old: Object | None, new: Object | None) -> None:
        obj = new or old or {}
        concerns = self.controller.concerns
        if concerns is None or concerns(obj) or (old is not None and concerns(old)):
            self.queue.add(meta.namespaced_name(obj))

    def _follower(self, watch: Watch) -> Callable[[str, Object | None, Object | None], None]:
        view = self._informers.view

        def concerned(type: str, old: Object | None, new: Object | None) -> None:
            if old is not None and new is not None and watch.changed and not watch.changed(old, new):
                return
            for obj in (old, new):
                if obj is not None:
                    for key in watch.keys(obj, view):
                        self.queue.add(key)

        return concerned

    # From keys to writes

    async def _work(self) -> None:
        while True:
            try:
                key = await self.queue.get()
            except ShutDown:
                return
            writes: Sequence[Write] = ()
            try:
                writes = await self._reconcile(key)
            except Exception:
                # A fault in one controller's logic about one object must not stop the others.
                log.exception("%s: %s failed", self.controller.name, key)
                self.queue.add_rate_limited(key)
            finally:
                released = self._release(key, writes)
            if self.controller.one_at_a_time:
                await released.wait()

    async def _reconcile(self, key: str) -> Sequence[Write]:
        controller = self.controller
        obj = self._informers.cache(controller.kind).get(key)
        if obj is None:
            return await self._clean_up(key)
        observed = controller.observe(obj, self._informers.view)
        if controller.gather is not None:
            observed = await controller.gather(obj, observed, self._client)
        plan = controller.plan(obj, observed, self._clock.now())
        if plan.reason:
            log.debug("%s: %s: %s", controller.name, key, plan.reason)
        outcome = await self._executor.perform(plan.actions, obj)
        if outcome.failure is None:
            self._went_well(key, plan)
            return outcome.writes
        self._went_wrong(key, outcome.failure)
        if controller.failed is None:
            return outcome.writes
        remark = controller.failed(obj, observed, outcome.failure, self._clock.now())
        return (*outcome.writes, *(await self._executor.perform(remark.actions, obj)).writes)

    async def _clean_up(self, key: str) -> Sequence[Write]:
        if self.controller.gone is None:
            self.queue.forget(key)
            return ()
        plan = self.controller.gone(key, self._informers.view)
        outcome = await self._executor.perform(plan.actions)
        if outcome.failure is None:
            self._went_well(key, plan)
        else:
            self._went_wrong(key, outcome.failure)
        return outcome.writes

    def _went_well(self, key: str, plan: Plan) -> None:
        self.queue.forget(key)
        if plan.requeue_after_seconds is not None:
            self.queue.add_after(key, plan.requeue_after_seconds)

    def _went_wrong(self, key: str, failure: Failure) -> None:
        # A conflict only means that the cache was behind: the next look sees more.
        level = logging.DEBUG if is_conflict(failure.error) else logging.WARNING
        log.log(level, "%s: %s: %s", self.controller.name, key, failure.error)
        self.queue.add_rate_limited(key)

    def _release(self, key: str, writes: Sequence[Write]) -> asyncio.Event:
        """Gives the key back to the queue once the caches show everything that was written for it."""
        released = asyncio.Event()

        def release() -> None:
            released.set()
            self.queue.done(key)

        when_all_visible(self._informers, self._clock, writes, release)
        return released
