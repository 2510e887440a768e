"""Events fold as client-go folds them, and never fail the caller."""

from datetime import timedelta

import pytest

from tiphys.client.client import Client
from tiphys.client.events import Correlator, EventRecorder, make_event
from tiphys.client.resources import EVENTS
from tiphys.machinery.errors import service_unavailable
from tiphys.testing.api import FakeAPI
from tiphys.testing.clock import START, FakeClock

POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "web", "namespace": "default", "uid": "u", "resourceVersion": "7"},
}


def event(message: str, now=START):  # type: ignore[no-untyped-def]
    return make_event(POD, "Normal", "Created", message, component="kubelet", host="n1", now=now)


def test_the_shape_is_core_v1_with_the_reporting_fields() -> None:
    made = event("Created container: web")
    assert made["metadata"] == {"name": f"web.{int(START.timestamp()) * 10**9:x}", "namespace": "default"}
    assert made["involvedObject"] == {
        "kind": "Pod",
        "namespace": "default",
        "name": "web",
        "uid": "u",
        "apiVersion": "v1",
        "resourceVersion": "7",
    }
    assert made["source"] == {"component": "kubelet", "host": "n1"}
    assert (made["reportingComponent"], made["reportingInstance"]) == ("kubelet", "n1")
    assert made["firstTimestamp"] == made["lastTimestamp"] == "2026-01-01T00:00:00Z"


def test_an_event_about_a_node_lives_in_default() -> None:
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}}
    made = make_event(node, "Normal", "NodeReady", "ready", component="kubelet", now=START)
    assert made["metadata"]["namespace"] == "default"
    assert "namespace" not in made["involvedObject"]


def test_the_same_event_again_counts() -> None:
    correlator = Correlator()
    first = correlator.correlate(event("a"), START)
    assert first is not None
    assert first.patch is None
    later = START + timedelta(seconds=90)
    second = correlator.correlate(event("a", later), later)
    assert second is not None
    assert second.patch == {"count": 2, "lastTimestamp": "2026-01-01T00:01:30Z", "message": "a"}
    assert second.event["metadata"] == first.event["metadata"]


def test_the_tenth_that_differs_only_in_its_message_is_combined() -> None:
    correlator = Correlator()
    messages = []
    for number in range(12):
        decided = correlator.correlate(event(f"message {number}"), START)
        assert decided is not None
        messages.append((decided.event["message"], decided.patch is not None))
    assert messages[8] == ("message 8", False)
    assert messages[9] == ("(combined from similar events): message 9", False)
    assert messages[10] == ("(combined from similar events): message 10", True)


def test_ten_quiet_minutes_end_the_combining() -> None:
    correlator = Correlator()
    for number in range(12):
        correlator.correlate(event(f"message {number}"), START)
    later = START + timedelta(seconds=601)
    decided = correlator.correlate(event("message 99", later), later)
    assert decided is not None
    assert decided.event["message"] == "message 99"


def test_an_object_gets_25_events_and_then_one_in_five_minutes() -> None:
    correlator = Correlator()
    passed = [correlator.correlate(event("a"), START) is not None for _ in range(30)]
    assert passed.count(True) == 25
    later = START + timedelta(seconds=300)
    assert correlator.correlate(event("a", later), later) is not None
    assert correlator.correlate(event("a", later), later) is None


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def api(clock: FakeClock) -> FakeAPI:
    return FakeAPI(clock=clock)


async def test_the_recorder_creates_then_patches(api: FakeAPI, clock: FakeClock) -> None:
    recorder = EventRecorder(Client(api), "kubelet", clock=clock)
    recorder.record(POD, "Warning", "BackOff", "Back-off restarting failed container")
    await clock.advance(30)
    recorder.record(POD, "Warning", "BackOff", "Back-off restarting failed container")
    await recorder.flush()
    (found,) = api.objects(EVENTS)
    assert (found["count"], found["lastTimestamp"]) == (2, "2026-01-01T00:00:30Z")
    await recorder.stop()


async def test_an_expired_event_is_made_anew(api: FakeAPI, clock: FakeClock) -> None:
    recorder = EventRecorder(Client(api), "kubelet", clock=clock)
    recorder.record(POD, "Normal", "Pulled", "pulled")
    await recorder.flush()
    await Client(api).delete(EVENTS, api.objects(EVENTS)[0]["metadata"]["name"], "default")
    await clock.advance(5)
    recorder.record(POD, "Normal", "Pulled", "pulled")
    await recorder.flush()
    (found,) = api.objects(EVENTS)
    assert found["count"] == 2
    await recorder.stop()


async def test_two_events_within_one_tick_have_two_names(api: FakeAPI, clock: FakeClock) -> None:
    recorder = EventRecorder(Client(api), "kubelet", clock=clock)
    recorder.record(POD, "Normal", "Created", "a")
    recorder.record(POD, "Normal", "Started", "b")
    await recorder.flush()
    assert len(api.objects(EVENTS)) == 2
    await recorder.stop()


async def test_two_components_may_tell_of_one_object_at_one_moment(api: FakeAPI, clock: FakeClock) -> None:
    for component in ("kubelet", "node-controller"):
        recorder = EventRecorder(Client(api), component, clock=clock)
        for _ in range(2):
            recorder.record(POD, "Normal", "Told", "told")
        await recorder.flush()
        await recorder.stop()
    assert sorted(found["source"]["component"] for found in api.objects(EVENTS)) == [
        "kubelet",
        "node-controller",
    ]
    assert [found["count"] for found in api.objects(EVENTS)] == [2, 2]


async def test_a_server_that_fails_costs_the_event_and_no_more(api: FakeAPI, clock: FakeClock) -> None:
    api.refuse(lambda method, path: method == "POST", service_unavailable("down"), once=True)
    recorder = EventRecorder(Client(api), "kubelet", clock=clock)
    recorder.record(POD, "Normal", "Created", "lost")
    recorder.record(POD, "Normal", "Started", "kept")
    await recorder.flush()
    assert [found["message"] for found in api.objects(EVENTS)] == ["kept"]
    await recorder.stop()
