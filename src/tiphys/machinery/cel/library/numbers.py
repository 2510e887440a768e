"""Mathematics (cel-go `ext/math.go`) and base64 (`ext/encoders.go`). Kubernetes itself does not have these."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Callable, Sequence
from typing import Any

from tiphys.machinery.cel.charges import traversal
from tiphys.machinery.cel.conversions import checked_int
from tiphys.machinery.cel.declarations import Overload, function
from tiphys.machinery.cel.errors import CelRuntimeError
from tiphys.machinery.cel.library.form import Library
from tiphys.machinery.cel.library.lists import extreme
from tiphys.machinery.cel.values import UINT_MAX, UInt

_NUMBERS = ("int", "uint", "double")


def _extremes(name: str, choose: Callable[[Sequence[Any]], Any]) -> list[Overload]:
    def of_list(items: Sequence[Any]) -> Any:
        return extreme(f"math.{name}", choose, items)

    def of_two(one: Any, other: Any) -> Any:
        return of_list([one, other])

    made = [function(f"math.{name}({this}) -> {this}", lambda value: value) for this in _NUMBERS]
    made += [function(f"math.{name}(list({this})) -> {this}", of_list) for this in _NUMBERS]
    for left in _NUMBERS:
        for right in _NUMBERS:
            result = left if left == right else "dyn"
            made.append(function(f"math.{name}({left}, {right}) -> {result}", of_two))
    return made


def _whole(rounding: Callable[[float], float]) -> Callable[[float], float]:
    return lambda value: float(rounding(value)) if math.isfinite(value) else value


def _round(value: float) -> float:
    """Half away from zero."""
    return math.copysign(math.floor(abs(value) + 0.5), value) if abs(value) < 2**52 else value


def _sign(value: float) -> float:
    return value if math.isnan(value) else float((value > 0) - (value < 0))


def _root(value: float) -> float:
    return math.sqrt(value) if value >= 0 else math.nan


def _signed(number: int) -> int:
    """64 bits as an int."""
    number &= UINT_MAX
    return number - 2**64 if number >= 2**63 else number


def _shift(apply: Callable[[int, int], int]) -> Callable[[int, int], Any]:
    def shift(value: int, bits: int) -> Any:
        if bits < 0:
            raise CelRuntimeError(f"math.bitShift negative offset: {bits}")
        shifted = apply(int(value) & UINT_MAX, bits) if bits < 64 else 0
        return UInt(shifted & UINT_MAX) if isinstance(value, UInt) else _signed(shifted)

    return shift


def _bits() -> list[Overload]:
    made = []
    operations: dict[str, Callable[[int, int], int]] = {
        "bitAnd": lambda one, other: one & other,
        "bitOr": lambda one, other: one | other,
        "bitXor": lambda one, other: one ^ other,
    }
    for name, apply in operations.items():
        made.append(function(f"math.{name}(int, int) -> int", apply))
        made.append(function(f"math.{name}(uint, uint) -> uint", _unsigned(apply)))
    left, right = _shift(lambda value, bits: value << bits), _shift(lambda value, bits: value >> bits)
    for this in ("int", "uint"):
        made.append(function(f"math.bitShiftLeft({this}, int) -> {this}", left))
        made.append(function(f"math.bitShiftRight({this}, int) -> {this}", right))
    return [
        *made,
        function("math.bitNot(int) -> int", lambda value: ~value),
        function("math.bitNot(uint) -> uint", lambda value: UInt(UINT_MAX ^ value)),
    ]


def _unsigned(apply: Callable[[int, int], int]) -> Callable[[int, int], UInt]:
    return lambda one, other: UInt(apply(int(one), int(other)))


MATH = Library(
    "cel.lib.ext.math",
    (
        *_extremes("greatest", max),
        *_extremes("least", min),
        function("math.ceil(double) -> double", _whole(math.ceil)),
        function("math.floor(double) -> double", _whole(math.floor)),
        function("math.round(double) -> double", _whole(_round)),
        function("math.trunc(double) -> double", _whole(math.trunc)),
        function("math.isInf(double) -> bool", math.isinf),
        function("math.isNaN(double) -> bool", math.isnan),
        function("math.isFinite(double) -> bool", math.isfinite),
        function("math.abs(double) -> double", abs),
        function("math.abs(int) -> int", lambda value: checked_int(abs(value))),
        function("math.abs(uint) -> uint", lambda value: value),
        function("math.sign(double) -> double", _sign),
        function("math.sign(int) -> int", lambda value: (value > 0) - (value < 0)),
        function("math.sign(uint) -> uint", lambda value: UInt(value > 0)),
        function("math.sqrt(double) -> double", _root),
        function("math.sqrt(int) -> double", _root),
        function("math.sqrt(uint) -> double", _root),
        *_bits(),
    ),
)


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text if text.endswith("=") else text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise CelRuntimeError("illegal base64 data") from None


ENCODERS = Library(
    "cel.lib.ext.encoders",
    (
        function(
            "base64.encode(bytes) -> string", lambda value: base64.b64encode(value).decode(), traversal()
        ),
        function("base64.decode(string) -> bytes", _decode, traversal()),
    ),
)
