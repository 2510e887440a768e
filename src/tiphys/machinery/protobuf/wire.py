"""The wire format of protobuf: tags, varints, and how to get past what is unknown (protobuf.dev/programming-guides/encoding)."""

from __future__ import annotations

from typing import Any

from tiphys.machinery.schema.errors import DecodeError

VARINT, FIXED64, BYTES, START_GROUP, END_GROUP, FIXED32 = range(6)
_UINT64 = 2**64 - 1
_VARINT_LIMIT_BITS = 70
_GROUP_LIMIT = 100


def truncated() -> DecodeError:
    return DecodeError("unexpected EOF")


def read_varint(data: bytes, position: int) -> tuple[int, int]:
    """The number at `position`, 0 to 2**64-1, and where it ends. IndexError at the end of the data."""
    value = data[position]
    position += 1
    if value < 0x80:
        return value, position
    value &= 0x7F
    shift = 7
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & _UINT64, position
        shift += 7
        if shift >= _VARINT_LIMIT_BITS:
            raise DecodeError("proto: integer overflow")


def signed32(value: int) -> int:
    """The int32 that a varint stands for: its low 32 bits."""
    value &= 0xFFFFFFFF
    return value - 0x100000000 if value >= 0x80000000 else value


def signed64(value: int) -> int:
    return value - 0x10000000000000000 if value >= 0x8000000000000000 else value


def write_varint(value: int) -> bytes:
    """A number from -2**63 to 2**64-1."""
    value &= _UINT64
    if value < 0x80:
        return bytes((value,))
    parts = bytearray()
    while value >= 0x80:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)


def tag(number: int, wire_type: int) -> bytes:
    return write_varint(number << 3 | wire_type)


def sized(data: bytes) -> bytes:
    """Data with its length in front."""
    return write_varint(len(data)) + data


def skip(data: bytes, position: int, field_tag: int) -> int:
    """Where the value of a field that nobody knows ends."""
    depth = 0
    while True:
        if field_tag >> 3 == 0:
            raise DecodeError(f"proto: illegal tag {field_tag >> 3} (wire type {field_tag & 7})")
        wire_type = field_tag & 7
        if wire_type == START_GROUP:
            depth += 1
            if depth > _GROUP_LIMIT:
                raise DecodeError("proto: nested too deeply")
        elif wire_type == END_GROUP:
            depth -= 1
            if depth < 0:
                raise DecodeError("proto: unexpected end of group")
        else:
            position = _skip_value(data, position, wire_type)
        if depth == 0:
            return position
        field_tag, position = read_varint(data, position)


def _skip_value(data: bytes, position: int, wire_type: int) -> int:
    if wire_type == VARINT:
        return read_varint(data, position)[1]
    if wire_type == BYTES:
        size, position = read_varint(data, position)
        position += size
    elif wire_type == FIXED64:
        position += 8
    elif wire_type == FIXED32:
        position += 4
    else:
        raise DecodeError(f"proto: illegal wireType {wire_type}")
    if position > len(data):
        raise truncated()
    return position


def small_message(data: bytes, start: int, end: int) -> dict[int, Any]:
    """Number → varint or bytes, for messages of a few scalars. The last of the same number wins."""
    found: dict[int, Any] = {}
    position = start
    while position < end:
        field_tag, position = read_varint(data, position)
        wire_type = field_tag & 7
        if wire_type == VARINT:
            found[field_tag >> 3], position = read_varint(data, position)
        elif wire_type == BYTES:
            size, position = read_varint(data, position)
            found[field_tag >> 3] = data[position : position + size]
            position += size
        else:
            position = skip(data, position, field_tag)
    if position != end:
        raise truncated()
    return found


def number_of(message: dict[int, Any], number: int) -> int:
    """A varint of a small message; 0 where there is none."""
    value = message.get(number, 0)
    if not isinstance(value, int):
        raise DecodeError(f"proto: wrong wireType = {BYTES} for field {number}")
    return value


def content_of(message: dict[int, Any], number: int) -> bytes:
    """A text or message inside a small message; empty where there is none."""
    value = message.get(number, b"")
    if not isinstance(value, bytes):
        raise DecodeError(f"proto: wrong wireType = {VARINT} for field {number}")
    return value
