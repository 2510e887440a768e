"""Conversion by webhook: one ConversionReview for all objects of a request, and the checks of what comes back.

The messages are upstream's (apiextensions `conversion/webhook_converter.go`). A webhook may change anything but metadata, and of
that only labels and annotations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tiphys.api.resource import Object
from tiphys.apiserver.registry.metadata import validate_annotations, validate_labels
from tiphys.apiserver.webhooks.client import Caller, WebhookError
from tiphys.machinery.errors import FieldError, Path, StatusError
from tiphys.machinery.quoting import go_type, quote

REVIEW_VERSIONS = ("v1", "v1beta1")
TIMEOUT_SECONDS = 30.0
_GROUP = "apiextensions.k8s.io"


class WebhookConverter:
    """A `Converter` that asks the webhook of one definition."""

    def __init__(self, review_versions: Sequence[str], call: Caller, new_uid: Callable[[], str]) -> None:
        self._review_versions = review_versions
        self._call = call
        self._new_uid = new_uid

    async def convert(self, objects: Sequence[Object], api_version: str) -> list[Object]:
        sent = [_without_revision(obj) for obj in objects]
        try:
            converted = await self._ask(sent, api_version)
        except _Refused as error:
            raise StatusError(500, "", f"conversion webhook for {_kind(objects[0])} {error}") from None
        return [
            _checked(original, found, api_version, position, many=len(objects) > 1)
            for position, (original, found) in enumerate(zip(objects, converted, strict=True))
        ]

    async def _ask(self, objects: list[Object], api_version: str) -> list[Any]:
        version = next((each for each in self._review_versions if each in REVIEW_VERSIONS), None)
        if version is None:
            raise StatusError(500, "", "no supported conversion review versions")
        uid = self._new_uid()
        review = {
            "kind": "ConversionReview",
            "apiVersion": f"{_GROUP}/{version}",
            "request": {"uid": uid, "desiredAPIVersion": api_version, "objects": objects},
        }
        try:
            answer = await self._call(review, TIMEOUT_SECONDS)
            converted = _objects_of(answer, version, uid)
        except WebhookError as error:
            raise _Refused(f"failed: {error}") from None
        if len(converted) != len(objects):
            raise _Refused(f"returned {len(converted)} objects, expected {len(objects)}")
        return converted


class _Refused(Exception):
    """What stands behind "conversion webhook for <kind>"."""


def _kind(obj: Object) -> str:
    return f"{obj['apiVersion']}, Kind={obj['kind']}"


def _without_revision(obj: Object) -> Object:
    metadata = {name: value for name, value in obj["metadata"].items() if name != "resourceVersion"}
    return {**obj, "metadata": metadata}


def _objects_of(answer: Object, version: str, uid: str) -> list[Any]:
    """The objects of a ConversionReview that says that all went well. Raises WebhookError."""
    if version == "v1":
        group_version, kind = str(answer.get("apiVersion") or ""), str(answer.get("kind") or "")
        if (group_version, kind) != (f"{_GROUP}/v1", "ConversionReview"):
            raise WebhookError(
                f"expected webhook response of {_GROUP}/v1, Kind=ConversionReview, got {group_version}, Kind={kind}"
            )
    response = answer.get("response")
    if not isinstance(response, dict):
        raise WebhookError("no response provided")
    if version == "v1" and response.get("uid", "") != uid:
        raise WebhookError(f"expected response.uid={quote(uid)}, got {quote(str(response.get('uid', '')))}")
    result = response.get("result")
    result = result if isinstance(result, dict) else {}
    if result.get("status") != "Success":
        raise WebhookError(
            result.get("message") or f"response.result.status was '{result.get('status', '')}', not 'Success'"
        )
    converted = response.get("convertedObjects")
    return converted if isinstance(converted, list) else []


def _checked(original: Object, found: Any, api_version: str, position: int, *, many: bool) -> Object:
    """A converted object with the metadata of the original. Raises 500 for one that cannot be it."""
    where = f"converted object at index {position}" if many else "object at index 0"
    problem = _type_problem(original, found, api_version)
    if not problem:
        where = f"converted object at index {position}" if many else "object"
        problem = _identity_problem(original["metadata"], found.get("metadata"))
    if not problem:
        where = f"metadata in object at index {position}" if many else "metadata"
        problem = _metadata_problem(original["metadata"], found)
    if problem:
        text = f"conversion webhook for {_kind(original)} returned invalid {where}: {problem}"
        raise StatusError(500, "", text)
    return {**found, "metadata": _restored(original["metadata"], found["metadata"])}


def _type_problem(original: Object, found: Any, api_version: str) -> str:
    if not isinstance(found, dict):
        return f"not an object but {go_type(found)}"
    got = found.get("apiVersion") or ""
    if got != api_version:
        return f"invalid groupVersion (expected {api_version}, received {got})"
    kind = found.get("kind") or ""
    return "" if kind == original["kind"] else f"invalid kind (expected {original['kind']}, received {kind})"


def _identity_problem(original: Mapping[str, Any], metadata: Any) -> str:
    for field, name in (("name", "name"), ("namespace", "namespace"), ("uid", "UID")):
        before = original.get(field, "")
        after = metadata.get(field, "") if isinstance(metadata, dict) else ""
        if before != after:
            return f"must have the same {name}: {before} != {after}"
    return ""


def _restored(original: Mapping[str, Any], converted: Mapping[str, Any]) -> Object:
    metadata = {name: value for name, value in original.items() if name not in ("labels", "annotations")}
    for field in ("labels", "annotations"):
        if converted.get(field) is not None:
            metadata[field] = converted[field]
    return metadata


def _metadata_problem(original: Mapping[str, Any], found: Object) -> str:
    if "metadata" not in found:
        return "missing metadata in converted object"
    metadata = found["metadata"]
    if not isinstance(metadata, dict):
        return f"invalid metadata of type {go_type(metadata)} in converted object"
    for field in ("labels", "annotations"):
        values = metadata.get(field)
        if values is None:
            continue
        if not isinstance(values, dict):
            return f"invalid metadata.{field} of type {go_type(values)} in converted object"
        for key, value in values.items():
            if not isinstance(value, str):
                return (
                    f"metadata.{field}[{key}] must be a string, but is {go_type(value)} in converted object"
                )
        if values != (original.get(field) or {}):
            errors = _validate(field, values)
            if errors:
                return _aggregate(errors)
    return ""


def _validate(field: str, values: dict[str, str]) -> list[FieldError]:
    if field == "labels":
        return validate_labels(values, Path("metadata", "labels"))
    return validate_annotations(values, Path("metadata", "annotation"))


def _aggregate(errors: Sequence[FieldError]) -> str:
    texts = list(dict.fromkeys(str(error) for error in errors))
    return texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
