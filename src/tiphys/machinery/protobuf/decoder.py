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
TakeNumber = Callable[[Object, int], None]
"""(object to fill, varint)."""

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


class _Table:
    """What to do with each tag. Varints have a column of their own: they are read on the way past."""

    def __init__(self) -> None:
        self.numbers: dict[int, TakeNumber] = {}
        self.others: dict[int, Into] = {}

    def refuse_other_wire_types(self) -> None:
        """A known number with a wire type that is not in the table is no unknown field, but an error."""
        for number in {0} | {field_tag >> 3 for field_tag in (*self.numbers, *self.others)}:
            for wire_type in range(6):
                column = self.numbers if wire_type == VARINT else self.others
                column.setdefault(number << 3 | wire_type, _wrong_wire_type(number, wire_type))


def _wrong_wire_type(number: int, wire_type: int) -> Callable[..., None]:
    def refuse(*_: object) -> None:
        if number == 0:
            raise DecodeError(f"proto: illegal tag 0 (wire type {wire_type})")
        raise DecodeError(f"proto: wrong wireType = {wire_type} for field {number}")

    return refuse


def _message(table: _Table) -> Into:
    """The loop over the fields of one message. It is long because a call costs more than what it would do."""
    table.refuse_other_wire_types()
    find_number, find = table.numbers.get, table.others.get

    def read(obj: Object, data: bytes, position: int, end: int, depth: int) -> None:
        if depth > DEPTH_LIMIT:
            raise DecodeError("proto: nested too deeply")
        while position < end:
            field_tag = data[position]
            position += 1
            if field_tag > 0x7F:
                field_tag, position = read_varint(data, position - 1)
            wire_type = field_tag & 7
            if wire_type == BYTES:
                size = data[position]
                position += 1
                if size > 0x7F:
                    size, position = read_varint(data, position - 1)
                start, position = position, position + size
                if position > end:
                    raise truncated()
                handle = find(field_tag)
                if handle is not None:
                    handle(obj, data, start, position, depth)
            elif wire_type == VARINT:
                value = data[position]
                position += 1
                if value > 0x7F:
                    value, position = read_varint(data, position - 1)
                take = find_number(field_tag)
                if take is not None:
                    take(obj, value)
            else:
                start, position = position, skip(data, position, field_tag)
                handle = find(field_tag)
                if handle is not None:
                    handle(obj, data, start, position, depth)
        if position != end:
            raise truncated()

    return read


def _table(struct: Struct) -> _Table:
    table = _Table()
    for field in struct.own_fields:
        if field.number:
            _add(table, field)
    return table


def _add(table: _Table, field: Field) -> None:
    is_list = isinstance(field.type, ListOf)
    type_ = field.type.item if isinstance(field.type, ListOf) else field.type
    wire_type = _wire_type(type_)
    field_tag = field.number << 3 | wire_type
    if wire_type == VARINT:
        assert isinstance(type_, Scalar)
        convert = _NUMBERS[type_.kind]
        table.numbers[field_tag] = (
            _append_number(field.name, convert) if is_list else _set_number(field, convert)
        )
    else:
        table.others[field_tag] = _handler(field)
    if is_list and wire_type != BYTES:
        # Numbers may come one by one, or packed into one value.
        table.others[field.number << 3 | BYTES] = _append_packed(field.name, type_)


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
    if isinstance(type_, Scalar) and type_.kind is ScalarKind.STRING:
        return _set_string(field)
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


def _set_string(field: Field) -> Into:
    """As `_set`, for the kind that most fields are of."""
    name, keeps = field.name, field.keeps_zero

    def handle(obj: Object, data: bytes, start: int, end: int, _depth: int) -> None:
        if start != end or keeps:
            obj[name] = data[start:end].decode()
        else:
            obj.pop(name, None)

    return handle


def _set_number(field: Field, convert: Number) -> TakeNumber:
    name, keeps = field.name, field.keeps_zero

    def take(obj: Object, number: int) -> None:
        value = convert(number)
        if value or keeps:
            obj[name] = value
        else:
            obj.pop(name, None)

    return take


def _append_number(name: str, convert: Number) -> TakeNumber:
    def take(obj: Object, number: int) -> None:
        obj.setdefault(name, []).append(convert(number))

    return take


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
    read_entry: Into | None = None

    def handle(obj: Object, data: bytes, start: int, end: int, depth: int) -> None:
        nonlocal read_entry
        if read_entry is None:
            read_entry = _message(_entry_table(value_type))
        entry: Object = {}
        read_entry(entry, data, start, end, depth)
        entries = obj.get(name)
        if entries is None:
            entries = obj[name] = {}
        entries[entry.get("key", "")] = entry["value"] if "value" in entry else _empty(value_type)

    return handle


def _entry_table(value_type: Type) -> _Table:
    table = _Table()
    _add(table, Field(name="key", number=1, type=Scalar(ScalarKind.STRING), pointer=True))
    if _wire_type(value_type) == BYTES:
        table.others[2 << 3 | BYTES] = _set_any("value", _reader(value_type))
    else:
        _add(table, Field(name="value", number=2, type=value_type, pointer=True))
    return table


def _set_any(name: str, read: Read) -> Into:
    """A value that is kept whatever it is: None too (a time that is none)."""

    def handle(obj: Object, data: bytes, start: int, end: int, depth: int) -> None:
        obj[name] = read(data, start, end, depth)

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
    table = _Table()
    _add(table, Field(name="items", number=1, type=type_))
    into = _message(table)

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
