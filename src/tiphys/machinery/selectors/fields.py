"""Field selectors: `spec.nodeName=node-1,status.phase!=Running` (apimachinery `fields`).

Values are escaped by a backslash before `\\`, `,` and `=`. Which fields a kind offers is the kind's affair: a
selector is matched through a function from the field's name to its text.
"""

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import NamedTuple

from tiphys.machinery.selectors.errors import SelectorError

# A comma that no backslash protects.
_TERM = re.compile(r"(?:\\.|[^,\\]|\\$)*", re.DOTALL)
_SPLIT = re.compile(r"!=|==|=")
_ESCAPE = re.compile(r"[\\,=]")
_ESCAPED = re.compile(r"\\(.?)|[,=]", re.DOTALL)


class FieldRequirement(NamedTuple):
    """`operator` is "=" or "!="."""

    field: str
    operator: str
    value: str

    def __str__(self) -> str:
        return f"{self.field}{self.operator}{escape_value(self.value)}"


class FieldSelector:
    """All of its requirements must hold. `str()` is the canonical form."""

    __slots__ = ("requirements",)

    def __init__(self, requirements: Iterable[FieldRequirement] = ()) -> None:
        self.requirements = tuple(requirements)

    @property
    def selects_everything(self) -> bool:
        return not self.requirements

    def exact(self, field: str) -> str | None:
        """The only value that the field may have, or None: a key for an index."""
        return next((each.value for each in self.requirements if each[:2] == (field, "=")), None)

    def matches(self, get: Callable[[str], str]) -> bool:
        """`get(field)` gives the field's text, "" where it is not set."""
        return all((get(field) == value) is (operator == "=") for field, operator, value in self.requirements)

    def __str__(self) -> str:
        return ",".join(map(str, self.requirements))

    def __repr__(self) -> str:
        return f"FieldSelector({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FieldSelector) and self.requirements == other.requirements

    def __hash__(self) -> int:
        return hash(self.requirements)


EVERY_FIELD = FieldSelector()


@lru_cache(maxsize=1024)
def parse_field_selector(text: str) -> FieldSelector:
    """From the text form, as in `?fieldSelector=`. SelectorError when it is bad; empty text selects everything."""
    terms = sorted(filter(None, _split_terms(text)))
    return FieldSelector(_parse_term(term, text) for term in terms) if terms else EVERY_FIELD


def _split_terms(text: str) -> list[str]:
    return _TERM.findall(text)


def _parse_term(term: str, text: str) -> FieldRequirement:
    match = _SPLIT.search(term)
    if match is None:
        raise SelectorError(f"invalid selector: '{text}'; can't understand '{term}'")
    operator = "!=" if match.group() == "!=" else "="
    return FieldRequirement(term[: match.start()], operator, unescape_value(term[match.end() :]))


def escape_value(value: str) -> str:
    return _ESCAPE.sub(r"\\\g<0>", value)


def unescape_value(text: str) -> str:
    """The value that was escaped. SelectorError for a lone `,` or `=`, and for any other escape."""
    return _ESCAPED.sub(_unescape_one, text)


def _unescape_one(match: re.Match[str]) -> str:
    escaped = match.group(1)
    if escaped is None:  # upstream prints the code of the character
        raise SelectorError(f"invalid field selector: unescaped character in value: {ord(match.group())}")
    if escaped == "" or escaped not in "\\,=":
        raise SelectorError(f"invalid field selector: invalid escape sequence: \\{escaped}")
    return escaped
