"""Schemas and objects for the tests of custom resources."""

from __future__ import annotations

import copy
from typing import Any

from tiphys.api.types import TYPES
from tiphys.machinery.structural import StructuralSchema

OBJECT_META = TYPES.struct("meta/v1.ObjectMeta")
META: dict[str, Any] = {"apiVersion": "stable.example.com/v1", "kind": "Widget", "metadata": {"name": "a"}}


def obj(**properties: Any) -> dict[str, Any]:
    """A schema of an object with these properties."""
    return {"type": "object", "properties": properties}


def of_spec(**properties: Any) -> dict[str, Any]:
    """A schema whose spec has these properties."""
    return obj(spec=obj(**properties))


def structural(schema: dict[str, Any] | None, **options: Any) -> StructuralSchema:
    return StructuralSchema.of(schema, object_meta=OBJECT_META, **options)


def widget(**fields: Any) -> dict[str, Any]:
    return {**copy.deepcopy(META), **fields}


def texts(errors: list[Any]) -> list[str]:
    return [str(error) for error in errors]


def faults(schema: dict[str, Any], value: dict[str, Any], old: dict[str, Any] | None = None) -> list[str]:
    """What is wrong with an object, both by the fast gate and the exact check."""
    made = structural(schema)
    return texts(made.validate(value, old))
