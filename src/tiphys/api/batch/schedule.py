"""The schedule of a cron job: five fields, or a descriptor such as @daily, as github.com/robfig/cron/v3 reads them.

Upstream validates with that library and shows its messages, so they are the same here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta

from tiphys.machinery.frozen import frozen

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_DESCRIPTORS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_ZONES = ("TZ=", "CRON_TZ=")
_UNIT_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_DURATION_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(h|ms|us|µs|ns|m|s)")


@frozen
class Bounds:
    low: int
    high: int
    names: Mapping[str, int]


_FIELDS = (
    Bounds(0, 59, {}),
    Bounds(0, 23, {}),
    Bounds(1, 31, {}),
    Bounds(1, 12, {name: number for number, name in enumerate(_MONTHS, 1)}),
    Bounds(0, 6, {name: number for number, name in enumerate(_DAYS)}),
)


@frozen
class Schedule:
    """When something is due: sets of numbers, or every so often (`interval`; then the sets are empty).

    A day must fit `days` and `weekdays`; when neither was written as `*`, one of them is enough.
    """

    minutes: frozenset[int] = frozenset()
    hours: frozenset[int] = frozenset()
    days: frozenset[int] = frozenset()
    months: frozenset[int] = frozenset()
    weekdays: frozenset[int] = frozenset()
    any_day: bool = False
    any_weekday: bool = False
    interval: timedelta | None = None
    time_zone: str = ""
    """From a `TZ=` in front; the timeZone of a CronJob is a field of its own."""


def parse(text: str) -> Schedule:
    """Reads a schedule; ValueError says what is wrong, in the library's words."""
    if not text:
        raise ValueError("empty spec string")
    zone = ""
    if text.startswith(_ZONES):
        zone, _, text = text.partition(" ")
        zone, text = zone.partition("=")[2], text.strip()
    if text.startswith("@"):
        return _descriptor(text, zone)
    return _five_fields(text, zone)


def _descriptor(text: str, zone: str) -> Schedule:
    if text in _DESCRIPTORS:
        return _five_fields(_DESCRIPTORS[text], zone)
    if text.startswith("@every "):
        interval = _duration(text.removeprefix("@every "))
        if interval is None:
            raise ValueError(f"failed to parse duration {text}")
        return Schedule(interval=interval, time_zone=zone)
    raise ValueError(f"unrecognized descriptor: {text}")


def _duration(text: str) -> timedelta | None:
    """Go's `1h30m`, at least a second, in whole seconds."""
    parts = _DURATION_PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return None
    seconds = sum(float(number) * _UNIT_SECONDS[unit] for number, unit in parts)
    return timedelta(seconds=max(1, int(seconds)))


def _five_fields(text: str, zone: str) -> Schedule:
    fields = text.split()
    if len(fields) != len(_FIELDS):
        shown = " ".join(fields)
        raise ValueError(f"expected exactly 5 fields, found {len(fields)}: [{shown}]")
    sets = [_field(field, bounds) for field, bounds in zip(fields, _FIELDS, strict=True)]
    (minutes, _), (hours, _), (days, any_day), (months, _), (weekdays, any_weekday) = sets
    return Schedule(minutes, hours, days, months, weekdays, any_day, any_weekday, None, zone)


def _field(text: str, bounds: Bounds) -> tuple[frozenset[int], bool]:
    numbers: set[int] = set()
    star = False
    for part in filter(None, text.split(",")):
        found, is_star = _range(part, bounds)
        numbers |= found
        star = star or is_star
    return frozenset(numbers), star


def _range(text: str, bounds: Bounds) -> tuple[set[int], bool]:
    """`number | number "-" number [ "/" number ]`, where `*` and `?` are all of them."""
    span, *steps = text.split("/")
    ends = span.split("-")
    star = ends[0] in ("*", "?")
    if star:
        first, last = bounds.low, bounds.high
    else:
        first = last = _number(ends[0], bounds.names)
        if len(ends) == 2:
            last = _number(ends[1], bounds.names)
        elif len(ends) > 2:
            raise ValueError(f"too many hyphens: {text}")
    if len(steps) > 1:
        raise ValueError(f"too many slashes: {text}")
    step = 1
    if steps:
        step = _integer(steps[0])
        if not star and len(ends) == 1:  # "5/15" goes on to the end
            last = bounds.high
    _check(first, last, step, bounds, text)
    return set(range(first, last + 1, step)), star and step == 1


def _check(first: int, last: int, step: int, bounds: Bounds, text: str) -> None:
    if first < bounds.low:
        raise ValueError(f"beginning of range ({first}) below minimum ({bounds.low}): {text}")
    if last > bounds.high:
        raise ValueError(f"end of range ({last}) above maximum ({bounds.high}): {text}")
    if first > last:
        raise ValueError(f"beginning of range ({first}) beyond end of range ({last}): {text}")
    if step == 0:
        raise ValueError(f"step of range should be a positive number: {text}")


def _number(text: str, names: Mapping[str, int]) -> int:
    named = names.get(text.lower())
    return _integer(text) if named is None else named


def _integer(text: str) -> int:
    try:
        number = int(text) if text.isascii() and re.fullmatch(r"[+-]?\d+", text) else None
    except ValueError:
        number = None
    if number is None:
        raise ValueError(f'failed to parse int from {text}: strconv.Atoi: parsing "{text}": invalid syntax')
    if number < 0:
        raise ValueError(f"negative number ({number}) not allowed: {text}")
    return number
