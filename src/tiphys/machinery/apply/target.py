"""What a write must know of the kind that it goes to, and what it compares."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from typing import Any

from tiphys.machinery.apply.creations import Creations
from tiphys.machinery.apply.fieldset import FieldSet, difference, ordered, recursive_difference
from tiphys.machinery.apply.managers import APPLY, Ownership
from tiphys.machinery.apply.reconcile import reconcile
from tiphys.machinery.apply.shapes import Granular, Shape
from tiphys.machinery.apply.typed import Comparison, compare, compare_maps
from tiphys.machinery.frozen import frozen

Object = dict[str, Any]
Convert = Callable[[Object, str], "tuple[Object, Shape] | None"]
"""(an object, an apiVersion) → the object in that version, and its shape; None: there is no such version (any more)."""

# What the server keeps for itself: nobody owns it. (generateName, finalizers, deletionTimestamp… are owned like any other.)
UNOWNED = frozenset({"apiVersion", "kind"})
UNOWNED_METADATA = frozenset(
    {
        "name",
        "namespace",
        "creationTimestamp",
        "selfLink",
        "uid",
        "clusterName",
        "generation",
        "managedFields",
        "resourceVersion",
    }
)
UNOWNED_METADATA_FIELDS: FieldSet = {f"f:{name}": {} for name in UNOWNED_METADATA}
UNOWNED_FIELDS: FieldSet = {
    **{f"f:{name}": {} for name in UNOWNED},
    "f:metadata": {".": {}, **UNOWNED_METADATA_FIELDS},
}
_COMPARED_APART = UNOWNED | {"metadata"}
ANY_ELEMENT = "*"
RESET_STATUS: FieldSet = {"f:status": {}}
"""What a write to an object itself leaves alone, where the kind has a status subresource."""
RESET_SPEC: FieldSet = {"f:spec": {}}
"""What a write to a status leaves alone."""


@frozen(kw_only=True)
class Target:
    """A kind in the version of a request, by one of its paths. Made once, shared by all requests."""

    api_version: str
    kind: str
    shape: Shape
    subresource: str = ""
    ignored: FieldSet = field(default_factory=dict)
    """What this path resets, with all that is below: nobody comes to own it by a write here, nobody loses it."""
    only: FieldSet = field(default_factory=dict)
    """What this path resets all but, as leaves (`*` is any element): `{"f:spec": {"f:ephemeralContainers": {}}}`."""
    convert: Convert | None = None
    """None: the kind has one version, or all have the same fields."""
    schema_changes: bool = False
    """Whether a list or map may have become atomic, or granular, since owners were written down (custom resources)."""

    creations: Creations = field(default_factory=Creations)

    def written(self, fields: FieldSet) -> FieldSet:
        """What of the fields a write by this path can change."""
        if not fields:
            return fields
        if self.only:
            fields = _matching(fields, self.only)
        return recursive_difference(fields, self.ignored) if self.ignored else fields

    def owned(self, fields: FieldSet) -> FieldSet:
        """The fields that a writer may own: nothing that is the server's, and nothing of what is reset."""
        return difference(self.written(fields), UNOWNED_FIELDS)


def _matching(fields: FieldSet, patterns: FieldSet) -> FieldSet:
    """What stands at or below one of the patterns' leaves."""
    found: FieldSet = {}
    for element, branch in fields.items():
        below = patterns.get(element)
        if below is None:
            below = patterns.get(ANY_ELEMENT)
            if below is None:
                continue
        kept = _matching(branch, below) if below else branch
        if kept or not below:
            found[element] = kept
    return found


def without_unowned(obj: Object) -> Object:
    """An object as far as it can be owned."""
    owned = {name: value for name, value in obj.items() if name not in UNOWNED}
    metadata = owned.get("metadata")
    if isinstance(metadata, dict):
        owned["metadata"] = {name: value for name, value in metadata.items() if name not in UNOWNED_METADATA}
    return owned


class Differences:
    """What a write changes, in each version that owners have written their fields down in."""

    def __init__(self, target: Target, old: Object, new: Object) -> None:
        self._target = target
        self._old = old
        self._new = new
        self.own = self._compare(target.shape, old, new)
        self._found: dict[str, Comparison | None] = {target.api_version: self.own}

    def _compare(self, shape: Shape, old: Object, new: Object) -> Comparison:
        target = self._target
        before, after = old.get("metadata"), new.get("metadata")
        metadata = shape.fields.get("metadata") if isinstance(shape, Granular) else None
        if (
            metadata is None
            or not isinstance(metadata.shape, Granular)
            or not isinstance(before, dict)
            or not isinstance(after, dict)
        ):
            found = compare(shape, without_unowned(old), without_unowned(new))
            return Comparison(target.owned(found.changed), target.owned(found.removed))
        assert isinstance(shape, Granular)
        fields: tuple[FieldSet, FieldSet] = {}, {}
        compare_maps(shape, (old, new), _COMPARED_APART, *fields)
        below: tuple[FieldSet, FieldSet] = {}, {}
        compare_maps(metadata.shape, (before, after), UNOWNED_METADATA, *below)
        for whole, part in zip(fields, below, strict=True):
            if part:
                whole[metadata.element] = ordered(part)
        return Comparison(target.written(ordered(fields[0])), target.written(ordered(fields[1])))

    def seen_in(self, api_version: str) -> Comparison | None:
        """None: there is no such version."""
        if api_version not in self._found:
            self._found[api_version] = self._convert(api_version)
        return self._found[api_version]

    def _convert(self, api_version: str) -> Comparison | None:
        convert = self._target.convert
        if convert is None:
            return self.own
        old, new = convert(self._old, api_version), convert(self._new, api_version)
        if old is None or new is None:
            return None
        return self._compare(new[1], old[0], new[0])


def in_version(target: Target, obj: Object, api_version: str) -> tuple[Object, Shape] | None:
    """An object (of the target's own version) in another version; None: there is no such version."""
    if api_version == target.api_version or target.convert is None:
        return obj, target.shape
    return target.convert(obj, api_version)


def reconciled(target: Target, owners: list[Ownership], live: Object) -> list[Ownership]:
    """The owners after what may have become atomic or granular since they were written down."""
    if not target.schema_changes:
        return owners
    result = []
    for owner in owners:
        seen = in_version(target, live, owner.api_version)
        if seen is not None:
            obj, shape = seen
            fields = reconcile(shape, owner.fields, obj, expand=owner.operation == APPLY)
            result.append(owner.owning(fields))
    return result
