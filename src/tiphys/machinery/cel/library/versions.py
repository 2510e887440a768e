"""Semantic versions (apiserver `pkg/cel/library/semverlib.go`, semver.org)."""

from __future__ import annotations

import re

from tiphys.machinery.cel.charges import fixed, traversal
from tiphys.machinery.cel.declarations import function
from tiphys.machinery.cel.errors import CelRuntimeError
from tiphys.machinery.cel.library.form import Library
from tiphys.machinery.cel.types import opaque
from tiphys.machinery.cel.values import UINT_MAX
from tiphys.machinery.quoting import quote

_identifier = re.compile(r"[0-9A-Za-z-]+").fullmatch
_number = re.compile(r"[0-9]+", re.ASCII).fullmatch


class Semver:
    """A version. What is built (`+build`) does not count in comparisons."""

    __slots__ = ("numbers", "prerelease")

    def __init__(self, numbers: tuple[int, int, int], prerelease: tuple[str, ...]) -> None:
        self.numbers = numbers
        self.prerelease = prerelease

    @property
    def order(self) -> tuple[object, ...]:
        """Sorts as versions do: numbers before names, a release after its prereleases."""
        parts = tuple((0, int(part), "") if _number(part) else (1, 0, part) for part in self.prerelease)
        return self.numbers, not parts, parts

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Semver) and self.order == other.order

    def __hash__(self) -> int:
        return hash(self.order)


def parse(text: str) -> Semver:
    """ValueError when it is no semantic version."""
    if not text:
        raise ValueError("Version string empty")
    parts = text.split(".", 2)
    if len(parts) != 3:
        raise ValueError("No Major.Minor.Patch elements found")
    patch, plus, build = parts[2].partition("+")
    patch, dash, prerelease = patch.partition("-")
    numbers = tuple(
        _part(part, name) for part, name in ((parts[0], "Major"), (parts[1], "Minor"), (patch, "Patch"))
    )
    names = tuple(prerelease.split(".")) if dash else ()
    for name in names:
        _check_prerelease(name)
    for name in build.split(".") if plus else ():
        if not _identifier(name):
            raise ValueError(
                "Build meta data is empty"
                if not name
                else f"Invalid character(s) found in build meta data {quote(name)}"
            )
    return Semver(numbers, names)  # type: ignore[arg-type]


def _part(text: str, name: str) -> int:
    if not _number(text) or len(text) > 40:
        raise ValueError(f"Invalid character(s) found in {name.lower()} number {quote(text)}")
    if len(text) > 1 and text[0] == "0":
        raise ValueError(f"{name} number must not contain leading zeroes {quote(text)}")
    if int(text) > UINT_MAX:
        raise ValueError(f"strconv.ParseUint: parsing {quote(text)}: value out of range")
    return int(text)


def _check_prerelease(name: str) -> None:
    if not name:
        raise ValueError("Prerelease is empty")
    if not _identifier(name):
        raise ValueError(f"Invalid character(s) found in prerelease {quote(name)}")
    if _number(name) and ((len(name) > 1 and name[0] == "0") or len(name) > 40):
        raise ValueError(f"Numeric PreRelease version must not contain leading zeroes {quote(name)}")


def normalized(text: str) -> str:
    """Without a `v`, without leading zeros, with all three numbers."""
    parts = [_without_zeros(part) for part in text.removeprefix("v").split(".", 2)]
    if len(parts) < 3:
        if re.search(r"[+-]", parts[-1]):
            raise ValueError("short version cannot contain PreRelease/Build meta data")
        parts += ["0"] * (3 - len(parts))
    return ".".join(parts)


def _without_zeros(part: str) -> str:
    if len(part) < 2:
        return part
    stripped = part.lstrip("0")
    return stripped if stripped[:1].isdecimal() else f"0{stripped}"


def to_semver(text: str, normalize: bool = False) -> Semver:  # noqa: FBT001 (called by expressions)
    try:
        return parse(normalized(text) if normalize else text)
    except ValueError as error:
        raise CelRuntimeError(str(error)) from None


def is_semver(text: str, normalize: bool = False) -> bool:  # noqa: FBT001 (called by expressions)
    try:
        parse(normalized(text) if normalize else text)
    except ValueError:
        return False
    return True


def compare(one: Semver, other: Semver) -> int:
    return (one.order > other.order) - (one.order < other.order)


SEMVER_TYPE = opaque("kubernetes.Semver", Semver)
_TYPES = {"Semver": SEMVER_TYPE}

VERSIONS = Library(
    "kubernetes.Semver",
    tuple(
        function(signature, implementation, charge, known=_TYPES)
        for signature, implementation, charge in (
            ("semver(string) -> Semver", to_semver, traversal()),
            ("semver(string, bool) -> Semver", to_semver, traversal()),
            ("isSemver(string) -> bool", is_semver, traversal()),
            ("isSemver(string, bool) -> bool", is_semver, traversal()),
            ("Semver.major() -> int", lambda version: version.numbers[0], fixed(1)),
            ("Semver.minor() -> int", lambda version: version.numbers[1], fixed(1)),
            ("Semver.patch() -> int", lambda version: version.numbers[2], fixed(1)),
            ("Semver.isGreaterThan(Semver) -> bool", lambda one, other: compare(one, other) > 0, fixed(1)),
            ("Semver.isLessThan(Semver) -> bool", lambda one, other: compare(one, other) < 0, fixed(1)),
            ("Semver.compareTo(Semver) -> int", compare, fixed(1)),
        )
    ),
    {"kubernetes.Semver": SEMVER_TYPE},
)
