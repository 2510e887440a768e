"""Values of expressions that plain JSON has no Python type for.

int, double, string, bytes, bool, null, list and map are int, float, str, bytes, bool, None, list and dict.
"""

from __future__ import annotations

from typing import Any, TypeVar

INT_MIN = -(2**63)
INT_MAX = 2**63 - 1
UINT_MAX = 2**64 - 1
SECOND = 10**9
# 0001-01-01T00:00:00Z and 9999-12-31T23:59:59.999999999Z
TIMESTAMP_MIN = -62135596800 * SECOND
TIMESTAMP_MAX = 253402300800 * SECOND - 1


class UInt(int):
    """An unsigned integer: `1u`. It equals the int of the same value, but is another type."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"UInt({int(self)})"

    def __str__(self) -> str:
        return int.__repr__(self)


class _Nanos:
    """Something that is counted in nanoseconds."""

    __slots__ = ("nanos",)

    def __init__(self, nanos: int) -> None:
        self.nanos = nanos

    def __eq__(self, other: object) -> bool:
        return self.__class__ is other.__class__ and self.nanos == other.nanos

    def __hash__(self) -> int:
        return hash((self.__class__, self.nanos))

    def __lt__(self, other: _Nanos) -> bool:
        return self.nanos < _same(self, other).nanos

    def __le__(self, other: _Nanos) -> bool:
        return self.nanos <= _same(self, other).nanos

    def __gt__(self, other: _Nanos) -> bool:
        return self.nanos > _same(self, other).nanos

    def __ge__(self, other: _Nanos) -> bool:
        return self.nanos >= _same(self, other).nanos

    def __repr__(self) -> str:
        return f"{self.__class__.__name__}({self.nanos})"


class Timestamp(_Nanos):
    """A point in time: nanoseconds since 1970 (UTC)."""

    __slots__ = ()


class Duration(_Nanos):
    """A span of time in nanoseconds, within 64 bits."""

    __slots__ = ()


_N = TypeVar("_N", bound=_Nanos)


def _same(left: _Nanos, right: _N) -> _N:
    if left.__class__ is not right.__class__:
        raise TypeError("not of the same type")
    return right


class Optional:
    """`optional.of(x)`, or `optional.none()`, which is `NONE`."""

    __slots__ = ("present", "value")

    def __init__(self, value: Any, *, present: bool = True) -> None:
        self.present = present
        self.value = value

    def __eq__(self, other: object) -> bool:
        from tiphys.machinery.cel.equality import equals

        if not isinstance(other, Optional) or self.present != other.present:
            return False
        return not self.present or equals(self.value, other.value)

    __hash__ = None  # type: ignore[assignment]

    def __getitem__(self, key: Any) -> Any:
        """`optional.field`, which is optional too."""
        from tiphys.machinery.cel.operations import select_optional

        return select_optional(self, key)

    def __repr__(self) -> str:
        return f"Optional({self.value!r})" if self.present else "NONE"


NONE = Optional(None, present=False)


class Failed:
    """The error of a `cel.bind`, which counts only where its variable is used."""

    __slots__ = ("error",)

    def __init__(self, error: Exception) -> None:
        self.error = error


def bound(value: Any) -> Any:
    """The value of a bound variable, or its error."""
    if value.__class__ is Failed:
        raise value.error
    return value
