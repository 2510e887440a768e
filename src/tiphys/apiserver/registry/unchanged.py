"""What an update leaves as it was: most change nothing but a label, an annotation, or a status.

Such an object need not be looked into again: it was when it came.
"""

from __future__ import annotations

from typing import Any

from tiphys.api.resource import Object, Resource
from tiphys.apiserver.records import Record

_ABSENT: Any = object()
_METADATA_APART: Object = {"metadata": None}


def has_its_defaults(row: Resource, record: Record, new: Object, old: Object) -> bool:
    """Whether filling in defaults would change nothing of `new`: all that they go by is as in `old`, which has them.

    Only what this process has written has them for certain (an earlier version of the server may not have known them all), and
    only in the version that it is kept in.
    """
    return (
        record.settled
        and _has_one_form(row)
        and new["metadata"].get("labels", _ABSENT) == old["metadata"].get("labels", _ABSENT)
        and _differs_only_in_metadata(new, old)
    )


def share_unchanged(row: Resource, new: Object, old: Object) -> None:
    """Puts the old object's fields in place of new ones that equal them, so that whoever compares them later need not look into
    them, and one of the two can be forgotten. From then on nothing in them may be changed in place."""
    if _has_one_form(row) and _differs_only_in_metadata(new, old):
        new.update({**old, "metadata": new["metadata"]})


def _has_one_form(row: Resource) -> bool:
    """Objects of the version and the types that they are kept in: what Python calls equal is the same in these (1, 1.0 and true
    may all stand in one field of a custom resource)."""
    return row.stored is None and row.reading is None and row.schema is None


def _differs_only_in_metadata(new: Object, old: Object) -> bool:
    return {**new, **_METADATA_APART} == {**old, **_METADATA_APART}
