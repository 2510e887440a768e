"""The rows of all definitions in the scheme: there from the first request on, changed at once when a definition changes.

`Kinds` follows the cache of CustomResourceDefinitions. The cache tells it of a write before the writer is answered, so whoever has
seen that a kind is established can use it. Made by the API server; ends with it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import orjson

from tiphys.api.resource import Object, Resource
from tiphys.apiserver.cache import DELETED, Event, ResourceCache, resource_prefix
from tiphys.apiserver.customresources.conversion import WebhookConverter
from tiphys.apiserver.customresources.reading import Converter, VersionReading
from tiphys.apiserver.customresources.rows import Kind, VersionSchema, kind_of
from tiphys.apiserver.customresources.rule_metrics import rule_timing
from tiphys.apiserver.customresources.status import is_served, is_terminating, waits_for_names
from tiphys.apiserver.records import Record
from tiphys.apiserver.registry.metadata import random_uid
from tiphys.machinery.gvk import GroupVersion

if TYPE_CHECKING:
    from tiphys.apiserver.server import APIServer

log = logging.getLogger("tiphys.apiserver")

GROUP, PLURAL = "apiextensions.k8s.io", "customresourcedefinitions"


@dataclass(slots=True)
class Entry:
    """One definition. `kind` is None as long as it is not established."""

    group: str
    accepted: Object
    digest: bytes
    versions: tuple[str, ...] = ()
    """Those that shall be served."""
    kind: Kind | None = None
    terminating: bool = False
    waits_for_names: bool = False


class Kinds:
    """Definitions by name, and what is served of them."""

    namespace = ""

    def __init__(self, server: APIServer) -> None:
        self._server = server
        self._timing = rule_timing(server.metrics, server.clock)
        self.definitions: ResourceCache = server.writes.cache(GROUP, PLURAL)
        self._entries: dict[str, Entry] = {}
        self.on_change: Callable[[str], None] = lambda name: None
        """Told the name of every definition that was written or removed, after its rows have followed."""
        for record in self.definitions.page()[0]:
            self._follow(record.name, record.copy())
        self._stop = self.definitions.watch(self)

    def close(self) -> None:
        self._stop()

    def deliver(self, event: Event) -> None:
        name = event.record.name
        if event.type == DELETED:
            self._forget(name)
        else:
            self._follow(name, event.record.copy())
        self.on_change(name)

    # Who has which names

    def accepted_names(self, group: str, *, but: str) -> Iterator[Object]:
        """The accepted names of all other definitions of a group."""
        return (
            entry.accepted for name, entry in self._entries.items() if entry.group == group and name != but
        )

    def waiting(self, group: str) -> list[str]:
        """Definitions of a group that did not get all the names that they want."""
        return [
            name for name, entry in self._entries.items() if entry.waits_for_names and entry.group == group
        ]

    def group_versions(self) -> set[GroupVersion]:
        """Every group version that a definition wants to be served in."""
        return {
            GroupVersion(entry.group, version)
            for entry in self._entries.values()
            for version in entry.versions
        }

    def kind(self, name: str) -> Kind | None:
        entry = self._entries.get(name)
        return entry.kind if entry is not None else None

    # Rows

    def _follow(self, name: str, definition: Object) -> None:
        spec, status = definition["spec"], definition.get("status") or {}
        accepted = status.get("acceptedNames") or {}
        digest = _digest([spec, accepted])
        before = self._entries.get(name)
        entry = Entry(spec["group"], accepted, digest, terminating=is_terminating(definition))
        entry.versions = tuple(each["name"] for each in spec["versions"] if each.get("served"))
        entry.waits_for_names = waits_for_names(definition)
        self._entries[name] = entry
        if not is_served(definition):
            self._replace(before, None)
        elif before is not None and before.kind is not None and before.digest == digest:
            entry.kind = before.kind
            if before.terminating != entry.terminating:
                self._mark(entry)
        else:
            entry.kind = self._make(name, definition, entry)
            self._replace(before, entry.kind)

    def _make(self, name: str, definition: Object, entry: Entry) -> Kind | None:
        try:
            kind = kind_of(
                definition, lambda: self._definition(name), self._readings(definition), self._timing
            )
        except Exception:  # one definition that nobody foresaw must not keep the server from starting
            log.exception("the kind of %s cannot be served", name)
            return None
        return _marked(kind, terminating=entry.terminating)

    def _definition(self, name: str) -> Object:
        record: Record | None = self.definitions.get("", name)
        if record is None:
            raise LookupError(name)
        return record.copy()

    def _readings(self, definition: Object) -> Callable[[Mapping[str, VersionSchema], str], VersionReading]:
        spec = definition["spec"]
        group = spec["group"]
        storage = next(version["name"] for version in spec["versions"] if version.get("storage"))
        converter = self._converter(spec.get("conversion") or {})
        return lambda schemas, version: VersionReading(
            schemas, f"{group}/{version}", f"{group}/{storage}", converter
        )

    def _converter(self, conversion: Mapping[str, Any]) -> Converter | None:
        if conversion.get("strategy") != "Webhook":
            return None
        webhook = conversion["webhook"]
        call = self._server.webhooks.caller(webhook["clientConfig"])
        return WebhookConverter(webhook["conversionReviewVersions"], call, random_uid)

    def _mark(self, entry: Entry) -> None:
        """Whether a kind is terminating changes nothing for those who watch it."""
        assert entry.kind is not None
        entry.kind = _marked(entry.kind, terminating=entry.terminating)
        for row in self._served(entry.kind):
            self._server.scheme.add(row)

    def _replace(self, before: Entry | None, kind: Kind | None) -> None:
        """Serves the rows of `kind` in place of those from before, whose watches end."""
        scheme = self._server.scheme
        old = self._served(before.kind) if before is not None and before.kind is not None else []
        new = self._served(kind) if kind is not None else []
        kept = {row.gvr for row in new}
        for row in old:
            if row.gvr not in kept:
                scheme.remove(row.gvr)
        for row in new:
            scheme.add(row)
        for row in old:
            self._server.reads.feeds.end(row.gvr)

    def _served(self, kind: Kind) -> list[Resource]:
        """The served rows, but for those that would stand in front of a built-in kind."""
        found = []
        for version in kind.served:
            row = kind.rows[version]
            known = self._server.scheme.by_resource(row.group, row.version, row.plural)
            if known is None or known.reading is not None:
                found.append(row)
        return found

    def _forget(self, name: str) -> None:
        entry = self._entries.pop(name, None)
        if entry is None:
            return
        self._replace(entry, None)
        if entry.kind is not None:
            row = entry.kind.stored
            self._server.cache.forget(resource_prefix(row.group, row.plural))


def _marked(kind: Kind, *, terminating: bool) -> Kind:
    rows = {name: replace(row, terminating=terminating) for name, row in kind.rows.items()}
    return replace(kind, rows=rows)


def _digest(value: Any) -> bytes:
    return blake2b(orjson.dumps(value), digest_size=16).digest()
