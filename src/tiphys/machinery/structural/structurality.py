"""Whether a schema is structural: the type of every field is said once, outside of all junctors.

Rules and words are upstream's (apiextensions-apiserver `schema/validation.go`, `complete.go`,
`convert.go`). Only what
is structural can be pruned, defaulted and published.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tiphys.machinery.cel.re2 import PatternError, compile_pattern
from tiphys.machinery.errors import FieldError, Path
from tiphys.machinery.structural.correlation import Schema
from tiphys.machinery.structural.pruning import is_embedded, item_schema, properties_of

Errors = list[FieldError]

ROOT, ITEM, FIELD = "root", "item", "field"
_EMPTY_TYPE = {
    ROOT: "must not be empty at the root",
    ITEM: "must not be empty for specified array items",
    FIELD: "must not be empty for specified object fields",
}
_INT_OR_STRING = [{"type": "integer"}, {"type": "string"}]
_UNSUPPORTED = (
    "id",
    "$schema",
    "$ref",
    "patternProperties",
    "dependencies",
    "additionalItems",
    "definitions",
)
# What may not stand inside a junctor, and what is said of it.
_NOT_NESTED: tuple[tuple[str, str], ...] = (
    ("type", "must be empty to be structural"),
    ("additionalProperties", "must be undefined to be structural"),
    ("default", "must be undefined to be structural"),
    ("title", "must be empty to be structural"),
    ("description", "must be empty to be structural"),
    ("nullable", "must be false to be structural"),
    ("x-kubernetes-preserve-unknown-fields", "must be false to be structural"),
    ("x-kubernetes-embedded-resource", "must be false to be structural"),
    ("x-kubernetes-int-or-string", "must be false to be structural"),
    ("x-kubernetes-list-map-keys", "must be empty to be structural"),
    ("x-kubernetes-list-type", "must be undefined to be structural"),
    ("x-kubernetes-map-type", "must be undefined to be structural"),
    ("x-kubernetes-validations", "must be empty to be structural"),
)
_SET_WHEN_PRESENT = ("additionalProperties", "default", "x-kubernetes-list-type", "x-kubernetes-map-type")


def unsupported(schema: Schema) -> str:
    """What a structural schema has no place for; empty: nothing."""
    waiting = [schema]
    while waiting:
        each = waiting.pop(0)
        for word in _UNSUPPORTED:
            if word in each and (each[word] or word == "additionalItems"):
                return f"OpenAPIV3Schema '{word.removeprefix('$') if word == '$schema' else word}' is not supported"
        if isinstance(each.get("items"), list):
            return "OpenAPIV3Schema 'items' must be a schema, but is an array"
        if each.get("x-kubernetes-preserve-unknown-fields") is False:
            return "internal error: 'x-kubernetes-preserve-unknown-fields' must be true or undefined"
        waiting += children(each)
    return ""


def children(schema: Schema) -> list[Schema]:
    """The schemas directly below one."""
    found: list[Schema] = []
    for word in ("items", "additionalProperties", "not"):
        if isinstance(schema.get(word), Mapping):
            found.append(schema[word])
    for word in ("allOf", "anyOf", "oneOf"):
        found += schema.get(word) or ()
    return [*found, *properties_of(schema).values()]


def structural_errors(schema: Schema, path: Path) -> Errors:
    """Why a schema that can be read as a structural one is none; sorted by their text."""
    errors = _invariants(schema, ROOT, path) + _completeness(schema, schema, path, path)
    return sorted(errors, key=str)


def _invariants(schema: Schema, level: str, path: Path) -> Errors:
    errors: Errors = []
    items, more = schema.get("items"), schema.get("additionalProperties")
    kind = schema.get("type") or ""
    if kind == "array" and items is None:
        errors.append(FieldError.required(path.child("items"), "must be specified"))
    if isinstance(items, Mapping):
        errors += _invariants(items, ITEM, path.child("items"))
    for name, each in properties_of(schema).items():
        errors += _invariants(each, FIELD, path.child("properties").key(name))
    if more is not None:
        here = path.child("additionalProperties")
        if level == ROOT:
            errors.append(FieldError.forbidden(here, "must not be used at the root"))
        if isinstance(more, Mapping):
            errors += _invariants(more, FIELD, here)
    errors += _extensions(schema, path)
    skip_any_of = _plain(schema.get("anyOf")) == _INT_OR_STRING
    all_of = schema.get("allOf") or []
    skip_first = bool(all_of) and _plain(all_of[0].get("anyOf")) == _INT_OR_STRING
    errors += _junctors(schema, level, path, skip_any_of=skip_any_of, skip_first=skip_first)
    errors += _type(schema, level, path)
    return errors + _resource(schema, level, path)


def _plain(alternatives: Any) -> list[Any]:
    """Alternatives without what says nothing."""
    return [{key: value for key, value in each.items() if value} for each in alternatives or ()]


def _extensions(schema: Schema, path: Path) -> Errors:
    if not schema.get("x-kubernetes-int-or-string"):
        return []
    return [
        FieldError.invalid(path.child(word), True, "must be false if x-kubernetes-int-or-string is true")
        for word in ("x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource")
        if schema.get(word)
    ]


def _type(schema: Schema, level: str, path: Path) -> Errors:
    kind, here = schema.get("type") or "", path.child("type")
    errors: Errors = []
    if is_embedded(schema) and kind != "object":
        detail = "must be object if x-kubernetes-embedded-resource is true"
        errors.append(FieldError.invalid(here, kind, detail) if kind else FieldError.required(here, detail))
    elif not kind and not any(
        schema.get(f"x-kubernetes-{word}") for word in ("int-or-string", "preserve-unknown-fields")
    ):
        errors.append(FieldError.required(here, _EMPTY_TYPE[level]))
    if is_embedded(schema) and schema.get("additionalProperties") is not None:
        detail = "must not be used if x-kubernetes-embedded-resource is set"
        errors.append(FieldError.forbidden(path.child("additionalProperties"), detail))
    if level == ROOT and kind and kind != "object":
        errors.append(FieldError.invalid(here, kind, "must be object at the root"))
    return errors


def _resource(schema: Schema, level: str, path: Path) -> Errors:
    """What may be said of kind, apiVersion and metadata, where they are a resource's."""
    errors: Errors = []
    properties, here = properties_of(schema), path.child("properties")
    checked = level == ROOT or is_embedded(schema)
    for name in ("kind", "apiVersion"):
        if checked and name in properties and properties[name].get("type") != "string":
            kind = properties[name].get("type") or ""
            errors.append(FieldError.invalid(here.key(name).child("type"), kind, "must be string"))
    metadata = properties.get("metadata")
    if metadata is not None:
        errors += _metadata(metadata, level, here.key("metadata"), checked=checked)
    if is_embedded(schema) and not schema.get("x-kubernetes-preserve-unknown-fields") and not properties:
        detail = (
            "must not be empty if x-kubernetes-embedded-resource is true "
            "without x-kubernetes-preserve-unknown-fields"
        )
        errors.append(FieldError.required(here, detail))
    return errors


def _metadata(metadata: Schema, level: str, path: Path, *, checked: bool) -> Errors:
    errors: Errors = []
    kind = metadata.get("type") or ""
    if checked and kind != "object":
        errors.append(FieldError.invalid(path.child("type"), kind, "must be object"))
    if level == ROOT and not _restricts_name_only(metadata):
        detail = (
            "must not specify anything other than name and generateName, but metadata is implicitly specified"
        )
        errors.append(FieldError.forbidden(path, detail))
    return errors


def _restricts_name_only(metadata: Schema) -> bool:
    rest = {word: value for word, value in metadata.items() if value and word not in ("type", "default")}
    properties = rest.pop("properties", {})
    return not rest and set(properties) <= {"name", "generateName"}


# Junctors


def _junctors(
    schema: Schema, level: str, path: Path, *, skip_any_of: bool = False, skip_first: bool = False
) -> Errors:
    errors: Errors = []
    if not skip_any_of:
        for position, each in enumerate(schema.get("anyOf") or ()):
            errors += _nested(each, level, path.child("anyOf").index(position))
    for position, each in enumerate(schema.get("allOf") or ()):
        skip = skip_first and position == 0
        errors += _nested(each, level, path.child("allOf").index(position), skip_any_of=skip)
    for position, each in enumerate(schema.get("oneOf") or ()):
        errors += _nested(each, level, path.child("oneOf").index(position))
    if schema.get("not") is not None:
        errors += _nested(schema["not"], level, path.child("not"))
    pattern = schema.get("pattern")
    if pattern:
        try:
            compile_pattern(pattern)
        except PatternError as error:
            detail = f"must be a valid regular expression, but isn't: {error}"
            errors.append(FieldError.invalid(path.child("pattern"), pattern, detail))
    return errors


def _nested(schema: Schema, level: str, path: Path, *, skip_any_of: bool = False) -> Errors:
    errors = _junctors(schema, level, path, skip_any_of=skip_any_of)
    items = item_schema(schema)
    if items is not None:
        errors += _nested(items, level, path.child("items"))
    for name, each in properties_of(schema).items():
        errors += _nested(each, FIELD, path.child("properties").key(name))
    for word, detail in _NOT_NESTED:
        value = schema.get(word)
        if value is not None if word in _SET_WHEN_PRESENT else value:
            errors.append(FieldError.forbidden(path.child(word), detail))
    if "metadata" in properties_of(schema):
        here = path.child("properties").key("metadata")
        errors.append(FieldError.forbidden(here, "must not be specified in a nested context"))
    return errors


# Completeness: what a junctor at the root speaks of must be said outside of it.


def _completeness(spoken: Schema, said: Schema, outer: Path, path: Path) -> Errors:
    errors: Errors = []
    if spoken.get("not") is not None:
        errors += _nested_completeness(spoken["not"], said, outer, path.child("not"))
    for word in ("allOf", "anyOf", "oneOf"):
        for position, each in enumerate(spoken.get(word) or ()):
            errors += _nested_completeness(each, said, outer, path.child(word).index(position))
    return errors


def _nested_completeness(spoken: Schema, said: Schema | None, outer: Path, path: Path) -> Errors:
    if said is None:
        return [FieldError.required(outer, f"because it is defined in {path}")]
    errors = _completeness(spoken, said, outer, path)
    items = item_schema(spoken)
    if items is not None:
        errors += _nested_completeness(items, item_schema(said), outer.child("items"), path.child("items"))
    for name, each in properties_of(spoken).items():
        here, there = outer.child("properties").key(name), path.child("properties").key(name)
        errors += _nested_completeness(each, properties_of(said).get(name), here, there)
    return errors
