"""Types as clients are told about them."""

from typing import Any

from tiphys.api.types import TYPES, group_versions, openapi_naming
from tiphys.machinery.gvk import GroupVersion
from tiphys.machinery.schema import Types
from tiphys.machinery.schema.openapi import Naming, definitions_v2, schemas_v3

TEXT = """
object Thing  -- something to look at
  1   parts       [Part]!     map=a,b merge=a retainKeys  -- what it is made of
  2   name        string!
  3   count       int32?
  4   part        Part?                      -- the first one
  5   tags        {string}    granular
  6   amount      quantity
  7   schema      Either
  8   selector    Part        replace
  9   data        bytes       atomic
  10  ratio       double
  11  *           Inline

type Part atomic
  union type one=One
  union - two=Two
  1   thing       Thing

type Inline
  1   far         int64

type Either any
  1   allows      bool
  2   schema      Part
"""
NAMING = Naming(
    lambda name: name.replace("/", "."),
    lambda struct: [{"group": "t", "version": "v1", "kind": struct.short_name}] if struct.is_object else [],
)
THING = Types({"t/v1": TEXT}.get).struct("t/v1.Thing")
QUANTITY = "io.k8s.apimachinery.pkg.api.resource.Quantity"


def test_v2() -> None:
    part = {"$ref": "#/definitions/t.v1.Part"}
    definitions = definitions_v2([THING], NAMING)
    assert list(definitions) == [QUANTITY, "t.v1.Either", "t.v1.Part", "t.v1.Thing"]
    assert definitions["t.v1.Thing"] == {
        "description": "something to look at",
        "type": "object",
        "properties": {
            "apiVersion": {
                "type": "string",
                "description": "Group and version of the kind, such as apps/v1; v1 alone for the core group.",
            },
            "amount": {"$ref": f"#/definitions/{QUANTITY}"},
            "count": {"type": "integer", "format": "int32"},
            "data": {"type": "string", "format": "byte", "x-kubernetes-list-type": "atomic"},
            "far": {"type": "integer", "format": "int64"},
            "kind": {"type": "string", "description": "Which kind of object this is, such as Pod."},
            "name": {"type": "string"},
            "part": {**part, "description": "the first one"},
            "parts": {
                "type": "array",
                "items": part,
                "description": "what it is made of",
                "x-kubernetes-list-map-keys": ["a", "b"],
                "x-kubernetes-list-type": "map",
                "x-kubernetes-patch-merge-key": "a",
                "x-kubernetes-patch-strategy": "merge,retainKeys",
            },
            "ratio": {"type": "number", "format": "double"},
            "schema": {"$ref": "#/definitions/t.v1.Either"},
            "selector": {**part, "x-kubernetes-patch-strategy": "replace"},
            "tags": {
                "type": "object",
                "additionalProperties": {"type": "string"},
                "x-kubernetes-map-type": "granular",
            },
        },
        "required": ["parts", "name"],
        "x-kubernetes-group-version-kind": [{"group": "t", "version": "v1", "kind": "Thing"}],
    }


def test_what_is_said_of_a_whole_struct() -> None:
    part = definitions_v2([THING], NAMING)["t.v1.Part"]
    assert part["x-kubernetes-map-type"] == "atomic"
    assert part["x-kubernetes-unions"] == [
        {"discriminator": "type", "fields-to-discriminateBy": {"one": "One"}},
        {"fields-to-discriminateBy": {"two": "Two"}},
    ]


def test_a_type_of_several_forms_has_none_in_particular() -> None:
    assert definitions_v2([THING], NAMING)["t.v1.Either"] == {}


def test_v3_wraps_references_and_tells_defaults() -> None:
    part = {"$ref": "#/components/schemas/t.v1.Part"}
    schemas = schemas_v3([THING], NAMING)
    properties = schemas["t.v1.Thing"]["properties"]
    assert properties["part"] == {"allOf": [part], "description": "the first one"}
    assert properties["parts"]["items"] == {"allOf": [part], "default": {}}
    assert properties["schema"] == {"$ref": "#/components/schemas/t.v1.Either"}
    assert properties["name"] == {"type": "string", "default": ""}
    assert properties["count"] == {"type": "integer", "format": "int32"}
    assert properties["tags"]["additionalProperties"] == {"type": "string", "default": ""}
    assert schemas[QUANTITY] == {"oneOf": [{"type": "string"}, {"type": "number"}]}


def _references(value: Any) -> set[str]:
    if isinstance(value, list):
        return set().union(*map(_references, value))
    if not isinstance(value, dict):
        return set()
    here = {value["$ref"].rpartition("/")[2]} if isinstance(value.get("$ref"), str) else set()
    return here.union(*map(_references, value.values()))


def test_every_reference_of_the_built_in_types_leads_somewhere() -> None:
    structs = [TYPES.struct(name) for each in group_versions() for name in TYPES.names(each)]
    schemas = schemas_v3(structs, openapi_naming())
    assert _references(schemas) <= schemas.keys()


def test_names_and_kinds_of_built_in_types() -> None:
    names = (
        "rbac/v1.Role",
        "dynamicresources/v1.Device",
        "meta/v1.DeleteOptions",
        "apiextensions/v1.JSONSchemaProps",
    )
    served = [GroupVersion("apps", "v1"), GroupVersion("", "v1")]
    definitions = definitions_v2([TYPES.struct(name) for name in names], openapi_naming(served))
    assert definitions["io.k8s.api.rbac.v1.Role"]["x-kubernetes-group-version-kind"] == [
        {"group": "rbac.authorization.k8s.io", "kind": "Role", "version": "v1"}
    ]
    assert "io.k8s.api.resource.v1.Device" in definitions
    assert "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps" in definitions
    options = definitions["io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions"]
    assert [each["group"] for each in options["x-kubernetes-group-version-kind"]] == ["", "apps"]
