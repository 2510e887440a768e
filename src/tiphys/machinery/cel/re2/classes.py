"""Named sets of characters: `\\d`, `[:alpha:]`, `\\pL`, and letters whatever their case."""

from __future__ import annotations

import unicodedata
from functools import lru_cache

from tiphys.machinery.cel.re2.tree import HIGHEST, Ranges, complement, union

_DIGIT: Ranges = ((0x30, 0x39),)
_UPPER: Ranges = ((0x41, 0x5A),)
_LOWER: Ranges = ((0x61, 0x7A),)
WORD: Ranges = union(_DIGIT, _UPPER, _LOWER, ((0x5F, 0x5F),))
_SPACE: Ranges = ((0x09, 0x0A), (0x0C, 0x0D), (0x20, 0x20))

PERL: dict[str, Ranges] = {"d": _DIGIT, "w": WORD, "s": _SPACE}
PERL.update({name.upper(): complement(ranges) for name, ranges in list(PERL.items())})

POSIX: dict[str, Ranges] = {
    "alnum": union(_DIGIT, _UPPER, _LOWER),
    "alpha": union(_UPPER, _LOWER),
    "ascii": ((0x00, 0x7F),),
    "blank": ((0x09, 0x09), (0x20, 0x20)),
    "cntrl": ((0x00, 0x1F), (0x7F, 0x7F)),
    "digit": _DIGIT,
    "graph": ((0x21, 0x7E),),
    "lower": _LOWER,
    "print": ((0x20, 0x7E),),
    "punct": ((0x21, 0x2F), (0x3A, 0x40), (0x5B, 0x60), (0x7B, 0x7E)),
    "space": ((0x09, 0x0D), (0x20, 0x20)),
    "upper": _UPPER,
    "word": WORD,
    "xdigit": union(_DIGIT, ((0x41, 0x46), (0x61, 0x66))),
}


@lru_cache(maxsize=1)
def _categories() -> dict[str, Ranges]:
    """The general categories of Unicode, as `Lu` and as `L`. Takes a moment, once."""
    found: dict[str, list[tuple[int, int]]] = {}
    category = unicodedata.category
    start, before = 0, category("\0")
    for code in range(1, HIGHEST + 2):
        now = category(chr(code)) if code <= HIGHEST else ""
        if now != before:
            found.setdefault(before, []).append((start, code - 1))
            start, before = code, now
    made: dict[str, Ranges] = {}
    for name, ranges in found.items():
        # Unassigned code points are no category in Go.
        if name != "Cn":
            made[name] = tuple(ranges)
            made[name[0]] = union(made.get(name[0], ()), tuple(ranges))
    return made


def unicode_class(name: str) -> Ranges | None:
    """A general category, or `Any`. Scripts (`Greek`) are unknown here: Python has no table of them."""
    if name == "Any":
        return ((0, HIGHEST),)
    return _categories().get(name)


@lru_cache(maxsize=1)
def _orbits() -> dict[int, tuple[int, ...]]:
    """Code points that differ in case only, by each of them."""
    groups: dict[str, list[int]] = {}
    for code in range(0x1E944):
        letter = chr(code)
        key = letter.upper().lower()
        if len(key) == 1 and (key != letter or letter.upper() != letter):
            groups.setdefault(key, []).append(code)
    return {code: tuple(group) for group in groups.values() if len(group) > 1 for code in group}


def any_case(ranges: Ranges) -> Ranges:
    """The set with the other cases of its letters."""
    if all(high < 0x41 for _, high in ranges):
        return ranges
    orbits = _orbits()
    extra: list[tuple[int, int]] = []
    for low, high in ranges:
        codes = (
            range(low, high + 1) if high - low < 0x1000 else (code for code in orbits if low <= code <= high)
        )
        extra += [(other, other) for code in codes for other in orbits.get(code, ())]
    return union(ranges, tuple(extra))
