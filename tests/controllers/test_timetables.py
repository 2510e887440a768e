"""When schedules are due, with the clocks of time zones that leap and repeat."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiphys.api.batch.schedule import parse
from tiphys.controllers.jobs.timetable import Timetable
from tiphys.machinery.meta import format_time, parse_time

BERLIN = "Europe/Berlin"


def dues(text: str, start: str, count: int, zone: str = "UTC") -> list[str]:
    table, moment, found = Timetable(parse(text), ZoneInfo(zone)), parse_time(start), []
    for _ in range(count):
        following = table.after(moment)
        assert following is not None
        found.append(format_time(following))
        moment = following
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("*/15 * * * *", ["2026-01-01T00:15:00Z", "2026-01-01T00:30:00Z"]),
        ("0 0 * * *", ["2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z"]),
        ("30 6-16/4 * * 1-5", ["2026-01-01T06:30:00Z", "2026-01-01T10:30:00Z"]),
        ("0 12 13 * 5", ["2026-01-02T12:00:00Z", "2026-01-09T12:00:00Z"]),
        ("0 12 */13 * 5", ["2026-01-01T12:00:00Z", "2026-01-02T12:00:00Z"]),
        ("0 12 13 * *", ["2026-01-13T12:00:00Z", "2026-02-13T12:00:00Z"]),
        ("0 0 29 2 *", ["2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"]),
        ("@every 90s", ["2026-01-01T00:01:30Z", "2026-01-01T00:03:00Z"]),
    ],
)
def test_the_next_ones(text: str, expected: list[str]) -> None:
    assert dues(text, "2026-01-01T00:00:00Z", 2) == expected


def test_what_never_comes() -> None:
    table = Timetable(parse("59 23 31 2 *"), UTC)
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert table.after(now) is None
    with pytest.raises(ValueError, match="less than 1 second"):
        table.passed(now, now + timedelta(days=1))


def test_a_time_that_is_leapt_over_does_not_come_that_day() -> None:
    assert dues("30 2 * * *", "2026-03-28T12:00:00Z", 1, BERLIN) == ["2026-03-30T00:30:00Z"]
    assert dues("0 * * * *", "2026-03-29T00:30:00Z", 2, BERLIN) == [
        "2026-03-29T01:00:00Z",
        "2026-03-29T02:00:00Z",
    ]


def test_a_time_that_is_shown_twice_comes_twice() -> None:
    assert dues("30 2 * * *", "2026-10-24T12:00:00Z", 3, BERLIN) == [
        "2026-10-25T00:30:00Z",
        "2026-10-25T01:30:00Z",
        "2026-10-26T01:30:00Z",
    ]


fields = st.tuples(
    st.sampled_from(["*", "0", "*/7", "5,50", "59"]),
    st.sampled_from(["*", "2", "1-3", "*/5", "23"]),
    st.sampled_from(["*", "1", "29-31", "*/2"]),
    st.sampled_from(["*", "2", "3,10", "*/5"]),
    st.sampled_from(["*", "0", "mon-fri", "6"]),
)


@given(
    fields.map(" ".join),
    st.datetimes(datetime(2025, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC)),
    st.sampled_from(["UTC", BERLIN, "America/St_Johns", "Australia/Lord_Howe", "America/Sao_Paulo"]),
)
def test_between_now_and_the_next_one_there_is_none(text: str, moment: datetime, zone: str) -> None:
    schedule, local_zone = parse(text), ZoneInfo(zone)

    def is_due(minute: datetime) -> bool:
        wall = minute.astimezone(local_zone)
        days = wall.day in schedule.days, wall.isoweekday() % 7 in schedule.weekdays
        is_day = all(days) if schedule.any_day or schedule.any_weekday else any(days)
        is_month = wall.month in schedule.months
        return is_day and is_month and wall.hour in schedule.hours and wall.minute in schedule.minutes

    following = Timetable(schedule, local_zone).after(moment)
    assert following is None or is_due(following)
    assert following is None or following.second == following.microsecond == 0
    minute = moment.replace(second=0, microsecond=0) + timedelta(minutes=1)
    for _ in range(1500):
        assert following is not None or not is_due(minute)
        if minute == following:
            break
        assert not is_due(minute)
        minute += timedelta(minutes=1)


@given(fields.map(" ".join), st.integers(0, 500_000))
def test_what_has_passed_is_the_last_one_up_to_now(text: str, minutes: int) -> None:
    table = Timetable(parse(text), ZoneInfo(BERLIN))
    since = datetime(2025, 6, 1, tzinfo=UTC)
    now = since + timedelta(minutes=minutes)
    try:
        last = table.passed(since, now).last
    except ValueError:
        assert table.after(since) is None
        return
    if last is None:
        following = table.after(since)
        assert following is not None
        assert following > now
        return
    assert since < last <= now
    following = table.after(last)
    assert following is None or following > now
