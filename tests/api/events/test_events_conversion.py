"""Events of events.k8s.io and of core are one object."""

from tiphys.api.core.selectable import EVENT as CORE_FIELDS
from tiphys.api.events import conversion, defaults

SEEN = {
    "kind": "Event",
    "apiVersion": "events.k8s.io/v1",
    "metadata": {"name": "e", "namespace": "default"},
    "eventTime": "2026-11-22T10:00:00.000000Z",
    "reportingController": "example.com/tester",
    "reportingInstance": "t-1",
    "action": "Testing",
    "reason": "Tested",
    "regarding": {"kind": "Pod", "name": "p"},
    "note": "all is well",
    "type": "Normal",
    "series": {"count": 2, "lastObservedTime": "2026-11-22T10:00:01.000000Z"},
    "deprecatedSource": {"component": "old"},
    "deprecatedCount": 3,
}


def test_names_of_fields():
    core = conversion.to_core(SEEN)
    assert core["apiVersion"] == "v1"
    assert core["message"] == "all is well"
    assert core["involvedObject"] == {"kind": "Pod", "name": "p"}
    assert core["reportingComponent"] == "example.com/tester"
    assert core["source"] == {"component": "old"}
    assert core["count"] == 3
    assert core["series"] == SEEN["series"]


def test_there_and_back():
    assert conversion.from_core(conversion.to_core(SEEN)) == SEEN


def test_an_old_event_seen_as_a_new_one():
    core = {
        "kind": "Event",
        "apiVersion": "v1",
        "metadata": {"name": "e"},
        "involvedObject": {"kind": "Node", "name": "n"},
        "source": {"component": "kubelet", "host": "n"},
        "message": "m",
        "firstTimestamp": "2026-11-22T10:00:00Z",
        "lastTimestamp": "2026-11-22T10:00:00Z",
        "count": 1,
        "reportingComponent": "kubelet",
        "reportingInstance": "",
    }
    seen = conversion.from_core(core)
    assert seen["note"] == "m"
    assert seen["deprecatedFirstTimestamp"] == "2026-11-22T10:00:00Z"
    assert seen["reportingController"] == "kubelet"
    assert "reportingInstance" not in seen
    assert conversion.to_core(seen) == core


def test_what_is_always_shown():
    event = {"metadata": {"name": "e"}}
    defaults.event(event)
    assert event["regarding"] == {}
    assert event["deprecatedSource"] == {}


def test_selectors_have_the_names_of_this_group():
    fields = conversion.selectable_fields(CORE_FIELDS)
    assert {"regarding.name", "regarding.kind", "reportingController", "reason", "type"} <= fields.keys()
    assert "source" not in fields
    assert fields["regarding.name"](conversion.to_core(SEEN)) == "p"
