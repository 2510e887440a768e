"""A few words that most defaults are made of: fill in what is missing; go down into a part or a list that may be."""

from __future__ import annotations

from typing import Any

from tiphys.api.resource import Object


def fill(holder: Object, **values: Any) -> None:
    """Sets the fields that are missing, null or empty text: what a pointer or a string without a value is in Go."""
    for field, value in values.items():
        if holder.get(field) in (None, ""):
            holder[field] = value


def part(holder: Object, field: str) -> Object:
    """A part of an object that Go always writes: the one that is there, or a new empty one."""
    found: Object | None = holder.get(field)
    if found is None:
        found = holder[field] = {}
    return found


def items(holder: Object, field: str) -> list[Object]:
    """A list that is always written. Go writes null for one that is not there; no client tells it from an empty one."""
    found: list[Object] | None = holder.get(field)
    if found is None:
        found = holder[field] = []
    return found
