"""A regular expression as a tree."""

from __future__ import annotations

from typing import TypeAlias

from tiphys.machinery.frozen import frozen

# Sorted, separate ranges of code points, both ends included.
Ranges: TypeAlias = tuple[tuple[int, int], ...]

HIGHEST = 0x10FFFF
ANY: Ranges = ((0, HIGHEST),)


class PatternError(ValueError):
    """No regular expression. The message is Go's."""

    def __init__(self, reason: str, part: str = "") -> None:
        super().__init__(f"error parsing regexp: {reason}" + (f": `{part}`" if part else ""))


@frozen
class Chars:
    """One character out of a set."""

    ranges: Ranges


@frozen
class Assertion:
    """A place: "begin", "end" (of the text), "line_begin", "line_end", "word", "not_word"."""

    kind: str


@frozen
class Sequence:
    """One after the other; with no items, the empty text."""

    items: tuple[Tree, ...]


@frozen
class Choice:
    """The first one that leads to a match."""

    items: tuple[Tree, ...]


@frozen
class Repeat:
    """At least `low` times and at most `high` (None: without end), as many as possible, or as few."""

    item: Tree
    low: int
    high: int | None
    greedy: bool


Tree: TypeAlias = Chars | Assertion | Sequence | Choice | Repeat
EMPTY = Sequence(())


def union(*sets: Ranges) -> Ranges:
    merged: list[tuple[int, int]] = []
    for low, high in sorted(each for ranges in sets for each in ranges):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], high))
        else:
            merged.append((low, high))
    return tuple(merged)


def complement(ranges: Ranges) -> Ranges:
    made, start = [], 0
    for low, high in ranges:
        if low > start:
            made.append((start, low - 1))
        start = high + 1
    if start <= HIGHEST:
        made.append((start, HIGHEST))
    return tuple(made)


def overlap(one: Ranges, other: Ranges) -> bool:
    return any(low <= end and start <= high for low, high in one for start, end in other)


def contains(ranges: Ranges, code: int) -> bool:
    return any(low <= code <= high for low, high in ranges)
