"""Strings (cel-go `ext/strings.go`) and regular expressions (apiserver `pkg/cel/library/regex.go`)."""

from __future__ import annotations

from collections.abc import Sequence

from tiphys.machinery.cel.charges import FIND, JOIN, QUOTE, REPLACE, SPLIT, THROUGH_LIST, traversal
from tiphys.machinery.cel.declarations import function
from tiphys.machinery.cel.errors import CelRuntimeError, no_such_overload
from tiphys.machinery.cel.library.form import Library
from tiphys.machinery.cel.library.formatting import format_text
from tiphys.machinery.cel.measures import check_length
from tiphys.machinery.cel.regex import pattern

_LOWER = {code: code + 32 for code in range(65, 91)}
_UPPER = {code: code - 32 for code in range(97, 123)}
# Go's strings.TrimSpace.
_SPACE = "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
_QUOTED = str.maketrans(
    {
        "\a": "\\a",
        "\b": "\\b",
        "\f": "\\f",
        "\n": "\\n",
        "\r": "\\r",
        "\t": "\\t",
        "\v": "\\v",
        "\\": "\\\\",
        '"': '\\"',
    }
)


def _out_of_range(index: int) -> CelRuntimeError:
    return CelRuntimeError(f"index out of range: {index}")


def char_at(text: str, index: int) -> str:
    if not 0 <= index <= len(text):
        raise _out_of_range(index)
    return text[index : index + 1]


def index_of(text: str, part: str, offset: int = 0) -> int:
    if not part:
        return offset
    if offset < 0:
        raise _out_of_range(offset)
    return text.find(part, offset)


def last_index_of(text: str, part: str, offset: int | None = None) -> int:
    if not part:
        return len(text) if offset is None else offset
    if offset is None:
        return text.rfind(part)
    if offset < 0:
        raise _out_of_range(offset)
    return -1 if offset >= len(text) else text.rfind(part, 0, offset + len(part))


def join(parts: Sequence[str], separator: str = "") -> str:
    if any(part.__class__ is not str for part in parts):
        raise no_such_overload()
    check_length(sum(map(len, parts)) + len(separator) * len(parts))
    return separator.join(parts)


def replace(text: str, old: str, new: str, limit: int = -1) -> str:
    count = text.count(old) if limit < 0 else min(text.count(old), limit)
    check_length(len(text) + count * len(new))
    return text.replace(old, new, max(limit, -1))


def split(text: str, separator: str, limit: int = -1) -> list[str]:
    """As Go's SplitN: the last part is what is left; an empty separator splits into characters."""
    if limit == 0:
        return []
    if separator:
        return text.split(separator, limit - 1 if limit > 0 else -1)
    if 0 < limit < len(text):
        return [*text[: limit - 1], text[limit - 1 :]]
    return list(text)


def substring(text: str, start: int, end: int | None = None) -> str:
    if end is not None and start > end:
        raise CelRuntimeError(f"invalid substring range. start: {start}, end: {end}")
    for index in (start, len(text) if end is None else end):
        if not 0 <= index <= len(text):
            raise _out_of_range(index)
    return text[start:end]


STRINGS = Library(
    "cel.lib.ext.strings",
    (
        function("string.charAt(int) -> string", char_at),
        function("string.indexOf(string) -> int", index_of, THROUGH_LIST),
        function("string.indexOf(string, int) -> int", index_of, THROUGH_LIST),
        function("string.lastIndexOf(string) -> int", last_index_of, THROUGH_LIST),
        function("string.lastIndexOf(string, int) -> int", last_index_of, THROUGH_LIST),
        function("list(string).join() -> string", join, JOIN),
        function("list(string).join(string) -> string", join, JOIN),
        function(
            "string.lowerAscii() -> string", lambda text: text.translate(_LOWER), traversal(same_size=True)
        ),
        function(
            "string.upperAscii() -> string", lambda text: text.translate(_UPPER), traversal(same_size=True)
        ),
        function("string.replace(string, string) -> string", replace, REPLACE),
        function("string.replace(string, string, int) -> string", replace, REPLACE),
        function("string.split(string) -> list(string)", split, SPLIT),
        function("string.split(string, int) -> list(string)", split, SPLIT),
        function("string.substring(int) -> string", substring, traversal(same_size=True)),
        function("string.substring(int, int) -> string", substring, traversal(same_size=True)),
        function("string.trim() -> string", lambda text: text.strip(_SPACE), traversal(same_size=True)),
        function("string.format(list(dyn)) -> string", format_text, traversal()),
        function("strings.quote(string) -> string", lambda text: f'"{text.translate(_QUOTED)}"', QUOTE),
    ),
)


def find(text: str, expression: str) -> str:
    found = pattern(expression).find(text)
    return "" if found is None else text[found[0] : found[1]]


def find_all(text: str, expression: str, limit: int = -1) -> list[str]:
    return pattern(expression).find_all(text, limit)


REGEX = Library(
    "kubernetes.regex",
    (
        function("string.find(string) -> string", find, FIND),
        function("string.findAll(string) -> list(string)", find_all, FIND),
        function("string.findAll(string, int) -> list(string)", find_all, FIND),
    ),
)

JSON_PATCH = Library(
    "kubernetes.jsonpatch",
    (
        function(
            "jsonpatch.escapeKey(string) -> string",
            lambda text: text.replace("~", "~0").replace("/", "~1"),
            traversal(same_size=True),
        ),
    ),
)

REVERSE = Library(
    "cel.lib.ext.strings.v3", (function("string.reverse() -> string", lambda text: text[::-1]),)
)
