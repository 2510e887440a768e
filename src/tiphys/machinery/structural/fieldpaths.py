"""Paths into a schema, as a rule's `fieldPath` and a CRD's `selectableFields` write them: `.spec.labels['app.io/name']`.

Upstream's `cel.ValidFieldPath`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tiphys.machinery.errors import FieldError, Path
from tiphys.machinery.structural.correlation import Schema
from tiphys.machinery.structural.pruning import properties_of

_TOKEN = re.compile(r"'(?:[^']|(?<=\\)')*?(?<!\\)'|[.\[\]]|[^.\[\]]+", re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPES = {
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
    "'": "'",
    "\\": "\\",
}
_NOT_A_FIELD = "does not refer to a valid field"
_ENDED = "unexpected end of JSON path"


SELECTABLE_LIMIT = 8
_SELECTABLE_TYPES = ("string", "boolean", "integer")
_NOT_SELECTABLE = (
    "must point to a field of type string, boolean or integer. "
    "Enum string fields and strings with formats are allowed."
)


class FieldPathError(ValueError):
    """The text is no path, or there is nothing in the schema where it leads. The wording is upstream's."""


def resolve(text: str, schema: Schema, *, arrays: bool = True) -> tuple[Path, Schema]:
    """The place, and the schema there. `arrays`: the notation with brackets is allowed."""
    path = Path()
    tokens = iter(_TOKEN.findall(text))
    for token in tokens:
        if token == ".":
            name = _next(tokens)
        elif token == "[":
            if not arrays:
                raise FieldPathError("array notation is not allowed")
            name = _quoted(_next(tokens))
        else:
            raise FieldPathError(f"expected [ or . but got: {token}")
        path, schema = _step(path, schema, name)
        if token == "[" and (closing := _next(tokens)) != "]":
            raise FieldPathError(f"expected ] but got {closing}")
    return path, schema


def selectable_errors(fields: Sequence[Mapping[str, Any]], schema: Schema, path: Path) -> list[FieldError]:
    """What is wrong with the `selectableFields` of a version."""
    errors: list[FieldError] = []
    seen: set[Path] = set()
    for position, field in enumerate(fields):
        here, text = path.index(position).child("jsonPath"), field.get("jsonPath")
        if not text:
            errors.append(FieldError.required(here))
            continue
        try:
            place, found = resolve(text, schema, arrays=False)
        except FieldPathError as error:
            errors.append(FieldError.invalid(here, text, f"is an invalid path: {error}"))
            continue
        if str(place).partition(".")[0] == "metadata":
            errors.append(FieldError.invalid(here, text, "must not point to fields in metadata"))
        if found.get("type") not in _SELECTABLE_TYPES:
            errors.append(FieldError.invalid(here, text, _NOT_SELECTABLE))
        if place in seen:
            errors.append(FieldError.duplicate(here, text))
        seen.add(place)
    if len(seen) > SELECTABLE_LIMIT:
        errors.append(FieldError.too_many(path, len(seen), SELECTABLE_LIMIT))
    return errors


def _next(tokens: Iterator[str]) -> str:
    token = next(tokens, None)
    if token is None:
        raise FieldPathError(_ENDED)
    return token


def _quoted(token: str) -> str:
    if len(token) < 2 or token[0] != "'" or token[-1] != "'":
        raise FieldPathError(f"expected single quoted string but got {token}")

    def replace(match: re.Match[str]) -> str:
        if match[1] not in _ESCAPES:
            raise FieldPathError(f"invalid string literal: invalid escape char {match[0]}")
        return _ESCAPES[match[1]]

    return _ESCAPE.sub(replace, token[1:-1])


def _step(path: Path, schema: Schema, name: str) -> tuple[Path, Schema]:
    properties, more = properties_of(schema), schema.get("additionalProperties")
    if properties:
        if name not in properties:
            raise FieldPathError(_NOT_A_FIELD)
        return path.child(name), properties[name]
    if not isinstance(more, Mapping):
        raise FieldPathError(_NOT_A_FIELD)
    return path.key(name), more
