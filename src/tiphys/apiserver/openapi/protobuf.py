"""OpenAPI v2 in the protobuf form that client-go's typed OpenAPI client asks for, and kubectl before 1.27.

The messages are gnostic's (https://github.com/google/gnostic, openapiv2/OpenAPIv2.proto): a table below says which field of a JSON
document has which number. What has no field of its own (x-kubernetes-…) is kept as text, in YAML; JSON is YAML too.

Encoded documents can be joined: a message that occurs twice is merged with itself, its lists one behind the other.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import orjson

from tiphys.machinery.protobuf.wire import BYTES, FIXED64, VARINT, write_varint

MEDIA_TYPE = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
OLD_MEDIA_TYPE = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
"""What clients have always asked for; it is no valid media type, so answers say the other."""

Encode = Callable[[int, Any], bytes]
"""(field number, value) → tag and value."""
Fields = Mapping[str, tuple[int, Encode]]


def _delimited(number: int, data: bytes) -> bytes:
    return write_varint(number << 3 | BYTES) + write_varint(len(data)) + data


def _text(number: int, value: str) -> bytes:
    return _delimited(number, value.encode())


def _texts(number: int, values: Iterable[str]) -> bytes:
    return b"".join(_text(number, value) for value in values)


def _flag(number: int, value: bool) -> bytes:  # noqa: FBT001  # the form of an Encode
    return write_varint(number << 3 | VARINT) + b"\x01" if value else b""


def _integer(number: int, value: int) -> bytes:
    return write_varint(number << 3 | VARINT) + write_varint(value)


def _double(number: int, value: float) -> bytes:
    return write_varint(number << 3 | FIXED64) + struct.pack("<d", value)


def _any(number: int, value: Any) -> bytes:
    return _delimited(number, _text(2, orjson.dumps(value).decode()))


def _anys(number: int, values: Iterable[Any]) -> bytes:
    return b"".join(_any(number, value) for value in values)


def _named(number: int, name: str, value: bytes) -> bytes:
    """A member of a map: its name, and its value as a message."""
    return _delimited(number, _text(1, name) + _delimited(2, value))


def _message(fields: Fields, value: Mapping[str, Any], *, extensions: int = 0) -> bytes:
    """A message; what begins with "x-" goes into the field `extensions`."""
    parts = []
    for name, inner in value.items():
        known = fields.get(name)
        if known is not None:
            parts.append(known[1](known[0], inner))
        elif extensions and name.startswith("x-"):
            parts.append(_delimited(extensions, _text(1, name) + _any(2, inner)))
    return b"".join(parts)


# Schemas


def _schema(value: Mapping[str, Any]) -> bytes:
    return _message(_SCHEMA, value, extensions=31)


def _one_schema(number: int, value: Mapping[str, Any]) -> bytes:
    return _delimited(number, _schema(value))


def _properties(number: int, value: Mapping[str, Any]) -> bytes:
    return _delimited(number, b"".join(_named(1, name, _schema(each)) for name, each in value.items()))


def _wrapped_schemas(number: int, value: Any) -> bytes:
    """`items`: one schema or several, in a message of their own."""
    many = value if isinstance(value, list) else [value]
    return _delimited(number, b"".join(_one_schema(1, each) for each in many))


def _schemas(number: int, values: Iterable[Mapping[str, Any]]) -> bytes:
    return b"".join(_one_schema(number, each) for each in values)


def _additional(number: int, value: Any) -> bytes:
    inner = _integer(2, int(value)) if isinstance(value, bool) else _one_schema(1, value)
    return _delimited(number, inner)


def _types(number: int, value: Any) -> bytes:
    return _delimited(number, _texts(1, [value] if isinstance(value, str) else value))


_SCHEMA: Fields = {
    "$ref": (1, _text),
    "format": (2, _text),
    "title": (3, _text),
    "description": (4, _text),
    "default": (5, _any),
    "multipleOf": (6, _double),
    "maximum": (7, _double),
    "exclusiveMaximum": (8, _flag),
    "minimum": (9, _double),
    "exclusiveMinimum": (10, _flag),
    "maxLength": (11, _integer),
    "minLength": (12, _integer),
    "pattern": (13, _text),
    "maxItems": (14, _integer),
    "minItems": (15, _integer),
    "uniqueItems": (16, _flag),
    "maxProperties": (17, _integer),
    "minProperties": (18, _integer),
    "required": (19, _texts),
    "enum": (20, _anys),
    "additionalProperties": (21, _additional),
    "type": (22, _types),
    "items": (23, _wrapped_schemas),
    "allOf": (24, _schemas),
    "properties": (25, _properties),
    "discriminator": (26, _text),
    "readOnly": (27, _flag),
    "example": (30, _any),
}

# Parameters

_BODY: Fields = {
    "description": (1, _text),
    "name": (2, _text),
    "in": (3, _text),
    "required": (4, _flag),
    "schema": (5, _one_schema),
}
_QUERY: Fields = {
    "required": (1, _flag),
    "in": (2, _text),
    "description": (3, _text),
    "name": (4, _text),
    "allowEmptyValue": (5, _flag),
    "type": (6, _text),
    "format": (7, _text),
    "uniqueItems": (20, _flag),
}
_PATH: Fields = {
    "required": (1, _flag),
    "in": (2, _text),
    "description": (3, _text),
    "name": (4, _text),
    "type": (5, _text),
    "format": (6, _text),
    "uniqueItems": (19, _flag),
}
_PLACES = {"query": (3, _QUERY), "path": (4, _PATH), "header": (1, _PATH)}


def _parameter(value: Mapping[str, Any]) -> bytes:
    if value["in"] == "body":
        return _delimited(1, _message(_BODY, value, extensions=6))
    number, fields = _PLACES[value["in"]]
    return _delimited(2, _delimited(number, _message(fields, value)))


def _parameters(number: int, values: Iterable[Mapping[str, Any]]) -> bytes:
    parts = []
    for each in values:
        item = _delimited(2, _text(1, each["$ref"])) if "$ref" in each else _delimited(1, _parameter(each))
        parts.append(_delimited(number, item))
    return b"".join(parts)


# Operations


def _responses(number: int, value: Mapping[str, Any]) -> bytes:
    named = (_named(1, code, _delimited(1, _message(_RESPONSE, each))) for code, each in value.items())
    return _delimited(number, b"".join(named))


def _response_schema(number: int, value: Mapping[str, Any]) -> bytes:
    return _delimited(number, _one_schema(1, value))


def _operation(number: int, value: Mapping[str, Any]) -> bytes:
    return _delimited(number, _message(_OPERATION, value, extensions=13))


_RESPONSE: Fields = {"description": (1, _text), "schema": (2, _response_schema)}
_OPERATION: Fields = {
    "tags": (1, _texts),
    "summary": (2, _text),
    "description": (3, _text),
    "operationId": (5, _text),
    "produces": (6, _texts),
    "consumes": (7, _texts),
    "parameters": (8, _parameters),
    "responses": (9, _responses),
    "schemes": (10, _texts),
    "deprecated": (11, _flag),
}
_PATH_ITEM: Fields = {
    "get": (2, _operation),
    "put": (3, _operation),
    "post": (4, _operation),
    "delete": (5, _operation),
    "options": (6, _operation),
    "head": (7, _operation),
    "patch": (8, _operation),
    "parameters": (9, _parameters),
}

# The document


def _paths(number: int, value: Mapping[str, Any]) -> bytes:
    items = (_named(2, path, _message(_PATH_ITEM, item, extensions=10)) for path, item in value.items())
    return _delimited(number, b"".join(items))


def _shared_parameters(number: int, value: Mapping[str, Any]) -> bytes:
    return _delimited(number, b"".join(_named(1, name, _parameter(each)) for name, each in value.items()))


def _info(number: int, value: Mapping[str, Any]) -> bytes:
    return _delimited(number, _message({"title": (1, _text), "version": (2, _text)}, value))


def _security(number: int, values: Iterable[Mapping[str, Any]]) -> bytes:
    """Requirements: each a map of names to scopes."""
    return b"".join(
        _delimited(number, b"".join(_named(1, name, _texts(1, scopes)) for name, scopes in each.items()))
        for each in values
    )


def _security_definitions(number: int, value: Mapping[str, Any]) -> bytes:
    fields: Fields = {"type": (1, _text), "name": (2, _text), "in": (3, _text), "description": (4, _text)}
    named = (_named(1, name, _delimited(2, _message(fields, each))) for name, each in value.items())
    return _delimited(number, b"".join(named))


_DOCUMENT: Fields = {
    "swagger": (1, _text),
    "info": (2, _info),
    "paths": (8, _paths),
    "definitions": (9, _properties),
    "parameters": (10, _shared_parameters),
    "security": (12, _security),
    "securityDefinitions": (13, _security_definitions),
}


def encode(document: Mapping[str, Any]) -> bytes:
    """A document, or a part of one."""
    return _message(_DOCUMENT, document)
