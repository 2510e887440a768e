"""Which part of the old object a part of the new one takes the place of (apiserver `pkg/cel/common/equality.go`).

Fields correspond by name, items of a list of type `map` by their keys; items of all other lists correspond to nothing.
Ratcheting (KEP-4008) forgives what was wrong before when it is still the same; transition rules compare both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

Schema = Mapping[str, Any]


def same(one: Any, other: Any) -> bool:
    """Whether two JSON values are equal, `true` being no 1."""
    if one is other:
        return True
    return one == other and canonical(one) == canonical(other)


def canonical(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


class ItemsByKey:
    """The items of a list of type `map`, by their keys. Of two with the same keys, the first counts."""

    __slots__ = ("_found", "_keys")

    def __init__(self, schema: Schema, items: Any) -> None:
        self._keys: Sequence[str] = ()
        if schema.get("x-kubernetes-list-type") == "map":
            self._keys = tuple(schema.get("x-kubernetes-list-map-keys") or ())
        self._found: dict[Any, Any] = {}
        if self._keys and isinstance(items, list):
            for item in items:
                if isinstance(item, dict):
                    self._found.setdefault(self._key(item), item)

    def get(self, item: Any) -> Any:
        """The one with the same keys, or None."""
        if not self._found or not isinstance(item, dict):
            return None
        return self._found.get(self._key(item))

    def _key(self, item: dict[str, Any]) -> Any:
        values = (item.get(name) for name in self._keys)
        return tuple((type(value), value) if not isinstance(value, dict | list) else None for value in values)


class Correlated:
    """A value, and the old one whose place it takes."""

    __slots__ = ("_by_key", "_children", "_equal", "new", "old", "schema")

    def __init__(self, new: Any, old: Any, schema: Schema) -> None:
        self.new = new
        self.old = old
        self.schema = schema
        self._equal: bool | None = None
        self._children: dict[str | int, Correlated | None] = {}
        self._by_key: ItemsByKey | None = None

    def equal(self) -> bool:
        if self._equal is None:
            self._equal = self._compare()
        return self._equal

    def _compare(self) -> bool:
        new, old = self.new, self.old
        if isinstance(new, list) and isinstance(old, list) and self._is_map_list():
            # The order of such a list does not count.
            if len(new) != len(old):
                return False
            children = [self.index(position) for position in range(len(new))]
            return all(child is not None and child.equal() for child in children)
        if isinstance(new, dict) and isinstance(old, dict):
            return new.keys() == old.keys() and all(map(self._same_field, new))
        return same(new, old)

    def _same_field(self, name: str) -> bool:
        child = self.key(name)
        # A field of which the schema says nothing corresponds to none, so that its object is never the same.
        return child is not None and child.equal()

    def _is_map_list(self) -> bool:
        return self.schema.get("x-kubernetes-list-type") == "map" and bool(self.schema.get("items"))

    def key(self, name: str) -> Correlated | None:
        """The field of that name, when both have it and the schema knows it."""
        if name not in self._children:
            self._children[name] = self._make_field(name)
        return self._children[name]

    def _make_field(self, name: str) -> Correlated | None:
        new, old = self.new, self.old
        if not isinstance(new, dict) or not isinstance(old, dict) or name not in new or name not in old:
            return None
        schema = (self.schema.get("properties") or {}).get(name)
        if schema is None:
            schema = self.schema.get("additionalProperties")
        return Correlated(new[name], old[name], schema) if isinstance(schema, Mapping) else None

    def index(self, position: int) -> Correlated | None:
        """The item at a place of the new list, when the old list has one with the same keys."""
        if position not in self._children:
            self._children[position] = self._make_item(position)
        return self._children[position]

    def _make_item(self, position: int) -> Correlated | None:
        items = self.schema.get("items")
        if not isinstance(self.new, list) or not isinstance(items, Mapping) or not self._is_map_list():
            return None
        if self._by_key is None:
            self._by_key = ItemsByKey(self.schema, self.old)
        item = self.new[position]
        old = self._by_key.get(item)
        return None if old is None else Correlated(item, old, items)
