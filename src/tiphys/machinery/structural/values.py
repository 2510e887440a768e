"""What is wrong with the values of an object: types, limits, patterns, formats, junctors; all of it, word for word.

This is the slow and exact half: `gates` says in microseconds that nothing is wrong, and only when it does not say so is
an object read here. The rules are kube-openapi's (`pkg/validation/validate`), with their oddities: all checks of a value
are made even when its type is wrong, the alternative of an `anyOf` that came furthest is the one whose faults are told.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tiphys.machinery.cel.re2 import PatternError, compile_pattern
from tiphys.machinery.errors import FieldError, Path
from tiphys.machinery.fields import FieldErrorKind
from tiphys.machinery.quoting import format_float, go_json, go_print, quote
from tiphys.machinery.structural import formats
from tiphys.machinery.structural.correlation import Correlated, Schema, same

_LARGEST_JSON_INTEGER = 2**53 - 1
_EPSILON = 1e-9
_TYPE_META = ("apiVersion", "kind")


def validate(
    value: Any, schema: Schema, *, path: Path | None = None, correlated: Correlated | None = None
) -> list[FieldError]:
    """What is wrong with `value`. `path` is where it stands; `correlated` (the same value and its old one) forgives
    what was wrong before and did not change."""
    found = _Validator(path).visit(value, schema, "", correlated)
    return list(found.errors.values())


class _Found:
    """Faults by their message, none twice; `matches` counts what was right, to compare alternatives."""

    __slots__ = ("errors", "matches")

    def __init__(self, matches: int = 0) -> None:
        self.errors: dict[str, FieldError] = {}
        self.matches = matches

    def merge(self, other: _Found) -> None:
        for message, error in other.errors.items():
            self.errors.setdefault(message, error)
        self.matches += other.matches


class _Validator:
    def __init__(self, root: Path | None) -> None:
        self.root = root

    def path(self, name: str) -> Path:
        name = name.removeprefix(".")
        if self.root is None:
            return Path(name) if name else Path()
        return self.root.child(name) if name else self.root

    def add(self, found: _Found, name: str, value: Any, message: str) -> None:
        found.errors.setdefault(message, FieldError.invalid(self.path(name), value, message))

    def add_type(self, found: _Found, name: str, wanted: str, value: str) -> None:
        message = f"{name} in body must be of type {wanted}: {quote(value)}"
        found.errors.setdefault(message, FieldError.type_invalid(self.path(name), value, message))

    def add_junctor(self, found: _Found, message: str) -> None:
        """A fault of a whole schema: upstream loses its place, and so do we."""
        place = self.root if self.root is not None else Path()
        found.errors.setdefault(message, FieldError.invalid(place, "", message))

    def visit(self, value: Any, schema: Schema, name: str, correlated: Correlated | None) -> _Found:
        found = self.check(value, schema, name, correlated)
        if found.errors and correlated is not None and correlated.equal():
            return _Found(found.matches)
        return found

    def check(self, value: Any, schema: Schema, name: str, correlated: Correlated | None) -> _Found:
        found = _Found()
        if value is None:
            self.type(found, None, schema, name)
            self.enum(found, None, schema, name)
            return found
        if _types(schema) or formats.known(schema.get("format")):
            self.type(found, value, schema, name)
            found.matches += 1
        self.junctors(found, value, schema, name)
        found.matches += 1
        if isinstance(value, str):
            self.text(found, value, schema, name)
            found.matches += 1
            if formats.known(schema.get("format")):
                self.format(found, value, schema, name)
                found.matches += 1
        elif isinstance(value, int | float) and not isinstance(value, bool):
            self.number(found, value, schema, name)
            found.matches += 2
        elif isinstance(value, list):
            self.items(found, value, schema, name, correlated)
            found.matches += 2
        self.enum(found, value, schema, name)
        found.matches += 1
        if isinstance(value, dict):
            self.fields(found, value, schema, name, correlated)
            found.matches += 1
        found.matches += 1
        return found

    def type(self, found: _Found, value: Any, schema: Schema, name: str) -> None:
        wanted = _types(schema)
        if value is None:
            if wanted and not schema.get("nullable"):
                self.add_type(found, name, ",".join(wanted), "null")
            else:
                found.matches += 1
            return
        kind, kind_format = _kind(value)
        form = schema.get("format") if formats.known(schema.get("format")) else ""
        numeric = "number" in wanted or "integer" in wanted
        fits = (
            kind in wanted
            or ("integer" in wanted and kind == "number" and _is_whole(value))
            or ("number" in wanted and kind == "integer")
        )
        if form and not isinstance(value, str | list) and not fits:
            self.add_type(found, name, str(form), kind_format)
        elif not fits and not (form and not numeric and isinstance(value, str | list)):
            self.add_type(found, name, ",".join(wanted), kind)
        else:
            found.matches += 1

    # Junctors

    def junctors(self, found: _Found, value: Any, schema: Schema, name: str) -> None:
        if alternatives := schema.get("anyOf"):
            self.any_of(found, value, alternatives, name)
        if alternatives := schema.get("oneOf"):
            self.one_of(found, value, alternatives, name)
        if alternatives := schema.get("allOf"):
            self.all_of(found, value, alternatives, name)
        unwanted = schema.get("not")
        if unwanted is not None and not self.check(value, unwanted, name, None).errors:
            self.add_junctor(found, f"{quote(name)} must not validate the schema (not)")
        found.matches += 1

    def any_of(self, found: _Found, value: Any, alternatives: Sequence[Schema], name: str) -> None:
        best: _Found | None = None
        for alternative in alternatives:
            tried = self.check(value, alternative, name, None)
            if not tried.errors:
                found.merge(tried)
                return
            if best is None or tried.matches > best.matches:
                best = tried
        self.add_junctor(found, f"{quote(name)} must validate at least one schema (anyOf)")
        if best is not None:
            found.merge(best)

    def one_of(self, found: _Found, value: Any, alternatives: Sequence[Schema], name: str) -> None:
        best: _Found | None = None
        valid: list[_Found] = []
        for alternative in alternatives:
            tried = self.check(value, alternative, name, None)
            if not tried.errors:
                valid.append(tried)
            elif not valid and (best is None or tried.matches > best.matches):
                best = tried
        if len(valid) == 1:
            found.merge(valid[0])
            return
        more = f"Found {len(valid)} valid alternatives" if valid else "Found none valid"
        self.add_junctor(found, f"{quote(name)} must validate one and only one schema (oneOf). {more}")
        if best is not None and not valid:
            found.merge(best)

    def all_of(self, found: _Found, value: Any, alternatives: Sequence[Schema], name: str) -> None:
        valid = 0
        for alternative in alternatives:
            tried = self.check(value, alternative, name, None)
            valid += not tried.errors
            found.merge(tried)
        if valid != len(alternatives):
            more = "" if valid else ". None validated"
            self.add_junctor(found, f"{quote(name)} must validate all the schemas (allOf){more}")

    # Scalars

    def text(self, found: _Found, value: str, schema: Schema, name: str) -> None:
        longest, shortest, pattern = schema.get("maxLength"), schema.get("minLength"), schema.get("pattern")
        if longest is not None and len(value) > longest:
            message = f"{name} in body should be at most {longest} chars long"
            found.errors.setdefault(message, FieldError.too_long(self.path(name), longest))
        elif shortest is not None and len(value) < shortest:
            self.add(found, name, value, f"{name} in body should be at least {shortest} chars long")
        elif pattern:
            self.pattern(found, value, pattern, name)

    def pattern(self, found: _Found, value: str, pattern: str, name: str) -> None:
        try:
            if not compile_pattern(pattern).matches(value):
                self.add(found, name, value, f"{name} in body should match '{pattern}'")
        except PatternError as error:
            shown = f"{pattern}, but pattern is invalid: {error}"
            self.add(found, name, value, f"{name} in body should match '{shown}'")

    def format(self, found: _Found, value: str, schema: Schema, name: str) -> None:
        accepts = formats.known(schema.get("format"))
        if accepts is not None and not accepts(value):
            self.add_type(found, name, schema["format"], value)

    def number(self, found: _Found, value: float, schema: Schema, name: str) -> None:
        factor, most, least = schema.get("multipleOf"), schema.get("maximum"), schema.get("minimum")
        if factor is not None and (message := _not_multiple(value, factor)):
            self.add(found, name, value, message.format(name=name, factor=_shown(value, factor)))
        if most is not None:
            exclusive, limit = bool(schema.get("exclusiveMaximum")), _like(value, most)
            if value >= limit if exclusive else value > limit:
                than = "less than" if exclusive else "less than or equal to"
                self.add(found, name, value, f"{name} in body should be {than} {_number(limit)}")
        if least is not None:
            exclusive, limit = bool(schema.get("exclusiveMinimum")), _like(value, least)
            if value <= limit if exclusive else value < limit:
                than = "greater than" if exclusive else "greater than or equal to"
                self.add(found, name, value, f"{name} in body should be {than} {_number(limit)}")

    def enum(self, found: _Found, value: Any, schema: Schema, name: str) -> None:
        allowed = schema.get("enum")
        if not allowed or any(_equals_choice(value, choice) for choice in allowed):
            return
        shown = [choice if isinstance(choice, str) else go_json(choice) for choice in allowed]
        message = f"{name} in body should be one of {go_print(list(allowed))}"
        found.errors.setdefault(message, FieldError.not_supported(self.path(name), value, shown))

    # Lists and objects

    def items(
        self, found: _Found, value: list[Any], schema: Schema, name: str, correlated: Correlated | None
    ) -> None:
        item_schema = schema.get("items")
        if isinstance(item_schema, Mapping):
            for position, item in enumerate(value):
                child = correlated.index(position) if correlated is not None else None
                found.merge(self.visit(item, item_schema, f"{name}[{position}]", child))
        least, most = schema.get("minItems"), schema.get("maxItems")
        if least is not None and len(value) < least:
            self.add(found, name, len(value), f"{name} in body should have at least {least} items")
        if most is not None and len(value) > most:
            message = f"{name} in body should have at most {most} items"
            found.errors.setdefault(message, FieldError.too_many(self.path(name), len(value), most))
        if schema.get("uniqueItems") and _has_duplicates(value):
            self.add(found, name, "", f"{name} in body shouldn't contain duplicates")

    def fields(
        self, found: _Found, value: dict[str, Any], schema: Schema, name: str, correlated: Correlated | None
    ) -> None:
        properties: Mapping[str, Schema] = schema.get("properties") or {}
        more = schema.get("additionalProperties")
        least, most = schema.get("minProperties"), schema.get("maxProperties")
        if least is not None and len(value) < least:
            self.add(found, name, len(value), f"{name} in body should have at least {least} properties")
        if most is not None and len(value) > most:
            message = f"{name} in body should have at most {most} properties"
            found.errors.setdefault(message, FieldError.too_many(self.path(name), len(value), most))
        for key, item in value.items():
            if key in properties:
                continue
            if more is False:
                message = f"{name}.{key} in body is a forbidden property"
                self.add(found, name, key, message)
            elif isinstance(more, Mapping):
                child = _field_of(correlated, key, name)
                found.merge(self.visit(item, more, f"{name}.{key}", child))
        for key, field_schema in properties.items():
            if key in value:
                child = _field_of(correlated, key, name)
                here = f"{name}.{key}" if name else key
                found.merge(self.visit(value[key], field_schema, here, child))
        for key in schema.get("required") or ():
            if key not in value:
                message = f"{name}.{key} in body is required"
                found.errors.setdefault(message, FieldError.required(self.path(f"{name}.{key}")))


def _field_of(correlated: Correlated | None, key: str, name: str) -> Correlated | None:
    # The apiVersion cannot be seen to change: both are converted to the version of the request.
    if correlated is None or (not name and key in _TYPE_META):
        return None
    return correlated.key(key)


def _types(schema: Schema) -> tuple[str, ...]:
    if schema.get("x-kubernetes-int-or-string"):
        return ("integer", "string")
    kind = schema.get("type")
    return (kind,) if kind else ()


_KINDS: dict[type, tuple[str, str]] = {
    bool: ("boolean", ""),
    str: ("string", ""),
    int: ("integer", "int64"),
    float: ("number", "float64"),
    list: ("array", ""),
    dict: ("object", ""),
}


def _kind(value: Any) -> tuple[str, str]:
    return _KINDS[value.__class__]


def _is_whole(value: float) -> bool:
    """Whether a number passes for an integer (swag.IsFloat64AJSONInteger)."""
    if value != value or abs(value) > _LARGEST_JSON_INTEGER:
        return False
    whole = float(int(abs(value)))
    if value == float(int(value)):
        return True
    return abs(value - whole) / (abs(value) + whole) < _EPSILON if whole else False


def _like(value: float, limit: float) -> float:
    """A limit as it is compared: with whole numbers, only its whole part."""
    return int(limit) if isinstance(value, int) else float(limit)


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else format_float(value)


def _shown(value: float, factor: float) -> str:
    return str(int(factor)) if isinstance(value, int) else format_float(float(factor))


def _not_multiple(value: float, factor: float) -> str:
    if factor < 0:
        return "factor MultipleOf declared for {name} must be positive: {factor}"
    if isinstance(value, int) and int(factor) != 0:
        wrong = value % int(factor) != 0
    else:
        wrong = factor == 0 or not _is_whole(1 / factor * value if factor < 1 else value / factor)
    return "{name} in body should be a multiple of {factor}" if wrong else ""


def _equals_choice(value: Any, choice: Any) -> bool:
    """Equality after Go's conversion to the type of the choice: 1.5 is 1 for a whole choice."""
    if value is None or choice is None:
        return False
    if isinstance(value, bool) or isinstance(choice, bool):
        return value is choice
    if isinstance(value, int | float) and isinstance(choice, int | float):
        return (int(value) if isinstance(choice, int) else float(value)) == choice
    return value.__class__ is choice.__class__ and same(value, choice)


def _has_duplicates(values: list[Any]) -> bool:
    return any(same(value, other) for place, value in enumerate(values) for other in values[:place])


Validate = Callable[[Any], list[FieldError]]
BLOCKING = frozenset(
    (
        FieldErrorKind.NOT_SUPPORTED,
        FieldErrorKind.REQUIRED,
        FieldErrorKind.TOO_LONG,
        FieldErrorKind.TOO_MANY,
        FieldErrorKind.TYPE_INVALID,
    )
)
"""Faults after which no rule is evaluated: rules rely on the shape of what they look at."""
