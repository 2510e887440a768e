"""The shape of a custom resource, from the schema in its CustomResourceDefinition.

`x-kubernetes-list-type`, `-list-map-keys` and `-map-type` say how lists and maps are owned; a list without a type is
atomic, whatever a schema does not describe is deduced from the values that are there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tiphys.machinery.apply.shapes import (
    ANYTHING,
    DEDUCED,
    Atomic,
    FieldShape,
    Form,
    Granular,
    KeyedList,
    Shape,
    ValueSet,
)

Schema = Mapping[str, Any]

_FORMS = {"boolean": Form.BOOLEAN, "integer": Form.NUMERIC, "number": Form.NUMERIC}
_STRING_FORMATS = ("", "byte")
"""Strings of any other format are not looked at: a date may come as something else."""


def shape_of_schema(schema: Schema | None, metadata: Shape) -> Granular:
    """The shape of a whole object. `metadata` is that of ObjectMeta. None: a resource without a schema."""
    if schema is None:
        schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return _object(schema, metadata, is_resource=True)


def _object(schema: Schema, metadata: Shape, *, is_resource: bool) -> Granular:
    properties: Schema = schema.get("properties") or {}

    def fields() -> dict[str, FieldShape]:
        found = {name: FieldShape.of(name, _shape(each, metadata)) for name, each in properties.items()}
        if is_resource:
            for name in ("apiVersion", "kind"):
                found[name] = FieldShape.of(name, Atomic(Form.STRING))
            found["metadata"] = FieldShape.of("metadata", metadata, standing=True)
        return found

    more = schema.get("additionalProperties")
    if isinstance(more, Mapping):
        return Granular(fields, lambda: _shape(more, metadata))
    is_open = schema.get("x-kubernetes-preserve-unknown-fields") or more is True or not properties
    return Granular(fields, (lambda: DEDUCED) if is_open else None)


def _shape(schema: Schema, metadata: Shape) -> Shape:
    kind = schema.get("type")
    if schema.get("x-kubernetes-int-or-string"):
        return ANYTHING
    if kind == "object":
        shape = _object(schema, metadata, is_resource=bool(schema.get("x-kubernetes-embedded-resource")))
        return Atomic(Form.MAP, lambda: shape) if schema.get("x-kubernetes-map-type") == "atomic" else shape
    if kind == "array":
        return _list(schema, metadata)
    if kind == "string":
        return Atomic(Form.STRING) if schema.get("format", "") in _STRING_FORMATS else ANYTHING
    return Atomic(_FORMS[kind]) if kind in _FORMS else DEDUCED


def _list(schema: Schema, metadata: Shape) -> Shape:
    items: Schema = schema.get("items") or {}
    list_type = schema.get("x-kubernetes-list-type")
    if list_type == "map":
        keys = tuple(schema.get("x-kubernetes-list-map-keys") or ())
        properties = items.get("properties") or {}
        defaults = {
            name: properties[name]["default"] for name in keys if "default" in properties.get(name, {})
        }
        return KeyedList(keys, lambda: _shape(items, metadata), defaults)
    item = _shape(items, metadata)
    if list_type == "set":
        return ValueSet(item if isinstance(item, Atomic) else ANYTHING)
    return Atomic(Form.LIST, lambda: item)
