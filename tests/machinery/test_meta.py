"""Metadata, conditions, times and template hashes."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiphys.machinery import meta

NOW = datetime(2026, 11, 22, 10, 0, 0, 123456, tzinfo=UTC)
LATER = NOW + timedelta(minutes=5)


def test_an_object_without_metadata_has_empty_answers() -> None:
    obj: dict[str, Any] = {"metadata": None}
    assert (meta.name(obj), meta.namespace(obj), meta.uid(obj), meta.resource_version(obj)) == (
        "",
        "",
        "",
        "",
    )
    assert dict(meta.labels(obj)) == dict(meta.annotations(obj)) == {}
    assert list(meta.finalizers(obj)) == list(meta.owner_references(obj)) == list(meta.conditions(obj)) == []
    assert meta.controller_of(obj) is None
    assert not meta.is_deleting(obj)
    assert meta.creation_time(obj) is meta.deletion_time(obj) is None
    assert meta.generation(obj) == 0


def test_keys() -> None:
    assert meta.namespaced_name({"metadata": {"name": "a", "namespace": "b"}}) == "b/a"
    assert meta.namespaced_name({"metadata": {"name": "a"}}) == "a"


def test_the_controller_among_the_owners() -> None:
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "web", "uid": "u1"}}
    pod = {"metadata": {"ownerReferences": [{"uid": "u0"}, meta.controller_reference(owner)]}}
    reference = meta.controller_of(pod)
    assert reference == {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "name": "web",
        "uid": "u1",
        "controller": True,
        "blockOwnerDeletion": True,
    }
    assert meta.is_controlled_by(pod, owner)
    assert not meta.is_controlled_by(pod, {"metadata": {"uid": "u0"}})


def test_a_condition_keeps_its_time_until_its_status_changes() -> None:
    first = meta.set_condition(None, "Ready", "False", NOW, reason="Starting", message="wait")
    again = meta.set_condition(first, "Ready", "False", LATER, reason="Slow")
    changed = meta.set_condition(again, "Ready", "True", LATER)
    assert first == [
        {
            "type": "Ready",
            "status": "False",
            "lastTransitionTime": "2026-11-22T10:00:00Z",
            "reason": "Starting",
            "message": "wait",
        }
    ]
    assert again[0]["lastTransitionTime"] == "2026-11-22T10:00:00Z"
    assert again[0]["reason"] == "Slow"
    assert "message" not in again[0]
    assert changed == [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-22T10:05:00Z"}]


def test_setting_the_same_condition_again_changes_nothing() -> None:
    conditions = meta.set_condition(None, "Ready", "True", NOW, reason="Up")
    assert meta.set_condition(conditions, "Ready", "True", LATER, reason="Up") == conditions


def test_other_conditions_and_extra_fields_stay() -> None:
    old = [{"type": "A", "status": "True"}, {"type": "B", "status": "False", "observedGeneration": 1}]
    new = meta.set_condition(old, "B", "True", NOW, observedGeneration=2)
    assert new[0] is old[0]
    assert new[1]["observedGeneration"] == 2
    assert old[1] == {"type": "B", "status": "False", "observedGeneration": 1}
    assert [each["type"] for each in meta.set_condition(old, "C", "True", NOW)] == ["A", "B", "C"]
    assert meta.remove_condition(old, "A") == old[1:]
    assert meta.is_condition_true(old, "A")
    assert not meta.is_condition_true(old, "B")
    assert not meta.is_condition_true(None, "A")


def test_times_are_utc_and_whole_seconds() -> None:
    assert meta.format_time(NOW) == "2026-11-22T10:00:00Z"
    assert meta.format_micro_time(NOW) == "2026-11-22T10:00:00.123456Z"
    assert meta.format_time(NOW.astimezone(timezone(timedelta(hours=2)))) == "2026-11-22T10:00:00Z"


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-22T10:00:00Z", NOW.replace(microsecond=0)),
        ("2026-11-22T12:00:00+02:00", NOW.replace(microsecond=0)),
        ("2026-11-22T10:00:00.123456789Z", NOW),
        ("2026-11-22T10:00:00.1Z", NOW.replace(microsecond=100000)),
    ],
)
def test_parsing_times(text: str, moment: datetime) -> None:
    assert meta.parse_time(text) == moment
    assert meta.parse_time(text).tzinfo is UTC


@pytest.mark.parametrize(
    "text",
    [
        *("", "2026-11-22", "2026-11-22 10:00:00Z", "2026-11-22T10:00:00", "2026-13-01T00:00:00Z", "x"),
        *("0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00"),
    ],
)
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - datetime's own message is as good as ours
        meta.parse_time(text)


@given(st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(9999, 1, 1)))
def test_micro_times_survive_a_round_trip(moment: datetime) -> None:
    aware = moment.replace(tzinfo=UTC)
    assert meta.parse_time(meta.format_micro_time(aware)) == aware


def test_a_template_hash_depends_on_content_only() -> None:
    one = {"metadata": {"labels": {"a": "1", "b": "2"}}, "spec": {"containers": []}}
    same = {"spec": {"containers": []}, "metadata": {"labels": {"b": "2", "a": "1"}}}
    other = {**one, "spec": {"containers": [{"name": "x"}]}}
    assert meta.template_hash(one) == meta.template_hash(same) == "68f5d64645"
    assert meta.template_hash(other) != meta.template_hash(one)
    assert len({meta.template_hash(one, count) for count in (None, 0, 1, 2)}) == 4
    assert set(meta.template_hash(other)) <= set("bcdfghjklmnpqrstvwxz2456789")
