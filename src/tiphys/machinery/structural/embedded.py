"""Whole resources inside of a custom resource (`x-kubernetes-embedded-resource`): their kind, version and metadata.

Upstream's `schema/objectmeta/validation.go`, and apimachinery's `ValidateObjectMeta` as far as it applies.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tiphys.machinery import names
from tiphys.machinery.errors import FieldError, Path
from tiphys.machinery.gvk import parse_api_version
from tiphys.machinery.structural.correlation import Schema
from tiphys.machinery.structural.pruning import is_embedded, item_schema, properties_of

Errors = list[FieldError]

_ANNOTATIONS_LIMIT_BYTES = 256 << 10
_STANDARD_FINALIZERS = frozenset({"orphan", "foregroundDeletion", "kubernetes"})


class Embedded:
    """The places of a schema where whole resources are, and the ways there."""

    __slots__ = ("fields", "here", "items", "more")

    def __init__(self, schema: Schema) -> None:
        self.here = is_embedded(schema)
        self.fields: dict[str, Embedded] = {}
        for name, each in properties_of(schema).items():
            if (below := embedded_in(each)) is not None:
                self.fields[name] = below
        more, items = schema.get("additionalProperties"), item_schema(schema)
        self.more = embedded_in(more) if isinstance(more, Mapping) else None
        self.items = None if items is None else embedded_in(items)

    def is_empty(self) -> bool:
        return not (self.here or self.fields or self.more or self.items)

    def errors(self, value: Any, path: Path) -> Errors:
        found: Errors = []
        if isinstance(value, dict):
            if self.here:
                found += resource_errors(value, path)
            for name, below in self.fields.items():
                if name in value:
                    found += below.errors(value[name], path.child(name))
            if self.more is not None:
                for name, item in value.items():
                    found += self.more.errors(item, path.key(name))
        elif isinstance(value, list) and self.items is not None:
            for position, item in enumerate(value):
                found += self.items.errors(item, path.index(position))
        return found


def embedded_in(schema: Schema) -> Embedded | None:
    """None: no resources are embedded."""
    found = Embedded(schema)
    return None if found.is_empty() else found


def resource_errors(value: Mapping[str, Any], path: Path) -> Errors:
    errors = _api_version(value, path.child("apiVersion")) + _kind(value, path.child("kind"))
    metadata = value.get("metadata")
    return errors + metadata_errors(metadata, path.child("metadata")) if metadata else errors


def _api_version(value: Mapping[str, Any], path: Path) -> Errors:
    text = value.get("apiVersion", "")
    if not isinstance(text, str):
        return [FieldError.invalid(path, text, "must be a string")]
    if not text:
        return [FieldError.required(path)]
    try:
        parse_api_version(text)
    except ValueError as error:
        return [FieldError.invalid(path, text, str(error))]
    return []


def _kind(value: Mapping[str, Any], path: Path) -> Errors:
    text = value.get("kind", "")
    if not isinstance(text, str):
        return [FieldError.invalid(path, text, "must be a string")]
    if not text:
        return [FieldError.required(path)]
    faults = names.dns1035_label(text.lower())
    detail = f"may have mixed case, but should otherwise match: {','.join(faults)}"
    return [FieldError.invalid(path, text, detail)] if faults else []


def metadata_errors(metadata: Mapping[str, Any], path: Path) -> Errors:
    """An ObjectMeta that may be without a name."""
    errors: Errors = []
    if generate := metadata.get("generateName"):
        for fault in names.path_segment_name(generate, prefix=True):
            errors.append(FieldError.invalid(path.child("generateName"), generate, fault))
    if name := metadata.get("name"):
        errors += [
            FieldError.invalid(path.child("name"), name, each) for each in names.path_segment_name(name)
        ]
    if space := metadata.get("namespace"):
        faults = names.dns1123_label(space)
        errors += [FieldError.invalid(path.child("namespace"), space, each) for each in faults]
    if (generation := metadata.get("generation") or 0) < 0:
        detail = "must be greater than or equal to 0"
        errors.append(FieldError.invalid(path.child("generation"), generation, detail))
    errors += _labels(metadata.get("labels") or {}, path.child("labels"))
    errors += _annotations(metadata.get("annotations") or {}, path.child("annotations"))
    errors += _owners(metadata.get("ownerReferences") or [], path.child("ownerReferences"))
    return errors + _finalizers(metadata.get("finalizers") or [], path.child("finalizers"))


def _labels(labels: Mapping[str, str], path: Path) -> Errors:
    errors: Errors = []
    for key, value in labels.items():
        errors += [FieldError.invalid(path, key, fault) for fault in names.qualified_name(key)]
        errors += [FieldError.invalid(path, value, fault) for fault in names.label_value(value)]
    return errors


def _annotations(annotations: Mapping[str, str], path: Path) -> Errors:
    errors: Errors = []
    size = 0
    for key, value in annotations.items():
        errors += [FieldError.invalid(path, key, fault) for fault in names.qualified_name(key.lower())]
        size += len(key.encode()) + len(value.encode())
    if size > _ANNOTATIONS_LIMIT_BYTES:
        errors.append(FieldError.too_long(path, _ANNOTATIONS_LIMIT_BYTES))
    return errors


def _owners(owners: list[Mapping[str, Any]], path: Path) -> Errors:
    errors: Errors = []
    for position, owner in enumerate(owners):
        for field in ("apiVersion", "kind", "name", "uid"):
            if not owner.get(field):
                what = "version" if field == "apiVersion" else field
                here = path.index(position).child(field)
                errors.append(FieldError.invalid(here, owner.get(field, ""), f"{what} must not be empty"))
    return errors


def _finalizers(finalizers: list[str], path: Path) -> Errors:
    errors: Errors = []
    for item in finalizers:
        errors += [FieldError.invalid(path, item, fault) for fault in names.qualified_name(item)]
        if "/" not in item and item not in _STANDARD_FINALIZERS:
            detail = "name is neither a standard finalizer name nor is it fully qualified"
            errors.append(FieldError.invalid(path, item, detail))
    return errors
