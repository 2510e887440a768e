"""Scalars that protobuf writes as bytes or as a small message, and JSON as a string.

A reader gets (data, start, end) and gives the JSON value, or None for nothing; a writer gives the bytes of the field
without tag and length. The messages are those of apimachinery: Quantity, Time, MicroTime, IntOrString, RawExtension, FieldsV1, JSON.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

import orjson

from tiphys.machinery import quantity
from tiphys.machinery.meta import format_micro_time, format_time, parse_time
from tiphys.machinery.protobuf.wire import (
    BYTES,
    VARINT,
    content_of,
    number_of,
    signed32,
    signed64,
    sized,
    small_message,
    tag,
    write_varint,
)
from tiphys.machinery.schema.errors import DecodeError
from tiphys.machinery.schema.model import ScalarKind

Reader = Callable[[bytes, int, int], Any]
Writer = Callable[[Any], bytes]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ZERO_SECONDS = -62135596800
"""Go's zero time, the first of January of the year 1: it means no time."""


def _read_string(data: bytes, start: int, end: int) -> str:
    return data[start:end].decode()


def _read_bytes(data: bytes, start: int, end: int) -> str:
    return base64.b64encode(data[start:end]).decode()


def _read_quantity(data: bytes, start: int, end: int) -> str:
    return _quantity(data[start:end])


# Objects repeat the same few amounts and times again and again.
@lru_cache(maxsize=1024)
def _quantity(data: bytes) -> str:
    message = small_message(data, 0, len(data))
    return quantity.canonical(content_of(message, 1).decode()) if 1 in message else "0"


def _read_time(data: bytes, start: int, end: int) -> str | None:
    return _time(data[start:end])


def _read_micro_time(data: bytes, start: int, end: int) -> str | None:
    moment = _moment(data[start:end])
    return format_micro_time(moment) if moment is not None else None


@lru_cache(maxsize=1024)
def _time(data: bytes) -> str | None:
    moment = _moment(data)
    return format_time(moment) if moment is not None else None


def _moment(data: bytes) -> datetime | None:
    if not data:
        return None
    message = small_message(data, 0, len(data))
    seconds, nanos = signed64(number_of(message, 1)), signed32(number_of(message, 2))
    if seconds == _ZERO_SECONDS and nanos == 0:
        return None
    return _EPOCH + timedelta(seconds=seconds, microseconds=nanos // 1000)


def _read_int_or_string(data: bytes, start: int, end: int) -> int | str:
    message = small_message(data, start, end)
    kind = number_of(message, 1)
    if kind == 1:
        return content_of(message, 3).decode()
    if kind:
        raise DecodeError("impossible IntOrString.Type")
    return signed32(number_of(message, 2))


def _read_embedded(data: bytes, start: int, end: int) -> Any:
    """JSON inside a message whose only field it is."""
    raw = content_of(small_message(data, start, end), 1)
    return orjson.loads(raw) if raw else None


def _write_string(value: Any) -> bytes:
    return str(value).encode()


def _write_bytes(value: Any) -> bytes:
    return base64.b64decode(value)


def _write_quantity(value: Any) -> bytes:
    return tag(1, BYTES) + sized(str(value).encode())


def _write_time(value: Any) -> bytes:
    moment = parse_time(value)
    seconds, rest = divmod(moment - _EPOCH, timedelta(seconds=1))
    nanos = rest // timedelta(microseconds=1) * 1000
    return tag(1, VARINT) + write_varint(seconds) + tag(2, VARINT) + write_varint(nanos)


def _write_int_or_string(value: Any) -> bytes:
    if isinstance(value, str):
        return tag(1, VARINT) + b"\x01" + tag(3, BYTES) + sized(value.encode())
    return tag(1, VARINT) + b"\x00" + tag(2, VARINT) + write_varint(value)


def _write_embedded(value: Any) -> bytes:
    return tag(1, BYTES) + sized(orjson.dumps(value))


READERS: dict[ScalarKind, Reader] = {
    ScalarKind.STRING: _read_string,
    ScalarKind.BYTES: _read_bytes,
    ScalarKind.QUANTITY: _read_quantity,
    ScalarKind.TIME: _read_time,
    ScalarKind.MICROTIME: _read_micro_time,
    ScalarKind.INT_OR_STRING: _read_int_or_string,
    ScalarKind.RAW: _read_embedded,
    ScalarKind.JSON: _read_embedded,
    ScalarKind.FIELDS: _read_embedded,
}
WRITERS: dict[ScalarKind, Writer] = {
    ScalarKind.STRING: _write_string,
    ScalarKind.BYTES: _write_bytes,
    ScalarKind.QUANTITY: _write_quantity,
    ScalarKind.TIME: _write_time,
    ScalarKind.MICROTIME: _write_time,
    ScalarKind.INT_OR_STRING: _write_int_or_string,
    ScalarKind.RAW: _write_embedded,
    ScalarKind.JSON: _write_embedded,
    ScalarKind.FIELDS: _write_embedded,
}
