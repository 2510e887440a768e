"""Who owns whom, over all kinds: kept up to date by events, asked by the collector. No I/O.

An owner is found by its uid alone: a reference to a name that now belongs to another object is a reference to nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tiphys.api.resource import Resource
from tiphys.client.transport import DELETED, Object
from tiphys.machinery import meta
from tiphys.machinery.frozen import frozen

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"
Reference = Mapping[str, Any]


@frozen
class Item:
    """One object of the cluster."""

    row: Resource
    obj: Object

    @property
    def uid(self) -> str:
        return meta.uid(self.obj)

    @property
    def owners(self) -> tuple[Reference, ...]:
        return tuple(meta.owner_references(self.obj))

    @property
    def waits_for_dependents(self) -> bool:
        """It is being deleted in the foreground: it goes after those that depend on it."""
        return meta.is_deleting(self.obj) and FOREGROUND in meta.finalizers(self.obj)

    @property
    def orphans_dependents(self) -> bool:
        """It is being deleted and leaves those that depend on it behind."""
        return meta.is_deleting(self.obj) and ORPHAN in meta.finalizers(self.obj)

    def blocks(self, owner_uid: str) -> bool:
        """Its owner may not go before it."""
        return any(owner.get("uid") == owner_uid and owner.get("blockOwnerDeletion") for owner in self.owners)

    def __str__(self) -> str:
        return f"{self.row.plural} {meta.namespaced_name(self.obj)}"


class Graph:
    """All items by uid, and for every uid that is named as an owner, whether it exists or not, who names it."""

    def __init__(self) -> None:
        self.items: dict[str, Item] = {}
        self._dependents: dict[str, dict[str, None]] = {}

    def dependents(self, uid: str) -> list[Item]:
        return [self.items[each] for each in self._dependents.get(uid, ())]

    def observe(self, type: str, row: Resource, old: Object | None, new: Object | None) -> set[str]:
        """Takes in one event; the result are the uids of items to look at again."""
        obj = new if new is not None else old
        uid = meta.uid(obj) if obj is not None else ""
        if obj is None or not uid:
            return set()
        before = self.items.get(uid)
        if type != DELETED and _is_alone(obj) and (before is None or _is_alone(before.obj)):
            self.items[uid] = Item(row, obj)
            return set()
        if type == DELETED:
            self._unlink(before)
            self.items.pop(uid, None)
            return {item.uid for item in self.dependents(uid)} | self._waiting_owners(before)
        item = Item(row, obj)
        if before is not None and _is_same_to_us(before.obj, obj):
            self.items[uid] = item
            return set()
        self._unlink(before)
        self.items[uid] = item
        for owner in item.owners:
            self._dependents.setdefault(owner.get("uid") or "", {})[uid] = None
        return self._concerned(before, item)

    def _concerned(self, before: Item | None, item: Item) -> set[str]:
        keys = set()
        changed_owners = before is None or before.owners != item.owners
        if (changed_owners and item.owners) or item.waits_for_dependents or item.orphans_dependents:
            keys.add(item.uid)
        if changed_owners or (
            before is not None and meta.is_deleting(item.obj) != meta.is_deleting(before.obj)
        ):
            keys |= self._waiting_owners(before) | self._waiting_owners(item)
        return keys

    def _waiting_owners(self, item: Item | None) -> set[str]:
        """Owners whose deletion waits for something of their dependents: one of them may be out of their way now."""
        owners = (self.items.get(owner.get("uid") or "") for owner in item.owners) if item else ()
        return {
            owner.uid
            for owner in owners
            if owner and (owner.waits_for_dependents or owner.orphans_dependents)
        }

    def _unlink(self, item: Item | None) -> None:
        for owner in item.owners if item else ():
            dependents = self._dependents.get(owner.get("uid") or "")
            if dependents is not None:
                dependents.pop(item.uid if item else "", None)
                if not dependents:
                    del self._dependents[owner.get("uid") or ""]

    def forget(self, row: Resource) -> None:
        """Drops all items of a kind that is no longer served."""
        for item in [item for item in self.items.values() if item.row.gvr == row.gvr]:
            self._unlink(item)
            del self.items[item.uid]

    def unknown_owners(self, item: Item) -> list[Reference]:
        """Owners that are not among the items, or that are, but in a place where this item cannot be owned from."""
        return [owner for owner in item.owners if not self._knows(item, owner)]

    def _knows(self, item: Item, owner: Reference) -> bool:
        found = self.items.get(owner.get("uid") or "")
        if found is None:
            return False
        # Owners are looked for in the dependent's own namespace: one in another does not count.
        where = meta.namespace(item.obj)
        return not where or meta.namespace(found.obj) in ("", where)


def _is_alone(obj: Object) -> bool:
    """It has no owner, and lives: its own events concern nobody."""
    about = obj["metadata"]
    return "ownerReferences" not in about and "deletionTimestamp" not in about


def _is_same_to_us(old: Object, new: Object) -> bool:
    """Most updates: it has the owners that it had, and nobody wants it to go."""
    before, after = meta.metadata(old), meta.metadata(new)
    return (
        before.get("ownerReferences") == after.get("ownerReferences")
        and not before.get("deletionTimestamp")
        and not after.get("deletionTimestamp")
    )


def uids(references: Iterable[Reference]) -> set[str]:
    return {reference.get("uid") or "" for reference in references}
