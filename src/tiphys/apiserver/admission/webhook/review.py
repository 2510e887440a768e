"""AdmissionReview: what a webhook is asked, and which of its answers count. Pure.

The words of refusals are upstream's (`plugin/webhook/request`, `plugin/webhook/errors`).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any

import orjson

from tiphys.api.resource import Object
from tiphys.api.types import schema_named
from tiphys.machinery.errors import StatusError
from tiphys.machinery.frozen import frozen
from tiphys.machinery.quoting import quote
from tiphys.machinery.schema import DecodeError

GROUP = "admission.k8s.io"
KIND = "AdmissionReview"
_V1 = "v1"
_REVIEW_VERSIONS = (_V1, "v1beta1")
JSON_PATCH = "JSONPatch"
_FAILURE = "Failure"


class BadAnswer(Exception):
    """An answer that is none. The text stands behind "failed calling webhook …"."""


@frozen
class Verdict:
    """What a webhook decided."""

    allowed: bool
    status: Object = field(default_factory=dict)
    patch: Sequence[Any] = ()
    patch_type: str = ""
    warnings: Sequence[str] = ()
    annotations: Mapping[str, str] = field(default_factory=dict)


def review_of(versions: Sequence[str], request: Object) -> Object:
    """The review in the first version that both know. BadAnswer: there is none."""
    for version in versions:
        if version in _REVIEW_VERSIONS:
            return {"kind": KIND, "apiVersion": f"{GROUP}/{version}", "request": request}
    raise BadAnswer(
        "could not create admission objects: webhook does not accept known AdmissionReview versions (v1, v1beta1)"
    )


def read_answer(review: Object, answer: Object, *, mutating: bool) -> Verdict:
    """The decision in an answer to a review. Raises BadAnswer."""
    try:
        checked = schema_named("admission/v1.AdmissionReview").check(answer).object
    except DecodeError as error:
        raise BadAnswer(f"failed to call webhook: {error}") from None
    response = checked.get("response")
    if response is None:
        raise _invalid("webhook response was absent")
    strict = review["apiVersion"] == f"{GROUP}/{_V1}"
    if strict:
        _check_identity(review["request"]["uid"], answer, response)
        _check_patch(response, mutating=mutating)
    patch = _patch(response) if mutating else b""
    return Verdict(
        allowed=bool(response.get("allowed")),
        status=response.get("status") or {},
        patch=_operations(patch) if patch and response.get("allowed") else (),
        patch_type=(response.get("patchType") if strict else JSON_PATCH) or "",
        warnings=response.get("warnings") or (),
        annotations=response.get("auditAnnotations") or {},
    )


def _invalid(problem: str) -> BadAnswer:
    return BadAnswer(f"received invalid webhook response: {problem}")


def _check_identity(uid: str, answer: Object, response: Object) -> None:
    given = response.get("uid") or ""
    if given != uid:
        raise _invalid(f"expected response.uid={quote(uid)}, got {quote(given)}")
    group, _, version = str(answer.get("apiVersion") or "").rpartition("/")
    if (group, version, answer.get("kind")) != (GROUP, _V1, KIND):
        got = f"{group}/{version}, Kind={answer.get('kind') or ''}"
        raise _invalid(f"expected webhook response of {GROUP}/{_V1}, Kind={KIND}, got {got}")


def _check_patch(response: Object, *, mutating: bool) -> None:
    patch, kind = response.get("patch"), response.get("patchType")
    if not mutating:
        if patch:
            raise _invalid("validating webhook may not return response.patch")
        if kind is not None:
            raise _invalid("validating webhook may not return response.patchType")
    elif patch and kind is None:
        raise _invalid("webhook returned response.patch but not response.patchType")
    elif not patch and kind is not None:
        raise _invalid("webhook returned response.patchType but not response.patch")
    elif kind == "":
        raise _invalid('webhook returned invalid response.patchType of ""')


def _patch(response: Object) -> bytes:
    try:
        return base64.b64decode(response.get("patch") or "", validate=True)
    except (binascii.Error, ValueError):
        raise BadAnswer("failed to call webhook: illegal base64 data in response.patch") from None


def _operations(patch: bytes) -> Sequence[Any]:
    try:
        found = orjson.loads(patch)
    except orjson.JSONDecodeError as error:
        raise BadAnswer(f"received undecodable patch in webhook response: {error}") from None
    if found is None:
        return ()
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise BadAnswer(
            "received undecodable patch in webhook response: json: cannot unmarshal into Go value of type jsonpatch.Patch"
        )
    return found


def denial(name: str, status: Object) -> StatusError:
    """The refusal that the client gets: the webhook's own status, but never a success."""
    by = f"admission webhook {quote(name)} denied the request"
    reason = str(status.get("reason") or "")
    said = status.get("message") or reason
    code = status.get("code") or 0
    return StatusError(
        code if code >= 400 else 400,
        reason,
        f"{by}: {said}" if said else f"{by} without explanation",
        status.get("details"),
    )
