"""Runs the garbage collector: follows every kind that can be listed, watched and deleted, and carries the plans out.

Kinds are asked of the server: at the start, and again when a CustomResourceDefinition changes. Before an object is deleted its
owners are looked up in the API server itself, so a cache that is behind deletes nothing. Started by `cluster/`; ends by
cancellation.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial

from tiphys.api.resource import Resource
from tiphys.api.scheme import Scheme, built_in
from tiphys.client.client import Client
from tiphys.client.reflector import Informers
from tiphys.client.transport import Object
from tiphys.client.workqueue import ShutDown, WorkQueue
from tiphys.controllers.executor import Executor, Write
from tiphys.controllers.garbage.graph import Graph, Item, Reference
from tiphys.controllers.garbage.plan import plan, to_look_at
from tiphys.controllers.kinds import FAILURES, Found, Kinds
from tiphys.controllers.visibility import when_all_visible
from tiphys.machinery import meta
from tiphys.machinery.clock import Clock
from tiphys.machinery.errors import StatusError, is_conflict, is_not_found
from tiphys.machinery.gvk import GroupVersionResource

log = logging.getLogger(__name__)

WORKERS = 20
NEEDED_VERBS = {"delete", "list", "watch"}
IGNORED = {("", "events"), ("events.k8s.io", "events")}
"""Events own nothing and go by themselves."""
SYNC_SECONDS = 30.0
REMEMBERED_ABSENT = 500


class GarbageCollector:
    """`run()` ends only by cancellation."""

    def __init__(
        self,
        informers: Informers,
        *,
        clock: Clock,
        client: Client | None = None,
        scheme: Scheme | None = None,
    ) -> None:
        self.graph = Graph()
        self.queue: WorkQueue[str] = WorkQueue(
            clock, metrics=informers.queue_metrics.of("garbage_collector_attempt_to_delete")
        )
        self._informers = informers
        self._client = client or informers.client
        self._clock = clock
        self._scheme = scheme or built_in()
        self._executor = Executor(self._client)
        self._followed: dict[GroupVersionResource, tuple[Resource, Callable[[], None]]] = {}
        self._kinds: dict[tuple[str, str], Resource] = {}
        self._absent: OrderedDict[str, None] = OrderedDict()
        self._discovery = Kinds("garbage collector", self._client, self._scheme, clock)
        self._ready = asyncio.Event()

    async def run(self) -> None:
        detach = self._discovery.watch(self._informers)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._discovery.run(self._kinds_found), name="garbage collector kinds")
                for _ in range(WORKERS):
                    tasks.create_task(self._work(), name="garbage collector")
        finally:
            detach()
            self.queue.close()
            for _, stop in self._followed.values():
                stop()

    # Which kinds there are

    async def _kinds_found(self, found: Found) -> None:
        if found.rows is not None:
            await self._take_kinds(found.rows, complete=found.is_complete)
        if not self._ready.is_set():
            await self._wait_synced()
            self._ready.set()

    async def _take_kinds(self, rows: Sequence[Resource], *, complete: bool) -> None:
        """Follows new kinds and drops old ones; those of groups that did not answer stay as they are."""
        wanted = {
            row.gvr: row
            for row in rows
            if set(row.verbs) >= NEEDED_VERBS and row.group_resource not in IGNORED
        }
        for row in wanted.values():
            if row.gvr not in self._followed:
                self._follow(row)
        if complete:
            for gvr in [gvr for gvr in self._followed if gvr not in wanted]:
                await self._unfollow(gvr)
        self._kinds = {(row.api_version, row.kind): row for row in rows}

    async def _wait_synced(self) -> None:
        """Until all caches are filled, or for a while: an owner that is not known yet costs a question."""
        waits = [
            asyncio.ensure_future(self._informers.wait_synced()),
            asyncio.ensure_future(self._clock.sleep(SYNC_SECONDS)),
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    def _follow(self, row: Resource) -> None:
        cache = self._informers.cache(row)
        self._followed[row.gvr] = (row, cache.add_handler(partial(self._happened, row)))

    async def _unfollow(self, gvr: GroupVersionResource) -> None:
        row, stop = self._followed.pop(gvr)
        stop()
        self.graph.forget(row)
        await self._informers.drop(row)

    def _happened(self, row: Resource, type: str, old: Object | None, new: Object | None) -> None:
        for uid in self.graph.observe(type, row, old, new):
            self.queue.add(uid)

    # One object after the other

    async def _work(self) -> None:
        await self._ready.wait()
        while True:
            try:
                uid = await self.queue.get()
            except ShutDown:
                return
            writes: Sequence[Write] = ()
            try:
                writes = await self._process(uid)
            except FAILURES as error:
                log.warning("garbage collector: %s: %s", self.graph.items.get(uid, uid), error)
                self.queue.add_rate_limited(uid)
            except Exception:
                log.exception("garbage collector: %s failed", self.graph.items.get(uid, uid))
                self.queue.add_rate_limited(uid)
            finally:
                when_all_visible(self._informers, self._clock, writes, partial(self.queue.done, uid))

    async def _process(self, uid: str) -> Sequence[Write]:
        item = self.graph.items.get(uid)
        if item is None:
            self.queue.forget(uid)
            return ()
        absent = await self._absent_owners(item)
        if self.graph.items.get(uid) is not item:
            # It changed while we asked: its event has queued it again.
            self.queue.add(uid)
            return ()
        decided = plan(item, self.graph, absent)
        for dependent in to_look_at(item, self.graph):
            self.queue.add(dependent)
        outcome = await self._executor.perform(decided.actions)
        if outcome.failure is None:
            self.queue.forget(uid)
        else:
            level = logging.DEBUG if is_conflict(outcome.failure.error) else logging.WARNING
            log.log(level, "garbage collector: %s: %s", item, outcome.failure.error)
            self.queue.add_rate_limited(uid)
        return outcome.writes

    # Owners that nobody has seen

    async def _absent_owners(self, item: Item) -> frozenset[str]:
        unknown = self.graph.unknown_owners(item)
        if not unknown or meta.is_deleting(item.obj):
            return frozenset()
        answers = await asyncio.gather(*(self._is_absent(item, owner) for owner in unknown))
        return frozenset(
            owner.get("uid") or "" for owner, absent in zip(unknown, answers, strict=True) if absent
        )

    async def _is_absent(self, item: Item, owner: Reference) -> bool:
        uid = owner.get("uid") or ""
        # Remembered by place as well: a reference from another namespace may be good.
        memory = f"{meta.namespace(item.obj)}/{uid}"
        if memory in self._absent:
            self._absent.move_to_end(memory)
            return True
        absent = await self._ask_for(item, owner)
        if absent:
            self._absent[memory] = None
            while len(self._absent) > REMEMBERED_ABSENT:
                self._absent.popitem(last=False)
        return absent

    async def _ask_for(self, item: Item, owner: Reference) -> bool:
        """Whether the API server has no such owner. A kind that it does not know proves nothing."""
        row = self._kinds.get((owner.get("apiVersion") or "", owner.get("kind") or ""))
        if row is None:
            row = self._scheme_row(owner)
        if row is None:
            raise UnknownKind(owner)
        namespace = meta.namespace(item.obj) if row.namespaced else ""
        if row.namespaced and not namespace:
            log.warning(
                "%s is cluster-wide and has a namespaced owner %s: left alone", item, owner.get("name")
            )
            return False
        try:
            found = await self._client.get(row, owner.get("name") or "", namespace)
        except StatusError as error:
            if is_not_found(error):
                return True
            raise
        return meta.uid(found) != owner.get("uid")

    def _scheme_row(self, owner: Reference) -> Resource | None:
        """A kind in a version that is served but not preferred."""
        return next(
            (
                row
                for row in self._scheme
                if (row.api_version, row.kind) == (owner.get("apiVersion"), owner.get("kind"))
            ),
            None,
        )


class UnknownKind(StatusError):
    """An owner of a kind that the server does not serve, now or any more: tried again later, never taken for absent."""

    def __init__(self, owner: Reference) -> None:
        message = f'no matches for kind "{owner.get("kind")}" in version "{owner.get("apiVersion")}"'
        super().__init__(404, "NotFound", message)


async def run(informers: Informers, *, clock: Clock, client: Client) -> None:
    """The catalog's way in."""
    await GarbageCollector(informers, clock=clock, client=client).run()
