"""What clients are told about types: OpenAPI v2 definitions and v3 schemas, made from the model.

kubectl explains, validates and prints by them. The form is upstream's (kube-openapi): one definition per struct, lists and maps by
`x-kubernetes-*` extensions. In v3 a reference with anything beside it stands in an `allOf`, and a field that Go always writes
has its zero as `default`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tiphys.machinery.frozen import frozen
from tiphys.machinery.schema.model import (
    Field,
    ListOf,
    MapOf,
    Scalar,
    ScalarKind,
    Struct,
    Type,
    Union,
    struct_of,
)

Schema = dict[str, Any]

_APIMACHINERY = "io.k8s.apimachinery.pkg"
_PLAIN: Mapping[ScalarKind, Schema] = {
    ScalarKind.STRING: {"type": "string"},
    ScalarKind.BOOL: {"type": "boolean"},
    ScalarKind.INT32: {"type": "integer", "format": "int32"},
    ScalarKind.INT64: {"type": "integer", "format": "int64"},
    ScalarKind.DOUBLE: {"type": "number", "format": "double"},
    ScalarKind.BYTES: {"type": "string", "format": "byte"},
}
_ZEROS: Mapping[ScalarKind, Any] = {
    ScalarKind.STRING: "",
    ScalarKind.BOOL: False,
    ScalarKind.INT32: 0,
    ScalarKind.INT64: 0,
    ScalarKind.DOUBLE: 0,
}
_NAMED: Mapping[ScalarKind, str] = {
    ScalarKind.QUANTITY: f"{_APIMACHINERY}.api.resource.Quantity",
    ScalarKind.TIME: f"{_APIMACHINERY}.apis.meta.v1.Time",
    ScalarKind.MICROTIME: f"{_APIMACHINERY}.apis.meta.v1.MicroTime",
    ScalarKind.INT_OR_STRING: f"{_APIMACHINERY}.util.intstr.IntOrString",
    ScalarKind.RAW: f"{_APIMACHINERY}.runtime.RawExtension",
    ScalarKind.FIELDS: f"{_APIMACHINERY}.apis.meta.v1.FieldsV1",
    ScalarKind.JSON: "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON",
}
"""Scalars that are definitions of their own."""
_NAMED_V2: Mapping[ScalarKind, Schema] = {
    ScalarKind.QUANTITY: {"type": "string"},
    ScalarKind.TIME: {"type": "string", "format": "date-time"},
    ScalarKind.MICROTIME: {"type": "string", "format": "date-time"},
    ScalarKind.INT_OR_STRING: {"type": "string", "format": "int-or-string"},
    ScalarKind.RAW: {"type": "object"},
    ScalarKind.FIELDS: {"type": "object"},
    ScalarKind.JSON: {},
}
_NAMED_V3: Mapping[ScalarKind, Schema] = {
    **_NAMED_V2,
    ScalarKind.QUANTITY: {"oneOf": [{"type": "string"}, {"type": "number"}]},
    ScalarKind.INT_OR_STRING: {
        "format": "int-or-string",
        "oneOf": [{"type": "integer"}, {"type": "string"}],
    },
}


@frozen
class Naming:
    """What the model does not know: what a struct is called outside, and which kinds it is the body of."""

    definition: Callable[[str], str]
    """"core/v1.Pod" → "io.k8s.api.core.v1.Pod"."""
    kinds: Callable[[Struct], list[dict[str, str]]]
    """`{"group": …, "version": …, "kind": …}`, none for what is no object."""


def definitions_v2(structs: Iterable[Struct], naming: Naming) -> dict[str, Schema]:
    """Name → definition, of the structs and of all that they refer to, for `definitions` of a v2 document."""
    return _Writer(naming, "#/definitions/", is_v3=False).write_all(structs)


def schemas_v3(structs: Iterable[Struct], naming: Naming) -> dict[str, Schema]:
    """Name → schema, of the structs and of all that they refer to, for `components.schemas` of a v3 document."""
    return _Writer(naming, "#/components/schemas/", is_v3=True).write_all(structs)


class _Writer:
    """Writes definitions until nothing is referred to that is not written."""

    def __init__(self, naming: Naming, prefix: str, *, is_v3: bool) -> None:
        self._naming = naming
        self._prefix = prefix
        self._is_v3 = is_v3
        self._waiting: list[Struct] = []
        self._definitions: dict[str, Schema] = {}

    def write_all(self, structs: Iterable[Struct]) -> dict[str, Schema]:
        self._waiting = list(structs)
        while self._waiting:
            struct = self._waiting.pop()
            name = self._naming.definition(struct.name)
            if name not in self._definitions:
                self._definitions[name] = self._struct(struct)
        return dict(sorted(self._definitions.items()))

    def _struct(self, struct: Struct) -> Schema:
        described = {"description": struct.description} if struct.description else {}
        if struct.is_any:
            return described
        schema: Schema = {**described, "type": "object"}
        fields = sorted(struct.fields.items())
        if fields:
            schema["properties"] = {name: self._field(field) for name, field in fields}
        required = [name for name, field in struct.fields.items() if field.required]
        if required:
            schema["required"] = required
        kinds = self._naming.kinds(struct)
        if kinds:
            schema["x-kubernetes-group-version-kind"] = kinds
        if struct.map_type:
            schema["x-kubernetes-map-type"] = struct.map_type
        if struct.unions:
            schema["x-kubernetes-unions"] = [_union(each) for each in struct.unions]
        return schema

    def _field(self, field: Field) -> Schema:
        beside = _extensions(field)
        if field.description:
            beside["description"] = field.description
        if self._is_v3 and (field.required or field.always) and not field.pointer:
            beside.update(_default(field.type))
        return self._beside(self._type(field.type), beside)

    def _beside(self, schema: Schema, beside: Schema) -> Schema:
        """A schema with more keywords; v3 knows none beside a reference."""
        if self._is_v3 and beside and "$ref" in schema:
            return {"allOf": [schema], **beside}
        return {**schema, **beside}

    def _type(self, type_: Type) -> Schema:
        if isinstance(type_, ListOf):
            return {"type": "array", "items": self._element(type_.item)}
        if isinstance(type_, MapOf):
            return {"type": "object", "additionalProperties": self._element(type_.value)}
        if isinstance(type_, Scalar):
            return self._scalar(type_)
        struct = struct_of(type_)
        assert struct is not None
        self._waiting.append(struct)
        return {"$ref": self._prefix + self._naming.definition(struct.name)}

    def _element(self, type_: Type) -> Schema:
        default = _default(type_) or ({"default": {}} if struct_of(type_) is not None else {})
        return self._beside(self._type(type_), default if self._is_v3 else {})

    def _scalar(self, scalar: Scalar) -> Schema:
        name = _NAMED.get(scalar.kind)
        if name is None:
            return dict(_PLAIN[scalar.kind])
        self._definitions[name] = dict((_NAMED_V3 if self._is_v3 else _NAMED_V2)[scalar.kind])
        return {"$ref": self._prefix + name}


def _default(type_: Type) -> Schema:
    if isinstance(type_, Scalar) and type_.kind in _ZEROS:
        return {"default": _ZEROS[type_.kind]}
    return {}


def _extensions(field: Field) -> Schema:
    found: Schema = {}
    if field.map_keys:
        found["x-kubernetes-list-map-keys"] = list(field.map_keys)
    if field.list_type:
        found["x-kubernetes-list-type"] = field.list_type
    if field.map_type:
        found["x-kubernetes-map-type"] = field.map_type
    if field.merge_key:
        found["x-kubernetes-patch-merge-key"] = field.merge_key
    if field.patch_strategies:
        found["x-kubernetes-patch-strategy"] = ",".join(field.patch_strategies)
    return found


def _union(union: Union) -> Schema:
    discriminated = {"fields-to-discriminateBy": dict(union.members)}
    return {"discriminator": union.discriminator, **discriminated} if union.discriminator else discriminated
