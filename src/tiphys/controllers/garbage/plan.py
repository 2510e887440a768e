"""What becomes of one object: the garbage collector's decisions, pure.

The rules are upstream's (`pkg/controller/garbagecollector`, "attemptToDeleteItem"):

- An object whose owners are all gone is deleted. While one is left, references to those that are gone are taken off.
- An owner deleted in the foreground (finalizer `foregroundDeletion`) waits for dependents that block it; these are deleted in the
  foreground too. A circle of such objects is broken by no longer blocking.
- An owner deleted as an orphaner (finalizer `orphan`) is taken off its dependents' references first.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tiphys.controllers.actions import NOTHING, Delete, Patch, Plan
from tiphys.controllers.garbage.graph import FOREGROUND, ORPHAN, Graph, Item, Reference, uids
from tiphys.machinery import meta


def plan(item: Item, graph: Graph, absent: frozenset[str]) -> Plan:
    """`absent`: uids of owners that the API server says are not there."""
    if item.orphans_dependents:
        return _orphan(item, graph)
    if item.waits_for_dependents:
        return _wait_for_dependents(item, graph)
    if meta.is_deleting(item.obj) or not item.owners:
        return NOTHING
    return _judge(item, graph, absent)


def _judge(item: Item, graph: Graph, absent: frozenset[str]) -> Plan:
    dangling = [owner for owner in item.owners if (owner.get("uid") or "") in absent]
    waiting = [owner for owner in item.owners if owner not in dangling and _is_waiting(owner, graph)]
    solid = [owner for owner in item.owners if owner not in dangling and owner not in waiting]
    if solid:
        if not dangling and not waiting:
            return NOTHING
        return Plan((_set_owners(item, solid),), reason="some of its owners are gone")
    if waiting and graph.dependents(item.uid):
        return Plan(
            (*_unblock_circle(item, graph), _delete(item, "Foreground")), reason="its owner waits for it"
        )
    if waiting:
        return Plan((_delete(item, _policy(item)),), reason="its owner waits for it")
    return Plan((_delete(item, _policy(item)),), reason="all of its owners are gone")


def _is_waiting(owner: Reference, graph: Graph) -> bool:
    found = graph.items.get(owner.get("uid") or "")
    return found is not None and found.waits_for_dependents and bool(owner.get("blockOwnerDeletion"))


def _policy(item: Item) -> str:
    """As its finalizers ask: they are a wish that was there before its owners went."""
    finalizers = meta.finalizers(item.obj)
    if ORPHAN in finalizers:
        return "Orphan"
    return "Foreground" if FOREGROUND in finalizers else "Background"


def _delete(item: Item, propagation: str) -> Delete:
    # Its version too: somebody may be giving it another owner at this moment.
    return Delete(
        item.row,
        meta.name(item.obj),
        meta.namespace(item.obj),
        uid=item.uid,
        resource_version=meta.resource_version(item.obj),
        propagation=propagation,
    )


def _unblock_circle(item: Item, graph: Graph) -> Iterable[Patch]:
    """A dependent that is itself waiting would wait for this one, and this one for it."""
    if any(dependent.waits_for_dependents for dependent in graph.dependents(item.uid)):
        references = [{**owner, "blockOwnerDeletion": False} for owner in item.owners]
        yield _set_owners(item, references)


def _wait_for_dependents(item: Item, graph: Graph) -> Plan:
    blocking = [dependent for dependent in graph.dependents(item.uid) if dependent.blocks(item.uid)]
    if blocking:
        return Plan(reason=f"{len(blocking)} dependents are left")
    return Plan((_without_finalizer(item, FOREGROUND),), reason="no dependent is left")


def _orphan(item: Item, graph: Graph) -> Plan:
    patches = [
        _set_owners(dependent, [owner for owner in dependent.owners if owner.get("uid") != item.uid])
        for dependent in graph.dependents(item.uid)
    ]
    if patches:
        return Plan(tuple(patches), reason="leaving its dependents behind")
    return Plan((_without_finalizer(item, ORPHAN),), reason="its dependents are on their own")


def _set_owners(item: Item, references: Iterable[Reference]) -> Patch:
    return _patch(item, ownerReferences=list(references) or None)


def _without_finalizer(item: Item, finalizer: str) -> Patch:
    return _patch(item, finalizers=[each for each in meta.finalizers(item.obj) if each != finalizer] or None)


def _patch(item: Item, **fields: Any) -> Patch:
    metadata = {"uid": item.uid, "resourceVersion": meta.resource_version(item.obj), **fields}
    return Patch(item.row, meta.name(item.obj), {"metadata": metadata}, meta.namespace(item.obj))


def to_look_at(item: Item, graph: Graph) -> set[str]:
    """Dependents that hold the item up: they must be looked at when it begins to wait."""
    if not item.waits_for_dependents:
        return set()
    return uids(
        dependent.obj["metadata"] for dependent in graph.dependents(item.uid) if dependent.blocks(item.uid)
    )
