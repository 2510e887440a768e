"""Disruption budgets."""

import pytest

KIND = "policy/v1 PodDisruptionBudget"


def test_counts_are_always_shown(written):
    assert written(KIND, {"spec": {"minAvailable": 1}})["status"] == {
        "disruptionsAllowed": 0,
        "currentHealthy": 0,
        "desiredHealthy": 0,
        "expectedPods": 0,
    }


@pytest.mark.parametrize(
    ("spec", "messages"),
    [
        ({"minAvailable": "50%", "selector": {"matchLabels": {"app": "web"}}}, []),
        (
            {"minAvailable": 1, "maxUnavailable": 1},
            [
                'spec: Invalid value: {"maxUnavailable":1,"minAvailable":1}: minAvailable and maxUnavailable cannot be both set'
            ],
        ),
        (
            {"minAvailable": "101%"},
            ['spec.minAvailable: Invalid value: "101%": must not be greater than 100%'],
        ),
        (
            {"maxUnavailable": -1},
            ["spec.maxUnavailable: Invalid value: -1: must be greater than or equal to 0"],
        ),
        (
            {"maxUnavailable": 1, "unhealthyPodEvictionPolicy": "Never"},
            [
                'spec.unhealthyPodEvictionPolicy: Unsupported value: "Never": supported values: "AlwaysAllow", "IfHealthyBudget"'
            ],
        ),
    ],
)
def test_budgets(refusals, spec, messages):
    assert refusals(KIND, {"spec": spec}) == messages
