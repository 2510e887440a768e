"""Label selectors: `app=web,tier in (front,back),!canary` (apimachinery `labels`).

selector     = requirement *( "," requirement )
requirement  = [ "!" ] KEY | KEY operator value
operator     = "=" | "==" | "!=" | "in" | "notin" | ">" | "<"     (in and notin take a list in parentheses)
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

from tiphys.machinery.fields import FieldError, Path, aggregate
from tiphys.machinery.names import label_value, qualified_name
from tiphys.machinery.quoting import quote
from tiphys.machinery.selectors.errors import SelectorError

Labels: TypeAlias = Mapping[str, str]
Matcher: TypeAlias = Callable[[Labels], bool]


class Operator(StrEnum):
    """The values are those that upstream's messages show."""

    IN = "in"
    NOT_IN = "notin"
    EQUALS = "="
    DOUBLE_EQUALS = "=="
    NOT_EQUALS = "!="
    GREATER_THAN = "gt"
    LESS_THAN = "lt"
    EXISTS = "exists"
    DOES_NOT_EXIST = "!"


_SINGLE = {Operator.EQUALS, Operator.DOUBLE_EQUALS, Operator.NOT_EQUALS}
_EQUALITY = {Operator.EQUALS, Operator.DOUBLE_EQUALS}
_LISTS = {Operator.IN, Operator.NOT_IN}
_UNARY = {Operator.EXISTS, Operator.DOES_NOT_EXIST}
_NUMERIC = {Operator.GREATER_THAN, Operator.LESS_THAN}
_BINARY_NAMES = ", ".join(operator for operator in Operator if operator not in _UNARY)
_SYMBOLS = {
    Operator.EQUALS: "=",
    Operator.DOUBLE_EQUALS: "==",
    Operator.NOT_EQUALS: "!=",
    Operator.IN: " in ",
    Operator.NOT_IN: " notin ",
    Operator.GREATER_THAN: ">",
    Operator.LESS_THAN: "<",
}


class Requirement(NamedTuple):
    """One condition on one label. Make it by `requirement`, which checks it."""

    key: str
    operator: Operator
    values: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.operator is Operator.EXISTS:
            return self.key
        if self.operator is Operator.DOES_NOT_EXIST:
            return f"!{self.key}"
        values = ",".join(sorted(self.values))
        listed = f"({values})" if self.operator in _LISTS else values
        return f"{self.key}{_SYMBOLS[self.operator]}{listed}"

    def matches(self, labels: Labels) -> bool:
        return _compile_one(self)(labels)


_NO_PATH = Path()


def requirement(key: str, operator: Operator, values: Sequence[str], path: Path = _NO_PATH) -> Requirement:
    """A checked requirement. SelectorError with every fault, each at its place below `path`."""
    errors: list[FieldError] = []
    if messages := qualified_name(key):
        errors.append(FieldError.invalid(path.child("key"), key, "; ".join(messages)))
    place = path.child("values")
    errors.extend(_check_values(operator, values, place))
    for index, value in enumerate(values):
        if messages := label_value(value):
            errors.append(FieldError.invalid(place.index(index).key(key), value, "; ".join(messages)))
    if errors:
        raise SelectorError(aggregate(errors))
    return Requirement(key, operator, tuple(values))


def _check_values(operator: Operator, values: Sequence[str], place: Path) -> list[FieldError]:
    shown = list(values)
    if operator in _LISTS and not values:
        return [FieldError.invalid(place, shown, "for 'in', 'notin' operators, values set can't be empty")]
    if operator in _SINGLE and len(values) != 1:
        return [FieldError.invalid(place, shown, "exact-match compatibility requires one single value")]
    if operator in _UNARY and values:
        return [FieldError.invalid(place, shown, "values set must be empty for exists and does not exist")]
    if operator not in _NUMERIC:
        return []
    errors = []
    if len(values) != 1:
        detail = "for 'Gt', 'Lt' operators, exactly one value is required"
        errors.append(FieldError.invalid(place, shown, detail))
    for index, value in enumerate(values):
        if _parse_integer(value) is None:
            detail = "for 'Gt', 'Lt' operators, the value must be an integer"
            errors.append(FieldError.invalid(place.index(index), value, detail))
    return errors


_INTEGER = re.compile(r"[+-]?[0-9]{1,30}")


def _parse_integer(text: str) -> int | None:
    """A signed 64-bit integer, or None: Go's ParseInt, which takes no spaces and no underscores."""
    if _INTEGER.fullmatch(text) is None:
        return None
    number = int(text)
    return number if -(2**63) <= number < 2**63 else None


class LabelSelector:
    """All of its requirements must hold. `matches(labels)` is compiled; `str()` is the canonical form."""

    __slots__ = ("matches", "requirements", "selects_nothing")
    matches: Matcher

    def __init__(self, requirements: Iterable[Requirement] = (), *, selects_nothing: bool = False) -> None:
        self.requirements = tuple(sorted(requirements, key=lambda each: each.key))
        self.selects_nothing = selects_nothing
        self.matches = _never if selects_nothing else _compile(self.requirements)

    @property
    def selects_everything(self) -> bool:
        return not self.requirements and not self.selects_nothing

    def exact(self, key: str) -> str | None:
        """The only value that the label may have, or None: a key for an index."""
        for each in self.requirements:
            if each.key == key:
                single = len(each.values) == 1 and (
                    each.operator in _EQUALITY or each.operator is Operator.IN
                )
                return each.values[0] if single else None
        return None

    def with_requirements(self, *more: Requirement) -> "LabelSelector":
        return self if self.selects_nothing else LabelSelector((*self.requirements, *more))

    def __str__(self) -> str:
        return ",".join(map(str, self.requirements))

    def __repr__(self) -> str:
        return "NOTHING" if self.selects_nothing else f"LabelSelector({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, LabelSelector)
            and self.requirements == other.requirements
            and self.selects_nothing == other.selects_nothing
        )

    def __hash__(self) -> int:
        return hash((self.requirements, self.selects_nothing))


# Matching


def _never(labels: Labels) -> bool:
    return False


def _always(labels: Labels) -> bool:
    return True


def _compile(requirements: Sequence[Requirement]) -> Matcher:
    """One function for all requirements; plain equalities, by far the most frequent, are one set comparison."""
    equal: dict[str, str] = {}
    others: list[Matcher] = []
    for each in requirements:
        if each.operator in _EQUALITY and equal.get(each.key, each.values[0]) == each.values[0]:
            equal[each.key] = each.values[0]
        else:
            others.append(_compile_one(each))
    if not others:
        wanted = equal.items()
        return (lambda labels: wanted <= labels.items()) if equal else _always
    if not equal and len(others) == 1:
        return others[0]
    return lambda labels: equal.items() <= labels.items() and all(match(labels) for match in others)


def _compile_one(each: Requirement) -> Matcher:
    key, values = each.key, frozenset(each.values)
    match each.operator:
        case Operator.EXISTS:
            return lambda labels: key in labels
        case Operator.DOES_NOT_EXIST:
            return lambda labels: key not in labels
        case Operator.IN | Operator.EQUALS | Operator.DOUBLE_EQUALS:
            return lambda labels: labels.get(key) in values
        case Operator.NOT_IN | Operator.NOT_EQUALS:
            return lambda labels: labels.get(key) not in values
    return _compile_comparison(key, each.operator, _parse_integer(each.values[0]))


def _compile_comparison(key: str, operator: Operator, bound: int | None) -> Matcher:
    def compare(labels: Labels) -> bool:
        number = _parse_integer(labels.get(key, ""))
        if number is None or bound is None:
            return False
        return number > bound if operator is Operator.GREATER_THAN else number < bound

    return compare


EVERYTHING = LabelSelector()
NOTHING = LabelSelector(selects_nothing=True)

# From objects

_OBJECT_OPERATORS = {
    "In": Operator.IN,
    "NotIn": Operator.NOT_IN,
    "Exists": Operator.EXISTS,
    "DoesNotExist": Operator.DOES_NOT_EXIST,
}


def label_selector_from_set(labels: Labels | None) -> LabelSelector:
    """Every label must be just so (a Service's `selector`). No or empty `labels`: everything. Not checked."""
    return LabelSelector(Requirement(key, Operator.EQUALS, (value,)) for key, value in (labels or {}).items())


def label_selector_from_dict(selector: Mapping[str, Any] | None) -> LabelSelector:
    """From a `metav1.LabelSelector`. None selects nothing, an empty one everything. SelectorError when it is bad."""
    if selector is None:
        return NOTHING
    requirements = [
        requirement(key, Operator.EQUALS, [value])
        for key, value in (selector.get("matchLabels") or {}).items()
    ]
    for expression in selector.get("matchExpressions") or ():
        name = expression.get("operator", "")
        if name not in _OBJECT_OPERATORS:
            raise SelectorError(f"{quote(name)} is not a valid label selector operator")
        values = expression.get("values") or ()
        requirements.append(requirement(expression.get("key", ""), _OBJECT_OPERATORS[name], values))
    return LabelSelector(requirements) if requirements else EVERYTHING


# From text

_TOKEN = re.compile(r"[ \t\r\n]+|(==|!=|[=!(),<>]|[^=!(),<> \t\r\n]+)")
_SPECIAL = frozenset(["", ")", ",", "!", "==", "=", ">", "<", "!=", "("])
_INFIX = {
    "in": Operator.IN,
    "notin": Operator.NOT_IN,
    "=": Operator.EQUALS,
    "==": Operator.DOUBLE_EQUALS,
    "!=": Operator.NOT_EQUALS,
    ">": Operator.GREATER_THAN,
    "<": Operator.LESS_THAN,
}


@lru_cache(maxsize=1024)
def parse_label_selector(text: str) -> LabelSelector:
    """From the text form, as in `?labelSelector=`. SelectorError when it is bad; empty text selects everything."""
    return LabelSelector(_Parser(text).selector()) if text else EVERYTHING


class _Parser:
    """Recursive descent over the tokens; the end of the text is the token ""."""

    def __init__(self, text: str) -> None:
        self._tokens: list[str] = [token for token in _TOKEN.findall(text) if token]
        self._tokens.append("")
        self._position = 0

    def _peek(self) -> str:
        return self._tokens[self._position]

    def _next(self) -> str:
        token = self._tokens[self._position]
        self._position += 1
        return token

    def selector(self) -> list[Requirement]:
        requirements: list[Requirement] = []
        while token := self._peek():
            if token in _SPECIAL and token != "!":
                raise SelectorError(f"found '{token}', expected: !, identifier, or 'end of string'")
            requirements.append(self._checked_requirement())
            after = self._next()
            if not after:
                break
            if after != ",":
                raise SelectorError(f"found '{after}', expected: ',' or 'end of string'")
            following = self._peek()
            if following in _SPECIAL and following != "!":
                raise SelectorError(f"found '{following}', expected: identifier after ','")
        return requirements

    def _checked_requirement(self) -> Requirement:
        try:
            return self._requirement()
        except SelectorError as error:
            raise SelectorError(f"unable to parse requirement: {error}") from None

    def _requirement(self) -> Requirement:
        token = self._next()
        negated = token == "!"
        key = self._next() if negated else token
        if key in _SPECIAL:
            raise SelectorError(f"found '{key}', expected: identifier")
        if messages := qualified_name(key):
            raise SelectorError(str(FieldError.invalid(_NO_PATH, key, "; ".join(messages))))
        if self._peek() in ("", ","):
            return requirement(key, Operator.DOES_NOT_EXIST if negated else Operator.EXISTS, [])
        if negated:
            return requirement(key, Operator.DOES_NOT_EXIST, [])
        operator = self._operator()
        values = self._values() if operator in _LISTS else {self._exact_value()}
        return requirement(key, operator, sorted(values))

    def _operator(self) -> Operator:
        token = self._next()
        if token not in _INFIX:
            raise SelectorError(f"found '{token}', expected: {_BINARY_NAMES}")
        return _INFIX[token]

    def _exact_value(self) -> str:
        if self._peek() in ("", ","):
            return ""
        token = self._next()
        if token in _SPECIAL:
            raise SelectorError(f"found '{token}', expected: identifier")
        return token

    def _values(self) -> set[str]:
        """A list in parentheses; what is left out between commas is the empty value."""
        token = self._next()
        if token != "(":
            raise SelectorError(f"found '{token}' expected: '('")
        first = self._peek()
        if first == ")":
            self._next()
            return {""}
        if first in _SPECIAL and first != ",":
            raise SelectorError(f"found '{first}', expected: ',', ')' or identifier")
        values = self._list()
        if self._next() != ")":
            raise SelectorError(f"found '{first}', expected: ')'")
        return values

    def _list(self) -> set[str]:
        values: set[str] = set()
        while True:
            token = self._next()
            if token == ",":
                if self._after_comma(values):
                    return values
            elif token in _SPECIAL:
                raise SelectorError(f"found '{token}', expected: ',', or identifier")
            else:
                values.add(token)
                following = self._peek()
                if following == ")":
                    return values
                if following != ",":
                    raise SelectorError(f"found '{following}', expected: ',' or ')'")

    def _after_comma(self, values: set[str]) -> bool:
        """Takes in the empty values around a comma; True at the end of the list."""
        if not values:
            values.add("")
        following = self._peek()
        if following == ")":
            values.add("")
            return True
        if following == ",":
            self._next()
            values.add("")
        return False
