"""Reading and writing what every object has: `metadata`, conditions, and times.

Objects are plain dicts; these functions never fail on a missing field and never change what they are given.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, TypeAlias
from zlib import crc32

from tiphys.machinery.names import safe_encode
from tiphys.machinery.quoting import go_json

Object: TypeAlias = Mapping[str, Any]
Condition: TypeAlias = dict[str, Any]

_NOTHING: Mapping[str, Any] = {}


def metadata(obj: Object) -> Mapping[str, Any]:
    return obj.get("metadata") or _NOTHING


def name(obj: Object) -> str:
    return (obj.get("metadata") or _NOTHING).get("name") or ""


def namespace(obj: Object) -> str:
    return (obj.get("metadata") or _NOTHING).get("namespace") or ""


def namespaced_name(obj: Object) -> str:
    """`"namespace/name"`, or `"name"` for an object that is in no namespace: a key for queues and messages."""
    about = obj.get("metadata") or _NOTHING
    where, name = about.get("namespace"), about.get("name") or ""
    return f"{where}/{name}" if where else name


def uid(obj: Object) -> str:
    return (obj.get("metadata") or _NOTHING).get("uid") or ""


def resource_version(obj: Object) -> str:
    return (obj.get("metadata") or _NOTHING).get("resourceVersion") or ""


def generation(obj: Object) -> int:
    return metadata(obj).get("generation") or 0


def labels(obj: Object) -> Mapping[str, str]:
    return (obj.get("metadata") or _NOTHING).get("labels") or _NOTHING


def annotations(obj: Object) -> Mapping[str, str]:
    return metadata(obj).get("annotations") or _NOTHING


def finalizers(obj: Object) -> Sequence[str]:
    return metadata(obj).get("finalizers") or ()


def creation_time(obj: Object) -> datetime | None:
    text = metadata(obj).get("creationTimestamp")
    return parse_time(text) if text else None


def deletion_time(obj: Object) -> datetime | None:
    text = metadata(obj).get("deletionTimestamp")
    return parse_time(text) if text else None


def is_deleting(obj: Object) -> bool:
    """Deletion was asked for; finalizers or a grace period keep the object for now."""
    return bool((obj.get("metadata") or _NOTHING).get("deletionTimestamp"))


# Owners


def owner_references(obj: Object) -> Sequence[Mapping[str, Any]]:
    return (obj.get("metadata") or _NOTHING).get("ownerReferences") or ()


def controller_of(obj: Object) -> Mapping[str, Any] | None:
    """The owner reference with `controller: true`; there is at most one."""
    for owner in owner_references(obj):
        if owner.get("controller"):
            return owner
    return None


def is_controlled_by(obj: Object, owner: Object) -> bool:
    reference = controller_of(obj)
    return reference is not None and reference.get("uid") == uid(owner)


def controller_reference(owner: Object) -> dict[str, Any]:
    """The owner reference that makes `owner` (with apiVersion and kind) the controller of another object."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": name(owner),
        "uid": uid(owner),
        "controller": True,
        "blockOwnerDeletion": True,
    }


# Conditions


def conditions(obj: Object) -> Sequence[Condition]:
    return (obj.get("status") or _NOTHING).get("conditions") or ()


def find_condition(existing: Sequence[Condition] | None, type: str) -> Condition | None:
    for condition in existing or ():  # a generator takes three times as long, and this is asked of every pod
        if condition.get("type") == type:
            return condition
    return None


def is_condition_true(existing: Sequence[Condition] | None, type: str) -> bool:
    condition = find_condition(existing, type)
    return condition is not None and condition.get("status") == "True"


def set_condition(
    existing: Sequence[Condition] | None,
    type: str,
    status: str,
    now: datetime,
    *,
    reason: str = "",
    message: str = "",
    **more: Any,
) -> list[Condition]:
    """The conditions with one set: `lastTransitionTime` moves to `now` only when `status` changes.

    `more` are further fields of the condition (`observedGeneration=3`, `lastUpdateTime=…`). Other conditions are
    shared with `existing`; a new one comes last. The result equals `existing` when nothing changed.
    """
    old = find_condition(existing, type)
    unchanged = old is not None and old.get("status") == status and old.get("lastTransitionTime")
    new: Condition = {
        **(old or {}),
        "type": type,
        "status": status,
        "lastTransitionTime": unchanged or format_time(now),
        **more,
    }
    for field, text in (("reason", reason), ("message", message)):
        if text:
            new[field] = text
        else:
            new.pop(field, None)
    if old is None:
        return [*(existing or ()), new]
    return [new if condition is old else condition for condition in existing or ()]


def remove_condition(existing: Sequence[Condition] | None, type: str) -> list[Condition]:
    return [condition for condition in existing or () if condition.get("type") != type]


# Times

_RFC3339 = re.compile(r"(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2})(?:[.,](\d+))?(Z|[+-]\d{2}:\d{2})", re.ASCII)


@lru_cache(maxsize=64)
def format_time(moment: datetime) -> str:
    """metav1.Time: RFC 3339 in UTC with whole seconds, `2026-11-22T10:00:00Z`; the rest of the second is cut."""
    if moment.tzinfo is not UTC:
        moment = moment.astimezone(UTC)
    return moment.isoformat(timespec="seconds")[:19] + "Z"


def format_micro_time(moment: datetime) -> str:
    """metav1.MicroTime: as `format_time`, with six digits of a second."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")[:26] + "Z"


def parse_time(text: str) -> datetime:
    """An RFC 3339 time with or without a fraction, as an aware UTC datetime. ValueError when it is none."""
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not an RFC 3339 time")
    seconds, fraction, zone = match.groups()
    moment = datetime.fromisoformat(seconds + ("+00:00" if zone == "Z" else zone))
    try:
        moment = moment.astimezone(UTC)
    except OverflowError:  # in the first or last hours of all time
        raise ValueError(f"{text!r} is a time outside of the years 1 to 9999") from None
    return moment + timedelta(microseconds=int(fraction[:6].ljust(6, "0"))) if fraction else moment


# Templates


def template_hash(template: Object, collision_count: int | None = None) -> str:
    """A short name for the content of a pod template: the same for equal templates, on any machine, in any order
    of fields. It looks like upstream's `pod-template-hash`; the value differs (upstream hashes a Go struct).

    `collision_count` is `status.collisionCount`: it gives another hash to a template whose name is taken.
    """
    text = go_json(template) + ("" if collision_count is None else str(collision_count))
    return safe_encode(str(crc32(text.encode())))
