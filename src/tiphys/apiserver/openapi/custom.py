"""Definitions of custom resources, made from the schema that their CustomResourceDefinition gives.

What of a schema is published is `machinery.structural.openapi`'s to say; here it gets its name, and a list.
"""

from __future__ import annotations

from typing import Any

from tiphys.api.resource import Resource
from tiphys.apiserver.openapi.operations import custom_name

Schema = dict[str, Any]

_CONVENTIONS = "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md"
_META = "io.k8s.apimachinery.pkg.apis.meta.v1."


def definitions(row: Resource, *, is_v3: bool) -> dict[str, Schema]:
    """The definitions of a kind and of its list."""
    from tiphys.machinery.structural import openapi

    prefix = "#/components/schemas/" if is_v3 else "#/definitions/"
    assert row.schema is not None
    name, list_name = custom_name(row), custom_name(row, row.list_kind)
    return {
        name: openapi(row.schema.openapi, version="v3" if is_v3 else "v2", gvk=row.gvk),
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
            "x-kubernetes-group-version-kind": [
                {"group": row.group, "version": row.version, "kind": row.list_kind}
            ],
        },
    }


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
