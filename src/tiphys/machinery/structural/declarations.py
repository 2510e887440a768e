"""What the rules of a schema see of a value: types of expressions, with the sizes that bound what a rule can cost.

apiserver `pkg/cel/common/schemas.go`. Of an object, rules see what the schema describes; of the metadata of a resource,
`name` and `generateName`. An int-or-string is of any type, strings of some formats are times, durations or bytes.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, time
from typing import Any

from tiphys.machinery.cel import (
    BOOL,
    DOUBLE,
    DURATION,
    INT,
    TIMESTAMP,
    CelRuntimeError,
    Duration,
    Timestamp,
    Type,
    bytes_of,
    dyn_of,
    list_of,
    map_of,
    object_type,
    read_by,
    string_of,
)
from tiphys.machinery.cel.names import escape
from tiphys.machinery.cel.types import REQUEST_SIZE
from tiphys.machinery.frozen import frozen
from tiphys.machinery.structural import formats
from tiphys.machinery.structural.correlation import Schema
from tiphys.machinery.structural.pruning import is_embedded, item_schema, properties_of

# The least bytes that values take in a request, and the most (apiserver `pkg/cel/limits.go`).
_LEAST_STRING, _LEAST_BOOL, _LEAST_NUMBER, _LEAST_CONTAINER = 2, 4, 1, 2
_LEAST_DURATION, _LEAST_DATE_TIME, _DATE = 3, 21, 12
_LONGEST_TIME = 32
_QUOTES = 2
_BYTES_IN_CHARACTER = 4
_SECOND = 10**9


@frozen
class Declared:
    """A type, and the least bytes that a value of it takes in a request."""

    type: Type
    least_bytes: int


def declare(schema: Schema, name: str, *, is_resource: bool) -> Declared | None:
    """None: rules cannot see such a value. `name` is the type's, if it is an object; its parts are named after it."""
    if schema.get("x-kubernetes-int-or-string"):
        longest = schema.get("maxLength")
        return Declared(dyn_of(_unbounded() if longest is None else _in_bytes(longest)), 1)
    if is_resource:
        schema = with_metadata(schema)
    make = _MAKERS.get(schema.get("type") or "")
    return None if make is None else make(schema, name)


def with_metadata(schema: Schema) -> Schema:
    """The schema of a resource, with what rules always see of one."""
    properties = properties_of(schema)
    inner = properties_of(properties.get("metadata"))
    strings = [
        properties.get("kind"),
        properties.get("apiVersion"),
        inner.get("name"),
        inner.get("generateName"),
    ]
    if all((each or {}).get("type") == "string" for each in strings):
        return schema
    text = {"type": "string"}
    metadata = {"type": "object", "properties": {"name": text, "generateName": text}}
    return {**schema, "properties": {**properties, "kind": text, "apiVersion": text, "metadata": metadata}}


def most_often(least_bytes: int) -> int:
    """How many values of a size fit into one request, a comma between them."""
    return REQUEST_SIZE // (least_bytes + 1)


def _array(schema: Schema, name: str) -> Declared | None:
    items = item_schema(schema)
    element = None if items is None else declare(items, f"{name}.@idx", is_resource=is_embedded(items))
    if element is None:
        return None
    most = schema.get("maxItems")
    if most is None:
        most = (REQUEST_SIZE - 2) // (element.least_bytes + 1)
    made = list_of(
        element.type,
        max_length=max(most, 0),
        list_type=schema.get("x-kubernetes-list-type") or "atomic",
        keys=schema.get("x-kubernetes-list-map-keys") or (),
    )
    return Declared(made, _LEAST_CONTAINER)


def _object(schema: Schema, name: str) -> Declared | None:
    more = schema.get("additionalProperties")
    if isinstance(more, Mapping):
        return _map(schema, more, name)
    required = set(schema.get("required") or ())
    fields, least = {}, _LEAST_CONTAINER
    for field, each in properties_of(schema).items():
        declared = declare(each, f"{name}.{escape(field) or field}", is_resource=is_embedded(each))
        if declared is None:
            continue
        fields[field] = declared.type
        if field in required and each.get("default") is None:
            least += len(field.encode()) + declared.least_bytes + 4
    return Declared(object_type(name, fields), least)


def _map(schema: Schema, values: Schema, name: str) -> Declared | None:
    value = declare(values, f"{name}.@elem", is_resource=is_embedded(values))
    if value is None:
        return None
    most = schema.get("maxProperties")
    if most is None:
        most = (REQUEST_SIZE - 2) // (value.least_bytes + 6)
    # Upstream takes keys for empty.
    return Declared(map_of(string_of(0), value.type, max_length=max(most, 0)), _LEAST_CONTAINER)


def _string(schema: Schema, _name: str) -> Declared:
    form, longest = schema.get("format"), schema.get("maxLength")
    if form in _TIMES:
        this, reader, size, least = _TIMES[form]
        return Declared(read_by(this, reader, max_length=size), least)
    if form == "byte":
        size = _unbounded() if longest is None else max(longest, 0)
        return Declared(read_by(bytes_of(size), _read_bytes, max_length=size), _LEAST_STRING)
    if longest is not None:
        size = _in_bytes(longest)
    elif schema.get("enum"):
        size = max((len(each.encode()) for each in schema["enum"] if isinstance(each, str)), default=0)
    else:
        size = _unbounded()
    return Declared(string_of(size), _LEAST_STRING)


def _unbounded() -> int:
    return REQUEST_SIZE - _QUOTES


def _in_bytes(characters: int) -> int:
    return max(characters, 0) * _BYTES_IN_CHARACTER


# How values are read out of an object. What is no text is left alone: it stands there against the schema.


def _read_duration(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    nanos = formats.duration_nanos(value)
    if nanos is None:
        raise CelRuntimeError(f"Invalid duration {value}: unable to parse {value} as duration")
    return Duration(nanos)


def _read_date(value: Any) -> Any:
    day = formats.full_date(value) if isinstance(value, str) else None
    if day is None:
        return value
    return Timestamp(int(datetime.combine(day, time(), UTC).timestamp()) * _SECOND)


def _read_date_time(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    from tiphys.machinery.cel.conversions import string_to_timestamp

    try:
        return string_to_timestamp(value.upper())
    except CelRuntimeError:
        raise CelRuntimeError(f"Invalid date-time formatted string {value}") from None


def _read_bytes(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise CelRuntimeError(f"Invalid byte formatted string {value}") from None


_Maker = Callable[[Schema, str], Declared | None]
_TIMES: dict[str, tuple[Type, Callable[[Any], Any], int, int]] = {
    "duration": (DURATION, _read_duration, _LONGEST_TIME, _LEAST_DURATION),
    "date": (TIMESTAMP, _read_date, _DATE, _DATE),
    "date-time": (TIMESTAMP, _read_date_time, _LONGEST_TIME, _LEAST_DATE_TIME),
}
_MAKERS: dict[str, _Maker] = {
    "array": _array,
    "object": _object,
    "string": _string,
    "boolean": lambda schema, name: Declared(BOOL, _LEAST_BOOL),
    "number": lambda schema, name: Declared(DOUBLE, _LEAST_NUMBER),
    "integer": lambda schema, name: Declared(INT, _LEAST_NUMBER),
}
