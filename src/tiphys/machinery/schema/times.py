"""Times as Go reads them (`time.Parse`): the same texts are taken, and refused with the same words.

The result is the canonical form: UTC, whole seconds (metav1.Time) or six digits of a second (metav1.MicroTime).
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo

from tiphys.machinery.meta import format_micro_time, format_time
from tiphys.machinery.quoting import quote
from tiphys.machinery.schema.errors import DecodeError

_SECONDS_LAYOUT = "2006-01-02T15:04:05Z07:00"
_MICROS_LAYOUT = "2006-01-02T15:04:05.000000Z07:00"
_FRACTION = re.compile(r"[.,](\d+)", re.ASCII)
_MICROS = re.compile(r"[.,](\d{6})", re.ASCII)
_ZONE = re.compile(r"Z|([+-])(\d\d):(\d\d)", re.ASCII)
_NUMBER = re.compile(r"\d+", re.ASCII)
_ELEMENTS = (
    # What the layout calls it, how many digits, what stands before it, the first and the last value, its name.
    ("2006", 4, "", 0, 9999, "year"),
    ("01", 2, "-", 1, 12, "month"),
    ("02", 2, "-", 0, 99, "day"),
    ("15", 2, "T", 0, 23, "hour"),
    ("04", 2, ":", 0, 59, "minute"),
    ("05", 2, ":", 0, 59, "second"),
)


def canonical_time(text: str) -> str:
    """`2026-11-22T11:00:00.5+01:00` → `2026-11-22T10:00:00Z`. DecodeError when it is no time."""
    return format_time(_parse(text, _SECONDS_LAYOUT))


def canonical_micro_time(text: str) -> str:
    """`2026-11-22T11:00:00.500000+01:00` → `2026-11-22T10:00:00.500000Z`. DecodeError when it is no time."""
    return format_micro_time(_parse(text, _MICROS_LAYOUT))


def _parse(text: str, layout: str) -> datetime:
    numbers, rest = _read_elements(text, layout)
    fraction = (_MICROS if layout is _MICROS_LAYOUT else _FRACTION).match(rest)
    if fraction is not None:
        rest = rest[fraction.end() :]
    elif layout is _MICROS_LAYOUT:
        raise _cannot_parse(text, layout, rest, ".000000")
    zone = _ZONE.match(rest)
    if zone is None:
        raise _cannot_parse(text, layout, rest, "Z07:00")
    if rest[zone.end() :]:
        raise DecodeError(f"parsing time {quote(text)}: extra text: {quote(rest[zone.end() :])}")
    micros = int(fraction[1][:6].ljust(6, "0")) if fraction is not None else 0
    try:
        day = datetime(numbers[0], numbers[1], numbers[2])
    except ValueError:
        raise DecodeError(f"parsing time {quote(text)}: day out of range") from None
    moment = day + timedelta(hours=numbers[3], minutes=numbers[4], seconds=numbers[5], microseconds=micros)
    try:
        return moment.replace(tzinfo=_timezone(zone)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise DecodeError(f"parsing time {quote(text)}: time zone offset hour out of range") from None


def _read_elements(text: str, layout: str) -> tuple[list[int], str]:
    numbers: list[int] = []
    rest = text
    for element, width, before, first, last, name in _ELEMENTS:
        if not rest.startswith(before):
            raise _cannot_parse(text, layout, rest, before)
        rest = rest[len(before) :]
        digits = rest[:width]
        if len(digits) < width or _NUMBER.fullmatch(digits) is None:
            raise _cannot_parse(text, layout, rest, element)
        if not first <= int(digits) <= last:
            raise DecodeError(f"parsing time {quote(text)}: {name} out of range")
        numbers.append(int(digits))
        rest = rest[width:]
    return numbers, rest


def _cannot_parse(text: str, layout: str, rest: str, element: str) -> DecodeError:
    return DecodeError(
        f"parsing time {quote(text)} as {quote(layout)}: cannot parse {quote(rest)} as {quote(element)}"
    )


def _timezone(zone: re.Match[str]) -> tzinfo:
    if zone[0] == "Z":
        return UTC
    offset = timedelta(hours=int(zone[2]), minutes=int(zone[3]))
    return timezone(offset if zone[1] == "+" else -offset)
