"""Owners seen through the scale subresource."""

from typing import Any

import pytest
from apply_stage import START, built_in, canonical

from tiphys.machinery.apply import apply, update
from tiphys.machinery.apply.scale import parent_entries, scale_entries
from tiphys.machinery.errors import StatusError

PATHS = {"apps/v1": ("f:spec", "f:replicas"), "example.com/v1": ("f:spec", "f:size"), "example.com/v0": None}
SCALE = built_in("autoscaling/v1.Scale", "autoscaling/v1", subresource="scale")
TIME = "2026-11-22T12:00:00Z"


def entry(
    manager: str, operation: str, fields: dict[str, Any], version: str = "apps/v1", **more: str
) -> dict[str, Any]:
    return {
        "manager": manager,
        "operation": operation,
        "apiVersion": version,
        "time": TIME,
        "fieldsType": "FieldsV1",
        "fieldsV1": {"f:spec": fields},
        **more,
    }


APPLIER = entry("applier", "Apply", {"f:paused": {}, "f:replicas": {}})
OTHER = entry("other", "Update", {"f:paused": {}})


def test_only_owners_of_replicas_are_seen() -> None:
    assert scale_entries([APPLIER, OTHER], PATHS) == [
        entry("applier", "Apply", {"f:replicas": {}}, "autoscaling/v1")
    ]
    assert scale_entries(None, PATHS) == []


def test_replicas_under_another_name() -> None:
    size = entry("u", "Update", {"f:size": {}}, "example.com/v1")
    unscaled = entry("v", "Update", {"f:size": {}}, "example.com/v0")
    unknown = entry("w", "Update", {"f:size": {}}, "example.com/v9")
    assert scale_entries([size, unscaled, unknown], PATHS) == [
        entry("u", "Update", {"f:replicas": {}}, "autoscaling/v1")
    ]


@pytest.mark.parametrize("operation", ["Apply", "Update"])
def test_nothing_changed(operation: str) -> None:
    owner = entry("nobody", operation, {"f:paused": {}, "f:replicas": {}})
    parents = [owner, OTHER]
    assert parent_entries(parents, scale_entries(parents, PATHS), PATHS, "apps/v1") == parents


def scale(replicas: int, entries: list[dict[str, Any]]) -> dict[str, Any]:
    metadata = {"name": "x", "uid": "u", "managedFields": entries}
    return {
        "apiVersion": "autoscaling/v1",
        "kind": "Scale",
        "metadata": metadata,
        "spec": {"replicas": replicas},
    }


def test_an_update_takes_the_replicas() -> None:
    parents = [APPLIER, OTHER]
    live = scale(1, scale_entries(parents, PATHS))
    seen = update(SCALE, live, scale(2, []), "hpa", START)
    assert parent_entries(parents, seen, PATHS, "apps/v1") == [
        entry("applier", "Apply", {"f:paused": {}}),
        # As upstream, without a time.
        {
            "manager": "hpa",
            "operation": "Update",
            "apiVersion": "apps/v1",
            "fieldsType": "FieldsV1",
            "fieldsV1": {"f:spec": {"f:replicas": {}}},
            "subresource": "scale",
        },
        OTHER,
    ]


def test_who_owned_nothing_else_is_forgotten() -> None:
    parents = [entry("applier", "Apply", {"f:replicas": {}})]
    live = scale(1, scale_entries(parents, PATHS))
    seen = update(SCALE, live, scale(2, []), "hpa", START)
    assert [each["manager"] for each in parent_entries(parents, seen, PATHS, "apps/v1")] == ["hpa"]


def test_an_apply_may_conflict() -> None:
    live = scale(1, scale_entries([APPLIER], PATHS))
    applied = {
        "apiVersion": "autoscaling/v1",
        "kind": "Scale",
        "metadata": {"name": "x"},
        "spec": {"replicas": 3},
    }
    with pytest.raises(StatusError) as raised:
        apply(SCALE, live, applied, "me", force=False, now=START)
    assert raised.value.message == 'Apply failed with 1 conflict: conflict with "applier": .spec.replicas'
    forced = canonical(apply(SCALE, live, applied, "me", force=True, now=START))
    found = parent_entries([APPLIER], forced["metadata"]["managedFields"], PATHS, "apps/v1")
    assert [(each["manager"], each["fieldsV1"]) for each in found] == [
        ("me", {"f:spec": {"f:replicas": {}}}),
        ("applier", {"f:spec": {"f:paused": {}}}),
    ]
