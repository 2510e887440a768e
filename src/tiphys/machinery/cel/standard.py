"""The functions and operators of the language itself (cel-spec langdef.md, "List of Standard Definitions").

`&&`, `||`, `?:` and indexing are not here: the compiler knows them.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from tiphys.machinery.cel import conversions, operations, times
from tiphys.machinery.cel.charges import (
    BYTES_TO_STRING,
    COMPARISON,
    CONCATENATION,
    IN_LIST,
    LIST_CONCATENATION,
    MATCHES,
    STRING_TO_BYTES,
    product,
    traversal,
)
from tiphys.machinery.cel.declarations import Overload, function
from tiphys.machinery.cel.equality import contains, equals, has_key
from tiphys.machinery.cel.errors import no_such_overload
from tiphys.machinery.cel.regex import matches
from tiphys.machinery.cel.types import of_value
from tiphys.machinery.cel.values import NONE, SECOND, Optional, UInt


def _operator(
    name: str, signature: str, implementation: Callable[..., Any], code: str = "", **more: Any
) -> Overload:
    """An operator under its internal name, which no expression can spell."""
    declared = function(f"op{signature}", implementation, code=code, **more)
    return Overload(name, declared.parameters, declared.result, implementation, declared.charge, code=code)


def _arithmetic() -> list[Overload]:
    checked, unsigned = conversions.checked_int, conversions.checked_uint
    made = []
    for name, sign, apply in (
        ("_+_", "+", operator.add),
        ("_-_", "-", operator.sub),
        ("_*_", "*", operator.mul),
    ):
        made += [
            _operator(name, "(int, int) -> int", _compose(checked, apply), f"checked_int({{0}}{sign}{{1}})"),
            _operator(name, "(uint, uint) -> uint", _compose(unsigned, apply)),
            _operator(name, "(double, double) -> double", apply, f"({{0}}{sign}{{1}})"),
        ]
    return [
        *made,
        _operator("_/_", "(int, int) -> int", operations.divide_int),
        _operator("_/_", "(uint, uint) -> uint", operations.divide_uint),
        _operator("_/_", "(double, double) -> double", operations.divide_double),
        _operator("_%_", "(int, int) -> int", operations.remainder_int),
        _operator("_%_", "(uint, uint) -> uint", operations.remainder_uint),
        _operator("-_", "(int) -> int", operations.negate_int),
        _operator("-_", "(double) -> double", operator.neg, "(-{0})"),
        _operator("!_", "(bool) -> bool", operator.not_, "(not {0})"),
        _operator("_+_", "(string, string) -> string", operations.add_text, charge=CONCATENATION),
        _operator("_+_", "(bytes, bytes) -> bytes", operations.add_text, charge=CONCATENATION),
        _operator("_+_", "(list(A), list(A)) -> list(A)", operations.add_lists, charge=LIST_CONCATENATION),
        _operator("_+_", "(timestamp, duration) -> timestamp", operations.add_time),
        _operator("_+_", "(duration, timestamp) -> timestamp", operations.add_time),
        _operator("_+_", "(duration, duration) -> duration", operations.add_time),
        _operator("_-_", "(timestamp, timestamp) -> duration", operations.subtract_time),
        _operator("_-_", "(timestamp, duration) -> timestamp", operations.subtract_time),
        _operator("_-_", "(duration, duration) -> duration", operations.subtract_time),
    ]


def _compose(outer: Callable[[Any], Any], inner: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    # `UInt + UInt` is a plain int in Python, which `outer` makes an UInt again.
    return lambda left, right: outer(inner(int(left), int(right)))


_NUMBERS = ("int", "uint", "double")


def _comparisons() -> list[Overload]:
    made = []
    for name, sign, apply in (
        ("_<_", "<", operator.lt),
        ("_<=_", "<=", operator.le),
        ("_>_", ">", operator.gt),
        ("_>=_", ">=", operator.ge),
    ):
        code = f"({{0}}{sign}{{1}})"
        for this in ("bool", "timestamp", "duration"):
            made.append(_operator(name, f"({this}, {this}) -> bool", apply, code))
        for this in ("string", "bytes"):
            made.append(_operator(name, f"({this}, {this}) -> bool", apply, code, charge=COMPARISON))
        for left in _NUMBERS:
            for right in _NUMBERS:
                exact = "double" not in (left, right)
                compare = apply if exact else _compare_doubles(apply)
                made.append(_operator(name, f"({left}, {right}) -> bool", compare, code if exact else ""))
    return made


def _compare_doubles(apply: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    return lambda left, right: apply(operations.ordered(left), operations.ordered(right))


def _not_equals(left: Any, right: Any) -> bool:
    return not equals(left, right)


EQUALITY = [
    _operator("_==_", "(A, A) -> bool", equals, charge=COMPARISON),
    _operator("_!=_", "(A, A) -> bool", _not_equals, charge=COMPARISON),
]
_MEMBERSHIP = [
    _operator("@in", "(A, list(A)) -> bool", contains, charge=IN_LIST),
    _operator("@in", "(A, map(A, B)) -> bool", lambda key, entries: has_key(entries, key)),
]

_TEXT = [
    function("size(string) -> int", len, code="len({0})"),
    function("size(bytes) -> int", len, code="len({0})"),
    function("size(list(A)) -> int", len, code="len({0})"),
    function("size(map(A, B)) -> int", len, code="len({0})"),
    function("string.size() -> int", len, code="len({0})"),
    function("bytes.size() -> int", len, code="len({0})"),
    function("list(A).size() -> int", len, code="len({0})"),
    function("map(A, B).size() -> int", len, code="len({0})"),
    function("string.contains(string) -> bool", operator.contains, product(0, 1), code="({1} in {0})"),
    function("string.startsWith(string) -> bool", str.startswith, traversal(1), code="{0}.startswith({1})"),
    function("string.endsWith(string) -> bool", str.endswith, traversal(1), code="{0}.endswith({1})"),
    function("string.matches(string) -> bool", matches, MATCHES),
    function("matches(string, string) -> bool", matches, MATCHES),
]


def _time(value: Any) -> Any:
    """A time as it is. To the checker a null passes for one, but there is no time in it."""
    if value is None:
        raise no_such_overload()
    return value


def _same(value: Any) -> Any:
    return value


_CONVERSIONS = [
    function("bool(bool) -> bool", _same, code="{0}"),
    function("bool(string) -> bool", conversions.string_to_bool),
    function("int(int) -> int", _same, code="{0}"),
    function("int(uint) -> int", conversions.number_to_int),
    function("int(double) -> int", conversions.number_to_int),
    function("int(string) -> int", conversions.string_to_int),
    function("int(timestamp) -> int", conversions.timestamp_to_int),
    function("int(duration) -> int", conversions.duration_to_int),
    function("uint(uint) -> uint", _same, code="{0}"),
    function("uint(int) -> uint", conversions.number_to_uint),
    function("uint(double) -> uint", conversions.number_to_uint),
    function("uint(string) -> uint", conversions.string_to_uint),
    function("double(double) -> double", float, code="{0}"),
    function("double(int) -> double", float),
    function("double(uint) -> double", float),
    function("double(string) -> double", conversions.string_to_double),
    function("string(string) -> string", _same, code="{0}"),
    function("string(bool) -> string", conversions.bool_to_string),
    function("string(int) -> string", str),
    function("string(uint) -> string", str),
    function("string(double) -> string", conversions.to_string),
    function("string(bytes) -> string", conversions.bytes_to_string, BYTES_TO_STRING),
    function("string(timestamp) -> string", times.timestamp_text),
    function("string(duration) -> string", times.duration_text),
    function("bytes(bytes) -> bytes", _same, code="{0}"),
    function("bytes(string) -> bytes", conversions.string_to_bytes, STRING_TO_BYTES),
    function("duration(duration) -> duration", _time),
    function("duration(string) -> duration", conversions.string_to_duration),
    function("duration(int) -> duration", conversions.int_to_duration),
    function("timestamp(timestamp) -> timestamp", _time),
    function("timestamp(string) -> timestamp", conversions.string_to_timestamp),
    function("timestamp(int) -> timestamp", conversions.int_to_timestamp),
    function("dyn(A) -> dyn", _same, code="{0}"),
    function("type(A) -> type(A)", of_value),
]

_PARTS = {
    "getFullYear": times.full_year,
    "getMonth": times.month,
    "getDayOfYear": times.day_of_year,
    "getDayOfMonth": times.day_of_month,
    "getDate": times.date,
    "getDayOfWeek": times.day_of_week,
    "getHours": times.hours,
    "getMinutes": times.minutes,
    "getSeconds": times.seconds,
    "getMilliseconds": times.milliseconds,
}
_UNITS = {
    "getHours": 3600 * SECOND,
    "getMinutes": 60 * SECOND,
    "getSeconds": SECOND,
    "getMilliseconds": 10**6,
}


def _accessors() -> list[Overload]:
    made = []
    for name, read in _PARTS.items():
        made.append(function(f"timestamp.{name}() -> int", read))
        made.append(function(f"timestamp.{name}(string) -> int", read))
    for name, unit in _UNITS.items():
        made.append(function(f"duration.{name}() -> int", _in_units(unit)))
    return made


def _in_units(unit: int) -> Callable[[Any], int]:
    return lambda value: times.duration_in(value, unit)


# Values that count as nothing for optional.ofNonZeroValue.
_ZEROS: tuple[Any, ...] = (None, False, 0, 0.0, "", b"", [], {}, UInt(0))


def _of_non_zero(value: Any) -> Optional:
    zero = any(equals(value, nothing) for nothing in _ZEROS) or getattr(value, "nanos", 1) == 0
    return NONE if zero else Optional(value)


def _or_value(value: Optional, other: Any) -> Any:
    return value.value if value.present else other


def _or(value: Optional, other: Optional) -> Optional:
    return value if value.present else other


_OPTIONALS = [
    function("optional.of(A) -> optional(A)", Optional),
    function("optional.ofNonZeroValue(A) -> optional(A)", _of_non_zero),
    function("optional.none() -> optional(A)", lambda: NONE),
    function("optional(A).hasValue() -> bool", operator.attrgetter("present"), code="{0}.present"),
    function("optional(A).value() -> A", operations.unwrap),
    function("optional(A).or(optional(A)) -> optional(A)", _or),
    function("optional(A).orValue(A) -> A", _or_value),
    function(
        "optional.unwrap(list(optional(A))) -> list(A)",
        lambda given: [each.value for each in given if each.present],
    ),
    function(
        "list(optional(A)).unwrapOpt() -> list(A)",
        lambda given: [each.value for each in given if each.present],
    ),
]

STANDARD: list[Overload] = [
    *_arithmetic(),
    *_comparisons(),
    *EQUALITY,
    *_MEMBERSHIP,
    *_TEXT,
    *_CONVERSIONS,
    *_accessors(),
    *_OPTIONALS,
]
