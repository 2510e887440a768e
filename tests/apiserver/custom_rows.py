"""Rows of custom resources as discovery and OpenAPI see them, without a CustomResourceDefinition."""

from typing import Any

from tiphys.api.resource import Object, Resource, Schema, Subresource
from tiphys.machinery.schema import CheckResult

PLAIN: Object = {
    "type": "object",
    "description": "Something that is made once.",
    "properties": {
        "spec": {
            "type": "object",
            "required": ["size"],
            "properties": {
                "size": {"type": "integer", "minimum": 1, "default": 1},
                "port": {
                    "x-kubernetes-int-or-string": True,
                    "anyOf": [{"type": "integer"}, {"type": "string"}],
                },
                "note": {"type": "string", "nullable": True},
                "raw": {
                    "type": "object",
                    "x-kubernetes-preserve-unknown-fields": True,
                    "properties": {"known": {"type": "string"}},
                },
                "template": {
                    "type": "object",
                    "x-kubernetes-embedded-resource": True,
                    "x-kubernetes-preserve-unknown-fields": True,
                },
            },
        }
    },
}


class Told:
    """A Schema of which only what clients are told matters."""

    struct = None
    patch = None

    def __init__(self, openapi: Object | None) -> None:
        self.openapi = openapi

    @property
    def shape(self) -> Any:
        raise AssertionError("nobody applies in these tests")

    def check(self, obj: Object, *, duplicates_source: bytes | None = None) -> CheckResult:
        raise AssertionError("nobody writes in these tests")


def custom_row(
    group: str,
    version: str = "v1",
    kind: str = "Widget",
    *,
    schema: Object | None = PLAIN,
    namespaced: bool = True,
) -> Resource:
    told: Schema = Told(schema)
    return Resource(
        group=group,
        version=version,
        kind=kind,
        plural=f"{kind.lower()}s",
        namespaced=namespaced,
        schema=told,
        subresources=(Subresource("status"),),
    )
