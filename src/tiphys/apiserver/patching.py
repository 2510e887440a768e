"""PATCH bodies: which of the patch formats it is, read once, applied as often as a conflict asks for."""

from __future__ import annotations

from collections.abc import Callable

from tiphys.api.resource import Object
from tiphys.api.types import schema_of
from tiphys.apiserver.bodies import content_type, parse_json
from tiphys.apiserver.call import Call
from tiphys.machinery import errors
from tiphys.machinery.patches.errors import PatchError, patch_status
from tiphys.machinery.patches.json_patch import apply_json_patch
from tiphys.machinery.patches.merge_patch import apply_merge_patch
from tiphys.machinery.patches.strategic import apply_strategic_patch

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
ACCEPTED = (JSON_PATCH, MERGE_PATCH, STRATEGIC)
Patch = Callable[[Object], Object]


def read_patch(call: Call) -> Patch:
    """The patch in a request as a function old → new. Raises 400 for a bad one, 415 for a format that is not served."""
    media = content_type(call)
    schema = schema_of(call.row).patch
    accepted = tuple(each for each in ACCEPTED if schema is not None or each != STRATEGIC)
    if media not in accepted:
        raise errors.unsupported_media_type(accepted)
    body = parse_json(call.request.body)
    if media == JSON_PATCH:
        return _guarded(lambda old: apply_json_patch(old, body))
    if not isinstance(body, dict):
        raise errors.bad_request("json: cannot unmarshal array into Go value of type map[string]interface {}")
    if media == MERGE_PATCH:
        return _guarded(lambda old: apply_merge_patch(old, body))
    assert schema is not None
    return _guarded(lambda old: apply_strategic_patch(old, body, schema))


def _guarded(patch: Patch) -> Patch:
    def apply(old: Object) -> Object:
        try:
            return patch(old)
        except PatchError as error:
            raise patch_status(error) from error
        except RecursionError:
            raise errors.bad_request("json: exceeded max depth") from None

    return apply
