"""The way from client-side `kubectl apply` to server-side: the annotation that the client kept its last object in.

Only for the manager "kubectl", as upstream (apimachinery `managedfields`, lastappliedmanager.go, lastappliedupdater.go);
any other name opts out.
"""

from __future__ import annotations

import json
from typing import Any

from tiphys.machinery.apply.fieldset import FieldSet, difference
from tiphys.machinery.apply.shapes import Shape
from tiphys.machinery.apply.typed import compare, fields_of
from tiphys.machinery.apply.validation import validate
from tiphys.machinery.quoting import go_json

ANNOTATION = "kubectl.kubernetes.io/last-applied-configuration"
MANAGER = "kubectl"
_ANNOTATIONS_LIMIT_BYTES = 256 << 10

Object = dict[str, Any]


def last_applied(obj: Object) -> str:
    annotations = obj["metadata"].get("annotations") or {}
    found: str = annotations.get(ANNOTATION) or ""
    return found


def unchanged_since(shape: Shape, live: Object) -> FieldSet:
    """What `kubectl apply` set last and nobody changed since: kubectl may take it over without being asked."""
    try:
        applied = json.loads(last_applied(live) or "null")
    except ValueError:
        return {}
    if not isinstance(applied, dict) or applied.get("apiVersion") != live.get("apiVersion"):
        return {}
    if validate(shape, applied):
        return {}
    found = compare(shape, applied, live)
    return difference(difference(fields_of(shape, applied), found.changed), found.removed)


def with_last_applied(obj: Object, applied: Object) -> Object:
    """The object with the annotation brought up to date, if it has one: a later client-side apply goes on from there."""
    if not last_applied(obj):
        return obj
    text = go_json(_without_annotation(applied)) + "\n"
    annotations = {**obj["metadata"]["annotations"], ANNOTATION: text}
    if sum(len(key.encode()) + len(value.encode()) for key, value in annotations.items()) > (
        _ANNOTATIONS_LIMIT_BYTES
    ):
        del annotations[ANNOTATION]
    if annotations == obj["metadata"]["annotations"]:
        return obj
    return {**obj, "metadata": {**obj["metadata"], "annotations": annotations}}


def _without_annotation(applied: Object) -> Object:
    metadata = applied.get("metadata") or {}
    annotations = metadata.get("annotations")
    if not annotations or ANNOTATION not in annotations:
        return applied
    left = {key: value for key, value in annotations.items() if key != ANNOTATION}
    return {**applied, "metadata": {**metadata, "annotations": left}}
