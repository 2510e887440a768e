"""PATCH bodies: which of the patch formats it is, read once, applied as often as a conflict asks for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tiphys.api.resource import Object
from tiphys.api.types import schema_of
from tiphys.apiserver.bodies import content_type, expect_kind, parse_json, read_yaml
from tiphys.apiserver.call import Call
from tiphys.apiserver.options import IGNORE, STRICT, WARN, field_validation
from tiphys.apiserver.patch_results import Form, Said, applied_object, patched
from tiphys.apiserver.requests import query_bool
from tiphys.machinery import errors
from tiphys.machinery.apply import apply
from tiphys.machinery.frozen import frozen
from tiphys.machinery.patches.errors import PatchError, json_kind, patch_status
from tiphys.machinery.patches.json_patch import apply_json_patch
from tiphys.machinery.patches.merge_patch import apply_merge_patch
from tiphys.machinery.patches.strategic import apply_strategic_patch
from tiphys.machinery.schema.checking import repeated_names

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"
_OPERATION = frozenset({"op", "path", "from", "value"})
ACCEPTED = (JSON_PATCH, MERGE_PATCH, STRATEGIC, APPLY)


@frozen
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
    doing = "" if media == STRATEGIC else "error decoding patch: "
    body = parse_json(call.request.body, doing=doing)
    call.note_body(body)
    if media != JSON_PATCH and not isinstance(body, dict):
        raise errors.bad_request(
            f"{doing}json: cannot unmarshal {json_kind(body)} into Go value of type map[string]interface {{}}"
        )
    complaints = [] if field_validation(call) == IGNORE else _complaints(call.request.body, body, media)
    said = Said(complaints, body if media == STRATEGIC else None)

    def change(old: Object) -> Object:
        new = expect_kind(_patched(old, body, media, form), form.kind)
        return patched(call, form, (old, new), said)

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


def _patched(old: Object, body: Any, media: str, form: Form) -> Object:
    try:
        if media == JSON_PATCH:
            found: Object = apply_json_patch(old, body)
            return found
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
        return new if new is live else applied_object(form, live, new)

    return Patch(change, lambda: change(None))


def _complain(call: Call, repeated: list[str]) -> None:
    text = "\n  ".join(["error converting YAML to JSON: yaml: unmarshal errors:", *repeated])
    if field_validation(call) == STRICT:
        raise errors.bad_request(f"error strict decoding YAML: {text}")
    if field_validation(call) == WARN:
        call.warn(text)
