"""JSON to protobuf. For every struct a list is made when it is first met: JSON name → how to write its value.

What the struct does not know is left out, and so are fields without a number. Maps are written in the order of their keys:
equal objects give equal bytes.
"""

from __future__ import annotations

import struct as binary
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from tiphys.machinery.protobuf.scalars import WRITERS
from tiphys.machinery.protobuf.wire import BYTES, FIXED64, VARINT, sized, tag, write_varint
from tiphys.machinery.schema.model import Field, ListOf, MapOf, Scalar, ScalarKind, Struct, Type, struct_of

Object = dict[str, Any]
Write = Callable[[Any], bytes]
Message = Callable[[Object], bytes]

_NUMBERS = (ScalarKind.BOOL, ScalarKind.INT32, ScalarKind.INT64)
_tables: WeakKeyDictionary[Struct, Message] = WeakKeyDictionary()


def encode(struct: Struct, obj: Object) -> bytes:
    """The message of an object in canonical form."""
    return _message(struct)(obj)


def _message(struct: Struct) -> Message:
    found = _tables.get(struct)
    if found is None:
        found = _tables[struct] = _new_message(struct)
    return found


def _new_message(struct: Struct) -> Message:
    writers: list[tuple[str, Write]] | None = None

    def write(obj: Object) -> bytes:
        nonlocal writers
        if writers is None:
            writers = [(each.name, _field_writer(each)) for each in struct.own_fields if each.number]
        parts = []
        for name, write_field in writers:
            value = obj.get(name) if name else obj
            if value is not None:
                parts.append(write_field(value))
        return b"".join(parts)

    return write


def _field_writer(field: Field) -> Write:
    """Tag and value of a field that is there."""
    type_ = field.type
    if isinstance(type_, ListOf):
        return _repeated(_tagged(field.number, type_.item))
    if isinstance(type_, MapOf):
        return _entries(field.number, type_.value)
    if not field.name:
        return _inlined(_tagged(field.number, type_))
    return _tagged(field.number, type_)


def _repeated(write: Write) -> Write:
    return lambda items: b"".join([write(item) for item in items])


def _inlined(write: Write) -> Write:
    """The fields of an inlined message stand in the outer object; nothing is written when none of them does."""
    empty = write({})

    def write_inlined(obj: Object) -> bytes:
        data = write(obj)
        return b"" if data == empty else data

    return write_inlined


def _entries(number: int, value_type: Type) -> Write:
    entry_tag, key_tag = tag(number, BYTES), tag(1, BYTES)
    write_value = _tagged(2, value_type)

    def write(entries: Object) -> bytes:
        parts = []
        for key in sorted(entries):
            value = entries[key]
            written = write_value(value) if value is not None else b""
            parts.append(entry_tag + sized(key_tag + sized(key.encode()) + written))
        return b"".join(parts)

    return write


def _tagged(number: int, type_: Type) -> Write:
    if isinstance(type_, Scalar) and type_.kind in _NUMBERS:
        head = tag(number, VARINT)
        return lambda value: head + write_varint(value)
    if isinstance(type_, Scalar) and type_.kind is ScalarKind.DOUBLE:
        head = tag(number, FIXED64)
        return lambda value: head + binary.pack("<d", value)
    head = tag(number, BYTES)
    write = _content_writer(type_)

    def write_sized(value: Any) -> bytes:
        data = write(value)
        return head + write_varint(len(data)) + data

    return write_sized


def _content_writer(type_: Type) -> Write:
    """The bytes between tag and length, and the next field."""
    if isinstance(type_, Scalar):
        write = WRITERS[type_.kind]
        return lambda value: b"" if value is None else write(value)
    if isinstance(type_, ListOf):
        # A list where only one value fits is a message with the list as its field 1 (ExtraValue).
        return _repeated(_tagged(1, type_.item))
    struct = struct_of(type_)
    if struct is None:
        raise LookupError("protobuf has no maps of maps")
    return _any_writer(struct) if struct.is_any else _message(struct)


def _any_writer(struct: Struct) -> Write:
    """A type with several JSON forms: the one that is given goes into its field."""

    def write(value: Any) -> bytes:
        message = _message(struct)
        for field in struct.own_fields:
            if isinstance(value, _python_type(field.type)):
                return message({field.name: value})
        return b""

    return write


def _python_type(type_: Type) -> type:
    if isinstance(type_, ListOf):
        return list
    return bool if isinstance(type_, Scalar) else dict
