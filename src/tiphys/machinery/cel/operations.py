"""What operators do. Where types are known, the compiled program does the plain thing itself."""

from __future__ import annotations

import math
from typing import Any

from tiphys.machinery.cel import times
from tiphys.machinery.cel.conversions import checked_int, to_string
from tiphys.machinery.cel.equality import find_key, identity_of
from tiphys.machinery.cel.errors import CelRuntimeError, no_such_overload
from tiphys.machinery.cel.measures import check_length
from tiphys.machinery.cel.types import Type
from tiphys.machinery.cel.values import NONE, Duration, Optional, Timestamp, UInt

_SIZED = (list, tuple)


def no_such_key(key: Any) -> CelRuntimeError:
    try:
        return CelRuntimeError(f"no such key: {to_string(key)}")
    except CelRuntimeError:
        return CelRuntimeError("no such key")


# Arithmetic


def add_text(left: Any, right: Any) -> Any:
    """Strings or bytes, of one type."""
    check_length(len(left) + len(right))
    return left + right


def add_lists(left: Any, right: Any) -> list[Any]:
    check_length(len(left) + len(right))
    return [*left, *right]


def add_sets(left: list[Any], right: list[Any], this: Type) -> list[Any]:
    """The union of lists of type set or map: what is in both keeps its place; a map's entry is replaced."""
    identity = identity_of(this)
    merged = {identity(element): element for element in left}
    merged.update((identity(element), element) for element in right)
    return list(merged.values())


def divide_int(left: int, right: int) -> int:
    """Towards zero, unlike Python's."""
    if right == 0:
        raise CelRuntimeError("division by zero")
    quotient = abs(left) // abs(right)
    return checked_int(quotient if (left < 0) == (right < 0) else -quotient)


def divide_uint(left: UInt, right: UInt) -> UInt:
    if right == 0:
        raise CelRuntimeError("division by zero")
    return UInt(int(left) // int(right))


def divide_double(left: float, right: float) -> float:
    if right:
        return left / right
    if left == 0 or math.isnan(left) or math.isnan(right):
        return math.nan
    return math.copysign(math.inf, left) * math.copysign(1.0, right)


def remainder_int(left: int, right: int) -> int:
    """With the sign of the dividend, unlike Python's."""
    if right == 0:
        raise CelRuntimeError("modulus by zero")
    if right == -1 and left == -(2**63):
        raise CelRuntimeError("integer overflow")
    rest = abs(left) % abs(right)
    return -rest if left < 0 else rest


def remainder_uint(left: UInt, right: UInt) -> UInt:
    if right == 0:
        raise CelRuntimeError("modulus by zero")
    return UInt(int(left) % int(right))


def multiply_double(left: float, right: float) -> float:
    return float(left) * float(right)


def add_time(left: Timestamp | Duration, right: Timestamp | Duration) -> Timestamp | Duration:
    nanos = left.nanos + right.nanos
    both = isinstance(left, Duration) and isinstance(right, Duration)
    return times.duration(nanos) if both else times.timestamp(nanos)


def subtract_time(left: Timestamp | Duration, right: Timestamp | Duration) -> Timestamp | Duration:
    nanos = left.nanos - right.nanos
    if isinstance(left, Timestamp) and isinstance(right, Duration):
        return times.timestamp(nanos)
    return times.duration(nanos)


def negate_int(value: int) -> int:
    return checked_int(-value)


# Order


def ordered(value: Any) -> Any:
    """The value, unless it is NaN, which has no place in any order."""
    if value != value:
        raise CelRuntimeError("NaN values cannot be ordered")
    return value


# Access


def index(value: Any, key: Any) -> Any:
    """`value[key]`"""
    if isinstance(value, _SIZED):
        return value[position(key, len(value))]
    if isinstance(value, Optional):
        return index_optional(value, key)
    if isinstance(value, dict):
        return index_map(value, key)
    raise no_such_overload()


def index_list(value: Any, key: int) -> Any:
    if 0 <= key < len(value):
        return value[key]
    raise CelRuntimeError(f"index out of bounds: {key}")


def index_map(value: dict[Any, Any], key: Any) -> Any:
    found = find_key(value, key)
    if found is None:
        raise no_such_key(key)
    return value[found[0]]


def position(key: Any, count: int) -> int:
    """An index of a list, which may be any integral number. The error is cel-go's."""
    if isinstance(key, bool) or not isinstance(key, int | float):
        raise CelRuntimeError(f"unsupported index type '{_type_name(key)}' in list")
    if key != key or int(key) != key if math.isfinite(key) else True:
        raise CelRuntimeError(f"unsupported index value {to_string(key)} in list")
    if not 0 <= key < count:
        raise CelRuntimeError(f"index out of bounds: {int(key)}")
    return int(key)


def _type_name(value: Any) -> str:
    from tiphys.machinery.cel.types import of_value, value_name

    return value_name(of_value(value))


def present(value: Any, key: Any) -> bool:
    """`has(value.key)`"""
    if isinstance(value, Optional):
        return value.present and present(value.value, key)
    if isinstance(value, dict):
        return key in value
    raise no_such_overload()


# Optional values


def select_optional(value: Any, key: Any) -> Optional:
    """`value.?key`"""
    if isinstance(value, Optional):
        if not value.present:
            return NONE
        value = value.value
    if not isinstance(value, dict):
        raise no_such_overload()
    return Optional(value[key]) if key in value else NONE


def index_optional(value: Any, key: Any) -> Optional:
    """`value[?key]`"""
    if isinstance(value, Optional):
        if not value.present:
            return NONE
        value = value.value
    if isinstance(value, dict):
        found = find_key(value, key)
        return NONE if found is None else Optional(value[found[0]])
    if not isinstance(value, _SIZED):
        raise no_such_overload()
    try:
        return Optional(value[position(key, len(value))])
    except CelRuntimeError:
        return NONE


def unwrap(value: Optional) -> Any:
    if not value.present:
        raise CelRuntimeError("optional.none() dereference")
    return value.value


def entries(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    """A map literal: keys must be of types that keys can be, and different."""
    made: dict[Any, Any] = {}
    for key, value in pairs:
        if not isinstance(key, str | int):
            raise CelRuntimeError("unsupported key type")
        if key in made:
            raise CelRuntimeError(f"Failed with repeated key: {to_string(key)}")
        made[key] = value
    return made


def insert(entries_so_far: dict[Any, Any], key: Any, value: Any) -> None:
    """One entry of transformMap."""
    if not isinstance(key, str | int):
        raise CelRuntimeError("unsupported key type")
    if key in entries_so_far:
        raise CelRuntimeError(f"insert failed: key {to_string(key)} already exists")
    entries_so_far[key] = value


# Ranges of comprehensions


def elements(value: Any) -> Any:
    """What a comprehension of one variable goes over: elements, or keys."""
    if isinstance(value, list | tuple | dict):
        return value
    raise no_such_overload()


def numbered(value: Any) -> Any:
    """What a comprehension of two variables goes over: (index, element), or (key, value)."""
    if isinstance(value, dict):
        return value.items()
    if isinstance(value, list | tuple):
        return enumerate(value)
    raise no_such_overload()


def truth(value: Any) -> bool:
    """A value that must be a bool."""
    if value is True or value is False:
        return value
    raise no_such_overload()
