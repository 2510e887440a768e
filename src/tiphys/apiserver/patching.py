"""PATCH bodies: which of the patch formats it is, read once, applied as often as a conflict asks for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tiphys.api.resource import Object, Schema
from tiphys.api.types import schema_of
from tiphys.apiserver.bodies import check_fields, content_type, parse_json, read_yaml
from tiphys.apiserver.call import Call
from tiphys.apiserver.options import STRICT, WARN, field_validation
from tiphys.apiserver.requests import query_bool
from tiphys.machinery import errors
from tiphys.machinery.apply import Target, apply
from tiphys.machinery.gvk import GroupVersionKind
from tiphys.machinery.patches.errors import PatchError, json_kind, patch_status
from tiphys.machinery.patches.json_patch import apply_json_patch
from tiphys.machinery.patches.merge_patch import apply_merge_patch
from tiphys.machinery.patches.strategic import apply_strategic_patch
from tiphys.machinery.schema import DecodeError

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"
ACCEPTED = (JSON_PATCH, MERGE_PATCH, STRATEGIC, APPLY)


@dataclass(frozen=True, slots=True)
class Form:
    """What is patched: the object itself, or what a subresource shows of it."""

    kind: GroupVersionKind
    schema: Schema
    target: Target


@dataclass(frozen=True, slots=True)
class Patch:
    change: Callable[[Object], Object]
    """The object as it is (it may be changed in place) → as it shall be, checked."""
    create: Callable[[], Object] | None = None
    """What to make when there is no object yet: server-side apply only."""

    @property
    def applies(self) -> bool:
        """Server-side apply: what comes out says already who owns what."""
        return self.create is not None


def form_of(call: Call) -> Form:
    """The object that a path names."""
    row = call.row
    return Form(row.gvk, schema_of(row), call.server.writes.owners.target(row, call.info.subresource))


def read_patch(call: Call, form: Form) -> Patch:
    """The patch in a request. Raises 400 for a bad one, 415 for a format that is not served."""
    media = content_type(call)
    if media not in ACCEPTED or (media == STRATEGIC and form.schema.patch is None):
        raise errors.unsupported_media_type(
            tuple(each for each in ACCEPTED if form.schema.patch is not None or each != STRATEGIC)
        )
    if media == APPLY:
        return _read_apply(call, form)
    body = parse_json(call.request.body)
    if media != JSON_PATCH and not isinstance(body, dict):
        raise errors.bad_request("json: cannot unmarshal array into Go value of type map[string]interface {}")

    def change(old: Object) -> Object:
        owners = old["metadata"].get("managedFields")
        new = _patched(old, body, media, form)
        metadata = new.get("metadata") if isinstance(new, dict) else None
        if owners is None or not isinstance(metadata, dict) or metadata.get("managedFields") is not owners:
            return check_fields(call, new, form.kind, form.schema)
        # Untouched: nobody need look at them again.
        new["metadata"] = {name: value for name, value in metadata.items() if name != "managedFields"}
        checked = check_fields(call, new, form.kind, form.schema)
        checked["metadata"]["managedFields"] = owners
        return checked

    return Patch(change)


def _patched(old: Object, body: Any, media: str, form: Form) -> Object:
    try:
        if media == JSON_PATCH:
            patched: Object = apply_json_patch(old, body)
            return patched
        if media == MERGE_PATCH:
            return apply_merge_patch(old, body)
        return apply_strategic_patch(old, body, form.schema.patch)
    except PatchError as error:
        raise patch_status(error) from error
    except RecursionError:
        raise errors.bad_request("json: exceeded max depth") from None


# Server-side apply


def _read_apply(call: Call, form: Form) -> Patch:
    query = call.request.query
    manager, force = query["fieldManager"][0], query_bool(query, "force")
    applied, repeated = read_yaml(call.request.body)
    if applied is None:
        applied = {}
    if not isinstance(applied, dict):
        raise errors.bad_request(
            "error decoding YAML: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal "
            f"{json_kind(applied)} into Go value of type map[string]interface {{}}"
        )

    def change(live: Object | None) -> Object:
        new = apply(form.target, live, applied, manager, force=force, now=call.server.clock.now())
        if repeated:
            _complain(call, repeated)
        return new if new is live else _typed(form, new)

    return Patch(change, lambda: change(None))


def _complain(call: Call, repeated: list[str]) -> None:
    text = "\n  ".join(["error converting YAML to JSON: yaml: unmarshal errors:", *repeated])
    if field_validation(call) == STRICT:
        raise errors.bad_request(f"error strict decoding YAML: {text}")
    if field_validation(call) == WARN:
        call.warn(text)


def _typed(form: Form, obj: Object) -> Object:
    """An object after an apply in canonical form. Its owners are ours: nobody need look at them again."""
    metadata = obj["metadata"]
    owners = metadata.pop("managedFields", None)
    try:
        result = form.schema.check(obj)
    except DecodeError as error:
        name = f"{metadata.get('namespace') or ''}/{metadata.get('name') or ''}"
        version = form.kind.group_version
        # Upstream has no reason for it, hence 500.
        raise errors.StatusError(
            500,
            "",
            f"failed to convert new object ({name}; {form.kind}) to proper version ({version}): {error}",
        ) from None
    typed = result.object
    if owners is not None:
        typed["metadata"]["managedFields"] = owners
    return typed
