"""What `kubectl get` prints for durations, labels and kinds without columns."""

from datetime import UTC, datetime

import pytest

from tiphys.api.columns import (
    DEFAULT_TABLE,
    age,
    format_label_selector,
    format_labels,
    human_duration,
    list_with_more,
)

NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
MINUTE, HOUR, DAY, YEAR = 60, 3600, 86400, 365 * 86400


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-2, "<invalid>"),
        (-1, "0s"),
        (-0.9, "0s"),
        (0, "0s"),
        (1.9, "1s"),
        (70, "70s"),
        (119, "119s"),
        (2 * MINUTE, "2m"),
        (3 * MINUTE + 30, "3m30s"),
        (10 * MINUTE + 59, "10m"),
        (179 * MINUTE, "179m"),
        (3 * HOUR, "3h"),
        (7 * HOUR + 59 * MINUTE, "7h59m"),
        (8 * HOUR + 59 * MINUTE, "8h"),
        (47 * HOUR + 59 * MINUTE, "47h"),
        (2 * DAY, "2d"),
        (2 * DAY + 5 * HOUR, "2d5h"),
        (8 * DAY, "8d"),
        (8 * DAY + 5 * HOUR, "8d"),
        (2 * YEAR - HOUR, "729d"),
        (2 * YEAR, "2y"),
        (2 * YEAR + 3 * DAY, "2y3d"),
        (8 * YEAR, "8y"),
        (9 * YEAR + 5 * DAY, "9y"),
    ],
)
def test_human_duration(seconds, text):
    assert human_duration(seconds) == text


def test_an_object_without_a_time_has_an_unknown_age():
    assert age({"metadata": {}}, NOW) == "<unknown>"
    assert age({"metadata": {"creationTimestamp": "2026-11-22T11:59:30Z"}}, NOW) == "30s"


def test_labels_and_selectors():
    assert format_labels({}) == "<none>"
    assert format_labels({"b": "2", "a": "1"}) == "a=1,b=2"
    assert format_label_selector(None) == "<none>"
    assert format_label_selector({"matchExpressions": [{"key": "a", "operator": "Exists"}]}) == "a"
    assert format_label_selector({"matchExpressions": [{"key": "a", "operator": "?"}]}) == "<error>"


def test_long_lists_are_cut():
    assert list_with_more("abc") == "a,b,c"
    assert list_with_more("abcde") == "a,b,c + 2 more..."


def test_the_default_table_prints_a_time():
    assert [(column.name, column.format) for column in DEFAULT_TABLE.columns] == [
        ("Name", "name"),
        ("Created At", "date"),
    ]
    obj = {"metadata": {"name": "x", "creationTimestamp": "2026-11-22T11:59:30Z"}}
    assert DEFAULT_TABLE.cells(obj, NOW) == ["x", "2026-11-22T11:59:30Z"]
