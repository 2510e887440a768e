"""autoscaling/v1 carries in annotations what it has no fields for."""

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiphys.api.autoscaling.conversion import CONDITIONS, CURRENT_METRICS, METRICS, ROUND_TRIP, to_v1, to_v2

META = {"name": "web", "namespace": "default"}
TARGET = {"kind": "Deployment", "name": "web", "apiVersion": "apps/v1"}


def v2(*metrics, status=None, behavior=None, annotations=None):
    obj = {
        "kind": "HorizontalPodAutoscaler",
        "apiVersion": "autoscaling/v2",
        "metadata": dict(META),
        "spec": {"scaleTargetRef": TARGET, "minReplicas": 1, "maxReplicas": 3, "metrics": list(metrics)},
    }
    if annotations:
        obj["metadata"]["annotations"] = annotations
    if behavior:
        obj["spec"]["behavior"] = behavior
    if status is not None:
        obj["status"] = status
    return obj


def v1(**spec):
    return {
        "kind": "HorizontalPodAutoscaler",
        "apiVersion": "autoscaling/v1",
        "metadata": dict(META),
        "spec": {"scaleTargetRef": TARGET, "maxReplicas": 3, **spec},
    }


def resource(name="cpu", **target):
    return {"type": "Resource", "resource": {"name": name, "target": target}}


CPU = resource(type="Utilization", averageUtilization=70)


def test_cpu_is_a_field():
    seen = to_v1(v2(CPU))
    assert seen["apiVersion"] == "autoscaling/v1"
    assert seen["spec"] == {
        "scaleTargetRef": TARGET,
        "minReplicas": 1,
        "maxReplicas": 3,
        "targetCPUUtilizationPercentage": 70,
    }
    assert "annotations" not in seen["metadata"]
    assert to_v2(v1(targetCPUUtilizationPercentage=70))["spec"]["metrics"] == [CPU]


def test_without_any_metric_it_is_cpu_at_80():
    assert to_v2(v1())["spec"]["metrics"] == [resource(type="Utilization", averageUtilization=80)]


def test_other_metrics_travel_in_a_flat_form():
    memory = resource("memory", type="AverageValue", averageValue="1Gi")
    annotations = to_v1(v2(CPU, memory))["metadata"]["annotations"]
    assert json.loads(annotations[METRICS]) == [
        {"type": "Resource", "resource": {"name": "memory", "targetAverageValue": "1Gi"}}
    ]


def test_status_and_conditions():
    measured = {
        "type": "Resource",
        "resource": {"name": "cpu", "current": {"averageUtilization": 5, "averageValue": "5m"}},
    }
    condition = {"type": "AbleToScale", "status": "True"}
    status = {
        "currentReplicas": 1,
        "desiredReplicas": 1,
        "currentMetrics": [measured],
        "conditions": [condition],
    }
    obj = v2(CPU, status=status)
    seen = to_v1(obj)
    assert seen["status"] == {
        "currentReplicas": 1,
        "desiredReplicas": 1,
        "currentCPUUtilizationPercentage": 5,
    }
    flat = {"name": "cpu", "currentAverageUtilization": 5, "currentAverageValue": "5m"}
    assert json.loads(seen["metadata"]["annotations"][CURRENT_METRICS]) == [
        {"type": "Resource", "resource": flat}
    ]
    assert json.loads(seen["metadata"]["annotations"][CONDITIONS]) == [condition]
    assert to_v2(seen)["status"] == status


@pytest.mark.parametrize("text", ["{", "null", "3", '["x"]', '{"a":1}'])
def test_annotations_that_cannot_be_read_are_dropped(text):
    obj = v1(targetCPUUtilizationPercentage=70)
    obj["metadata"]["annotations"] = dict.fromkeys((METRICS, CURRENT_METRICS, CONDITIONS), text)
    seen = to_v2(obj)
    assert seen["spec"]["metrics"] == [CPU]
    assert not seen["metadata"]["annotations"]


quantities = st.sampled_from(["1", "100m", "2Gi"])
selectors = st.none() | st.just({"matchLabels": {"a": "b"}})


@st.composite
def identifiers(draw):
    selector = draw(selectors)
    return {"name": draw(st.sampled_from(["hits", "queue"])), **({"selector": selector} if selector else {})}


def averages(utilization: bool):
    choices = [quantities.map(lambda value: {"type": "AverageValue", "averageValue": value})]
    if utilization:
        choices.append(
            st.integers(1, 99).map(lambda value: {"type": "Utilization", "averageUtilization": value})
        )
    return st.one_of(choices)


values = quantities.map(lambda value: {"type": "Value", "value": value})
metrics = st.one_of(
    st.builds(
        lambda name, target: resource(name, **target),
        st.sampled_from(["memory", "ephemeral-storage"]),
        averages(True),
    ),
    st.builds(
        lambda target: {
            "type": "ContainerResource",
            "containerResource": {"name": "cpu", "container": "c", "target": target},
        },
        averages(True),
    ),
    st.builds(
        lambda metric, target: {"type": "Pods", "pods": {"metric": metric, "target": target}},
        identifiers(),
        averages(False),
    ),
    st.builds(
        lambda metric, target: {
            "type": "Object",
            "object": {"describedObject": TARGET, "metric": metric, "target": target},
        },
        identifiers(),
        values | averages(False),
    ),
    st.builds(
        lambda metric, target: {"type": "External", "external": {"metric": metric, "target": target}},
        identifiers(),
        values | averages(False),
    ),
)
behaviors = st.none() | st.just({"scaleDown": {"stabilizationWindowSeconds": 60}})


@given(st.lists(metrics, max_size=3), behaviors, st.none() | st.just({"mine": "kept"}))
def test_nothing_is_lost_by_the_way_of_v1(others, behavior, annotations):
    obj = v2(CPU, *others, behavior=behavior, annotations=annotations)
    before = copy.deepcopy(obj)
    back = to_v2(to_v1(obj))
    assert obj == before, "the input is read-only"
    kept = back["metadata"].pop("annotations", None) or None
    before["metadata"].pop("annotations", None)
    assert kept == annotations
    assert not any(key in (kept or {}) for key in ROUND_TRIP)
    assert back == before
