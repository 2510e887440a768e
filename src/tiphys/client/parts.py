"""Which parts of an object an update has changed: asked once an event, so that only those hear of it who go by one of them.

A set of parts is an int, one bit a part. Most updates of most objects are of a status or an annotation, and most of those who
follow a kind go by neither.
"""

from __future__ import annotations

from tiphys.client.transport import Object
from tiphys.machinery import meta

EXISTENCE = 1
"""It came, it went, or it is another object of the same name. Everybody who follows a kind hears of that."""
VERSION = 2
"""The resourceVersion: every update changes it."""
LABELS = 4
OWNERS = 8
DELETION = 16
"""`deletionTimestamp` and `deletionGracePeriodSeconds`."""
SPEC = 32
STATUS = 64
FINALIZERS = 128
ALL = -1
"""Whatever it is, parts without a bit of their own (annotations, data) and the version, too."""


def changed_parts(old: Object, new: Object) -> int:
    """What of an object is another than it was."""
    before, after = meta.metadata(old), meta.metadata(new)
    if before.get("uid") != after.get("uid"):
        return ALL
    parts = VERSION
    if before.get("labels") != after.get("labels"):
        parts |= LABELS
    if before.get("ownerReferences") != after.get("ownerReferences"):
        parts |= OWNERS
    if before.get("deletionTimestamp") != after.get("deletionTimestamp") or (
        before.get("deletionGracePeriodSeconds") != after.get("deletionGracePeriodSeconds")
    ):
        parts |= DELETION
    if before.get("finalizers") != after.get("finalizers"):
        parts |= FINALIZERS
    # What did not change is mostly one and the same object, and never looked into.
    if old.get("spec") != new.get("spec"):
        parts |= SPEC
    if old.get("status") != new.get("status"):
        parts |= STATUS
    return parts
