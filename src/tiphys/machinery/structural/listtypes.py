"""Items that are there twice, in lists of type `set` and `map` (upstream's `schema/listtype`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tiphys.machinery.errors import FieldError, Path
from tiphys.machinery.structural.correlation import Schema, canonical
from tiphys.machinery.structural.pruning import item_schema, properties_of


class ListTypes:
    """The places of a schema where items must be unique, and the ways there."""

    __slots__ = ("fields", "items", "keys", "more", "type")

    def __init__(self, schema: Schema) -> None:
        kind = schema.get("x-kubernetes-list-type")
        self.type = kind if kind in ("set", "map") else ""
        self.keys: Sequence[str] = tuple(schema.get("x-kubernetes-list-map-keys") or ())
        self.fields: dict[str, ListTypes] = {}
        for name, each in properties_of(schema).items():
            if (below := list_types_of(each)) is not None:
                self.fields[name] = below
        more, items = schema.get("additionalProperties"), item_schema(schema)
        self.more = list_types_of(more) if isinstance(more, Mapping) else None
        self.items = None if items is None else list_types_of(items)

    def is_empty(self) -> bool:
        return not (self.type or self.fields or self.more or self.items)

    def errors(self, value: Any, path: Path) -> list[FieldError]:
        return [] if self._unique(value) else self._errors(value, path)

    def _unique(self, value: Any) -> bool:
        """The fast half. False: look closer."""
        if isinstance(value, dict):
            if self.more is not None and not all(map(self.more._unique, value.values())):
                return False
            fields = self.fields
            return all(fields[name]._unique(value[name]) for name in fields if name in value)
        if not isinstance(value, list):
            return True
        if self.items is not None and not all(map(self.items._unique, value)):
            return False
        try:
            if self.type == "set":
                return len(set(value)) == len(value)
            if self.type == "map":
                # 1, 1.0 and True are equal here, so that they are looked at again.
                return len({tuple(map(item.get, self.keys)) for item in value}) == len(value)
        except (TypeError, AttributeError):  # not hashable, or no object
            return False
        return True

    def _errors(self, value: Any, path: Path) -> list[FieldError]:
        if isinstance(value, dict):
            return self._field_errors(value, path)
        return self._item_errors(value, path) if isinstance(value, list) else []

    def _field_errors(self, value: dict[str, Any], path: Path) -> list[FieldError]:
        found: list[FieldError] = []
        if self.more is not None:
            for name, item in value.items():
                found += self.more._errors(item, path.key(name))
        for name, below in self.fields.items():
            if name in value:
                found += below._errors(value[name], path.child(name))
        return found

    def _item_errors(self, value: list[Any], path: Path) -> list[FieldError]:
        found: list[FieldError] = []
        if self.type == "set":
            found = [FieldError.duplicate(path.index(place), value[place]) for place in _repeated(value)]
        elif self.type == "map":
            found = self._map_errors(value, path)
        if self.items is not None:
            for position, item in enumerate(value):
                found += self.items._errors(item, path.index(position))
        return found

    def _map_errors(self, value: list[Any], path: Path) -> list[FieldError]:
        for position, item in enumerate(value):
            if item is not None and not isinstance(item, dict):
                detail = "must be an object for an array of list-type map"
                return [FieldError.invalid(path.index(position), item, detail)]
        if len(value) < 2:
            return []
        keys = [{name: item[name] for name in self.keys if name in item} if item else {} for item in value]
        return [FieldError.duplicate(path.index(place), keys[place]) for place in _repeated(keys)]


def list_types_of(schema: Schema) -> ListTypes | None:
    """None: no item of any list needs to be unique."""
    found = ListTypes(schema)
    return None if found.is_empty() else found


def _repeated(values: Sequence[Any]) -> list[int]:
    """The places of the first repetition of each value."""
    if len(values) < 2:
        return []
    seen: dict[bytes, int] = {}
    places = []
    for place, value in enumerate(values):
        text = canonical(value)
        seen[text] = times = seen.get(text, 0) + 1
        if times == 2:
            places.append(place)
    return places
