"""Lists (apiserver `pkg/cel/library/lists.go`) and lists as sets (cel-go `ext/sets.go`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

from tiphys.machinery.cel.charges import THROUGH_LIST, pairs
from tiphys.machinery.cel.conversions import checked_int, checked_uint
from tiphys.machinery.cel.declarations import Overload, function
from tiphys.machinery.cel.equality import equals, freeze
from tiphys.machinery.cel.errors import CelRuntimeError, no_such_overload
from tiphys.machinery.cel.library.form import Library
from tiphys.machinery.cel.operations import ordered
from tiphys.machinery.cel.times import duration
from tiphys.machinery.cel.values import Duration, UInt

_COMPARABLE = ("int", "uint", "double", "bool", "duration", "timestamp", "string", "bytes")


def _one_type(items: Sequence[Any]) -> Sequence[Any]:
    """Elements that can be compared with each other: numbers, or all of one type."""
    classes = {item.__class__ for item in items}
    if len(classes) > 1 and not classes <= {int, float, UInt}:
        raise no_such_overload()
    return items


def is_sorted(items: Sequence[Any]) -> bool:
    _one_type(items)
    return all(not ordered(before) > ordered(after) for before, after in pairwise(items))


def extreme(name: str, choose: Callable[[Sequence[Any]], Any], items: Sequence[Any]) -> Any:
    if not items:
        raise CelRuntimeError(f"{name} called on empty list")
    for item in items:
        ordered(item)
    return choose(_one_type(items))


def _sum_int(items: Sequence[int]) -> int:
    total = 0
    for item in items:
        total = checked_int(total + _exactly(item, int))
    return total


def _sum_uint(items: Sequence[UInt]) -> UInt:
    total = UInt(0)
    for item in items:
        total = checked_uint(int(total) + _exactly(item, UInt))
    return total


def _sum_double(items: Sequence[float]) -> float:
    return sum((float(item) for item in items), 0.0)


def _sum_duration(items: Sequence[Duration]) -> Duration:
    total = Duration(0)
    for item in items:
        total = duration(total.nanos + item.nanos)
    return total


def _exactly(item: Any, wanted: type[int]) -> int:
    if item.__class__ is not wanted:
        raise no_such_overload()
    number: int = int(item)
    return number


def index_of(items: Sequence[Any], wanted: Any) -> int:
    return next((index for index, item in enumerate(items) if equals(item, wanted)), -1)


def last_index_of(items: Sequence[Any], wanted: Any) -> int:
    return next((index for index in range(len(items) - 1, -1, -1) if equals(items[index], wanted)), -1)


def _for_comparable() -> list[Overload]:
    made = []
    for this in _COMPARABLE:
        made += [
            function(f"list({this}).isSorted() -> bool", is_sorted, THROUGH_LIST),
            function(f"list({this}).min() -> {this}", partial(extreme, "min", min), THROUGH_LIST),
            function(f"list({this}).max() -> {this}", partial(extreme, "max", max), THROUGH_LIST),
        ]
    return made


LISTS = Library(
    "kubernetes.lists",
    (
        *_for_comparable(),
        function("list(int).sum() -> int", _sum_int, THROUGH_LIST),
        function("list(uint).sum() -> uint", _sum_uint, THROUGH_LIST),
        function("list(double).sum() -> double", _sum_double, THROUGH_LIST),
        function("list(duration).sum() -> duration", _sum_duration, THROUGH_LIST),
        function("list(A).indexOf(A) -> int", index_of, THROUGH_LIST),
        function("list(A).lastIndexOf(A) -> int", last_index_of, THROUGH_LIST),
    ),
)


def _as_set(items: Sequence[Any]) -> set[Any]:
    # What is not equal to itself (NaN) is in no set.
    return {freeze(item) for item in items if item == item}


def set_contains(items: Sequence[Any], wanted: Sequence[Any]) -> bool:
    return all(item == item for item in wanted) and _as_set(wanted) <= _as_set(items)


def set_equivalent(one: Sequence[Any], other: Sequence[Any]) -> bool:
    return set_contains(one, other) and set_contains(other, one)


def set_intersects(one: Sequence[Any], other: Sequence[Any]) -> bool:
    return not _as_set(one).isdisjoint(_as_set(other))


SETS = Library(
    "cel.lib.ext.sets",
    (
        function("sets.contains(list(T), list(T)) -> bool", set_contains, pairs(1)),
        function("sets.equivalent(list(T), list(T)) -> bool", set_equivalent, pairs(2)),
        function("sets.intersects(list(T), list(T)) -> bool", set_intersects, pairs(1)),
    ),
)
