"""Fairness and the API's objects: reads the configuration, writes conditions, keeps the server's own objects as they must be.

Started and ended by the API server. The configuration is read again in the turn of the loop after any of its objects has
changed; the server's own objects are looked at when it starts and once a minute.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tiphys.api.resource import Resource
from tiphys.apiserver.cache import Event, resource_prefix
from tiphys.apiserver.call import Call
from tiphys.apiserver.fairness.controller import Fairness
from tiphys.apiserver.fairness.maintenance import (
    AUTO_UPDATE,
    LEVELS,
    PERIOD_SECONDS,
    SCHEMAS,
    Change,
    Create,
    Remove,
    Update,
    plan,
)
from tiphys.apiserver.registry.deletion import DeleteOptions
from tiphys.apiserver.requests import RequestInfo
from tiphys.machinery import errors
from tiphys.machinery.clock import Timer
from tiphys.machinery.errors import StatusError
from tiphys.machinery.meta import format_time
from tiphys.net.http import Request

if TYPE_CHECKING:
    from tiphys.apiserver.server import APIServer

log = logging.getLogger("tiphys.apiserver.fairness")

Object = dict[str, Any]
GROUP = "flowcontrol.apiserver.k8s.io"
PRODUCER = "api-priority-and-fairness-config-producer-v1"
CONSUMER = "api-priority-and-fairness-config-consumer-v1"
UPDATES_A_MINUTE = 6
"""Of one schema's condition: two servers that disagree must not flood each other."""
_SAMPLES = 16


class _Watcher:
    namespace = ""

    def __init__(self, upkeep: Upkeep) -> None:
        self._upkeep = upkeep

    def deliver(self, event: Event) -> None:
        del event
        self._upkeep.changed()


class Upkeep:
    fairness: Fairness

    def __init__(self, server: APIServer) -> None:
        self._server = server
        self._timer: Timer | None = None
        self._stops: list[Any] = []
        self._scheduled = False
        self._closed = False
        self._written: dict[str, deque[float]] = {}
        self.consumed = self.produced = False
        """Whether the configuration has been read once; whether the server's own objects have been made."""

    def start(self) -> None:
        watcher = _Watcher(self)
        self._stops = [
            self._server.writes.cache(GROUP, plural).watch(watcher) for plural in (LEVELS, SCHEMAS)
        ]
        self.fairness.start()
        self._configure()

    def close(self) -> None:
        self._closed = True
        self.fairness.close()
        if self._timer is not None:
            self._timer.cancel()
        for stop in self._stops:
            stop()

    # What fairness asks about the server (`controller.Objects`)

    def size(self, info: RequestInfo) -> tuple[int, int]:
        cache = self._server.cache.known(resource_prefix(info.group, info.resource))
        return (len(cache), cache.average_bytes(_SAMPLES)) if cache is not None else (0, 0)

    def watches(self, info: RequestInfo) -> Callable[[], int]:
        prefix, known = resource_prefix(info.group, info.resource), self._server.cache.known

        def count() -> int:
            cache = known(prefix)  # each time: a resource may go, and come again
            return cache.watcher_count if cache is not None else 0

        return count

    # Configuration

    def changed(self) -> None:
        if not self._scheduled and not self._closed:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._configure)

    def _stored(self, plural: str) -> list[Object]:
        records, _ = self._server.writes.cache(GROUP, plural).page()
        return [record.object for record in records]

    def _configure(self) -> None:
        self._scheduled = False
        if self._closed:
            return
        found = self.fairness.configure(self._stored(LEVELS), self._stored(SCHEMAS))
        self.consumed = True
        if found.conditions:
            self._server.spawn(self._write_conditions(found.conditions))

    async def _write_conditions(self, conditions: dict[str, Object]) -> None:
        now = self._server.clock.monotonic()
        for name, condition in conditions.items():
            written = self._written.setdefault(name, deque(maxlen=UPDATES_A_MINUTE))
            if len(written) == UPDATES_A_MINUTE and now - written[0] < 60:
                self._server.clock.call_later(random.uniform(30, 75), self.changed)
                continue
            written.append(now)
            try:
                await self._server.writes.update(
                    self._call(SCHEMAS, name, CONSUMER, subresource="status"), self._with(condition)
                )
            except StatusError as error:
                if not errors.is_not_found(error):
                    log.warning("cannot write the condition of FlowSchema %s: %s", name, error)

    def _with(self, condition: Object) -> Any:
        stamped = {**condition, "lastTransitionTime": format_time(self._server.clock.now())}

        def change(old: Object) -> Object:
            status = old.get("status") or {}
            others = [one for one in status.get("conditions") or () if one.get("type") != condition["type"]]
            return {**old, "status": {**status, "conditions": [*others, stamped]}}

        return change

    # The server's own objects

    async def maintain(self) -> None:
        """Creates, corrects and removes what the server keeps; again every minute."""
        for plural in (LEVELS, SCHEMAS):
            stored = {obj["metadata"]["name"]: obj for obj in self._stored(plural)}
            for change in plan(plural, stored):
                try:
                    await self._carry_out(plural, change)
                except StatusError as error:
                    if not (errors.is_already_exists(error) or errors.is_not_found(error)):
                        log.warning("cannot keep %s as they must be: %s", plural, error)
        self.produced = True
        if self._timer is not None:
            self._timer.cancel()
        if not self._closed:
            self._timer = self._server.clock.call_later(
                PERIOD_SECONDS, lambda: self._server.spawn(self.maintain())
            )

    async def _carry_out(self, plural: str, change: Change) -> None:
        writes = self._server.writes
        if isinstance(change, Create):
            await writes.create(self._call(plural, "", PRODUCER), change.obj)
        elif isinstance(change, Remove):
            call = self._call(plural, change.name, PRODUCER)
            await writes.delete(call, writes.find(call.row, "", change.name), DeleteOptions())
        else:
            await writes.update(self._call(plural, change.name, PRODUCER), _corrected(change))

    def _call(self, plural: str, name: str, manager: str, *, subresource: str = "") -> Call:
        row = self._row(plural)
        call = self._server.internal_call(row, "", name, subresource=subresource)
        call.request = Request("PUT", f"/?fieldManager={manager}")
        return call

    def _row(self, plural: str) -> Resource:
        row = self._server.scheme.by_resource(GROUP, "v1", plural)
        assert row is not None
        return row


def _corrected(change: Update) -> Any:
    def corrected(old: Object) -> Object:
        metadata = old["metadata"]
        annotations = {**(metadata.get("annotations") or {}), AUTO_UPDATE: change.annotation}
        new = {**old, "metadata": {**metadata, "annotations": annotations}}
        if change.spec is not None:
            new["spec"] = change.spec
        return new

    return corrected
