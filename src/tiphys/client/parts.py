"""Which parts of an object an update has changed: asked once an event, so that only those hear of it who go by one of them.

A set of parts is an int, one bit a part. Most updates of most objects are of a status or an annotation, and most of those who
follow a kind go by neither.
"""

from __future__ import annotations

from itertools import compress
from operator import ne

from tiphys.client.transport import Object
from tiphys.machinery import meta

EXISTENCE = 1
"""It came, it went, or it is another object of the same name. Everybody who follows a kind hears of that."""
VERSION = 2
"""The resourceVersion: every update changes it."""
LABELS = 4
OWNERS = 8
DELETION = 16 | 32
"""`deletionTimestamp`, `deletionGracePeriodSeconds`: of either of the two."""
FINALIZERS = 64
SPEC = 128
STATUS = 256
ALL = -1
"""Whatever it is, parts without a bit of their own (annotations, data) and the version, too."""

_METADATA = ("labels", "ownerReferences", "deletionTimestamp", "deletionGracePeriodSeconds", "finalizers")
_METADATA_BITS = (LABELS, OWNERS, 16, 32, FINALIZERS)
_FIELDS = ("spec", "status")
_FIELD_BITS = (SPEC, STATUS)


def changed_parts(old: Object, new: Object) -> int:
    """What of an object is another than it was."""
    before, after = meta.metadata(old), meta.metadata(new)
    if before.get("uid") != after.get("uid"):
        return ALL
    # A bit for every name under which the two differ, at C's speed: it is asked at every event.
    parts = sum(compress(_METADATA_BITS, map(ne, map(before.get, _METADATA), map(after.get, _METADATA))))
    return VERSION + parts + sum(compress(_FIELD_BITS, map(ne, map(old.get, _FIELDS), map(new.get, _FIELDS))))
