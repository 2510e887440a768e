"""Sizes of values at run time, on which costs depend."""

from __future__ import annotations

from typing import Any

from tiphys.machinery.cel.errors import CostExceeded

# A value may hold the same list many times over (`cel.bind(b, [a, a], ...)`): what walks through values counts.
WALK_LIMIT = 2_000_000
# No string or list grows longer than this, whatever it would cost.
LENGTH_LIMIT = 20_000_000


def length(value: Any) -> int:
    """Characters, bytes, elements, entries; 1 for everything that has no size."""
    try:
        return len(value)
    except TypeError:
        return 1


class Walk:
    """How far a walk through values has come."""

    __slots__ = ("steps",)

    def __init__(self) -> None:
        self.steps = 0

    def step(self, count: int = 1) -> None:
        self.steps += count
        if self.steps > WALK_LIMIT:
            raise CostExceeded


def traverse(value: Any) -> int:
    """The cost of reading a value through: 1 for each scalar, a tenth for each byte of text."""
    return _traverse(value, Walk())


def _traverse(value: Any, walk: Walk) -> int:
    if isinstance(value, str):
        return (len(value) if value.isascii() else len(value.encode(errors="replace"))) // 10
    if isinstance(value, bytes):
        return len(value) // 10
    if isinstance(value, list | tuple):
        walk.step(len(value))
        return sum(_traverse(element, walk) for element in value)
    if isinstance(value, dict):
        walk.step(len(value))
        return sum(_traverse(key, walk) + _traverse(element, walk) for key, element in value.items())
    return 1


def check_length(count: int) -> None:
    """Refuse to make something so long."""
    if count > LENGTH_LIMIT:
        raise CostExceeded
