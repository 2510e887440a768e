"""Priority classes, workloads and groups of pods."""

import pytest

CLASS = "scheduling.k8s.io/v1 PriorityClass"
WORKLOAD, GROUP = (f"scheduling.k8s.io/v1alpha2 {kind}" for kind in ("Workload", "PodGroup"))


def test_pods_of_a_class_may_displace_others(written):
    assert written(CLASS, {"value": 1})["preemptionPolicy"] == "PreemptLowerPriority"


@pytest.mark.parametrize(
    ("fields", "name", "messages"),
    [
        ({"value": 10}, "high", []),
        ({"value": 2_000_001_000}, "system-node-critical", []),
        (
            {"value": 1_000_000_001},
            "high",
            ["value: Forbidden: maximum allowed value of a user defined priority is 1000000000"],
        ),
        (
            {"value": 1},
            "system-mine",
            [
                "metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use only. error: system-mine is not a known system priority class"
            ],
        ),
        (
            {"value": 1, "preemptionPolicy": "Always"},
            "high",
            [
                'preemptionPolicy: Unsupported value: "Always": supported values: "Never", "PreemptLowerPriority"'
            ],
        ),
    ],
)
def test_priority_classes(refusals, fields, name, messages):
    assert refusals(CLASS, fields, name=name) == messages


def test_what_stays(refusals):
    assert refusals(CLASS, {"value": 2, "preemptionPolicy": "Never"}, old={"value": 1}) == [
        "Value: Forbidden: may not be changed in an update.",
        'preemptionPolicy: Invalid value: "Never": field is immutable',
    ]
    assert refusals(CLASS, {"value": 1, "description": "d"}, old={"value": 1}) == []


def templates(*values):
    return {"spec": {"podGroupTemplates": list(values)}}


BASIC = {"name": "g", "schedulingPolicy": {"basic": {}}}


@pytest.mark.parametrize(
    ("fields", "places"),
    [
        (templates(BASIC), []),
        (templates(), ["spec.podGroupTemplates"]),
        (templates(BASIC, BASIC), ["spec.podGroupTemplates[1]"]),
        (templates({"name": "g"}), ["spec.podGroupTemplates[0].schedulingPolicy"]),
        (
            templates({"name": "g", "schedulingPolicy": {"gang": {"minCount": 0}}}),
            ["spec.podGroupTemplates[0].schedulingPolicy.gang.minCount"],
        ),
    ],
)
def test_workloads(refusals, fields, places):
    assert [text.split(":")[0] for text in refusals(WORKLOAD, fields)] == places


def test_groups_stay_as_they_are(refusals):
    good = {"spec": {"schedulingPolicy": {"gang": {"minCount": 2}}}}
    assert refusals(GROUP, good) == []
    changed = {"spec": {"schedulingPolicy": {"gang": {"minCount": 3}}}}
    assert [text.split(":")[0] for text in refusals(GROUP, changed, old=good)] == ["spec"]
