"""What a controller may want done, as data. A Plan is a list of these; `executor.py` carries them out.

Actions are compared, printed and written into golden stories; they hold plain objects and no behaviour.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from tiphys.api.resource import Resource
from tiphys.client.events import NORMAL, WARNING
from tiphys.client.transport import MERGE_PATCH, Object
from tiphys.machinery.frozen import frozen

__all__ = [
    "NORMAL",
    "NOTHING",
    "WARNING",
    "Action",
    "Create",
    "Delete",
    "DeleteCollection",
    "Note",
    "Object",
    "Patch",
    "Plan",
    "PostSubresource",
    "RecordEvent",
    "Update",
    "UpdateStatus",
]


@frozen
class Note:
    """An event about the reconciled object that follows from how an action went.

    In `message`, `{name}` becomes the name of the object that was written (the server may have generated it) and
    `{error}` the message of the failure.
    """

    type: str
    reason: str
    message: str


@frozen
class Create:
    """Creates `obj`, in the namespace it names."""

    resource: Resource
    obj: Object
    done: Note | None = None
    failed: Note | None = None


@frozen
class Update:
    """Replaces the whole object; its resourceVersion makes the write fail when somebody else was faster."""

    resource: Resource
    obj: Object
    subresource: str = ""
    done: Note | None = None
    failed: Note | None = None


@frozen
class UpdateStatus:
    """Replaces the status and nothing else."""

    resource: Resource
    obj: Object


@frozen
class Patch:
    """Changes some fields of an object. Put metadata.uid into the patch to spare a namesake.

    `manager`: who applies, by force, when it is an APPLY_PATCH.
    """

    resource: Resource
    name: str
    patch: Object | Sequence[Any]
    namespace: str = ""
    content_type: str = MERGE_PATCH
    subresource: str = ""
    manager: str = ""
    done: Note | None = None
    failed: Note | None = None


@frozen
class Delete:
    """Deletes the object with this `uid` (and this `resource_version`, when set); a namesake is spared."""

    resource: Resource
    name: str
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    propagation: str = ""
    grace_period_seconds: int | None = None
    done: Note | None = None
    failed: Note | None = None


@frozen
class DeleteCollection:
    """Deletes everything of one kind in one namespace."""

    resource: Resource
    namespace: str


@frozen
class PostSubresource:
    """Creates what lies below an object: a binding, an eviction, a token."""

    resource: Resource
    name: str
    subresource: str
    body: Object
    namespace: str = ""
    done: Note | None = None
    failed: Note | None = None


@frozen
class RecordEvent:
    """An event about the reconciled object, or about `regarding` (an object or an ObjectReference)."""

    type: str
    reason: str
    message: str
    regarding: Object | None = None


Action: TypeAlias = (
    Create | Update | UpdateStatus | Patch | Delete | DeleteCollection | PostSubresource | RecordEvent
)


@frozen
class Plan:
    """What to do now, when to look again without being asked, and why, in a few words for the log."""

    actions: tuple[Action, ...] = ()
    requeue_after_seconds: float | None = None
    reason: str = ""


NOTHING = Plan()
