"""The discovery documents, kept group version by group version: what is added or removed costs its own part and one join.

A part is made of the rows of a group version; as long as these are the same rows, so is the part. Group versions of other
servers come from the aggregator, already encoded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Protocol

import orjson

from tiphys.api.resource import Resource
from tiphys.api.scheme import Scheme
from tiphys.apiserver import discovery
from tiphys.apiserver.aggregation.priorities import Priority, of_local, ordered
from tiphys.apiserver.documents import Document
from tiphys.apiserver.openapi.library import same_rows
from tiphys.machinery.gvk import GroupVersion


class Others(Protocol):
    """What the catalog must know beyond the scheme. `revision` rises whenever one of the answers may have changed."""

    @property
    def revision(self) -> int: ...

    def priorities(self) -> Mapping[GroupVersion, Priority]:
        """What APIServices say, of whichever server."""

    def remote(self) -> Mapping[GroupVersion, bytes]:
        """The group versions of other servers, as they stand in the aggregated document."""


class _Part:
    """A group version of this server."""

    def __init__(self, version: GroupVersion, rows: tuple[Resource, ...]) -> None:
        self.version = version
        self.rows = rows

    @cached_property
    def resources(self) -> Document:
        return Document(orjson.dumps(discovery.resource_list(self.version, self.rows)))

    @cached_property
    def aggregated(self) -> bytes:
        return orjson.dumps(discovery.aggregated_version(self.version.version, self.rows))


class Catalog:
    """Reads are synchronous; whatever has changed since the last one is made when it is asked for."""

    def __init__(self, scheme: Scheme, others: Others) -> None:
        self._scheme = scheme
        self._others = others
        self._seen = (-1, -1)
        self._parts: dict[GroupVersion, _Part] = {}
        self._priorities: dict[GroupVersion, Priority] = {}
        self._made: dict[tuple[str, ...], Document] = {}

    def group_versions(self) -> list[GroupVersion]:
        """All that are served, here or elsewhere, in the order of the aggregated document."""
        self._refresh()
        groups = ordered(self._priorities)
        return [GroupVersion(group, version) for group, versions in groups.items() for version in versions]

    def groups(self) -> Document:
        """/apis."""
        return self._whole("apis", make=lambda: orjson.dumps(discovery.group_list(self._ordered())))

    def group(self, name: str) -> Document | None:
        """/apis/{group}; None when there is no such group."""
        self._refresh()
        versions = self._ordered().get(name)
        if versions is None or not name:
            return None
        return self._whole("apis", name, make=lambda: orjson.dumps(discovery.group(name, versions)))

    def resources(self, group: str, version: str) -> Document | None:
        """/api/v1 and /apis/{group}/{version}; None when this server does not serve it."""
        self._refresh()
        part = self._parts.get(GroupVersion(group, version))
        return None if part is None else part.resources

    def aggregated(self, version: str, *, core: bool) -> Document:
        """Everything in one document: of /api when `core`, else of /apis."""
        return self._whole("aggregated", version, str(core), make=lambda: self._join(version, core=core))

    def _ordered(self) -> dict[str, list[str]]:
        return ordered(self._priorities, by_service=True)

    def _join(self, version: str, *, core: bool) -> bytes:
        remote = self._others.remote()

        def part_of(found: GroupVersion) -> bytes:
            return remote[found] if found in remote else self._parts[found].aggregated

        groups = (
            discovery.aggregated_group(name, [part_of(GroupVersion(name, each)) for each in versions])
            for name, versions in ordered(self._priorities).items()
            if (not name) == core
        )
        return discovery.aggregated(version, groups)

    def _whole(self, *key: str, make: Callable[[], bytes]) -> Document:
        self._refresh()
        known = self._made.get(key)
        if known is None:
            known = self._made[key] = Document(make())
        return known

    def _refresh(self) -> None:
        now = (self._scheme.revision, self._others.revision)
        if now == self._seen:
            return
        rows: dict[GroupVersion, list[Resource]] = {}
        for row in self._scheme:
            rows.setdefault(row.group_version, []).append(row)
        parts = {}
        for version, found in rows.items():
            known = self._parts.get(version)
            parts[version] = (
                known if known and same_rows(known.rows, tuple(found)) else _Part(version, tuple(found))
            )
        remote = self._others.remote()
        priorities = {version: of_local(version) for version in parts}
        said = self._others.priorities()
        for version in (*parts, *remote):
            if version in said:
                priorities[version] = said[version]
        self._seen, self._parts, self._priorities, self._made = now, parts, priorities, {}
