"""ResourceQuotas: what is used of each is counted, when it may have become less and every five minutes.

Admission charges what is created (`apiserver/admission/quota`); here `status.hard` follows the spec, and `status.used` what there is.
A kind is followed as soon as a quota counts it. The rules are upstream's (`pkg/controller/resourcequota`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from tiphys.api.core.quotas.amounts import Amounts, read, written
from tiphys.api.core.quotas.evaluators import (
    Evaluator,
    evaluator_of,
    is_counted,
    special_evaluators,
    total,
)
from tiphys.api.resource import Resource
from tiphys.api.scheme import Scheme, built_in
from tiphys.client.cache import BY_NAMESPACE
from tiphys.client.client import Client
from tiphys.client.reflector import Informers
from tiphys.client.resources import RESOURCEQUOTAS
from tiphys.client.transport import ADDED, Object
from tiphys.client.workqueue import ShutDown, WorkQueue
from tiphys.controllers.kinds import FAILURES, Found, Kinds
from tiphys.machinery import meta
from tiphys.machinery.clock import Clock
from tiphys.machinery.errors import StatusError, is_conflict, is_not_found
from tiphys.machinery.gvk import GroupResource, GroupVersionResource

log = logging.getLogger(__name__)

WORKERS = 5
RESYNC_SECONDS = 300.0
NEEDED_VERBS = {"create", "delete", "list", "watch"}
FIRST_SECONDS = 1.0
"""When a kind begins to be followed, what is deleted before the watch has begun is seen by a second look."""
AGAIN_SECONDS = 1.0


def plan(quota: Object, counted: Mapping[str, Any], now: datetime) -> Object | None:
    """The status that the quota should have, or None when it has it. `counted`: what is used, of all that could be counted."""
    hard = (quota.get("spec") or {}).get("hard") or {}
    status = quota.get("status") or {}
    kept = {name: text for name, text in (status.get("used") or {}).items() if name in hard}
    used = {**kept, **counted}
    if "hard" in status and "used" in status:
        same_hard = read(status["hard"]) == read(hard)
        if same_hard and read(status["used"]) == read(used):
            return None
    return {"hard": dict(hard), "used": used}


def needs_a_look(old: Object, new: Object) -> bool:
    """Whether a change of the quota itself asks for counting; what admission charges does not."""
    if old.get("spec") != new.get("spec"):
        return True
    hard, status = (new.get("spec") or {}).get("hard") or {}, new.get("status") or {}
    return read(status.get("hard")) != read(hard)


class QuotaController:
    """`run()` ends only by cancellation."""

    def __init__(
        self,
        informers: Informers,
        *,
        clock: Clock,
        client: Client | None = None,
        scheme: Scheme | None = None,
    ) -> None:
        self.queue: WorkQueue[str] = WorkQueue(
            clock, metrics=informers.queue_metrics.of("resourcequota_primary")
        )
        self._informers = informers
        self._client = client or informers.client
        self._clock = clock
        self._scheme = scheme or built_in()
        self._kinds: dict[GroupResource, Resource] = {}
        self._evaluators: dict[GroupResource, Evaluator] = {}
        self._followed: dict[GroupVersionResource, Callable[[], None]] = {}
        self._discovery = Kinds("resource quota", self._client, self._scheme, clock)
        self._ready = asyncio.Event()

    async def run(self) -> None:
        detach = self._discovery.watch(self._informers)
        quotas = self._informers.cache(RESOURCEQUOTAS)
        detach_quotas = quotas.add_handler(self._quota_changed)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._discovery.run(self._kinds_found), name="resource quota kinds")
                tasks.create_task(self._resync(), name="resource quota resync")
                for _ in range(WORKERS):
                    tasks.create_task(self._work(), name="resource quota")
        finally:
            detach()
            detach_quotas()
            self.queue.close()
            for stop in self._followed.values():
                stop()

    # What asks for a look

    def _quota_changed(self, type: str, old: Object | None, new: Object | None) -> None:
        if new is not None and (type == ADDED or old is None or needs_a_look(old, new)):
            self.queue.add(meta.namespaced_name(new))

    def _object_changed(
        self, evaluator: Evaluator, type: str, old: Object | None, new: Object | None
    ) -> None:
        """Something may be given back. What comes is charged by admission."""
        if type == ADDED or old is None or (new is not None and not evaluator.replenishes(old, new)):
            return
        for quota in self._quotas(meta.namespace(old)):
            if evaluator.counted((quota.get("spec") or {}).get("hard") or ()):
                self.queue.add(meta.namespaced_name(quota))

    def _quotas(self, namespace: str) -> Iterable[Object]:
        return self._informers.cache(RESOURCEQUOTAS).by(BY_NAMESPACE, namespace)

    async def _resync(self) -> None:
        while True:
            await self._clock.sleep(RESYNC_SECONDS)
            self._look_at_all()

    def _look_at_all(self) -> None:
        for quota in self._informers.cache(RESOURCEQUOTAS):
            self.queue.add(meta.namespaced_name(quota))

    # Which kinds there are

    async def _kinds_found(self, found: Found) -> None:
        if found.rows is None:
            return
        self._take_kinds(found.rows, complete=found.is_complete)
        if found.is_complete and self._ready.is_set():
            self._look_at_all()
        self._ready.set()

    def _take_kinds(self, rows: Sequence[Resource], *, complete: bool) -> None:
        found = {
            row.group_resource: row
            for row in rows
            if row.namespaced and set(row.verbs) >= NEEDED_VERBS and is_counted(row.group_resource)
        }
        if complete:
            for resource in self._kinds.keys() - found.keys():
                self._unfollow(self._kinds.pop(resource))
        self._kinds |= found
        self._evaluators = {resource: evaluator_of(resource) for resource in self._kinds}

    def _follow(self, row: Resource, evaluator: Evaluator) -> None:
        cache = self._informers.cache(row)
        self._followed[row.gvr] = cache.add_handler(partial(self._object_changed, evaluator))

    def _unfollow(self, row: Resource) -> None:
        stop = self._followed.pop(row.gvr, None)
        if stop is not None:
            stop()

    # One quota after the other

    async def _work(self) -> None:
        await self._ready.wait()
        while True:
            try:
                key = await self.queue.get()
            except ShutDown:
                return
            try:
                await self._process(key)
                self.queue.forget(key)
            except FAILURES as error:
                log.log(
                    logging.DEBUG if is_conflict(error) else logging.WARNING,
                    "resource quota %s: %s",
                    key,
                    error,
                )
                self.queue.add_rate_limited(key)
            except Exception:
                log.exception("resource quota %s failed", key)
                self.queue.add_rate_limited(key)
            finally:
                self.queue.done(key)

    async def _process(self, key: str) -> None:
        """Looks at the quota first and at the objects then: what was created before the quota was read is counted."""
        namespace, _, name = key.partition("/")
        listing = await self._client.list(RESOURCEQUOTAS, namespace)
        quota = next((obj for obj in listing.items if meta.name(obj) == name), None)
        if quota is None:
            return
        status = plan(quota, await self._count(quota, namespace), self._clock.now())
        if status is not None:
            try:
                answer = await self._client.update_status(RESOURCEQUOTAS, {**quota, "status": status})
            except StatusError as error:
                if not is_not_found(error):
                    raise
                return
            if answer["status"].get("used") != status["used"]:
                # The server knows of objects that were on their way: soon they can be counted.
                self.queue.add_after(key, AGAIN_SECONDS)

    async def _count(self, quota: Object, namespace: str) -> dict[str, str]:
        hard = (quota.get("spec") or {}).get("hard") or {}
        used: Amounts = {}
        for resource, evaluator in self._concerned(hard):
            row = self._kinds[resource]
            if row.gvr not in self._followed:
                self._follow(row, evaluator)
                self.queue.add_after(meta.namespaced_name(quota), FIRST_SECONDS)
            # Asked of the server and not of the cache, which may be behind.
            listing = await self._client.list(row, namespace)
            found = total(evaluator, quota, listing.items, self._clock.now())
            for resource_name, amount in found.items():
                used[resource_name] = used[resource_name] + amount if resource_name in used else amount
        return written(used)

    def _concerned(self, hard: Iterable[str]) -> list[tuple[GroupResource, Evaluator]]:
        """The kinds that are counted by these names."""
        names = list(hard)
        counts = {name.removeprefix("count/") for name in names if name.startswith("count/")}
        special = {evaluator.resource for evaluator in special_evaluators()}
        return [
            (resource, evaluator)
            for resource, evaluator in self._evaluators.items()
            if (resource in special or str(resource) in counts) and evaluator.counted(names)
        ]


async def run(informers: Informers, *, clock: Clock, client: Client) -> None:
    """The catalog's way in."""
    await QuotaController(informers, clock=clock, client=client).run()
