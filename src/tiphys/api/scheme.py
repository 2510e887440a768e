"""Which kinds exist: rows of all groups, looked up by what a request or a manifest calls them.

The built-in rows are gathered once from `api/<group>/resources.py` in the order in which upstream lists its groups (that
order is what discovery and `kubectl api-resources` show). Custom resources are added and removed at run time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib import import_module

from tiphys.api.resource import Resource
from tiphys.machinery.gvk import GroupVersion, GroupVersionKind, GroupVersionResource

BUILT_IN_GROUPS = (
    "core",
    "apiregistration",
    "apps",
    "events",
    "authentication",
    "authorization",
    "autoscaling",
    "batch",
    "certificates",
    "networking",
    "policy",
    "rbac",
    "storage",
    "admissionregistration",
    "apiextensions",
    "scheduling",
    "coordination",
    "node",
    "discovery",
    "dynamicresources",
    "flowcontrol",
    "apiserverinternal",
    "storagemigration",
)
"""Folders below `tiphys/api`, in discovery order."""
OPTIONAL_GROUPS = ("metrics",)
"""What elsewhere another server serves."""


class Scheme:
    """All rows, by resource and by kind. `revision` rises with every change, so that documents made from it can be kept."""

    def __init__(self, resources: Iterable[Resource] = ()) -> None:
        self._by_resource: dict[GroupVersionResource, Resource] = {}
        self._by_kind: dict[GroupVersionKind, Resource] = {}
        self._hidden: dict[GroupVersionKind, Resource] = {}
        self.revision = 0
        for resource in resources:
            self.add(resource)

    def add(self, resource: Resource) -> None:
        """Adds a row, or replaces the one of the same group, version and plural."""
        self._by_resource[resource.gvr] = resource
        # A kind may be served under two plurals (Event is not, but Scale is a body, not a row): the first row wins.
        self._by_kind.setdefault(resource.gvk, resource)
        if self._by_kind[resource.gvk].gvr == resource.gvr:
            self._by_kind[resource.gvk] = resource
        self.revision += 1

    def remove(self, gvr: GroupVersionResource) -> None:
        """Takes a row away; nothing happens when there is none."""
        row = self._by_resource.pop(gvr, None)
        if row is None:
            return
        if self._by_kind.get(row.gvk) is row:
            del self._by_kind[row.gvk]
        self.revision += 1

    def hide(self, gvr: GroupVersionResource) -> None:
        """It is served no more, but objects may still be stored so, and named by their owners' entries."""
        row = self._by_resource.get(gvr)
        if row is not None:
            self.remove(gvr)
            self._hidden[row.gvk] = row

    def by_resource(self, group: str, version: str, plural: str) -> Resource | None:
        return self._by_resource.get(GroupVersionResource(group, version, plural))

    def by_kind(self, gvk: GroupVersionKind) -> Resource | None:
        return self._by_kind.get(gvk)

    def known_kind(self, gvk: GroupVersionKind) -> Resource | None:
        """As `by_kind`, and of what is not served too."""
        return self._by_kind.get(gvk) or self._hidden.get(gvk)

    def versions(self, group: str, plural: str) -> list[Resource]:
        """Every served version of one resource, in order of preference."""
        return [row for row in self._by_resource.values() if row.group == group and row.plural == plural]

    def stored_row(self, row: Resource) -> Resource:
        """The row of the version that is kept in the store (of another group for events.k8s.io)."""
        if row.stored is None or row.reading is not None:
            return row  # what lies in the store of a kind made at run time is read by each version for itself
        found = self.known_kind(row.stored)
        if found is None:
            raise LookupError(f"{row.gvk} is stored as {row.stored}, which nobody knows")
        return found

    def group_versions(self) -> list[GroupVersion]:
        """Served group versions, groups in discovery order, versions by preference."""
        return list(dict.fromkeys(row.group_version for row in self._by_resource.values()))

    def __iter__(self) -> Iterator[Resource]:
        return iter(self._by_resource.values())

    def __len__(self) -> int:
        return len(self._by_resource)


def built_in(*optional: str) -> Scheme:
    """The scheme of all built-in kinds of v1.36, and of those of OPTIONAL_GROUPS that are named."""
    return Scheme(
        resource
        for group in (*BUILT_IN_GROUPS, *optional)
        for resource in import_module(f"tiphys.api.{group}.resources").RESOURCES
    )
