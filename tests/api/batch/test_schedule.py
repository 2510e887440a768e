"""Schedules of cron jobs: what they mean, and what is wrong with those that mean nothing."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiphys.api.batch.schedule import parse


def test_five_fields():
    schedule = parse("*/15 0,12 1-3 jan-mar,12 MON-FRI")
    assert schedule.minutes == {0, 15, 30, 45}
    assert schedule.hours == {0, 12}
    assert schedule.days == {1, 2, 3}
    assert schedule.months == {1, 2, 3, 12}
    assert schedule.weekdays == {1, 2, 3, 4, 5}
    assert (schedule.any_day, schedule.any_weekday) == (False, False)


def test_stars():
    schedule = parse("5/20 * * ? *")
    assert schedule.minutes == {5, 25, 45}
    assert schedule.hours == set(range(24))
    assert schedule.months == set(range(1, 13))
    assert schedule.any_day
    assert schedule.any_weekday
    assert not parse("0 0 */2 * *").any_day, "a star with a step is a choice"


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("@hourly", "0 * * * *"),
        ("@daily", "0 0 * * *"),
        ("@midnight", "0 0 * * *"),
        ("@weekly", "0 0 * * 0"),
        ("@monthly", "0 0 1 * *"),
        ("@yearly", "0 0 1 1 *"),
        ("@annually", "0 0 1 1 *"),
    ],
)
def test_descriptors(text, same):
    assert parse(text) == parse(same)


def test_intervals():
    assert parse("@every 1h30m").interval == timedelta(minutes=90)
    assert parse("@every 10ms").interval == timedelta(seconds=1)


def test_a_zone_in_front():
    schedule = parse("CRON_TZ=Europe/Berlin 0 6 * * *")
    assert schedule.time_zone == "Europe/Berlin"
    assert schedule.hours == {6}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty spec string"),
        ("* * * *", "expected exactly 5 fields, found 4: [* * * *]"),
        ("@often", "unrecognized descriptor: @often"),
        ("@every soon", "failed to parse duration @every soon"),
        ("60 * * * *", "end of range (60) above maximum (59): 60"),
        ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
        ("5-3 * * * *", "beginning of range (5) beyond end of range (3): 5-3"),
        ("*/0 * * * *", "step of range should be a positive number: */0"),
        ("1-2-3 * * * *", "too many hyphens: 1-2-3"),
        ("1/2/3 * * * *", "too many slashes: 1/2/3"),
        ("x * * * *", 'failed to parse int from x: strconv.Atoi: parsing "x": invalid syntax'),
        ("* * * * 7", "end of range (7) above maximum (6): 7"),
    ],
)
def test_what_is_wrong(text, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        parse(text)
    assert str(error.value) == message


@given(st.text(alphabet="0123456789*/-,? @MONjan", max_size=30))
def test_any_text_is_read_or_refused(text):
    try:
        schedule = parse(text)
    except ValueError:
        return
    assert schedule.interval or (schedule.minutes and schedule.hours and schedule.days)
    assert schedule.minutes <= set(range(60))
    assert schedule.months <= set(range(1, 13))
