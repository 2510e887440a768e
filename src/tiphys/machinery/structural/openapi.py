"""What `/openapi/v2` and `/openapi/v3` publish of a custom resource's schema.

Upstream's `controller/openapi/builder` and `v2/conversion.go`. Version 2 drops what kubectl cannot cope with: junctors,
types of what may be null, fields of what keeps unknown ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from tiphys.machinery.errors import Path
from tiphys.machinery.gvk import GroupVersionKind
from tiphys.machinery.structural.correlation import Schema
from tiphys.machinery.structural.structurality import structural_errors, unsupported

Published = dict[str, Any]
Version = Literal["v2", "v3"]

_OBJECT_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
_PREFIXES = {"v2": "#/definitions/", "v3": "#/components/schemas/"}
_META_DESCRIPTION = (
    "Standard object's metadata. More info: "
    "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata"
)
_API_VERSION = (
    "APIVersion defines the versioned schema of this representation of an object. Servers should convert recognized "
    "schemas to the latest internal value, and may reject unrecognized values. More info: "
    "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#resources"
)
_KIND = (
    "Kind is a string value representing the REST resource this object represents. Servers may infer this from the "
    "endpoint the client submits requests to. Cannot be updated. In CamelCase. More info: "
    "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds"
)
_EMBEDDED_API_VERSION = (
    "apiVersion defines the versioned schema of this representation of an object. More info: "
    "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#resources"
)
_EMBEDDED_KIND = (
    "kind is a string value representing the type of this object. In CamelCase. More info: "
    "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds"
)
_INT_OR_STRING: list[Published] = [{"type": "integer"}, {"type": "string"}]
_JUNCTORS = ("allOf", "oneOf", "anyOf", "not")
# Upstream's structural schema has no room for these.
_LOST = ("example", "$schema", "id")


def openapi(
    schema: Schema | None, *, version: Version, gvk: GroupVersionKind, preserve_unknown_fields: bool = False
) -> Published:
    """The schema of one kind. One that is not structural is published as an object of which nothing is known."""
    known = schema is not None and not unsupported(schema) and not structural_errors(schema, Path())
    loose = preserve_unknown_fields or bool((schema or {}).get("x-kubernetes-preserve-unknown-fields"))
    if schema is None or not known or (version == "v2" and loose):
        made: Published = {"type": "object"}
    else:
        made = _publish(schema, version)
        properties = made.setdefault("properties", {})
        properties["metadata"] = _metadata(version)
        properties["apiVersion"] = {"description": _API_VERSION, "type": "string"}
        properties["kind"] = {"description": _KIND, "type": "string"}
    made["x-kubernetes-group-version-kind"] = [{"group": gvk.group, "kind": gvk.kind, "version": gvk.version}]
    return made


def _metadata(version: Version) -> Published:
    reference = {"$ref": f"{_PREFIXES[version]}{_OBJECT_META}"}
    # Version 3 has no words beside a reference.
    if version == "v3":
        return {"description": _META_DESCRIPTION, "allOf": [reference]}
    return {"description": _META_DESCRIPTION, **reference}


def _publish(schema: Schema, version: Version) -> Published:
    made = {word: value for word, value in schema.items() if word not in _LOST}
    if schema.get("x-kubernetes-int-or-string") and not _says_int_or_string(schema):
        if schema.get("anyOf"):
            made["allOf"] = [{"anyOf": _INT_OR_STRING}, *(schema.get("allOf") or ())]
        else:
            made["anyOf"] = _INT_OR_STRING
    if version == "v2":
        _strip(made)
    if "properties" in made:
        made["properties"] = {name: _publish(each, version) for name, each in made["properties"].items()}
    for word in ("items", "additionalProperties"):
        if isinstance(made.get(word), Mapping):
            made[word] = _publish(made[word], version)
    if schema.get("x-kubernetes-embedded-resource"):
        _describe_resource(made, version)
    return made


def _says_int_or_string(schema: Schema) -> bool:
    all_of = schema.get("allOf") or ()
    return schema.get("anyOf") == _INT_OR_STRING or bool(all_of and all_of[0].get("anyOf") == _INT_OR_STRING)


def _strip(made: Published) -> None:
    for word in _JUNCTORS:
        made.pop(word, None)
    keeps = bool(made.get("x-kubernetes-preserve-unknown-fields"))
    if made.pop("nullable", False):
        made.pop("type", None)
        made.pop("items", None)
        made.pop("properties", None)
    if keeps:
        made.pop("items", None)
        made.pop("properties", None)
    if (made.get("type") == "array" and "items" not in made) or (keeps and made.get("type") == "object"):
        made.pop("type", None)
    _forget_required(made)


def _forget_required(made: Published) -> None:
    """kubectl would take a null for a field that is missing."""
    more = made.get("additionalProperties")
    nullable = {name for name, each in (made.get("properties") or {}).items() if each.get("nullable")}
    required = [name for name in made.get("required") or () if name not in nullable]
    if isinstance(more, Mapping) and more.get("nullable"):
        required = []
    if "required" in made and not required:
        del made["required"]
    elif required:
        made["required"] = required


def _describe_resource(made: Published, version: Version) -> None:
    if version == "v2" and made.get("x-kubernetes-preserve-unknown-fields"):
        return
    made["properties"] = {
        **(made.get("properties") or {}),
        "apiVersion": {"description": _EMBEDDED_API_VERSION, "type": "string"},
        "kind": {"description": _EMBEDDED_KIND, "type": "string"},
        "metadata": _metadata(version),
    }
    required = list(made.get("required") or ())
    made["required"] = required + [name for name in ("kind", "apiVersion") if name not in required]
