"""Whose object is it? A controller owns what its selector matches: it adopts what nobody controls and lets go of what no longer fits.

The rules are upstream's `controller_ref_manager.go`. Changes carry the object's resourceVersion: whoever claims it at the same time,
one of both is told of a conflict and looks again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from tiphys.api.resource import Resource
from tiphys.client.cache import View
from tiphys.client.transport import Object
from tiphys.controllers.actions import Patch
from tiphys.machinery import meta
from tiphys.machinery.frozen import frozen
from tiphys.machinery.selectors import LabelSelector, label_selector_from_dict


@frozen
class Claims:
    """What belongs to an owner (adopted objects included), and the patches that make it so."""

    owned: tuple[Object, ...]
    patches: tuple[Patch, ...]


def selector_of(owner: Object) -> LabelSelector:
    """What `spec.selector` says, where it is a LabelSelector."""
    return label_selector_from_dict((owner.get("spec") or {}).get("selector"))


def claim(
    owner: Object,
    selector: LabelSelector,
    candidates: Iterable[Object],
    resource: Resource,
    *,
    finalizer: str = "",
) -> Claims:
    """Candidates are objects that the owner controls, and such that nobody does. `finalizer`: comes and goes with the owner."""
    owned: list[Object] = []
    patches: list[Patch] = []
    for candidate in candidates:
        matches = selector.matches(meta.labels(candidate))
        if meta.is_controlled_by(candidate, owner):
            if matches:
                owned.append(candidate)
            elif not meta.is_deleting(owner):
                patches.append(release(owner, candidate, resource, finalizer))
        elif _may_adopt(owner, candidate) and matches:
            patches.append(adopt(owner, candidate, resource, finalizer))
            owned.append(candidate)
    return Claims(tuple(owned), tuple(patches))


def _may_adopt(owner: Object, candidate: Object) -> bool:
    if meta.controller_of(candidate) is not None:
        return False
    return not meta.is_deleting(owner) and not meta.is_deleting(candidate)


def adopt(owner: Object, obj: Object, resource: Resource, finalizer: str = "") -> Patch:
    missing = [finalizer] if finalizer and finalizer not in meta.finalizers(obj) else []
    references = [*meta.owner_references(obj), meta.controller_reference(owner)]
    return _patch(obj, resource, references, [*meta.finalizers(obj), *missing] if missing else None)


def release(owner: Object, obj: Object, resource: Resource, finalizer: str = "") -> Patch:
    kept = [reference for reference in meta.owner_references(obj) if reference.get("uid") != meta.uid(owner)]
    has_it = finalizer in meta.finalizers(obj)
    finalizers = [each for each in meta.finalizers(obj) if each != finalizer] if has_it else None
    return _patch(obj, resource, kept, finalizers)


def _patch(obj: Object, resource: Resource, references: list[Any], finalizers: list[str] | None) -> Patch:
    """`finalizers` None: they stay as they are."""
    metadata = {
        "uid": meta.uid(obj),
        "resourceVersion": meta.resource_version(obj),
        "ownerReferences": references or None,
        **({} if finalizers is None else {"finalizers": finalizers or None}),
    }
    return Patch(resource, meta.name(obj), {"metadata": metadata}, meta.namespace(obj))


# Who is concerned


def claimant_keys(
    row: Resource,
    selector: Callable[[Object], LabelSelector],
    concerns: Callable[[Object], bool] | None = None,
) -> Callable[[Object, View], Iterable[str]]:
    """For a Watch: the owner of this kind that controls an object; for one that nobody controls, all whose selector matches it.

    `concerns`: which of those may claim anything at all. None: each.
    """

    def keys(obj: Object, view: View) -> Iterable[str]:
        owner, namespace = meta.controller_of(obj), meta.namespace(obj)
        if owner is not None:
            return (f"{namespace}/{owner['name']}",) if owner.get("kind") == row.kind else ()
        labels = meta.labels(obj)
        if not labels:
            return ()
        return [
            meta.namespaced_name(each)
            for each in view.list(row, namespace)
            if (concerns is None or concerns(each)) and selector(each).matches(labels)
        ]

    return keys


def is_of_others(obj: Object, row: Resource) -> bool:
    """Whether an owner of another kind controls it."""
    owner = meta.controller_of(obj)
    return owner is not None and owner.get("kind") != row.kind
