"""Times as Go takes and refuses them; the messages are those of `time.Parse`."""

import pytest

from tiphys.machinery.schema.errors import DecodeError
from tiphys.machinery.schema.times import canonical_micro_time, canonical_time

SECONDS = '"2006-01-02T15:04:05Z07:00"'
MICROS = '"2006-01-02T15:04:05.000000Z07:00"'


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("2026-11-22T10:00:00Z", "2026-11-22T10:00:00Z"),
        ("2026-11-22T11:00:00+01:00", "2026-11-22T10:00:00Z"),
        ("2026-11-22T00:00:00-11:30", "2026-11-22T11:30:00Z"),
        ("2026-11-22T10:00:00.999999999Z", "2026-11-22T10:00:00Z"),
        ("2024-02-29T10:00:00,5Z", "2024-02-29T10:00:00Z"),
    ],
)
def test_seconds(text: str, canonical: str) -> None:
    assert canonical_time(text) == canonical


def test_microseconds_are_kept() -> None:
    assert canonical_micro_time("2026-11-22T11:00:00.123456+01:00") == "2026-11-22T10:00:00.123456Z"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", f'parsing time "" as {SECONDS}: cannot parse "" as "2006"'),
        ("yesterday", f'parsing time "yesterday" as {SECONDS}: cannot parse "yesterday" as "2006"'),
        ("2026", f'parsing time "2026" as {SECONDS}: cannot parse "" as "-"'),
        ("2026-11-22", f'parsing time "2026-11-22" as {SECONDS}: cannot parse "" as "T"'),
        ("2026-1-22T", f'parsing time "2026-1-22T" as {SECONDS}: cannot parse "1-22T" as "01"'),
        ("2026-13-22T10:00:00Z", 'parsing time "2026-13-22T10:00:00Z": month out of range'),
        ("2026-02-30T10:00:00Z", 'parsing time "2026-02-30T10:00:00Z": day out of range'),
        ("2026-02-20T24:00:00Z", 'parsing time "2026-02-20T24:00:00Z": hour out of range'),
        (
            "2026-02-20T10:00:00",
            f'parsing time "2026-02-20T10:00:00" as {SECONDS}: cannot parse "" as "Z07:00"',
        ),
        ("2026-02-20T10:00:00Z!", 'parsing time "2026-02-20T10:00:00Z!": extra text: "!"'),
    ],
)
def test_what_is_no_time(text: str, message: str) -> None:
    with pytest.raises(DecodeError) as caught:
        canonical_time(text)
    assert str(caught.value) == message


def test_microseconds_are_a_must_where_they_are_the_form() -> None:
    with pytest.raises(DecodeError) as caught:
        canonical_micro_time("2026-02-20T10:00:00Z")
    assert str(caught.value) == (
        f'parsing time "2026-02-20T10:00:00Z" as {MICROS}: cannot parse "Z" as ".000000"'
    )


@pytest.mark.parametrize(
    "text", ["0001-01-01T00:00:00+10:00", "0000-01-01T00:00:00Z", "2026-01-01T00:00:00+99:99"]
)
def test_times_beyond_the_calendar_are_errors(text: str) -> None:
    with pytest.raises(DecodeError):
        canonical_time(text)
