"""Ranges of sizes and costs, with arithmetic that stops at the largest unsigned 64-bit number."""

from __future__ import annotations

import math
from typing import NamedTuple

UNLIMITED = 2**64 - 1

# What things cost (cel-go `common/cost.go`).
STRING_FACTOR = 0.1
REGEX_FACTOR = 0.25
LIST_COST = 10
MAP_COST = 30
OBJECT_COST = 40


class Range(NamedTuple):
    """From `low` to `high`, both included."""

    low: int
    high: int

    def plus(self, other: Range) -> Range:
        return Range(min(self.low + other.low, UNLIMITED), min(self.high + other.high, UNLIMITED))

    def times(self, other: Range) -> Range:
        return Range(min(self.low * other.low, UNLIMITED), min(self.high * other.high, UNLIMITED))

    def scaled(self, factor: float) -> Range:
        """Times a factor, rounded up."""
        return Range(_scale(self.low, factor), _scale(self.high, factor))

    def union(self, other: Range) -> Range:
        return Range(min(self.low, other.low), max(self.high, other.high))


def exactly(number: int) -> Range:
    return Range(number, number)


UNKNOWN = Range(0, UNLIMITED)
FREE = Range(0, 0)
ONE = Range(1, 1)


def _scale(number: int, factor: float) -> int:
    product = math.ceil(number * factor)
    return min(product, UNLIMITED)
