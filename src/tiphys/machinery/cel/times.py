"""Timestamps (RFC 3339) and durations (`1h30m`), to the nanosecond, as text and in parts.

Rules: langdef.md "Timestamps and durations", Go's `time.ParseDuration` and `time.RFC3339Nano`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from functools import lru_cache

from tiphys.machinery.cel.errors import CelRuntimeError
from tiphys.machinery.cel.values import (
    INT_MAX,
    INT_MIN,
    SECOND,
    TIMESTAMP_MAX,
    TIMESTAMP_MIN,
    Duration,
    Timestamp,
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_timestamp = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:[.,](\d+))?(Z|[+-]\d\d:\d\d)", re.ASCII
).fullmatch
_part = re.compile(r"(\d*)(?:\.(\d*))?([^\d.]*)", re.ASCII)
_UNITS = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "μs": 10**3,
    "ms": 10**6,
    "s": SECOND,
    "m": 60 * SECOND,
    "h": 3600 * SECOND,
}


def timestamp(nanos: int) -> Timestamp:
    if not TIMESTAMP_MIN <= nanos <= TIMESTAMP_MAX:
        raise CelRuntimeError("timestamp overflow")
    return Timestamp(nanos)


def duration(nanos: int) -> Duration:
    if not INT_MIN <= nanos <= INT_MAX:
        raise CelRuntimeError("duration overflow")
    return Duration(nanos)


def parse_timestamp(text: str) -> Timestamp:
    """ValueError when the text is no RFC 3339 time of the years 1 to 9999."""
    found = _timestamp(text)
    if found is None:
        raise ValueError("not an RFC 3339 time")
    *fields, fraction, zone = found.groups()
    local = datetime(*map(int, fields), tzinfo=UTC)  # type: ignore[misc, arg-type]
    whole = (local - _EPOCH) // timedelta(seconds=1)
    nanos = int((fraction or "").ljust(9, "0")[:9])
    moment = (whole - _offset_seconds(zone)) * SECOND + nanos
    if not TIMESTAMP_MIN <= moment <= TIMESTAMP_MAX:
        raise ValueError("out of range")
    return Timestamp(moment)


def _offset_seconds(zone: str) -> int:
    if zone == "Z":
        return 0
    hours, minutes = int(zone[1:3]), int(zone[4:6])
    if hours > 23 or minutes > 59:
        raise ValueError("not an offset")
    return (-1 if zone[0] == "-" else 1) * (hours * 3600 + minutes * 60)


def parse_duration(text: str) -> Duration:
    """ValueError when the text is no duration as Go reads it: `1h15m30.918s`, `-5ms`, `0`."""
    rest = text[1:] if text[:1] in ("+", "-") else text
    if rest == "0":
        return Duration(0)
    if not rest or len(rest) > 200:
        raise ValueError("invalid duration")
    nanos, position = 0, 0
    while position < len(rest):
        found = _part.match(rest, position)
        if found is None or found[3] not in _UNITS or not (found[1] or found[2]):
            raise ValueError("invalid duration")
        nanos += _part_nanos(found[1], found[2] or "", _UNITS[found[3]])
        position = found.end()
    nanos = -nanos if text[0] == "-" else nanos
    if not INT_MIN <= nanos <= INT_MAX:
        raise ValueError("invalid duration")
    return Duration(nanos)


def _part_nanos(whole: str, fraction: str, unit: int) -> int:
    scale: int = 10 ** len(fraction)
    return int(whole or 0) * unit + int(fraction or 0) * unit // scale


def timestamp_text(value: Timestamp) -> str:
    seconds, nanos = divmod(value.nanos, SECOND)
    moment = _EPOCH + timedelta(seconds=seconds)
    fraction = f".{nanos:09d}".rstrip("0") if nanos else ""
    return f"{moment:%Y-%m-%dT%H:%M:%S}".rjust(19, "0") + f"{fraction}Z"


def duration_text(value: Duration) -> str:
    seconds = value.nanos // SECOND if value.nanos >= 0 else -(-value.nanos // SECOND)
    inexact = seconds + (value.nanos - seconds * SECOND) / 1e9
    text = format(Decimal(repr(inexact)), "f")
    return (text.rstrip("0").rstrip(".") if "." in text else text) + "s"


def local_time(value: Timestamp, zone: str) -> datetime:
    """The time on the clocks of a zone: `America/New_York`, `-08:00`, or UTC for the empty name."""
    moment = _EPOCH + timedelta(seconds=value.nanos // SECOND)
    try:
        return moment.astimezone(_zone(zone))
    except OverflowError:
        raise CelRuntimeError("timestamp overflow") from None


@lru_cache(maxsize=256)
def _zone(name: str) -> tzinfo:
    from zoneinfo import ZoneInfo

    if name in ("", "UTC"):
        return UTC
    found = re.fullmatch(r"([+-]?)(\d\d):(\d\d)", name, re.ASCII)
    if found:
        hours, minutes = int(found[2]), int(found[3])
        if hours > 23 or minutes > 59:
            raise CelRuntimeError(f"unknown time zone {name}")
        offset = timedelta(hours=hours, minutes=minutes)
        return timezone(-offset if found[1] == "-" else offset)
    try:
        return ZoneInfo(name)
    except (ValueError, OSError):  # ZoneInfoNotFoundError is a KeyError in name only
        raise CelRuntimeError(f"unknown time zone {name}") from None
    except KeyError:
        raise CelRuntimeError(f"unknown time zone {name}") from None


def _field(read: Callable[[datetime], int]) -> Callable[..., int]:
    return lambda value, zone="UTC": read(local_time(value, zone))


full_year = _field(lambda local: local.year)
month = _field(lambda local: local.month - 1)
day_of_year = _field(lambda local: local.timetuple().tm_yday - 1)
day_of_month = _field(lambda local: local.day - 1)
date = _field(lambda local: local.day)
day_of_week = _field(lambda local: local.isoweekday() % 7)
hours = _field(lambda local: local.hour)
minutes = _field(lambda local: local.minute)
seconds = _field(lambda local: local.second)


def milliseconds(value: Timestamp, zone: str = "UTC") -> int:
    local_time(value, zone)
    return value.nanos % SECOND // 10**6


def duration_in(value: Duration, unit: int) -> int:
    """So many whole units (of nanoseconds), towards zero."""
    whole = abs(value.nanos) // unit
    return whole if value.nanos >= 0 else -whole
