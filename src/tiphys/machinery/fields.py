"""Where a field is (`Path`) and what is wrong with it (`FieldError`).

Every validation answers with a list of FieldError; `errors.invalid` turns the list into a 422 Status. The texts
are upstream's (apimachinery `util/validation/field`), since people and tests search for them.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Any

from tiphys.machinery.frozen import frozen
from tiphys.machinery.quoting import format_value, quote


class Path:
    """A place inside an object, written as `spec.containers[0].env[HOME]`. Immutable; a child is a new Path."""

    __slots__ = ("text",)

    def __init__(self, *names: str) -> None:
        # A path with an empty name is not the empty path, and upstream prints it as an index.
        self.text = "[]" if names == ("",) else ".".join(names)

    def child(self, *names: str) -> "Path":
        joined = ".".join(names)
        return _path(f"{self.text}.{joined}" if self.text else joined)

    def index(self, position: int) -> "Path":
        return _path(f"{self.text}[{position}]")

    def key(self, key: str) -> "Path":
        return _path(f"{self.text}[{key}]")

    def __str__(self) -> str:
        return self.text or "<nil>"

    def __repr__(self) -> str:
        return f"Path({self.text!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Path) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)


def _path(text: str) -> Path:
    path = Path.__new__(Path)
    path.text = text
    return path


class FieldErrorKind(StrEnum):
    """The machine-readable reason; it becomes `causes[].reason` of a Status."""

    NOT_FOUND = "FieldValueNotFound"
    REQUIRED = "FieldValueRequired"
    DUPLICATE = "FieldValueDuplicate"
    INVALID = "FieldValueInvalid"
    NOT_SUPPORTED = "FieldValueNotSupported"
    FORBIDDEN = "FieldValueForbidden"
    TOO_LONG = "FieldValueTooLong"
    TOO_SHORT = "FieldValueTooShort"
    TOO_MANY = "FieldValueTooMany"
    TOO_FEW = "FieldValueTooFew"
    INTERNAL = "InternalError"
    TYPE_INVALID = "FieldValueTypeInvalid"


_HEADINGS = {
    FieldErrorKind.NOT_FOUND: "Not found",
    FieldErrorKind.REQUIRED: "Required value",
    FieldErrorKind.DUPLICATE: "Duplicate value",
    FieldErrorKind.INVALID: "Invalid value",
    FieldErrorKind.NOT_SUPPORTED: "Unsupported value",
    FieldErrorKind.FORBIDDEN: "Forbidden",
    FieldErrorKind.TOO_LONG: "Too long",
    FieldErrorKind.TOO_SHORT: "Too short",
    FieldErrorKind.TOO_MANY: "Too many",
    FieldErrorKind.TOO_FEW: "Too few",
    FieldErrorKind.INTERNAL: "Internal error",
    FieldErrorKind.TYPE_INVALID: "Invalid value",
}
_WITHOUT_VALUE = {
    FieldErrorKind.REQUIRED,
    FieldErrorKind.FORBIDDEN,
    FieldErrorKind.TOO_LONG,
    FieldErrorKind.TOO_SHORT,
    FieldErrorKind.INTERNAL,
}


class _Omitted:
    """Stands for a value that is left out of the message (not for null, which is shown)."""

    def __repr__(self) -> str:
        return "OMITTED"


OMITTED = _Omitted()


@frozen
class FieldError:
    """One thing that is wrong with one field. `str()` is `spec.foo: Required value: detail`."""

    kind: FieldErrorKind
    path: Path
    value: Any = OMITTED
    detail: str = ""

    @property
    def field(self) -> str:
        return str(self.path)

    def body(self) -> str:
        """The message without the name of the field; it becomes `causes[].message`."""
        text = _HEADINGS[self.kind]
        if self.kind not in _WITHOUT_VALUE and self.value is not OMITTED:
            text = f"{text}: {format_value(self.value)}"
        return f"{text}: {self.detail}" if self.detail else text

    def __str__(self) -> str:
        return f"{self.field}: {self.body()}"

    @classmethod
    def invalid(cls, path: Path, value: Any, detail: str) -> "FieldError":
        return cls(FieldErrorKind.INVALID, path, value, detail)

    @classmethod
    def type_invalid(cls, path: Path, value: Any, detail: str) -> "FieldError":
        return cls(FieldErrorKind.TYPE_INVALID, path, value, detail)

    @classmethod
    def required(cls, path: Path, detail: str = "") -> "FieldError":
        return cls(FieldErrorKind.REQUIRED, path, "", detail)

    @classmethod
    def forbidden(cls, path: Path, detail: str = "") -> "FieldError":
        return cls(FieldErrorKind.FORBIDDEN, path, "", detail)

    @classmethod
    def not_found(cls, path: Path, value: Any) -> "FieldError":
        return cls(FieldErrorKind.NOT_FOUND, path, value)

    @classmethod
    def duplicate(cls, path: Path, value: Any) -> "FieldError":
        return cls(FieldErrorKind.DUPLICATE, path, value)

    @classmethod
    def not_supported(cls, path: Path, value: Any, supported: Iterable[str]) -> "FieldError":
        """`supported` is shown in the order given; upstream sorts most of its lists, so should the caller."""
        listed = ", ".join(quote(each) for each in supported)
        return cls(FieldErrorKind.NOT_SUPPORTED, path, value, f"supported values: {listed}" if listed else "")

    @classmethod
    def too_long(cls, path: Path, limit_bytes: int) -> "FieldError":
        return cls(FieldErrorKind.TOO_LONG, path, OMITTED, _at_most(limit_bytes, "byte"))

    @classmethod
    def too_long_characters(cls, path: Path, limit: int) -> "FieldError":
        return cls(FieldErrorKind.TOO_LONG, path, OMITTED, _at_most(limit, "character"))

    @classmethod
    def too_short(cls, path: Path, value: Any, minimum: int) -> "FieldError":
        detail = f"must be at least {_count(minimum, 'character')}" if minimum >= 0 else "value is too short"
        return cls(FieldErrorKind.TOO_SHORT, path, value, detail)

    @classmethod
    def too_many(cls, path: Path, actual: int, limit: int) -> "FieldError":
        """`actual` below 0 leaves the number out of the message; so does `limit`."""
        detail = f"must have at most {_count(limit, 'item')}" if limit >= 0 else "has too many items"
        return cls(FieldErrorKind.TOO_MANY, path, actual if actual >= 0 else OMITTED, detail)

    @classmethod
    def too_few(cls, path: Path, actual: int, minimum: int) -> "FieldError":
        detail = f"must have at least {_count(minimum, 'item')}" if minimum >= 0 else "has too few items"
        return cls(FieldErrorKind.TOO_FEW, path, actual, detail)

    @classmethod
    def internal(cls, path: Path, message: str) -> "FieldError":
        return cls(FieldErrorKind.INTERNAL, path, OMITTED, message)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _at_most(limit: int, noun: str) -> str:
    return f"may not be more than {_count(limit, noun)}" if limit >= 0 else "value is too long"


def aggregate(errors: Iterable[FieldError]) -> str:
    """All messages as one: a single one plain, several as `[a, b]`, repeated ones once."""
    messages = list(dict.fromkeys(str(error) for error in errors))
    return messages[0] if len(messages) == 1 else f"[{', '.join(messages)}]"
