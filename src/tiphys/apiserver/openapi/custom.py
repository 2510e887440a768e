"""Definitions of custom resources, made from the schema that their CustomResourceDefinition gives.

As upstream's apiextensions `controller/openapi/builder`: the fields that every object has are added, and v2 leaves out what
kubectl's old validation does not understand.
"""

from __future__ import annotations

from typing import Any

from tiphys.api.resource import Resource
from tiphys.apiserver.openapi.operations import custom_name

Schema = dict[str, Any]

_CONVENTIONS = "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md"
_META = "io.k8s.apimachinery.pkg.apis.meta.v1."
_EMBEDDED = "x-kubernetes-embedded-resource"
_PRESERVED = "x-kubernetes-preserve-unknown-fields"
_INT_OR_STRING = "x-kubernetes-int-or-string"
_INNER = ("additionalProperties", "items")
_NOT_IN_V2 = ("allOf", "anyOf", "oneOf", "not", "nullable", "default", "x-kubernetes-validations")


def definitions(row: Resource, *, is_v3: bool) -> dict[str, Schema]:
    """The definitions of a kind and of its list."""
    prefix = "#/components/schemas/" if is_v3 else "#/definitions/"
    assert row.schema is not None
    name, list_name = custom_name(row), custom_name(row, row.list_kind)
    given = row.schema.openapi
    schema: Schema = {"type": "object"}
    # kubectl would forbid every field that a schema does not name: so a kind that keeps unknown fields shows none in v2.
    if given is not None and (is_v3 or not given.get(_PRESERVED)):
        schema = _complete(given if is_v3 else _for_v2(given), prefix, is_v3=is_v3, whole=True)
    return {
        name: {**schema, "x-kubernetes-group-version-kind": [_kind(row, row.kind)]},
        list_name: {
            "description": f"{row.list_kind} is a list of {row.kind}",
            "type": "object",
            "required": ["items"],
            "properties": {
                **_TYPE_META,
                "items": {
                    "description": f"List of {row.plural}. More info: {_CONVENTIONS}",
                    "type": "array",
                    "items": {"$ref": prefix + name},
                },
                "metadata": _reference(
                    f"{prefix}{_META}ListMeta",
                    f"Standard list metadata. More info: {_CONVENTIONS}#types-kinds",
                    is_v3=is_v3,
                ),
            },
            "x-kubernetes-group-version-kind": [_kind(row, row.list_kind)],
        },
    }


def _kind(row: Resource, kind: str) -> dict[str, str]:
    return {"group": row.group, "version": row.version, "kind": kind}


_TYPE_META: Schema = {
    "apiVersion": {
        "description": (
            "The version of the schema that this representation has. Servers take old ones and answer in their own, and may "
            f"refuse what they do not know. More info: {_CONVENTIONS}#resources"
        ),
        "type": "string",
    },
    "kind": {
        "description": (
            "The REST resource that this object is one of. Servers may know it from the path; it cannot be changed. "
            f"In CamelCase. More info: {_CONVENTIONS}#types-kinds"
        ),
        "type": "string",
    },
}


def _reference(target: str, description: str, *, is_v3: bool) -> Schema:
    """A reference with something beside it: v3 has room for that in an allOf only."""
    reference = {"$ref": target}
    return {"description": description, **({"allOf": [reference]} if is_v3 else reference)}


def _complete(schema: Schema, prefix: str, *, is_v3: bool, whole: bool = False) -> Schema:
    """The schema with the fields of an object, where there is one: at the root, and where one is embedded."""
    found = dict(schema)
    for name in _INNER:
        if isinstance(found.get(name), dict):
            found[name] = _complete(found[name], prefix, is_v3=is_v3)
    properties: Schema = {
        name: _complete(each, prefix, is_v3=is_v3) for name, each in (found.get("properties") or {}).items()
    }
    if whole or found.get(_EMBEDDED):
        properties |= _TYPE_META
        about = f"Standard object's metadata. More info: {_CONVENTIONS}#metadata"
        properties["metadata"] = _reference(f"{prefix}{_META}ObjectMeta", about, is_v3=is_v3)
        if found.get(_EMBEDDED):
            found["required"] = sorted({*(found.get("required") or ()), "apiVersion", "kind"})
    if properties:
        found["properties"] = properties
    return found


def _for_v2(schema: Schema) -> Schema:
    """Without what v2 cannot say: alternatives, nulls, and the types of values that may have several."""
    found = {name: value for name, value in schema.items() if name not in _NOT_IN_V2}
    if schema.get(_PRESERVED):
        for name in ("items", "properties", "additionalProperties"):
            found.pop(name, None)
    if schema.get(_INT_OR_STRING) or schema.get("nullable"):
        for name in ("type", "items", "properties", "additionalProperties"):
            found.pop(name, None)
    for name in _INNER:
        if isinstance(found.get(name), dict):
            found[name] = _for_v2(found[name])
    if "properties" in found:
        found["properties"] = {name: _for_v2(each) for name, each in found["properties"].items()}
    return found
