"""PATCH bodies: which of the patch formats it is, read once, applied as often as a conflict asks for."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tiphys.api.resource import Object, Schema
from tiphys.api.types import schema_of
from tiphys.apiserver.bodies import canonical, content_type, expect_kind, parse_json, read_yaml
from tiphys.apiserver.call import Call
from tiphys.apiserver.options import IGNORE, STRICT, WARN, field_validation
from tiphys.apiserver.requests import query_bool
from tiphys.machinery import errors
from tiphys.machinery.apply import Target, apply
from tiphys.machinery.gvk import GroupKind, GroupVersionKind
from tiphys.machinery.patches.errors import PatchError, json_kind, patch_status
from tiphys.machinery.patches.json_patch import apply_json_patch
from tiphys.machinery.patches.merge_patch import apply_merge_patch
from tiphys.machinery.patches.strategic import apply_strategic_patch
from tiphys.machinery.quoting import go_json, go_print
from tiphys.machinery.schema import DecodeError
from tiphys.machinery.schema.checking import repeated_names

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"
_OPERATION = frozenset({"op", "path", "from", "value"})
_MISMATCH = re.compile(
    r"json: cannot unmarshal (\w+)(?: [^ ]+)? into Go (?:struct field [^ ]+|value) of type ([^ ]+)"
)
_GO_KINDS = {"array": "slice", "number": "int64", "object": "map"}
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
    call.note_body(body)
    if media != JSON_PATCH and not isinstance(body, dict):
        raise errors.bad_request("json: cannot unmarshal array into Go value of type map[string]interface {}")

    complaints = [] if field_validation(call) == IGNORE else _complaints(call.request.body, body, media)

    def change(old: Object) -> Object:
        owners = old["metadata"].get("managedFields")
        new = _patched(old, body, media, form)
        metadata = new.get("metadata") if isinstance(new, dict) else None
        untouched = owners and isinstance(metadata, dict) and metadata.get("managedFields") is owners
        if untouched and metadata is not None:  # then nobody need look at them again
            new = {**new, "metadata": {key: each for key, each in metadata.items() if each is not owners}}
        checked = _checked(call, new, form, complaints, body if media == STRATEGIC else None)
        if untouched:
            checked["metadata"]["managedFields"] = owners
        return checked

    return Patch(change)


def _complaints(source: bytes, body: Any, media: str) -> list[str]:
    """What a strict reader says about the patch itself."""
    found = repeated_names(source, body)
    if media != JSON_PATCH or not isinstance(body, list):
        return found
    for index, operation in enumerate(body):
        if isinstance(operation, dict):
            found += [f'unknown field "[{index}].{name}"' for name in operation if name not in _OPERATION]
    return [f"json patch {complaint}" for complaint in found]


def _checked(call: Call, new: Any, form: Form, complaints: list[str], strategic: Object | None) -> Object:
    """The object after a patch, in canonical form. Raises 422 in the words that upstream has for patches."""
    obj = expect_kind(new, form.kind)
    mode = field_validation(call)
    try:
        result = form.schema.check(obj)
    except DecodeError as error:
        detail = str(error) if strategic is None else _from_unstructured(str(error))
        raise _invalid_patch(obj, strategic, detail) from None
    if mode != IGNORE and (complaints or result.complaints):
        found = [*complaints, *result.complaints]
        if mode == STRICT:
            raise _invalid_patch(obj, strategic, f"strict decoding error: {', '.join(found)}")
        for complaint in found:
            call.warn(complaint)
    return canonical(result, obj, form.kind)


def _invalid_patch(patched: Object, strategic: Object | None, detail: str) -> errors.StatusError:
    """Upstream shows a strategic merge patch itself, of the others what they make of the object."""
    shown = go_json(patched) if strategic is None else go_print(strategic)
    return errors.invalid(
        GroupKind("", ""), "", [errors.FieldError.invalid(errors.Path("patch"), shown, detail)]
    )


def _from_unstructured(complaint: str) -> str:
    """A wrong type in the words of the converter that upstream sends strategic patches through."""
    match = _MISMATCH.fullmatch(complaint)
    if match is None:
        return complaint
    found, wanted = match.groups()
    kind = _GO_KINDS.get(found, found)
    if wanted.startswith("[]"):
        return f"cannot restore slice from {kind}"
    if wanted.startswith("map["):
        return f"cannot restore map from {kind}"
    return f"cannot restore struct from: {kind}" if "." in wanted else f"unrecognized type: {wanted}"


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
    call.note_body(applied)
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
