"""Kubernetes' dialect of JSONPath, as printer columns of custom resources and field paths use it.

    .spec.replicas    .metadata.labels.app\\.kubernetes\\.io/name    ['a']    .*    [0]    [-1]    [1:3]    [*]
    ['a','b']    [0,2]    .conditions[?(@.type=="Ready")].status    ..name

A path finds values and never fails on a document: what is missing, or of another kind, is not found. (Upstream's
printer columns do the same: an error there is an empty cell.) The templates of `kubectl -o jsonpath`, with text and
`range` around paths, are kubectl's own affair.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, TypeAlias

from tiphys.machinery.frozen import frozen


class JSONPathError(ValueError):
    """A path that cannot be understood; the text is upstream's."""


Step: TypeAlias = Callable[[Any], Iterator[Any]]

_FIELD = re.compile(r"(?:\\.|[^\s.,\[\]$@{}\\])*")
_SLICE = re.compile(r"(-?\d*)(:-?\d*)?(:-?\d*)?", re.ASCII)
_COMPARISON = re.compile(r"([^!<>=]+)([!<>=]+)(.+)", re.DOTALL)
_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?", re.ASCII)
_QUOTED_KEY = re.compile(r"'([^']*)'")
_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@frozen
class JSONPath:
    """A parsed path. `text` is what it was parsed from."""

    text: str
    steps: tuple[Step, ...]

    def find(self, document: Any) -> list[Any]:
        """All values that the path leads to, in the order of the document."""
        found = [document]
        for step in self.steps:
            found = [value for origin in found for value in step(origin)]
            if not found:
                break
        return found

    def first(self, document: Any) -> Any:
        """The first value found, or None."""
        found = self.find(document)
        return found[0] if found else None


@lru_cache(maxsize=1024)
def parse_json_path(text: str) -> JSONPath:
    """`text` with or without braces around it. JSONPathError when it is no path."""
    inner = text[1:-1] if text.startswith("{") and text.endswith("}") else text
    return JSONPath(text, tuple(_Parser(inner).steps()))


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._position = 0

    def steps(self) -> Iterator[Step]:
        while self._position < len(self._text):
            character = self._text[self._position]
            if character in " @$":
                self._position += 1
            elif self._text.startswith("..", self._position):
                yield self._recursive()
            elif character == ".":
                self._position += 1
                yield self._field()
            elif self._text.startswith("[?(", self._position):
                yield self._filter()
            elif character == "[":
                yield from self._brackets()
            else:
                raise self._unexpected(character)

    def _unexpected(self, character: str) -> JSONPathError:
        if character.isalnum() or character == "_":
            return JSONPathError(f"unrecognized identifier {self._take_field()}")
        return JSONPathError(f"unrecognized character in action: U+{ord(character):04X} '{character}'")

    def _take_field(self) -> str:
        match = _FIELD.match(self._text, self._position)
        assert match is not None  # the pattern matches nothing at all, too
        self._position = match.end()
        return match.group()

    def _field(self) -> Step:
        name = self._take_field()
        return _wildcard if name == "*" else _field(name.replace("\\", ""))

    def _recursive(self) -> Step:
        self._position += 2
        if self._text.startswith("..", self._position):
            raise JSONPathError("invalid multiple recursive descent")
        name = self._take_field()
        if not name:
            return _descendants
        inner = _wildcard if name == "*" else _field(name.replace("\\", ""))
        return lambda value: (found for each in _descendants(value) for found in inner(each))

    def _brackets(self) -> Iterator[Step]:
        end = self._text.find("]", self._position)
        if end < 0:
            raise JSONPathError("unterminated array")
        text = self._text[self._position + 1 : end]
        self._position = end + 1
        parts = text.split(",")
        if len(parts) == 1:
            yield from _bracket_steps(text)
        else:
            yield _union([tuple(_bracket_steps(part.strip())) for part in parts])

    def _filter(self) -> Step:
        start = self._position + len("[?(")
        end = self._closing_parenthesis(start)
        if self._text[end + 1 : end + 2] != "]":
            raise JSONPathError("unclosed array expect ]")
        self._position = end + 2
        text = self._text[start:end]
        match = _COMPARISON.fullmatch(text)
        if match is None:
            return _exists(parse_json_path(text.strip()))
        left, symbol, right = match.groups()
        if symbol not in _OPERATORS:
            raise JSONPathError(f"unrecognized filter operator {symbol}")
        return _comparison(_operand(left.strip()), _OPERATORS[symbol], _operand(right.strip()))

    def _closing_parenthesis(self, start: int) -> int:
        """Where the filter ends: a parenthesis outside of quotes."""
        quote = ""
        for place in range(start, len(self._text)):
            character = self._text[place]
            if quote:
                if character == quote and self._text[place - 1] != "\\":
                    quote = ""
            elif character in "\"'":
                quote = character
            elif character == ")":
                return place
        raise JSONPathError("unterminated filter")


def _bracket_steps(text: str) -> Iterator[Step]:
    if text == "*":
        yield _wildcard
        return
    quoted = _QUOTED_KEY.fullmatch(text)
    if quoted is not None:
        # As upstream: an unescaped dot inside the quotes still separates two fields.
        yield from _Parser(f".{quoted.group(1)}").steps()
        return
    match = _SLICE.fullmatch(text)
    if match is None or not text or "-" in match.groups() or ":-" in match.groups():
        raise JSONPathError(f"invalid array index {text}")
    start, *rest = match.groups("")
    if not rest[0]:
        yield _index(int(start))
        return
    bounds = [int(part) if part else None for part in (start, rest[0][1:], rest[1][1:])]
    if bounds[2] == 0:
        raise JSONPathError(f"invalid array index {text}")
    yield _slice(slice(*bounds))


# Steps: from one value to those that it leads to


def _field(name: str) -> Step:
    def step(value: Any) -> Iterator[Any]:
        if isinstance(value, dict) and name in value:
            yield value[name]

    return step if name else _itself


def _itself(value: Any) -> Iterator[Any]:
    """The value itself: what a lone dot means."""
    yield value


def _wildcard(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list):
        yield from value


def _index(index: int) -> Step:
    def step(value: Any) -> Iterator[Any]:
        if isinstance(value, list) and -len(value) <= index < len(value):
            yield value[index]

    return step


def _slice(bounds: slice) -> Step:
    def step(value: Any) -> Iterator[Any]:
        if isinstance(value, list):
            yield from value[bounds]

    return step


def _union(branches: list[tuple[Step, ...]]) -> Step:
    paths = [JSONPath("", branch) for branch in branches]

    def step(value: Any) -> Iterator[Any]:
        for path in paths:
            yield from path.find(value)

    return step


def _descendants(value: Any) -> Iterator[Any]:
    """The value and everything inside it."""
    yield value
    for child in _wildcard(value):
        if isinstance(child, dict | list):
            yield from _descendants(child)


def _exists(path: JSONPath) -> Step:
    return lambda value: (each for each in _wildcard(value) if path.find(each))


def _comparison(left: JSONPath, compare: Callable[[Any, Any], Any], right: JSONPath) -> Step:
    def step(value: Any) -> Iterator[Any]:
        for each in _wildcard(value):
            ours, theirs = left.find(each), right.find(each)
            if (
                len(ours) == len(theirs) == 1
                and _comparable(ours[0], theirs[0])
                and compare(ours[0], theirs[0])
            ):
                yield each

    return step


def _comparable(left: Any, right: Any) -> bool:
    for kind in (bool, str, int | float):
        if isinstance(left, kind) or isinstance(right, kind):
            return isinstance(left, kind) and isinstance(right, kind)
    return False


def _operand(text: str) -> JSONPath:
    """One side of a comparison: a path, or a constant as a path that leads to it from anywhere."""
    if len(text) >= 2 and text[0] in "\"'" and text[-1] == text[0]:
        return _constant(re.sub(r"\\(.)", r"\1", text[1:-1]))
    if text in ("true", "false"):
        return _constant(text == "true")
    if _NUMBER.fullmatch(text):
        return _constant(float(text) if "." in text else int(text))
    return parse_json_path(text)


def _constant(value: Any) -> JSONPath:
    def step(_: Any) -> Iterator[Any]:
        yield value

    return JSONPath("", (step,))
