"""A strict JSON schema made from the model: it holds for exactly those objects that need no second look.

An object passes when every field is known, has its type and is in canonical form: no nulls, no zeros that Go would
leave out, times and quantities as they are stored. Most objects do, and jsonschema-rs says so within microseconds.
Whatever does not pass goes to `decoding`, so the schema may be too strict but never too lax.

Draft 4 is used because it tells 1 from 1.0: Go's decoder takes no 1.0 for an integer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tiphys.machinery.schema.model import Field, ListOf, MapOf, Scalar, ScalarKind, Struct, Type, struct_of

Schema = dict[str, Any]

_DATE = (
    "[1-9][0-9]{3}-(?:(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])"
    "|(?:0[13-9]|1[0-2])-(?:29|30)|(?:0[13578]|1[02])-31)"
)
_CLOCK = "(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"
_UP_TO_999 = "[1-9][0-9]{0,2}"
# Not divisible by 1000, hence written with no larger suffix.
_DECIMAL = "[1-9][0-9]{0,12}(?:[1-9][0-9]{2}|0[1-9][0-9]|00[1-9])"
# Not divisible by 4, hence not by 1024.
_BINARY = "[1-9][0-9]{0,11}(?:[0-9][13579]|[02468][26]|[13579][048])"
_QUANTITY = f"^(?:0|(?:{_UP_TO_999}|{_DECIMAL})(?:m|k|M|G)?|(?:{_UP_TO_999}|{_BINARY})(?:Ki|Mi|Gi))$"
_BASE64 = "^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?$"

_STRING: Schema = {"type": "string"}
_INT32: Schema = {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1}
_SCALARS: dict[ScalarKind, Schema] = {
    ScalarKind.STRING: _STRING,
    ScalarKind.BOOL: {"type": "boolean"},
    ScalarKind.INT32: _INT32,
    ScalarKind.INT64: {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1},
    ScalarKind.DOUBLE: {"type": "integer"},
    ScalarKind.BYTES: {"type": "string", "pattern": _BASE64},
    ScalarKind.QUANTITY: {"type": "string", "pattern": _QUANTITY},
    ScalarKind.TIME: {"type": "string", "pattern": f"^{_DATE}T{_CLOCK}Z$"},
    ScalarKind.MICROTIME: {"type": "string", "pattern": f"^{_DATE}T{_CLOCK}\\.[0-9]{{6}}Z$"},
    ScalarKind.INT_OR_STRING: {"anyOf": [_STRING, _INT32]},
    ScalarKind.RAW: {"not": {"type": "null"}},
    ScalarKind.JSON: {"not": {"type": "null"}},
    ScalarKind.FIELDS: {"not": {"type": "null"}},
}
_NOT_EMPTY: dict[ScalarKind, Schema] = {
    ScalarKind.STRING: {"minLength": 1},
    ScalarKind.BYTES: {"minLength": 1},
    ScalarKind.BOOL: {"enum": [True]},
    ScalarKind.INT32: {"not": {"enum": [0]}},
    ScalarKind.INT64: {"not": {"enum": [0]}},
    ScalarKind.DOUBLE: {"not": {"enum": [0]}},
}


def gate(struct: Struct) -> Callable[[Any], bool]:
    """Compiles the check. The answer False only means: look closer."""
    # Imported when first needed: it costs more than all the rest of the model.
    from jsonschema_rs import Draft4Validator, RegexOptions

    is_valid = Draft4Validator(strict_schema(struct), pattern_options=RegexOptions()).is_valid

    def passes(value: Any) -> bool:
        try:
            return bool(is_valid(value))
        except ValueError:  # nested too deeply, or a number out of every range
            return False

    return passes


def strict_schema(struct: Struct) -> Schema:
    """The schema of a struct, with the definitions of all structs that it reaches."""
    definitions: dict[str, Schema] = {}
    waiting = [struct]
    while waiting:
        each = waiting.pop()
        if each.name not in definitions:
            definitions[each.name] = (
                _any_schema(each, waiting) if each.is_any else _struct_schema(each, waiting)
            )
    return {**_reference(struct), "definitions": definitions}


def _reference(struct: Struct) -> Schema:
    return {"$ref": f"#/definitions/{struct.name.replace('/', '~1')}"}


def _struct_schema(struct: Struct, waiting: list[Struct]) -> Schema:
    properties = {name: _field_schema(field, waiting) for name, field in struct.fields.items()}
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _any_schema(struct: Struct, waiting: list[Struct]) -> Schema:
    return {"anyOf": [_type_schema(field.type, waiting) for field in struct.own_fields]}


def _field_schema(field: Field, waiting: list[Struct]) -> Schema:
    schema = _type_schema(field.type, waiting)
    if field.keeps_zero:
        return schema
    if isinstance(field.type, Scalar):
        return {**schema, **_NOT_EMPTY.get(field.type.kind, {})}
    if isinstance(field.type, ListOf):
        return {**schema, "minItems": 1}
    return {**schema, "minProperties": 1} if isinstance(field.type, MapOf) else schema


def _type_schema(type_: Type, waiting: list[Struct]) -> Schema:
    if isinstance(type_, Scalar):
        return _SCALARS[type_.kind]
    if isinstance(type_, ListOf):
        return {"type": "array", "items": _type_schema(type_.item, waiting)}
    if isinstance(type_, MapOf):
        return {"type": "object", "additionalProperties": _type_schema(type_.value, waiting)}
    struct = struct_of(type_)
    assert struct is not None
    waiting.append(struct)
    return _reference(struct)
