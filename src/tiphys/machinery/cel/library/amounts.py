"""Quantities of resources (apiserver `pkg/cel/library/quantity.go`)."""

from __future__ import annotations

import math

from tiphys.machinery.cel.charges import fixed, traversal
from tiphys.machinery.cel.declarations import function
from tiphys.machinery.cel.errors import CelRuntimeError
from tiphys.machinery.cel.library.form import Library
from tiphys.machinery.cel.types import opaque
from tiphys.machinery.cel.values import INT_MAX, INT_MIN
from tiphys.machinery.quantity import DECIMAL_EXPONENT, NANO, Quantity, from_value, parse

_FORMAT = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"


def _parse(text: str) -> Quantity:
    # Around a quantity in an object there may be space; not here.
    if text != text.strip():
        raise ValueError(_FORMAT)
    return parse(text)


def to_quantity(text: str) -> Quantity:
    try:
        return _parse(text)
    except ValueError as error:
        raise CelRuntimeError(str(error)) from None


def is_quantity(text: str) -> bool:
    try:
        _parse(text)
    except ValueError:
        return False
    return True


def is_integer(quantity: Quantity) -> bool:
    return quantity.nanos % NANO == 0 and INT_MIN <= quantity.nanos // NANO <= INT_MAX


def as_integer(quantity: Quantity) -> int:
    if not is_integer(quantity):
        raise CelRuntimeError("cannot convert value to integer")
    return quantity.nanos // NANO


def as_float(quantity: Quantity) -> float:
    try:
        return quantity.nanos / NANO
    except OverflowError:
        return math.inf if quantity.nanos > 0 else -math.inf


def sign(quantity: Quantity) -> int:
    return (quantity.nanos > 0) - (quantity.nanos < 0)


def compare(one: Quantity, other: Quantity) -> int:
    return (one > other) - (one < other)


def _whole(number: int) -> Quantity:
    return from_value(number, DECIMAL_EXPONENT)


QUANTITY_TYPE = opaque("kubernetes.Quantity", Quantity)
_TYPES = {"Quantity": QUANTITY_TYPE}

QUANTITIES = Library(
    "kubernetes.quantity",
    tuple(
        function(signature, implementation, charge, known=_TYPES)
        for signature, implementation, charge in (
            ("quantity(string) -> Quantity", to_quantity, traversal()),
            ("isQuantity(string) -> bool", is_quantity, traversal()),
            ("sign(Quantity) -> int", sign, fixed(1)),
            ("Quantity.sign() -> int", sign, fixed(1)),
            ("Quantity.isInteger() -> bool", is_integer, fixed(1)),
            ("Quantity.asInteger() -> int", as_integer, fixed(1)),
            ("Quantity.asApproximateFloat() -> double", as_float, fixed(1)),
            ("Quantity.isGreaterThan(Quantity) -> bool", lambda one, other: one > other, fixed(1)),
            ("Quantity.isLessThan(Quantity) -> bool", lambda one, other: one < other, fixed(1)),
            ("Quantity.compareTo(Quantity) -> int", compare, fixed(1)),
            ("Quantity.add(Quantity) -> Quantity", lambda one, other: one + other, fixed(1)),
            ("Quantity.add(int) -> Quantity", lambda one, number: one + _whole(number), fixed(1)),
            ("Quantity.sub(Quantity) -> Quantity", lambda one, other: one - other, fixed(1)),
            ("Quantity.sub(int) -> Quantity", lambda one, number: one - _whole(number), fixed(1)),
        )
    ),
    {"kubernetes.Quantity": QUANTITY_TYPE},
)
