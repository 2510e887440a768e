"""What every object has in common: the rules of `metadata`, and the fields that only the server writes.

The rules and messages are upstream's (apimachinery `api/validation/objectmeta.go`, apiserver `registry/rest`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from datetime import datetime
from itertools import repeat
from typing import Any

from tiphys.api.resource import EVERYTHING, Object, Resource
from tiphys.apiserver.registry.unchanged import is_same
from tiphys.machinery import errors, names
from tiphys.machinery.errors import FieldError, Path
from tiphys.machinery.meta import format_time
from tiphys.machinery.quoting import quote

ANNOTATIONS_LIMIT_BYTES = 256 << 10
_METADATA = Path("metadata")
_SERVER_FIELDS = (
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "selfLink",
    "generation",
)
_SERVER_FIELDS_SET = frozenset(_SERVER_FIELDS)
_IMMUTABLE = ("name", "namespace", "uid", "creationTimestamp")
_ABSENT: Any = object()
_TYPE_AND_METADATA = frozenset({"apiVersion", "kind", "metadata"})
_STANDARD_FINALIZERS = frozenset({"orphan", "foregroundDeletion", "kubernetes"})
_UIDS_AT_ONCE = 64
_uids: list[str] = []
"""UIDs to come: asking the kernel costs more than all the rest of one. A process that is forked off has its own."""
os.register_at_fork(after_in_child=_uids.clear)
# Kinds that must not own anything: they come and go too fast.
_UNFIT_OWNERS = frozenset({("v1", "Event"), ("events.k8s.io/v1", "Event")})


def fill_new(
    obj: Object, row: Resource, now: datetime, suffixes: names.Suffixes, new_uid: Callable[[], str]
) -> None:
    """The server's own fields of an object that is about to be created."""
    metadata = obj["metadata"]
    if not _SERVER_FIELDS_SET.isdisjoint(metadata):
        for name in _SERVER_FIELDS:
            metadata.pop(name, None)
    if not metadata.get("name") and metadata.get("generateName"):
        metadata["name"] = names.generated(metadata["generateName"], suffixes.take())
    metadata["uid"] = new_uid()
    metadata["creationTimestamp"] = format_time(now)
    if row.generation_on:
        metadata["generation"] = 1


def random_uid() -> str:
    """A random UUID (RFC 9562, version 4). By hand: the uuid module takes four times as long, for every object made."""
    if not _uids:
        drawn = os.urandom(16 * _UIDS_AT_ONCE + 1)
        digits, variant = (
            drawn.hex(),
            "89ab"[drawn[-1] & 3],
        )  # two of 122 bits are those of all that are drawn together
        for at in range(0, 32 * _UIDS_AT_ONCE, 32):
            one = digits[at : at + 32]
            _uids.append(f"{one[:8]}-{one[8:12]}-4{one[13:16]}-{variant}{one[17:20]}-{one[20:]}")
    return _uids.pop()


def keep_server_fields(new: Object, old: Object) -> None:
    """What an update cannot change is taken from the old object."""
    metadata, before = new["metadata"], old["metadata"]
    if _server_fields_of(metadata) == _server_fields_of(before):
        return  # nearly always: a patch leaves them alone
    for name in _SERVER_FIELDS:
        if name in before:
            metadata[name] = before[name]
        else:
            metadata.pop(name, None)


def _server_fields_of(metadata: Object) -> list[Any]:
    return [*map(metadata.get, _SERVER_FIELDS, repeat(_ABSENT))]


def raise_generation(new: Object, old: Object, row: Resource) -> None:
    """metadata.generation counts the changes of what the user wants (spec), never those of status."""
    fields: Iterable[str] = row.generation_on
    if fields == EVERYTHING:
        fields = (new.keys() | old.keys()) - _TYPE_AND_METADATA
    if not all(is_same(row, new.get(field), old.get(field)) for field in fields):
        new["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1


def validate_new(obj: Object, row: Resource) -> list[FieldError]:
    """Everything about `metadata` that a creation may get wrong."""
    metadata = obj["metadata"]
    return _validate_name(metadata, row) + _validate_maps_and_lists(metadata, {}, row)


def validate_update(new: Object, old: Object, row: Resource) -> list[FieldError]:
    """What an update may get wrong beyond the same rules: what must stay, and finalizers of a dying object."""
    metadata, before = new["metadata"], old["metadata"]
    # What is as it was kept the rules when it came.
    found = _validate_maps_and_lists(metadata, before, row)
    for name in _IMMUTABLE:
        if metadata.get(name) != before.get(name):
            found.append(FieldError.invalid(_METADATA.child(name), metadata.get(name), "field is immutable"))
    if before.get("deletionTimestamp"):
        added = [
            item for item in metadata.get("finalizers") or () if item not in (before.get("finalizers") or ())
        ]
        if added:
            shown = ", ".join(quote(item) for item in added)
            detail = (
                "no new finalizers can be added if the object is being deleted, "
                f"found new finalizers []string{{{shown}}}"
            )
            found.append(FieldError.forbidden(_METADATA.child("finalizers"), detail))
    return found


def _validate_name(metadata: dict[str, Any], row: Resource) -> list[FieldError]:
    name, generate = metadata.get("name") or "", metadata.get("generateName") or ""
    rule = row.name_errors or names.dns1123_subdomain
    if not name:
        return [FieldError.required(_METADATA.child("name"), "name or generateName is required")]
    found = []
    if messages := rule(name):
        found += [FieldError.invalid(_METADATA.child("name"), name, message) for message in messages]
    if generate:
        # The suffix makes a trailing dash harmless.
        stem = generate[:-1] + "a" if generate.endswith("-") and len(generate) > 1 else generate
        if messages := rule(stem):
            path = _METADATA.child("generateName")
            found += [FieldError.invalid(path, generate, message) for message in messages]
    return found


def _validate_maps_and_lists(
    metadata: dict[str, Any], before: dict[str, Any], row: Resource
) -> list[FieldError]:
    found: list[FieldError] = []
    if (labels := metadata.get("labels")) and labels != before.get("labels"):
        found += validate_labels(labels, _METADATA.child("labels"))
    if (annotations := metadata.get("annotations")) and annotations != before.get("annotations"):
        found += validate_annotations(annotations, _METADATA.child("annotations"))
    if (owners := metadata.get("ownerReferences")) and owners != before.get("ownerReferences"):
        found += _validate_owners(owners)
    if (finalizers := metadata.get("finalizers")) and finalizers != before.get("finalizers"):
        found += _validate_finalizers(finalizers, qualified=_wants_qualified(row))
    return found


def validate_labels(labels: dict[str, str], path: Path) -> list[FieldError]:
    found = []
    for key, value in labels.items():
        found += [FieldError.invalid(path, key, message) for message in names.qualified_name(key)]
        found += [FieldError.invalid(path, value, message) for message in names.label_value(value)]
    return found


def validate_annotations(annotations: dict[str, str], path: Path) -> list[FieldError]:
    found, size = [], 0
    for key, value in annotations.items():
        found += [FieldError.invalid(path, key, message) for message in names.qualified_name(key.lower())]
        size += len(key.encode()) + len(value.encode())
    if size > ANNOTATIONS_LIMIT_BYTES:
        found.append(FieldError.too_long(path, ANNOTATIONS_LIMIT_BYTES))
    return found


def _validate_owners(owners: list[dict[str, Any]]) -> list[FieldError]:
    path = _METADATA.child("ownerReferences")
    found: list[FieldError] = []
    controller = ""
    for index, owner in enumerate(owners):
        at = path.index(index)
        for field in ("apiVersion", "kind", "name", "uid"):
            if not owner.get(field):
                text = "version must not be empty" if field == "apiVersion" else f"{field} must not be empty"
                found.append(FieldError.invalid(at.child(field), owner.get(field, ""), text))
        if (owner.get("apiVersion"), owner.get("kind")) in _UNFIT_OWNERS:
            found.append(
                FieldError.invalid(
                    at,
                    owner,
                    f"{owner['apiVersion']}, Kind={owner['kind']} is disallowed from being an owner",
                )
            )
        if owner.get("controller"):
            if controller:
                detail = f'Only one reference can have Controller set to true. Found "true" in references for {controller} and {owner.get("name")}'
                found.append(FieldError.invalid(path, owners, detail))
            controller = owner.get("name", "")
    return found


def _validate_finalizers(finalizers: list[str], *, qualified: bool) -> list[FieldError]:
    """`qualified`: all must be standard ones or name a domain. For custom resources that is only advice (a warning)."""
    path = _METADATA.child("finalizers")
    found = []
    for item in finalizers:
        found += [FieldError.invalid(path, item, message) for message in names.qualified_name(item)]
        if qualified and is_unqualified_finalizer(item):
            found.append(
                FieldError.invalid(
                    path, item, "name is neither a standard finalizer name nor is it fully qualified"
                )
            )
    if "orphan" in finalizers and "foregroundDeletion" in finalizers:
        detail = "finalizer foregroundDeletion and orphan cannot be both set"
        found.append(FieldError.invalid(path, finalizers, detail))
    return found


def _wants_qualified(row: Resource) -> bool:
    """Upstream's servers for extensions and aggregation stand apart from the core's stricter rule."""
    return row.reading is None and row.group not in ("apiextensions.k8s.io", "apiregistration.k8s.io")


def is_unqualified_finalizer(name: str) -> bool:
    return "/" not in name and name not in _STANDARD_FINALIZERS


def finalizer_warnings(new: Object, old: Object | None) -> list[str]:
    """Advice about finalizers that a write adds to a custom resource."""
    before = (old["metadata"].get("finalizers") or ()) if old is not None else ()
    return [
        f'metadata.finalizers: "{name}": prefer a domain-qualified finalizer name including a path (/) to avoid '
        "accidental conflicts with other finalizer writers"
        for name in sorted(new["metadata"].get("finalizers") or ())
        if name not in before and is_unqualified_finalizer(name)
    ]


def check_scope(obj: Object, row: Resource, namespace: str) -> None:
    """Puts the request's namespace into the object, or refuses another one (400)."""
    metadata = obj.setdefault("metadata", {})
    if not row.namespaced:
        metadata.pop("namespace", None)
    elif not metadata.get("namespace"):
        metadata["namespace"] = namespace
    elif metadata["namespace"] != namespace:
        raise errors.bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )


def check_name(obj: Object, row: Resource, name: str, namespace: str) -> None:
    """Refuses (400) an object that is not the one that the path names."""
    given = (obj.get("metadata") or {}).get("name")
    check_scope(obj, row, namespace)
    if not given:
        raise errors.bad_request(
            f"the name of the object ({name} based on URL) was undeterminable: name must be provided"
        )
    if given != name:
        raise errors.bad_request(
            f"the name of the object ({given}) does not match the name on the URL ({name})"
        )
