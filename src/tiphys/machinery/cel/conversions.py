"""Conversions between types: `int("5")`, `string(1.5)`, `duration("1h")`. Errors are cel-go's."""

from __future__ import annotations

import math
import re
from typing import Any

from tiphys.machinery.cel import times
from tiphys.machinery.cel.errors import CelRuntimeError
from tiphys.machinery.cel.types import Type, of_value, value_name
from tiphys.machinery.cel.values import INT_MAX, INT_MIN, SECOND, UINT_MAX, Duration, Timestamp, UInt
from tiphys.machinery.quoting import format_float

INT_OVERFLOW = "integer overflow"
UINT_OVERFLOW = "unsigned integer overflow"

_is_integer = re.compile(r"[+-]?[0-9]{1,40}").fullmatch
_is_unsigned = re.compile(r"[0-9]{1,40}").fullmatch
_is_float = re.compile(
    r"[+-]?(?:[0-9]+\.?[0-9]*(?:e[+-]?[0-9]+)?|\.[0-9]+(?:e[+-]?[0-9]+)?|inf(?:inity)?|nan)",
    re.IGNORECASE | re.ASCII,
).fullmatch
_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})


def _bad(source: str, target: str) -> CelRuntimeError:
    return CelRuntimeError(f"type conversion error from '{source}' to '{target}'")


def checked_int(value: int) -> int:
    if not INT_MIN <= value <= INT_MAX:
        raise CelRuntimeError(INT_OVERFLOW)
    return value


def checked_uint(value: int) -> UInt:
    if not 0 <= value <= UINT_MAX:
        raise CelRuntimeError(UINT_OVERFLOW)
    return UInt(value)


def number_to_int(value: float) -> int:
    if isinstance(value, float) and not -(2.0**63) < value < 2.0**63:
        raise CelRuntimeError(INT_OVERFLOW)
    return checked_int(int(value))


def number_to_uint(value: float) -> UInt:
    if isinstance(value, float) and not 0 <= value < 2.0**64:
        raise CelRuntimeError(UINT_OVERFLOW)
    return checked_uint(int(value))


def string_to_int(text: str) -> int:
    if not _is_integer(text) or not INT_MIN <= int(text) <= INT_MAX:
        raise _bad("string", "int")
    return int(text)


def string_to_uint(text: str) -> UInt:
    if not _is_unsigned(text) or int(text) > UINT_MAX:
        raise _bad("string", "uint")
    return UInt(text)


def string_to_double(text: str) -> float:
    if not _is_float(text):
        raise _bad("string", "double")
    value = float(text)
    if math.isinf(value) and "n" not in text.lower():
        raise _bad("string", "double")
    return value


def string_to_bool(text: str) -> bool:
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise _bad("string", "bool")


def string_to_timestamp(text: str) -> Timestamp:
    try:
        return times.parse_timestamp(text)
    except ValueError:
        raise _bad("string", "google.protobuf.Timestamp") from None


def string_to_duration(text: str) -> Duration:
    try:
        return times.parse_duration(text)
    except ValueError:
        raise _bad("string", "google.protobuf.Duration") from None


def int_to_timestamp(seconds: int) -> Timestamp:
    return times.timestamp(seconds * SECOND)


def int_to_duration(nanos: int) -> Duration:
    return times.duration(nanos)


def timestamp_to_int(value: Timestamp) -> int:
    return value.nanos // SECOND


def duration_to_int(value: Duration) -> int:
    return value.nanos


def string_to_bytes(text: str) -> bytes:
    return text.encode(errors="surrogatepass")


def bytes_to_string(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise CelRuntimeError("invalid UTF-8 in bytes, cannot convert to string") from None


def bool_to_string(value: bool) -> str:  # noqa: FBT001
    return "true" if value else "false"


def to_string(value: Any) -> str:
    """A scalar as `string(...)` gives it."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return bool_to_string(value)
    if isinstance(value, float):
        return format_float(value)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, bytes):
        return bytes_to_string(value)
    if isinstance(value, Timestamp):
        return times.timestamp_text(value)
    if isinstance(value, Duration):
        return times.duration_text(value)
    if isinstance(value, Type):
        return value_name(value)
    raise _bad(value_name(of_value(value)), "string")
