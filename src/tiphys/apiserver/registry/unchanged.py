"""What an update leaves as it was: most change nothing but a label, an annotation, or a status.

The rest of such an object need not be looked into again: it was when it came.
"""

from __future__ import annotations

from typing import Any

from tiphys.api.resource import Object, Resource
from tiphys.apiserver.records import Record

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


def _has_one_form(row: Resource) -> bool:
    """Objects of the version and the types that they are kept in: what Python calls equal is the same in these (1, 1.0 and true
    may all stand in one field of a custom resource)."""
    return row.stored is None and row.reading is None and row.schema is None
