"""What a CustomResourceDefinition may say but better would not (apiextensions `customresourcedefinition/strategy.go`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tiphys.api.resource import Object

_NUMBERS = ("integer", "number")
"""Their formats (int32, double…) say something to clients, and are no demand that the server would have to know."""


def custom_resource_definition(new: Object, old: Object | None) -> list[str]:
    """Formats that nobody checks; of an update, those that it brings."""
    before = set(_unrecognized(old)) if old is not None else set()
    return [
        f'unrecognized format "{name}"' for name in dict.fromkeys(_unrecognized(new)) if name not in before
    ]


def _unrecognized(definition: Object) -> Iterator[str]:
    for version in (definition.get("spec") or {}).get("versions") or ():
        yield from _of((version.get("schema") or {}).get("openAPIV3Schema"))


def _of(schema: Any) -> Iterator[str]:
    from tiphys.machinery.structural.formats import known

    if not isinstance(schema, Mapping):
        return
    name = schema.get("format")
    if name and schema.get("type") not in _NUMBERS and known(name) is None:
        yield name
    for field in ("items", "additionalProperties", "not"):
        yield from _of(schema.get(field))
    for field in ("allOf", "anyOf", "oneOf"):
        for each in schema.get(field) or ():
            yield from _of(each)
    for each in (schema.get("properties") or {}).values():
        yield from _of(each)
