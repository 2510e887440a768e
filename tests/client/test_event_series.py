"""Events of the newer form: repeated ones become a series, which is written at its second and at its end."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tiphys.api.core.validation.objects import event as problems
from tiphys.client.client import Client
from tiphys.client.event_series import SeriesCorrelator, SeriesRecorder, make_reported_event, shortened
from tiphys.client.resources import EVENTS
from tiphys.machinery.errors import service_unavailable
from tiphys.testing.api import FakeAPI
from tiphys.testing.clock import START, FakeClock

POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "web", "namespace": "default", "uid": "u", "resourceVersion": "7"},
}
CHANGED = {**POD, "metadata": {**POD["metadata"], "resourceVersion": "8"}}  # type: ignore[dict-item]


def failed(pod=POD, now=START, note="0/1 nodes are available"):  # type: ignore[no-untyped-def]
    return make_reported_event(
        pod,
        "Warning",
        "FailedScheduling",
        note,
        action="Scheduling",
        controller="default-scheduler",
        now=now,
    )


def test_the_shape_is_that_of_the_newer_form() -> None:
    made = failed()
    assert made["eventTime"] == "2026-01-01T00:00:00.000000Z"
    assert (made["firstTimestamp"], made["lastTimestamp"], made["source"]) == (None, None, {})
    assert "count" not in made
    instant = int(START.timestamp()) * 10**9
    assert instant < int(made["metadata"]["name"].removeprefix("web."), 16) < instant + 1000
    assert (made["action"], made["reportingComponent"]) == ("Scheduling", "default-scheduler")
    assert made["reportingInstance"].startswith("default-scheduler-")
    assert problems(made, None) == []


def test_a_long_note_is_cut_where_the_server_would_refuse_it() -> None:
    cut = shortened("ü" * 2000)
    assert len(cut.encode()) <= 1024
    assert cut.endswith("ü ...")
    assert shortened("x" * 1024) == "x" * 1024


def test_again_is_a_series_and_once_more_is_written_later() -> None:
    correlator = SeriesCorrelator()
    assert correlator.observe(failed(), START) == failed()
    second = correlator.observe(failed(note="other words"), START + timedelta(seconds=5))
    assert second is not None
    assert second["metadata"] == failed()["metadata"]
    assert second["series"] == {"count": 2, "lastObservedTime": "2026-01-01T00:00:05.000000Z"}
    assert correlator.observe(failed(), START + timedelta(seconds=9)) is None
    assert correlator.due(START + timedelta(minutes=6)) == []
    (ended,) = correlator.due(START + timedelta(minutes=6, seconds=10))
    assert ended["series"] == {"count": 3, "lastObservedTime": "2026-01-01T00:00:09.000000Z"}
    later = START + timedelta(minutes=7)
    assert "series" not in (correlator.observe(failed(now=later), later) or {"series": ""})


def test_a_changed_object_starts_anew() -> None:
    correlator = SeriesCorrelator()
    correlator.observe(failed(), START)
    assert correlator.observe(failed(CHANGED), START) == failed(CHANGED)


def test_a_series_that_goes_on_is_refreshed_before_it_expires() -> None:
    correlator = SeriesCorrelator()
    written = 0
    for minute in range(61):
        now = START + timedelta(minutes=minute)
        correlator.observe(failed(now=now), now)
        written += len(correlator.due(now))
    assert written == 2


def test_what_happened_once_is_forgotten() -> None:
    correlator = SeriesCorrelator()
    correlator.observe(failed(), START)
    later = START + timedelta(minutes=7)
    assert correlator.due(later) == []
    assert "series" not in (correlator.observe(failed(now=later), later) or {"series": ""})


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def api(clock: FakeClock) -> FakeAPI:
    return FakeAPI(clock=clock)


def record(recorder: SeriesRecorder) -> None:
    recorder.record(POD, "Warning", "FailedScheduling", "none fits", action="Scheduling")


async def test_the_recorder_creates_then_patches_then_finishes(api: FakeAPI, clock: FakeClock) -> None:
    recorder = SeriesRecorder(Client(api), "default-scheduler", clock=clock)
    for _ in range(3):
        record(recorder)
        await recorder.flush()
    (found,) = api.objects(EVENTS)
    assert found["series"]["count"] == 2
    await clock.advance(13 * 60)
    await recorder.flush()
    (found,) = api.objects(EVENTS)
    assert found["series"]["count"] == 3
    await recorder.stop()


async def test_a_series_whose_event_has_expired_is_made_anew(api: FakeAPI, clock: FakeClock) -> None:
    recorder = SeriesRecorder(Client(api), "default-scheduler", clock=clock)
    record(recorder)
    await recorder.flush()
    await Client(api).delete(EVENTS, api.objects(EVENTS)[0]["metadata"]["name"], "default")
    record(recorder)
    await recorder.flush()
    (found,) = api.objects(EVENTS)
    assert found["series"]["count"] == 2
    await recorder.stop()


async def test_a_server_that_fails_costs_the_event_and_no_more(api: FakeAPI, clock: FakeClock) -> None:
    api.refuse(lambda method, path: method == "POST", service_unavailable("down"), once=True)
    recorder = SeriesRecorder(Client(api), "default-scheduler", clock=clock)
    record(recorder)
    recorder.record(POD, "Normal", "Scheduled", "kept", action="Binding")
    await recorder.flush()
    assert [found["message"] for found in api.objects(EVENTS)] == ["kept"]
    await recorder.stop()
