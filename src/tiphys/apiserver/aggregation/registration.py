"""The APIServices of what this server serves itself: made at start, and kept for custom resources.

As upstream's autoregister and crdregistration controllers. The label says how one is kept: `onstart` once in the life of the
server (whoever deletes or edits it later has his way), `true` for ever. One without the label is somebody else's.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from typing import TYPE_CHECKING, Literal

import orjson

from tiphys.api.resource import Object
from tiphys.apiserver.aggregation.priorities import (
    BUILT_IN,
    CUSTOM_RESOURCES,
    OFTEN_REPLACED,
    Priority,
    service_name,
)
from tiphys.apiserver.aggregation.services import GROUP, PLURAL, is_remote
from tiphys.apiserver.cache import DELETED, Event, ResourceCache
from tiphys.apiserver.records import Record
from tiphys.apiserver.registry.deletion import DeleteOptions
from tiphys.machinery.errors import StatusError
from tiphys.machinery.frozen import frozen
from tiphys.machinery.gvk import GroupVersion

if TYPE_CHECKING:
    from tiphys.apiserver.server import APIServer

log = logging.getLogger("tiphys.apiserver")

LABEL = "kube-aggregator.kubernetes.io/automanaged"
ON_START, ALWAYS = "onstart", "true"
UNLESS_REPLACED = "unless-replaced"
"""Ours alone: made whenever there is none, and left alone when it is somebody else's."""
RETRY_SECONDS = 1.0


@frozen
class Action:
    verb: Literal["create", "update", "delete"]
    name: str
    wanted: Object | None = None


def wanted(versions: Iterable[GroupVersion], custom: Iterable[GroupVersion]) -> dict[str, Object]:
    """The APIServices that should be, by name: of built-in group versions, and of those of custom resources."""
    found: dict[str, Object] = {}
    for version in custom:
        if version not in BUILT_IN and version not in OFTEN_REPLACED:
            found[service_name(version)] = _service(version, CUSTOM_RESOURCES, ALWAYS)
    for version in versions:
        if version in BUILT_IN:
            found[service_name(version)] = _service(version, BUILT_IN[version], ON_START)
        elif version in OFTEN_REPLACED:
            found[service_name(version)] = _service(version, OFTEN_REPLACED[version], UNLESS_REPLACED)
    return found


def served_versions(definition: Object) -> list[GroupVersion]:
    """The group versions that a CustomResourceDefinition serves."""
    spec = definition["spec"]
    versions = (version for version in spec.get("versions") or () if version.get("served"))
    return [GroupVersion(spec["group"], version["name"]) for version in versions]


def _service(version: GroupVersion, priority: Priority, kept: str) -> Object:
    return {
        "kind": "APIService",
        "apiVersion": f"{GROUP}/v1",
        "metadata": {"name": service_name(version), "labels": {LABEL: kept}},
        "spec": {
            "group": version.group,
            "version": version.version,
            "groupPriorityMinimum": priority.group,
            "versionPriority": priority.version,
        },
    }


def plan(
    wanted: Mapping[str, Object], current: Mapping[str, Object], *, at_start: frozenset[str], done: set[str]
) -> list[Action]:
    """What to do so that everything is as wanted. `at_start`: what was there when the server started; `done`: what was once
    right since then, so that an `onstart` one is no longer looked after."""
    actions = []
    for name in sorted({*wanted, *current}):
        desired, found = wanted.get(name), current.get(name)
        if desired is not None and _kept(desired) == ON_START and name in done:
            continue
        if found is None:
            actions.append(Action("create", name, desired))
            continue
        kept = _kept(found)
        if kept == UNLESS_REPLACED and desired is None and not is_remote(found):
            actions.append(Action("delete", name))
        if kept not in (ON_START, ALWAYS):
            continue
        if kept == ON_START and (name not in at_start or name in done):
            continue
        if desired is None:
            actions.append(Action("delete", name))
        elif found["spec"] != desired["spec"]:
            actions.append(Action("update", name, desired))
    return actions


def _kept(service: Object) -> str:
    labels: Mapping[str, str] = service["metadata"].get("labels") or {}
    return labels.get(LABEL, "")


class _Definitions:
    """Watches which group versions CustomResourceDefinitions serve, and keeps nothing else of them: they can be large."""

    namespace = ""

    def __init__(self, cache: ResourceCache, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._versions = {record.key: _read(record) for record in cache.records.values()}
        self.stop = cache.watch(self)

    def deliver(self, event: Event) -> None:
        if event.type == DELETED:
            self._versions.pop(event.record.key, None)
        else:
            self._versions[event.record.key] = _read(event.record)
        self._changed()

    def __iter__(self) -> Iterator[GroupVersion]:
        return chain.from_iterable(self._versions.values())


def _read(record: Record) -> list[GroupVersion]:
    return served_versions(orjson.loads(record.data))


class Registration:
    """Started by the aggregator; ended with it."""

    namespace = ""

    def __init__(self, server: APIServer) -> None:
        self._server = server
        self._at_start = frozenset(self._current())
        self._done: set[str] = set()
        self._changed = asyncio.Event()
        definitions = server.writes.cache("apiextensions.k8s.io", "customresourcedefinitions")
        self._definitions = _Definitions(definitions, self._changed.set)
        self._stops = [server.writes.cache(GROUP, PLURAL).watch(self), self._definitions.stop]

    def deliver(self, event: Event) -> None:
        """As a Watcher of APIServices."""
        del event
        self._changed.set()

    def problem(self) -> str | None:
        """A health check: whether every built-in one was there once since the start."""
        missing = [name for name, service in self._wanted().items() if _unmet(service, name, self._done)]
        return f"missing APIService: [{' '.join(sorted(missing))}]" if missing else None

    async def sync(self) -> bool:
        """Does what is to do; False when some of it failed and must be tried again."""
        self._changed.clear()
        wanted = self._wanted()
        actions = plan(wanted, self._current(), at_start=self._at_start, done=self._done)
        results = await asyncio.gather(*map(self._perform, actions))
        failed = {action.name for action, good in zip(actions, results, strict=True) if not good}
        self._done |= wanted.keys() - failed
        return not failed

    async def run(self) -> None:
        """For ever: whenever an APIService or a CustomResourceDefinition changes."""
        while True:
            await self._changed.wait()
            if not await self.sync():
                await self._server.clock.sleep(RETRY_SECONDS)
                self._changed.set()

    def _wanted(self) -> dict[str, Object]:
        return wanted(self._server.scheme.group_versions(), self._definitions)

    def _current(self) -> dict[str, Object]:
        records = self._server.writes.cache(GROUP, PLURAL).records.values()
        return {record.name: record.object for record in records}

    async def _perform(self, action: Action) -> bool:
        server = self._server
        row = server.scheme.by_resource(GROUP, "v1", PLURAL)
        assert row is not None
        call = server.internal_call(row, "", action.name)
        try:
            if action.verb == "delete":
                record = server.writes.find(row, "", action.name)
                await server.writes.delete(call, record, DeleteOptions())
            elif action.verb == "create" and action.wanted is not None:
                await server.writes.create(call, action.wanted)
            elif action.wanted is not None:
                spec = action.wanted["spec"]
                await server.writes.update(call, lambda old: {**old, "spec": spec})
        except StatusError as error:
            log.warning("APIService %s: %s failed: %s", action.name, action.verb, error)
            return False
        return True

    def close(self) -> None:
        for stop in self._stops:
            stop()


def _unmet(service: Object, name: str, done: set[str]) -> bool:
    return _kept(service) == ON_START and name not in done
