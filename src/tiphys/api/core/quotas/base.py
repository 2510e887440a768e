"""The form of an evaluator: how the objects of one resource are counted. By itself it counts objects."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from tiphys.api.core.quotas.amounts import ONE, Amounts
from tiphys.api.core.quotas.scopes import Requirement, requirements
from tiphys.api.resource import Object
from tiphys.machinery.frozen import frozen
from tiphys.machinery.gvk import GroupResource


@frozen
class Wanted:
    """A write that may use more of a quota than before. `old` is None for a creation."""

    operation: str
    subresource: str
    new: Object
    old: Object | None = None


class Evaluator:
    """`names` are what it is counted by in `spec.hard`; `count_name` is the one that every kind has."""

    knows_scopes = False

    def __init__(self, resource: GroupResource, *names: str) -> None:
        self.resource = resource
        self.count_name = f"count/{resource}"
        self.names = frozenset((self.count_name, *names))

    def counts(self, name: str) -> bool:
        return name in self.names

    def counted(self, names: Iterable[str]) -> list[str]:
        return sorted(name for name in names if self.counts(name))

    def handles(self, wanted: Wanted) -> bool:
        """Whether such a write can use more."""
        return wanted.operation == "CREATE" and not wanted.subresource

    def usage(self, obj: Object, now: datetime) -> Amounts:
        return dict.fromkeys(self.names, ONE)

    def has_scope(self, required: Requirement, obj: Object) -> bool:
        """Most kinds have no scopes: a quota with any does not count them."""
        return False

    def missing(self, names: Iterable[str], obj: Object) -> str:
        """What the object must say to be counted by these names, if it does not; else ""."""
        return ""

    def replenishes(self, old: Object, new: Object) -> bool:
        """Whether an update of an object may have given something back (or taken it without asking)."""
        return False

    def is_in_scope(self, quota: Object, obj: Object) -> bool:
        return all(self.has_scope(required, obj) for required in requirements(quota))
