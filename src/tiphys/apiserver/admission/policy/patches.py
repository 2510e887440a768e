"""What mutations make of an object: apply configurations merge into it, JSON patches edit it (`policy/mutating/patch`)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tiphys.api.resource import Object, Schema
from tiphys.api.types import GROUP_NAMES, schema_named, schema_of
from tiphys.apiserver.admission.matching import Match
from tiphys.machinery import errors
from tiphys.machinery.apply.merging import merge
from tiphys.machinery.apply.shapes import DEDUCED, Atomic, Form, Granular, KeyedList, Shape, ValueSet
from tiphys.machinery.apply.validation import joined, validate
from tiphys.machinery.cel.conversions import to_string
from tiphys.machinery.cel.errors import CelRuntimeError
from tiphys.machinery.cel.open_objects import misplaced
from tiphys.machinery.cel.types import of_value, value_name
from tiphys.machinery.patches import apply_json_patch
from tiphys.machinery.patches.errors import PatchError
from tiphys.machinery.schema import DecodeError

_FOLDERS = {group: folder for folder, group in GROUP_NAMES.items() if group}


class MutationError(Exception):
    """A mutation cannot be done; the policy's failurePolicy says what that means."""


def schema_at(match: Match) -> Schema:
    """The schema of what a policy sees: the object, or what is sent below it."""
    kind = match.kind
    if kind == match.row.gvk:
        return schema_of(match.row)
    folder = _FOLDERS.get(kind.group, kind.group) if kind.group else "core"
    return schema_named(f"{folder}/{kind.version}.{kind.kind}")


def finished(match: Match, schema: Schema, new: Object, *, strict: bool) -> Object:
    """A patched object as if a client had sent it: decoded and with defaults. Raises 500."""
    try:
        checked = schema.check(new)
    except DecodeError as error:
        raise errors.internal_error(str(error)) from None
    if strict and checked.complaints and schema.struct is not None:
        raise errors.internal_error(f"strict decoding error: {', '.join(checked.complaints)}")
    made = checked.object
    made["kind"], made["apiVersion"] = match.kind.kind, match.kind.api_version
    if match.kind == match.row.gvk and match.row.defaults is not None:
        match.row.defaults(made)
    return made


# Apply configurations


def apply_configuration(match: Match, obj: Object, value: Any) -> Object:
    """The object with all that a value of `Object{...}` sets. Raises MutationError, StatusError."""
    _check_names(value, "Object")
    schema = schema_at(match)
    kind = {"apiVersion": match.kind.api_version, "kind": match.kind.kind}
    applied = {**plain(value), **kind}
    if found := validate(schema.shape, applied):
        raise MutationError(
            f"error applying patch: failed to convert patch object to typed object: {joined(found)}"
        )
    if places := list(_atomic_places(schema.shape, applied, "")):
        raise MutationError(
            "error applying patch: invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: "
            + ", ".join(places)
        )
    merged = merge(schema.shape, obj, applied)
    return obj if merged is obj else finished(match, schema, merged, strict=False)


def _check_names(value: Any, path: str) -> None:
    if wrong := misplaced(value, path):
        raise MutationError("type mismatch: " + "\n".join(wrong))


def _atomic_places(shape: Shape, value: Any, path: str) -> Iterator[str]:
    """Where a value would replace something as a whole, and so lose what it does not say."""
    if isinstance(value, dict):
        if isinstance(shape, Atomic) and shape.form is Form.MAP:
            yield path
            shape = shape.inside() if shape.inside is not None else DEDUCED
        if isinstance(shape, Granular):
            for name, item in value.items():
                if name in shape.fields:
                    yield from _atomic_places(shape.fields[name].shape, item, f"{path}.{name}")
    elif isinstance(value, list):
        inside: Shape = DEDUCED
        if shape is DEDUCED or (isinstance(shape, Atomic) and shape.form is Form.LIST):
            yield path
            inside = shape.inside() if isinstance(shape, Atomic) and shape.inside is not None else DEDUCED
        elif isinstance(shape, KeyedList | ValueSet):
            inside = shape.item
        for position, item in enumerate(value):
            yield from _atomic_places(inside, item, f"{path}[{position}]")


# JSON patches


def json_patch(match: Match, obj: Object, value: Any) -> Object:
    """The object after a list of `JSONPatch{...}`. Raises MutationError, StatusError."""
    operations = [_operation(each) for each in value]
    try:
        new = apply_json_patch(obj, operations)
    except PatchError as error:
        if str(error).endswith(": test failed"):
            return obj
        raise MutationError(f"JSONPath: {error}") from None
    schema = schema_at(match)
    return obj if new is obj else finished(match, schema, new, strict=True)


def _operation(value: Object) -> Object:
    found: Object = {"op": value.get("op", ""), "path": value.get("path", "")}
    if value.get("from"):
        found["from"] = value["from"]
    if "value" in value:
        made = value["value"]
        if (name := getattr(made, "type_name", "")) and isinstance(name, str):
            _check_names(made, name)
        try:
            found["value"] = plain(made)
        except MutationError as error:
            raise MutationError(
                f"JSONPath valueExpression evaluated to a type that could not marshal to JSON: {error}"
            ) from None
    return found


def plain(value: Any) -> Any:
    """A value of an expression as JSON. Raises MutationError."""
    if value is None or value.__class__ in (str, bool, float):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, dict):
        return {_key(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    try:
        return to_string(value)
    except CelRuntimeError:
        raise MutationError(
            f"type conversion error from '{value_name(of_value(value))}' to 'google.protobuf.Value'"
        ) from None


def _key(name: Any) -> str:
    if not isinstance(name, str):
        raise MutationError(f"map key {name!r} is of type {value_name(of_value(name))}, not string")
    return name
