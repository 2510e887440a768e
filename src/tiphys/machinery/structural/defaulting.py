"""Fills in the defaults of a schema. Only the places below which there is a default are walked.

Upstream's `schema/defaulting/algorithm.go`: a default stands in for a field that is missing, and for a null where none
is allowed; a default may itself have fields that are missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tiphys.machinery.structural.correlation import Schema
from tiphys.machinery.structural.pruning import Pruner, copied, is_embedded, item_schema, properties_of


class Defaults:
    """The defaults of one schema and of all below it."""

    __slots__ = ("fields", "items", "more", "nullable", "own", "values")

    def __init__(self, schema: Schema) -> None:
        self.values: list[tuple[str, Any, bool]] = []
        """Name, default, whether the field may be null."""
        self.fields: dict[str, Defaults] = {}
        for name, each in properties_of(schema).items():
            default = each.get("default")
            if default is not None:
                self.values.append((name, pruned_default(each), bool(each.get("nullable"))))
            if not (below := Defaults(each)).is_empty():
                self.fields[name] = below
        more = schema.get("additionalProperties")
        self.more = defaults_of(more) if isinstance(more, Mapping) else None
        items = item_schema(schema)
        self.items = None if items is None else defaults_of(items)
        # What stands in for a null among the items or the values of a map.
        self.own = pruned_default(schema) if schema.get("default") is not None else None
        self.nullable = bool(schema.get("nullable"))

    def is_empty(self) -> bool:
        """Whether there is no default below the value itself."""
        return not (self.values or self.fields or self.more or self.items)

    def fill(self, value: Any) -> None:
        """In place."""
        if isinstance(value, dict):
            for name, default, nullable in self.values:
                if name not in value or (value[name] is None and not nullable):
                    value[name] = copied(default)
            for name, below in self.fields.items():
                if name in value:
                    below.fill(value[name])
            if self.more is not None:
                # A schema has properties or additionalProperties, never both.
                for name in value:
                    value[name] = self.more.filled(value[name])
        elif isinstance(value, list) and self.items is not None:
            for position, item in enumerate(value):
                value[position] = self.items.filled(item)

    def filled(self, value: Any) -> Any:
        """An item of a list or a value of a map, with its defaults."""
        if value is None and not self.nullable:
            value = copied(self.own)
        self.fill(value)
        return value


def defaults_of(schema: Schema) -> Defaults | None:
    """Those of items or values of a map; None: there is nothing to fill in."""
    defaults = Defaults(schema)
    return None if defaults.is_empty() and defaults.own is None else defaults


def pruned_default(schema: Schema) -> Any:
    """A default without what its own schema does not know."""
    default = copied(schema["default"])
    Pruner().prune(default, schema, embedded=is_embedded(schema))
    return default
