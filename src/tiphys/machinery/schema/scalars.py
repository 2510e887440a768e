"""Scalars as Go's decoder takes them: what is taken, in which form it comes out again, and the words of a refusal.

Rules: Go's `encoding/json` (as forked in sigs.k8s.io/json) and the `UnmarshalJSON` of apimachinery's types.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from tiphys.machinery import quantity
from tiphys.machinery.schema.errors import DecodeError
from tiphys.machinery.schema.model import ListOf, MapOf, Scalar, ScalarKind, Struct, Type, struct_of
from tiphys.machinery.schema.times import canonical_micro_time, canonical_time

INT32 = range(-(2**31), 2**31)
INT64 = range(-(2**63), 2**63)
_BASE64 = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")

_GO_TYPES = {
    ScalarKind.DOUBLE: "float64",
    ScalarKind.BYTES: "[]uint8",
    # These read the value into a plain one first, and it is that one which does not fit.
    ScalarKind.TIME: "string",
    ScalarKind.MICROTIME: "string",
    ScalarKind.INT_OR_STRING: "int32",
}


class MismatchError(Exception):
    """A JSON value of the wrong type: `value` is what it is ("string", "number 1.5"), `go_type` what it should be."""

    def __init__(self, value: str, go_type: str) -> None:
        super().__init__(value, go_type)
        self.value = value
        self.go_type = go_type


def json_kind(value: Any) -> str:
    """The kind of a JSON value in the words of Go's decoder."""
    if isinstance(value, str):
        return "string"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "number"
    return "array" if isinstance(value, list) else "object"


def go_type_name(type_: Type) -> str:
    """As Go prints the type: `[]v1.Container`, `map[string]string`."""
    if isinstance(type_, ListOf):
        return f"[]{go_type_name(type_.item)}"
    if isinstance(type_, MapOf):
        return f"map[string]{go_type_name(type_.value)}"
    if isinstance(type_, Scalar):
        return _GO_TYPES.get(type_.kind, type_.kind.value)
    struct: Struct | None = struct_of(type_)
    return struct.go_name if struct is not None else ""


def decode_scalar(scalar: Scalar, value: Any) -> Any:
    """The canonical form of a value that is not null. Raises MismatchError or DecodeError."""
    return _DECODERS[scalar.kind](scalar, value)


def zero(scalar: Scalar) -> Any:
    """What a null inside a list or a map stands for."""
    return _ZEROS.get(scalar.kind)


def is_empty(scalar: Scalar, value: Any) -> bool:
    """Whether Go leaves the value out of a field that is marked `omitempty`."""
    return not value and scalar.kind in _OMITTED


def _mismatch(scalar: Scalar, value: Any) -> MismatchError:
    return MismatchError(json_kind(value), go_type_name(scalar))


def _string(scalar: Scalar, value: Any) -> Any:
    if not isinstance(value, str):
        raise _mismatch(scalar, value)
    return value


def _bool(scalar: Scalar, value: Any) -> Any:
    if not isinstance(value, bool):
        raise _mismatch(scalar, value)
    return value


def _integer(scalar: Scalar, value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _mismatch(scalar, value)
    limits = INT64 if scalar.kind is ScalarKind.INT64 else INT32
    if isinstance(value, float) or value not in limits:
        raise MismatchError(f"number {value}", go_type_name(scalar))
    return value


def _double(scalar: Scalar, value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _mismatch(scalar, value)
    # Go writes a whole number without a point.
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 1e21 else value


def _bytes(scalar: Scalar, value: Any) -> Any:
    if not isinstance(value, str):
        raise _mismatch(scalar, value)
    stripped = value.replace("\r", "").replace("\n", "")
    wrong = _wrong_base64(value, stripped)
    if wrong is not None:
        raise DecodeError(f"illegal base64 data at input byte {wrong}")
    return base64.b64encode(base64.b64decode(stripped)).decode()


def _wrong_base64(value: str, stripped: str) -> int | None:
    """Where Go's decoder stops in `value`, or None. Line ends are skipped, padding is a must."""
    body = next((place for place, letter in enumerate(stripped) if letter not in _BASE64), len(stripped))
    rest = body % 4
    if body == len(stripped):
        return len(value) - rest if rest else None
    if stripped[body] != "=" or rest < 2:
        return _offset(value, body)
    end = body + 4 - rest
    if end > len(stripped):
        return len(value)
    if stripped[body:end] != "=" * (4 - rest):
        return _offset(value, body)
    return _offset(value, end) if end < len(stripped) else None


def _offset(value: str, place: int) -> int:
    """The place in bytes, line ends counted again, of the character at `place` of the stripped text."""
    seen = 0
    for index, character in enumerate(value):
        if character in "\r\n":
            continue
        if seen == place:
            return len(value[:index].encode())
        seen += 1
    return len(value.encode())


def _quantity(_scalar: Scalar, value: Any) -> Any:
    try:
        return quantity.canonical(value)
    except ValueError as error:
        raise DecodeError(str(error)) from None


def _time(scalar: Scalar, value: Any) -> Any:
    text = canonical_time(_string(scalar, value))
    # Go takes its zero time for no time at all.
    return None if text == "0001-01-01T00:00:00Z" else text


def _micro_time(scalar: Scalar, value: Any) -> Any:
    text = canonical_micro_time(_string(scalar, value))
    return None if text == "0001-01-01T00:00:00.000000Z" else text


def _int_or_string(scalar: Scalar, value: Any) -> Any:
    return value if isinstance(value, str) else _integer(scalar, value)


def _anything(_scalar: Scalar, value: Any) -> Any:
    return value


_DECODERS: dict[ScalarKind, Callable[[Scalar, Any], Any]] = {
    ScalarKind.STRING: _string,
    ScalarKind.BOOL: _bool,
    ScalarKind.INT32: _integer,
    ScalarKind.INT64: _integer,
    ScalarKind.DOUBLE: _double,
    ScalarKind.BYTES: _bytes,
    ScalarKind.QUANTITY: _quantity,
    ScalarKind.TIME: _time,
    ScalarKind.MICROTIME: _micro_time,
    ScalarKind.INT_OR_STRING: _int_or_string,
    ScalarKind.RAW: _anything,
    ScalarKind.JSON: _anything,
    ScalarKind.FIELDS: _anything,
}
_ZEROS: dict[ScalarKind, Any] = {
    ScalarKind.STRING: "",
    ScalarKind.BOOL: False,
    ScalarKind.INT32: 0,
    ScalarKind.INT64: 0,
    ScalarKind.DOUBLE: 0,
    ScalarKind.BYTES: "",
    ScalarKind.QUANTITY: "0",
    ScalarKind.INT_OR_STRING: 0,
}
_OMITTED = frozenset(
    (
        ScalarKind.STRING,
        ScalarKind.BOOL,
        ScalarKind.INT32,
        ScalarKind.INT64,
        ScalarKind.DOUBLE,
        ScalarKind.BYTES,
    )
)
