"""Protobuf to JSON. For every struct a table is made when it is first met: tag → what to do with the value.

The tables hold closures, and the loop over a message does nothing but look tags up: a Pod of 2 KB takes some hundred
microseconds. Values come out in the canonical form that `schema.checking` gives for JSON.
"""

from __future__ import annotations

import math
import struct as binary
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from tiphys.machinery.protobuf.scalars import READERS
from tiphys.machinery.protobuf.wire import (
    BYTES,
    FIXED64,
    VARINT,
    read_varint,
    signed32,
    signed64,
    skip,
    truncated,
)
from tiphys.machinery.schema.errors import DecodeError
from tiphys.machinery.schema.model import Field, ListOf, MapOf, Scalar, ScalarKind, Struct, Type, struct_of

Object = dict[str, Any]
Into = Callable[[Object, bytes, int, int, int], None]
"""(object to fill, data, start, end, depth): reads what stands between start and end."""
Read = Callable[[bytes, int, int, int], Any]
"""(data, start, end, depth) → the JSON value of what stands between start and end; None: nothing."""
Number = Callable[[int], Any]
"""The JSON value of a varint."""

DEPTH_LIMIT = 200
"""Messages inside messages; the apiserver has the same limit for JSON."""

_NUMBERS: dict[ScalarKind, Number] = {
    ScalarKind.BOOL: bool,
    ScalarKind.INT32: signed32,
    ScalarKind.INT64: signed64,
}
_tables: WeakKeyDictionary[Struct, Into] = WeakKeyDictionary()


def decode(struct: Struct, data: bytes) -> Object:
    """The JSON object of a message. DecodeError: `data` is not such a message; never another exception."""
    obj: Object = {}
    try:
        _into(struct)(obj, data, 0, len(data), 0)
    except DecodeError:
        raise
    except IndexError:
        raise truncated() from None
    except RecursionError:
        raise DecodeError("proto: nested too deeply") from None
    except (
        ValueError,
        OverflowError,
    ) as error:  # text that is no UTF-8, JSON, quantity; a time beyond all calendars
        raise DecodeError(f"proto: {error}") from None
    return obj


def _into(struct: Struct) -> Into:
    found = _tables.get(struct)
    if found is None:
        found = _tables[struct] = _message(_table(struct))
    return found


def _message(table: dict[int, Into]) -> Into:
    """The loop over the fields of one message."""
    find = table.get
    known = {field_tag >> 3 for field_tag in table}

    def read(obj: Object, data: bytes, position: int, end: int, depth: int) -> None:
        if depth > DEPTH_LIMIT:
            raise DecodeError("proto: nested too deeply")
        while position < end:
            field_tag = data[position]
            position += 1
            if field_tag > 0x7F:
                field_tag, position = read_varint(data, position - 1)
            handle = find(field_tag)
            if handle is None:
                if field_tag >> 3 in known:
                    raise DecodeError(f"proto: wrong wireType = {field_tag & 7} for field {field_tag >> 3}")
                position = skip(data, position, field_tag)
                continue
            start = position
            if field_tag & 7 == BYTES:
                size = data[position]
                position += 1
                if size > 0x7F:
                    size, position = read_varint(data, position - 1)
                start = position
                position += size
            elif field_tag & 7 == VARINT:
                while data[position] > 0x7F:
                    position += 1
                position += 1
            else:
                position += 8
            if position > end:
                raise truncated()
            handle(obj, data, start, position, depth)
        if position != end:
            raise truncated()

    return read


def _table(struct: Struct) -> dict[int, Into]:
    table: dict[int, Into] = {}
    for field in struct.own_fields:
        if not field.number:
            continue
        wire_type = _wire_type(field.type)
        table[field.number << 3 | wire_type] = _handler(field)
        if isinstance(field.type, ListOf):
            item = field.type.item
            if _wire_type(item) != BYTES:
                # Numbers may come one by one, or packed into one value.
                table[field.number << 3 | _wire_type(item)] = _append(field.name, _reader(item))
                table[field.number << 3 | BYTES] = _append_packed(field.name, item)
    return table


def _wire_type(type_: Type) -> int:
    if isinstance(type_, Scalar):
        if type_.kind in _NUMBERS:
            return VARINT
        return FIXED64 if type_.kind is ScalarKind.DOUBLE else BYTES
    return BYTES


def _handler(field: Field) -> Into:
    type_ = field.type
    if isinstance(type_, ListOf):
        return _append(field.name, _reader(type_.item))
    if isinstance(type_, MapOf):
        return _put(field.name, type_.value)
    struct = struct_of(type_)
    if struct is not None and not field.name:
        return _inlined(struct)
    if struct is not None and not struct.is_any:
        return _merge(field.name, struct)
    return _set(field, _reader(type_))


def _set(field: Field, read: Read) -> Into:
    """A value that stands for itself. Go leaves an empty one out of JSON unless it is told to keep it."""
    name = field.name
    keeps = field.keeps_zero or not _is_plain(field.type)

    def handle(obj: Object, data: bytes, start: int, end: int, depth: int) -> None:
        value = read(data, start, end, depth)
        if value or (keeps and value is not None):
            obj[name] = value
        else:
            obj.pop(name, None)

    return handle


def _is_plain(type_: Type) -> bool:
    return isinstance(type_, Scalar) and (type_.kind in _PLAIN)


_PLAIN = frozenset((*_NUMBERS, ScalarKind.STRING, ScalarKind.BYTES, ScalarKind.DOUBLE))


def _merge(name: str, struct: Struct) -> Into:
    """A message; another one of the same field is merged into it."""
    into: Into | None = None

    def handle(obj: Object, data: bytes, start: int, end: int, depth: int) -> None:
        nonlocal into
        if into is None:
            into = _into(struct)
        inner = obj.get(name)
        if inner is None:
            inner = obj[name] = {}
        into(inner, data, start, end, depth + 1)

    return handle


def _inlined(struct: Struct) -> Into:
    def handle(obj: Object, data: bytes, start: int, end: int, depth: int) -> None:
        _into(struct)(obj, data, start, end, depth + 1)

    return handle


def _append(name: str, read: Read) -> Into:
    def handle(obj: Object, data: bytes, start: int, end: int, depth: int) -> None:
        value = read(data, start, end, depth)
        items = obj.get(name)
        if items is None:
            obj[name] = [value]
        else:
            items.append(value)

    return handle


def _append_packed(name: str, item: Type) -> Into:
    read = _reader(item)
    is_double = _wire_type(item) == FIXED64

    def handle(obj: Object, data: bytes, start: int, end: int, depth: int) -> None:
        items = obj.setdefault(name, [])
        while start < end:
            following = start + 8 if is_double else read_varint(data, start)[1]
            if following > end:
                raise truncated()
            items.append(read(data, start, following, depth))
            start = following
        if not items:
            del obj[name]

    return handle


def _put(name: str, value_type: Type) -> Into:
    """An entry of a map: a message of the key and the value."""
    value_field = Field(name="value", number=2, type=value_type, pointer=True)
    key_field = Field(name="key", number=1, type=Scalar(ScalarKind.STRING), pointer=True)
    read_entry: Into | None = None

    def handle(obj: Object, data: bytes, start: int, end: int, depth: int) -> None:
        nonlocal read_entry
        if read_entry is None:
            read_entry = _message(
                {key_field.number << 3 | BYTES: _handler(key_field)}
                | {_value_tag(value_type): _set_any(value_field)}
            )
        entry: Object = {}
        read_entry(entry, data, start, end, depth)
        entries = obj.get(name)
        if entries is None:
            entries = obj[name] = {}
        value = entry.get("value", entry)
        entries[entry.get("key", "")] = _empty(value_type) if value is entry else value

    return handle


def _value_tag(type_: Type) -> int:
    return 2 << 3 | _wire_type(type_)


def _set_any(field: Field) -> Into:
    """A value of a map, None too (a time that is none)."""
    read = _reader(field.type)

    def handle(obj: Object, data: bytes, start: int, end: int, depth: int) -> None:
        obj["value"] = read(data, start, end, depth)

    return handle


def _empty(type_: Type) -> Any:
    """What a value that was left out stands for."""
    if isinstance(type_, Scalar):
        if type_.kind in (ScalarKind.STRING, ScalarKind.BYTES):
            return ""
        if type_.kind in _NUMBERS:
            return _NUMBERS[type_.kind](0)
        return "0" if type_.kind is ScalarKind.QUANTITY else None
    return [] if isinstance(type_, ListOf) else {}


def _reader(type_: Type) -> Read:
    """How to read one value on its own: an element of a list, a value of a map."""
    if isinstance(type_, Scalar):
        return _scalar_reader(type_)
    if isinstance(type_, ListOf):
        return _list_reader(type_)
    if isinstance(type_, MapOf):
        raise LookupError("protobuf has no maps of maps")
    struct = struct_of(type_)
    assert struct is not None
    return _any_reader(struct) if struct.is_any else _struct_reader(struct)


def _scalar_reader(scalar: Scalar) -> Read:
    if scalar.kind in _NUMBERS:
        convert = _NUMBERS[scalar.kind]
        return lambda data, start, _end, _depth: convert(read_varint(data, start)[0])
    if scalar.kind is ScalarKind.DOUBLE:
        return _read_double
    if scalar.kind is ScalarKind.STRING:
        return lambda data, start, end, _depth: data[start:end].decode()
    read = READERS[scalar.kind]
    return lambda data, start, end, _depth: read(data, start, end)


def _read_double(data: bytes, start: int, _end: int, _depth: int) -> int | float:
    value: float = binary.unpack_from("<d", data, start)[0]
    if not math.isfinite(value):
        raise DecodeError("proto: a number that JSON cannot hold")
    return int(value) if value.is_integer() and abs(value) < 1e21 else value


def _struct_reader(struct: Struct) -> Read:
    into: Into | None = None

    def read(data: bytes, start: int, end: int, depth: int) -> Object:
        nonlocal into
        if into is None:
            into = _into(struct)
        obj: Object = {}
        into(obj, data, start, end, depth + 1)
        return obj

    return read


def _list_reader(type_: ListOf) -> Read:
    """A list where only one value fits is a message with the list as its field 1 (ExtraValue)."""
    into = _message({1 << 3 | BYTES: _append("items", _reader(type_.item))})

    def read(data: bytes, start: int, end: int, depth: int) -> list[Any]:
        obj: Object = {}
        into(obj, data, start, end, depth + 1)
        items: list[Any] = obj.get("items", [])
        return items

    return read


def _any_reader(struct: Struct) -> Read:
    """A type with several JSON forms: the message has a field for each, the JSON only the one that is set."""
    read_fields = _struct_reader(struct)
    booleans = [each.name for each in struct.own_fields if isinstance(each.type, Scalar)]

    def read(data: bytes, start: int, end: int, depth: int) -> Any:
        forms = read_fields(data, start, end, depth)
        chosen = [value for name, value in forms.items() if name not in booleans]
        if chosen:
            return chosen[0]
        return forms.get(booleans[0], False) if booleans else None

    return read
