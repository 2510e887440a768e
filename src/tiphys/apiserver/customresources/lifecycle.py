"""Writes the status of definitions, and takes the objects of a kind away before its definition goes.

One worker: names are given to one definition after the other. Level-triggered: after a start every definition is looked at once, so it
does not matter between which two steps the process was killed. Started and ended by the API server.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING

from tiphys.api.apiextensions.deletion import CLEANUP
from tiphys.api.resource import Object, Resource
from tiphys.apiserver.cache import Event, ResourceCache
from tiphys.apiserver.customresources.kinds import GROUP, PLURAL, Kinds
from tiphys.apiserver.customresources.status import (
    Condition,
    awaits_cleanup,
    is_served,
    plan,
    taken_by,
    with_terminating,
)
from tiphys.apiserver.registry.deletion import DeleteOptions
from tiphys.apiserver.registry.translation import translate_one
from tiphys.machinery.errors import StatusError, is_conflict, is_not_found
from tiphys.machinery.retry import Backoff
from tiphys.store.interface import StoreError

if TYPE_CHECKING:
    from tiphys.apiserver.server import APIServer

log = logging.getLogger("tiphys.apiserver")

CHECK_SECONDS = 60.0
"""How long a cleanup waits for objects with finalizers before it says that it does, and issues the deletes again."""
RETRY = Backoff(base_seconds=0.1, cap_seconds=60.0)
_IN_PROGRESS: Condition = ("True", "InstanceDeletionInProgress", "CustomResource deletion is in progress")
_COMPLETED: Condition = ("False", "InstanceDeletionCompleted", "removed all instances")
_NEVER: Condition = ("False", "NeverEstablished", "resource was never established")
_NOT_EMPTY = "could not confirm zero CustomResources remaining: timed out waiting for the condition"


class Lifecycle:
    """`run` ends only by cancellation."""

    def __init__(self, server: APIServer, kinds: Kinds) -> None:
        self._server = server
        self._kinds = kinds
        self._queue: dict[str, None] = {}
        self._arrived = asyncio.Event()
        self._cleanups: dict[str, asyncio.Task[None]] = {}
        row = server.scheme.by_resource(GROUP, "v1", PLURAL)
        assert row is not None
        self._row: Resource = row

    async def run(self) -> None:
        self._kinds.on_change = self._changed
        for record in self._kinds.definitions.page()[0]:
            self._add(record.name)
        failures: dict[str, int] = {}
        try:
            while True:
                await self._arrived.wait()
                self._arrived.clear()
                while self._queue:
                    name = next(iter(self._queue))
                    del self._queue[name]
                    try:
                        await self._look(name)
                        failures.pop(name, None)
                    except Exception as error:
                        failures[name] = failures.get(name, 0) + 1
                        foreseen = isinstance(error, StatusError | StoreError)
                        log.warning("customresourcedefinition %s: %s", name, error, exc_info=not foreseen)
                        again = partial(self._add, name)
                        self._server.clock.call_later(RETRY.delay_seconds(failures[name]), again)
        finally:
            self._kinds.on_change = lambda name: None
            for task in self._cleanups.values():
                task.cancel()

    def _add(self, name: str) -> None:
        self._queue[name] = None
        self._arrived.set()

    def _changed(self, name: str) -> None:
        self._add(name)

    async def _look(self, name: str) -> None:
        record = self._kinds.definitions.get("", name)
        if record is None:
            self._free_names(name)
            return
        definition = record.copy()
        if awaits_cleanup(definition):
            self._begin_cleanup(name)
        status = self._status(name, definition)
        if status == (definition.get("status") or {}):
            return
        before = (definition.get("status") or {}).get("acceptedNames")

        def change(old: Object) -> Object:
            return {**old, "status": self._status(name, old)}

        if await self._write(name, change) and status.get("acceptedNames") != before:
            self._free_names(name)

    def _status(self, name: str, definition: Object) -> Object:
        group = definition["spec"]["group"]
        taken = taken_by(self._kinds.accepted_names(group, but=name))
        return plan(definition, taken, self._server.clock.now())

    def _free_names(self, name: str) -> None:
        """Other definitions of the group may have waited for a name of this one."""
        for other in self._kinds.waiting(name.partition(".")[2]):
            if other != name:
                self._add(other)

    async def _write(self, name: str, change: Callable[[Object], Object]) -> bool:
        """False: it is gone, or somebody else writes it all the time (then its events bring it back)."""
        call = self._server.internal_call(self._row, "", name, subresource="status")
        try:
            await self._server.writes.update(call, change)
        except StatusError as error:
            if is_not_found(error) or is_conflict(error):
                return False
            raise
        return True

    # Cleaning up

    def _begin_cleanup(self, name: str) -> None:
        if name not in self._cleanups:
            task = asyncio.get_running_loop().create_task(self._clean_up(name), name=f"cleanup of {name}")
            self._cleanups[name] = task
            task.add_done_callback(lambda done: self._cleaned_up(name, done))

    def _cleaned_up(self, name: str, task: asyncio.Task[None]) -> None:
        self._cleanups.pop(name, None)
        if not task.cancelled() and task.exception() is not None:
            log.error("the cleanup of %s failed", name, exc_info=task.exception())
            self._server.clock.call_later(RETRY.cap_seconds, lambda: self._add(name))

    async def _clean_up(self, name: str) -> None:
        """Deletes all objects of a kind, waits until they are gone, and lets the definition go."""
        await self._report(name, _IN_PROGRESS)
        failures = 0
        while True:
            record = self._kinds.definitions.get("", name)
            if record is None or not awaits_cleanup(record.copy()):
                return
            kind = self._kinds.kind(name)
            if kind is None or not is_served(record.copy()):
                verdict = _NEVER
            else:
                verdict = await self._delete_all(kind.stored)
            if verdict[0] == "False":
                await self._finish(name, verdict)
                return
            await self._report(name, verdict)
            failures += 1
            await self._server.clock.sleep(RETRY.delay_seconds(failures))

    async def _delete_all(self, row: Resource) -> Condition:
        cache = self._server.reads.cache_of(row)
        problems: list[str] = []
        for record in cache.page()[0]:
            try:
                shown = await translate_one(row, record)
            except StatusError as error:
                return ("True", "InstanceDeletionFailed", f"could not list instances: {error}")
            call = self._server.internal_call(row, record.namespace, record.name)
            try:
                await self._server.writes.delete(call, shown, DeleteOptions())
            except StatusError as error:
                if not is_not_found(error):
                    problems.append(str(error))
            except StoreError as error:
                problems.append(str(error))
        if problems:
            texts = list(dict.fromkeys(problems))
            text = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
            return ("True", "InstanceDeletionFailed", f"could not issue all deletes: {text}")
        if await self._is_empty(cache):
            return _COMPLETED
        return ("True", "InstanceDeletionCheck", _NOT_EMPTY)

    async def _is_empty(self, cache: ResourceCache) -> bool:
        """Waits until a kind has no objects; False when that takes too long."""
        if not len(cache):
            return True
        empty = _Emptiness(cache)
        stop = cache.watch(empty)
        timer = self._server.clock.call_later(CHECK_SECONDS, empty.over.set)
        try:
            await empty.over.wait()
        finally:
            timer.cancel()
            stop()
        return not len(cache)

    async def _report(self, name: str, condition: Condition) -> None:
        await self._persist(
            lambda: self._write(name, lambda old: with_terminating(old, condition, self._server.clock.now()))
        )

    async def _finish(self, name: str, condition: Condition) -> None:
        def change(old: Object) -> Object:
            done = with_terminating(old, condition, self._server.clock.now())
            left = [each for each in old["metadata"].get("finalizers") or () if each != CLEANUP]
            return {**done, "metadata": {**done["metadata"], "finalizers": left}}

        await self._persist(lambda: self._write(name, change))

    async def _persist(self, write: Callable[[], Awaitable[bool]]) -> None:
        """Tries until the store takes it."""
        failures = 0
        while True:
            try:
                await write()
                return
            except (StatusError, StoreError) as error:
                failures += 1
                log.warning("cannot write about a customresourcedefinition: %s", error)
                await self._server.clock.sleep(RETRY.delay_seconds(failures))


class _Emptiness:
    """Watches until the last object is gone."""

    namespace = ""

    def __init__(self, cache: ResourceCache) -> None:
        self._cache = cache
        self.over = asyncio.Event()

    def deliver(self, event: Event) -> None:
        if not len(self._cache):
            self.over.set()
