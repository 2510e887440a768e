"""Quantities of resources: `100m`, `1.5Gi`, `1e3` (apimachinery `api/resource`).

A Quantity is an exact number, counted in whole nanos, and the family of suffixes it was written in, which it keeps
when it is written again. What is finer than a nano is rounded away from zero, as everywhere in Kubernetes: who asks
for a little gets something.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

NANO = 10**9
MILLI = 10**6
# Binary quantities are capped here; decimal ones are not (upstream's limit, kept).
MAX_BINARY = (2**63 - 1) * NANO

DECIMAL_SI = "DecimalSI"
BINARY_SI = "BinarySI"
DECIMAL_EXPONENT = "DecimalExponent"

_FORMAT_ERROR = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
_NUMERIC_ERROR = "unable to parse numeric part of quantity"
_SUFFIX_ERROR = "unable to parse quantity's suffix"

_DECIMAL_SUFFIXES = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY_SUFFIXES = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_DECIMAL_BY_EXPONENT = {exponent: suffix for suffix, exponent in _DECIMAL_SUFFIXES.items()}
_BINARY_BY_EXPONENT = {exponent: suffix for suffix, exponent in _BINARY_SUFFIXES.items()}

_SHAPE = re.compile(r"([+-]?)([0-9]*)(?:\.([0-9]*))?([eEinumkKMGTP]*[-+]?[0-9]*)", re.ASCII)
# Upstream takes any exponent; numbers of that many digits would only serve to keep a server busy.
_EXPONENT_LIMIT = 300
_DIGIT_LIMIT = 1000


class Quantity:
    """An immutable amount. Compares, hashes and adds by value; `str()` is the canonical form."""

    __slots__ = ("_text", "family", "nanos")

    def __init__(self, nanos: int, family: str = DECIMAL_SI, *, text: str = "") -> None:
        """`text` is what the amount was read from, where that is as good as canonical."""
        self.nanos = nanos
        self.family = family
        self._text = text

    @property
    def value(self) -> int:
        """Whole units, rounded away from zero: bytes, cores, pods."""
        return _divide_up(self.nanos, NANO)

    @property
    def milli(self) -> int:
        """Thousandths, rounded away from zero: `2` cores are 2000."""
        return _divide_up(self.nanos, MILLI)

    def __float__(self) -> float:
        return self.nanos / NANO

    def __bool__(self) -> bool:
        return self.nanos != 0

    def __add__(self, other: Quantity) -> Quantity:
        return Quantity(self.nanos + other.nanos, self.family if self.nanos else other.family)

    def __sub__(self, other: Quantity) -> Quantity:
        return Quantity(self.nanos - other.nanos, self.family if self.nanos else other.family)

    def __mul__(self, factor: int) -> Quantity:
        return Quantity(self.nanos * factor, self.family)

    def __neg__(self) -> Quantity:
        return Quantity(-self.nanos, self.family)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Quantity) and self.nanos == other.nanos

    def __lt__(self, other: Quantity) -> bool:
        return self.nanos < other.nanos

    def __le__(self, other: Quantity) -> bool:
        return self.nanos <= other.nanos

    def __gt__(self, other: Quantity) -> bool:
        return self.nanos > other.nanos

    def __ge__(self, other: Quantity) -> bool:
        return self.nanos >= other.nanos

    def __hash__(self) -> int:
        return hash(self.nanos)

    def __str__(self) -> str:
        return self._text or _format(self.nanos, self.family)

    def __repr__(self) -> str:
        return f"Quantity({str(self)!r})"


ZERO = Quantity(0)


def from_value(value: int, family: str = DECIMAL_SI) -> Quantity:
    """So many whole units."""
    return Quantity(value * NANO, family)


def from_milli(value: int, family: str = DECIMAL_SI) -> Quantity:
    """So many thousandths."""
    return Quantity(value * MILLI, family)


def parse(text: Any) -> Quantity:
    """A quantity as an object has it: a string, or a JSON number. ValueError with upstream's text when it is none."""
    if isinstance(text, str):
        return _parse_cached(text)
    if isinstance(text, bool) or not isinstance(text, int | float):
        raise ValueError(_FORMAT_ERROR)
    return _parse(repr(text).replace("e+", "e"))


def canonical(text: Any) -> str:
    """The form in which the apiserver stores a quantity: `1000m` is `1`, `0.5` is `500m`, `1024Ki` is `1Mi`."""
    return _canonical_cached(text) if isinstance(text, str) else str(parse(text))


def as_value(text: Any) -> int:
    """Whole units of a quantity in an object, rounded away from zero."""
    return parse(text).value


def as_milli(text: Any) -> int:
    """Thousandths of a quantity in an object, rounded away from zero."""
    return parse(text).milli


def _parse(text: str) -> Quantity:
    text = text.strip()
    match = _SHAPE.fullmatch(text)
    if match is None or not text:
        raise ValueError(_FORMAT_ERROR)
    sign, whole, fraction, suffix = match.groups("")
    digits = whole + fraction or "0"
    if len(digits) > _DIGIT_LIMIT:
        raise ValueError(_NUMERIC_ERROR)
    base, exponent, family = _interpret(suffix)
    # Numerator and denominator of the amount in nanos: everything stays an int.
    top, bottom = int(digits) * NANO, 10 ** len(fraction)
    if base == 2:
        top <<= exponent
    elif exponent >= 0:
        top *= 10**exponent
    else:
        bottom *= 10**-exponent
    nanos = _divide_up(top, bottom)
    kept = text if _is_kept(whole.lstrip("0"), fraction, exponent, family) else ""
    if family == BINARY_SI:
        # Below one, a binary suffix would need a fraction: such an amount becomes decimal.
        family = DECIMAL_SI if 0 < nanos < NANO else family
        nanos = min(nanos, MAX_BINARY)
    return Quantity(-nanos if sign == "-" else nanos, family, text=kept)


def _is_kept(whole: str, fraction: str, exponent: int, family: str) -> bool:
    """Whether upstream shows the text again as it was written: `1.500`, `1E3`, `100.035k`, `+5`.

    It is upstream's test for "already canonical", which lets more through than the canonical form itself.
    """
    if family == BINARY_SI:
        room = 14 - len(whole) - exponent * 3 // 10
        return not fraction and room >= 0 and int(whole or 0) % 8 != 0
    digits, scale = whole + fraction, exponent - len(fraction)
    if not whole or len(digits) > 18 or scale < -9:
        return False
    return scale % 3 == 0 and not digits.endswith("000")


_parse_cached = lru_cache(maxsize=4096)(_parse)


@lru_cache(maxsize=4096)
def _canonical_cached(text: str) -> str:
    return str(_parse_cached(text))


def _interpret(suffix: str) -> tuple[int, int, str]:
    """Base, exponent and family of a suffix. `E` alone is the suffix; `E3` and `e3` are exponents."""
    if suffix in _DECIMAL_SUFFIXES:
        return 10, _DECIMAL_SUFFIXES[suffix], DECIMAL_SI
    if suffix in _BINARY_SUFFIXES:
        return 2, _BINARY_SUFFIXES[suffix], BINARY_SI
    if len(suffix) > 1 and suffix[0] in "eE":
        return 10, _parse_exponent(suffix[1:]), DECIMAL_EXPONENT
    raise ValueError(_SUFFIX_ERROR)


def _parse_exponent(text: str) -> int:
    try:
        exponent = int(text)
    except ValueError:
        raise ValueError(_SUFFIX_ERROR) from None
    if abs(exponent) > _EXPONENT_LIMIT:
        raise ValueError(_SUFFIX_ERROR)
    return exponent


def _divide_up(top: int, bottom: int) -> int:
    """The quotient, rounded away from zero."""
    return -(-top // bottom) if top >= 0 else top // bottom


def _format(nanos: int, family: str) -> str:
    if nanos == 0:
        return "0"
    whole, rest = divmod(nanos, NANO)
    if family == BINARY_SI and not rest and abs(whole) >= 1024:
        number, exponent = _remove_factors(whole, 1024)
        while exponent > 6:  # beyond Ei: no suffix for it
            number, exponent = number * 1024, exponent - 1
        return f"{number}{_BINARY_BY_EXPONENT.get(exponent * 10, '')}"
    number, exponent = _remove_factors(nanos, 10)
    exponent -= 9
    number, exponent = number * 10 ** (exponent % 3), exponent - exponent % 3
    if family == DECIMAL_EXPONENT or exponent not in _DECIMAL_BY_EXPONENT:
        return f"{number}e{exponent}" if exponent else str(number)
    return f"{number}{_DECIMAL_BY_EXPONENT[exponent]}"


def _remove_factors(number: int, factor: int) -> tuple[int, int]:
    """`number` without its factors of `factor`, and how many there were."""
    times = 0
    while number % factor == 0:
        number //= factor
        times += 1
    return number, times
