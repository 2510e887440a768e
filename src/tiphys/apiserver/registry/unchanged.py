"""What an update leaves as it was: most change nothing but a label, an annotation, or a status.

The rest of such an object need not be looked into again: it was when it came.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import orjson

from tiphys.api.resource import Object, Resource
from tiphys.api.types import TYPES
from tiphys.apiserver.records import Record
from tiphys.machinery.schema.model import ListOf, MapOf, Reference, Scalar, ScalarKind, Struct

_ABSENT: Any = object()
_BUT_METADATA: Object = {"metadata": None}
_BUT_STATUS: Object = {"metadata": None, "status": None}


def fill_in_defaults(row: Resource, record: Record, new: Object, old: Object) -> None:
    """The defaults of an object that an update makes of `old`: no more of them than can be missing.

    Nothing is, where all that they go by is as in `old`, which has them. Only what this process has written has them for certain
    (an earlier version of the server may not have known them all), and only in the version that it is kept in.
    """
    if row.defaults is None:
        return
    if (
        record.settled
        and _has_one_form(row)
        and new["metadata"].get("labels", _ABSENT) == old["metadata"].get("labels", _ABSENT)
    ):
        if {**new, **_BUT_METADATA} == {**old, **_BUT_METADATA}:
            return
        if row.status_defaults is not None and {**new, **_BUT_STATUS} == {**old, **_BUT_STATUS}:
            row.status_defaults(new)
            return
    row.defaults(new)


def share_unchanged(row: Resource, new: Object, old: Object) -> None:
    """Puts the old object's fields in place of new ones that equal them, so that whoever compares them later need not look into
    them, and one of the two can be forgotten. From then on nothing in them may be changed in place."""
    if not _has_one_form(row) or {**new, **_BUT_STATUS} != {**old, **_BUT_STATUS}:
        return
    status = new.get("status", _ABSENT)
    if status == old.get("status", _ABSENT):
        new.update({**old, "metadata": new["metadata"]})
    elif status is not _ABSENT and "status" in old:
        new.update({**old, "metadata": new["metadata"], "status": status})


def is_same(row: Resource, one: Any, other: Any) -> bool:
    """Whether two objects, or two values of one field, say the same."""
    same: bool = one == other
    return same and (_has_one_form(row) or _exact(one) == _exact(other))


def is_same_body(row: Resource, new: Object, old: Object) -> bool:
    """The same of all but the metadata."""
    return is_same(row, {**new, **_BUT_METADATA}, {**old, **_BUT_METADATA})


def _exact(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def _has_one_form(row: Resource) -> bool:
    """Objects of the version and the types that they are kept in: what Python calls equal is the same in these (1, 1.0 and true
    may all stand in one field of a custom resource, and in one whose values are only carried along)."""
    return row.stored is None and row.reading is None and row.schema is None and not _carries_any(row.type)


@cache
def _carries_any(name: str) -> bool:
    """Whether a built-in type has fields that hold any JSON."""
    seen: set[str] = set()
    left: list[Struct] = [TYPES.struct(name)]
    while left:
        for field in left.pop().fields.values():
            type = field.type
            while isinstance(type, ListOf | MapOf):
                type = type.item if isinstance(type, ListOf) else type.value
            if isinstance(type, Scalar) and type.kind in (ScalarKind.RAW, ScalarKind.JSON):
                return True
            if isinstance(type, Reference) and type.name not in seen:
                seen.add(type.name)
                left.append(type.struct)
    return False
