"""Events of events.k8s.io must say who saw what; and what was seen stays."""

import pytest

KIND = "events.k8s.io/v1 Event"
GOOD = {
    "eventTime": "2026-11-22T10:00:00.000000Z",
    "reportingController": "example.com/tester",
    "reportingInstance": "t-1",
    "action": "Testing",
    "reason": "Tested",
    "type": "Normal",
    "regarding": {"kind": "Pod", "name": "p", "namespace": "default"},
}


@pytest.mark.parametrize(
    ("change", "messages"),
    [
        ({}, []),
        ({"type": "Loud"}, ['type: Invalid value: "": has invalid value: Loud']),
        ({"deprecatedCount": 1}, ['count: Invalid value: "": needs to be unset']),
        ({"action": ""}, ["action: Required value"]),
        ({"eventTime": None}, ["eventTime: Required value"]),
        (
            {"series": {"count": 1}},
            [
                'series.count: Invalid value: "": should be at least 2',
                "series.lastObservedTime: Required value",
            ],
        ),
    ],
)
def test_new_events(refusals, change, messages):
    assert refusals(KIND, {**GOOD, **change}) == messages


def test_only_the_series_goes_on(refusals):
    series = {"count": 2, "lastObservedTime": "2026-11-22T10:00:01.000000Z"}
    assert refusals(KIND, {**GOOD, "series": series}, old=GOOD) == []
    assert refusals(KIND, {**GOOD, "note": "other"}, old=GOOD) == [
        'message: Invalid value: "other": field is immutable'
    ]
