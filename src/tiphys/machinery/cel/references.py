"""Which variables an expression looks at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from tiphys.machinery.cel.syntax import Entry, Identifier, Node


def variables_of(node: Node) -> set[str]:
    """The names of the caller's variables in a checked tree; those of a comprehension do not count."""
    waiting: list[Node] = [node]
    found: set[str] = set()
    while waiting:
        each = waiting.pop()
        if isinstance(each, Identifier) and each.role == "variable":
            found.add(each.name)
        waiting += _children(each)
    return found


def _children(node: Node | Entry) -> Iterator[Node]:
    for field in fields(node):
        if hasattr(node, field.name):
            yield from _nodes_in(getattr(node, field.name))


def _nodes_in(value: Any) -> Iterator[Node]:
    if isinstance(value, Node):
        yield value
    elif isinstance(value, Entry):
        yield from _children(value)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _nodes_in(item)
