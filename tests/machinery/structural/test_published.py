"""What clients are told of a custom resource's schema."""

from typing import Any

import pytest
from custom_resources import obj, of_spec

from tiphys.machinery.gvk import GroupVersionKind
from tiphys.machinery.structural import openapi

GVK = GroupVersionKind("stable.example.com", "v1", "Widget")
STRING, INTEGER = {"type": "string"}, {"type": "integer"}
EITHER = [INTEGER, STRING]
OPEN = "x-kubernetes-preserve-unknown-fields"


def published(version: Any, schema: dict[str, Any] | None, **more: Any) -> dict[str, Any]:
    return openapi(schema, version=version, gvk=GVK, **more)


def in_spec(version: Any, schema: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = published(version, of_spec(a=schema))["properties"]["spec"]["properties"]["a"]
    return made


def test_every_resource_has_its_kind_and_metadata() -> None:
    for version, prefix in (("v2", "#/definitions/"), ("v3", "#/components/schemas/")):
        made = published(version, of_spec(a=STRING))
        assert made["properties"]["spec"] == obj(a=STRING)
        assert made["properties"]["apiVersion"]["type"] == made["properties"]["kind"]["type"] == "string"
        assert f"{prefix}io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta" in str(
            made["properties"]["metadata"]
        )
        assert made["x-kubernetes-group-version-kind"] == [
            {"group": "stable.example.com", "kind": "Widget", "version": "v1"}
        ]


@pytest.mark.parametrize(
    ("schema", "v2", "v3"),
    [
        ({**STRING, "maxLength": 3, "default": "x"}, {**STRING, "maxLength": 3, "default": "x"}, None),
        ({**STRING, "nullable": True}, {}, None),
        ({**obj(b=STRING), "nullable": True, "description": "d"}, {"description": "d"}, None),
        ({**obj(b=STRING), OPEN: True}, {OPEN: True}, None),
        ({"type": "array", "items": STRING, OPEN: True}, {OPEN: True}, None),
        (
            {"x-kubernetes-int-or-string": True},
            {"x-kubernetes-int-or-string": True},
            {"x-kubernetes-int-or-string": True, "anyOf": EITHER},
        ),
        (
            {"x-kubernetes-int-or-string": True, "anyOf": [{"maximum": 3}, {"pattern": "^a"}]},
            {"x-kubernetes-int-or-string": True},
            {
                "x-kubernetes-int-or-string": True,
                "anyOf": [{"maximum": 3}, {"pattern": "^a"}],
                "allOf": [{"anyOf": EITHER}],
            },
        ),
        ({**STRING, "allOf": [{"maxLength": 3}], "not": {"pattern": "x"}}, STRING, None),
        (
            {**obj(b={**STRING, "nullable": True}, c=STRING), "required": ["b", "c"]},
            {**obj(b={}, c=STRING), "required": ["c"]},
            None,
        ),
        (
            {**STRING, "x-kubernetes-validations": [{"rule": "true"}]},
            {**STRING, "x-kubernetes-validations": [{"rule": "true"}]},
            None,
        ),
    ],
)
def test_what_each_version_says(
    schema: dict[str, Any], v2: dict[str, Any], v3: dict[str, Any] | None
) -> None:
    assert in_spec("v2", schema) == v2
    assert in_spec("v3", schema) == (schema if v3 is None else v3)


def test_embedded_resources_are_described() -> None:
    schema = {**obj(spec=obj(a=STRING)), "x-kubernetes-embedded-resource": True}
    made = in_spec("v3", schema)
    assert set(made["properties"]) == {"spec", "apiVersion", "kind", "metadata"}
    assert made["required"] == ["kind", "apiVersion"]
    # kubectl would refuse every other field.
    assert "properties" not in in_spec("v2", {**schema, OPEN: True})


@pytest.mark.parametrize(
    ("version", "schema", "more"),
    [
        ("v2", None, {}),
        ("v3", None, {}),
        ("v2", {**obj(spec=STRING), OPEN: True}, {}),
        ("v2", obj(spec=STRING), {"preserve_unknown_fields": True}),
        ("v3", obj(spec={}), {}),
    ],
)
def test_of_some_nothing_is_known(version: str, schema: dict[str, Any] | None, more: dict[str, Any]) -> None:
    made = published(version, schema, **more)
    assert set(made) == {"type", "x-kubernetes-group-version-kind"}
