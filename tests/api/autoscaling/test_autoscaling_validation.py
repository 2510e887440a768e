"""What an autoscaler is given and what is refused of it, in both versions."""

import pytest

from tiphys.api.autoscaling import validation

V1, V2 = "autoscaling/v1 HorizontalPodAutoscaler", "autoscaling/v2 HorizontalPodAutoscaler"
TARGET = {"kind": "Deployment", "name": "web", "apiVersion": "apps/v1"}


def scaler(**spec):
    return {"spec": {"scaleTargetRef": TARGET, "maxReplicas": 3, **spec}}


def metric(kind, field, source):
    return scaler(metrics=[{"type": kind, field: source}])


def resource(**target):
    return metric("Resource", "resource", {"name": "cpu", "target": target})


def test_what_it_is_given(written):
    obj = written(V2, scaler(behavior={"scaleUp": {"selectPolicy": "Min"}}))
    spec = obj["spec"]
    assert spec["minReplicas"] == 1
    assert spec["metrics"] == [
        {
            "type": "Resource",
            "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}},
        }
    ]
    assert spec["behavior"] == {
        "scaleUp": {
            "selectPolicy": "Min",
            "stabilizationWindowSeconds": 0,
            "policies": [
                {"type": "Pods", "value": 4, "periodSeconds": 15},
                {"type": "Percent", "value": 100, "periodSeconds": 15},
            ],
        },
        "scaleDown": {
            "selectPolicy": "Max",
            "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}],
        },
    }
    assert obj["status"] == {"currentMetrics": [], "desiredReplicas": 0}
    assert "behavior" not in written(V2, scaler())["spec"]


def test_in_v1_the_metric_is_left_to_the_conversion(written):
    obj = written(V1, scaler())
    assert obj["spec"]["minReplicas"] == 1
    assert "targetCPUUtilizationPercentage" not in obj["spec"]
    assert obj["status"] == {"currentReplicas": 0, "desiredReplicas": 0}


@pytest.mark.parametrize(
    ("fields", "messages"),
    [
        (scaler(), []),
        (
            scaler(maxReplicas=0),
            [
                "spec.maxReplicas: Invalid value: 0: must be greater than 0",
                "spec.maxReplicas: Invalid value: 0: must be greater than or equal to `minReplicas`",
            ],
        ),
        (scaler(minReplicas=0), ["spec.minReplicas: Invalid value: 0: must be greater than or equal to 1"]),
        (
            scaler(minReplicas=5),
            ["spec.maxReplicas: Invalid value: 3: must be greater than or equal to `minReplicas`"],
        ),
        (
            scaler(scaleTargetRef={"kind": "", "name": "a/b"}),
            [
                "spec.scaleTargetRef.kind: Required value",
                "spec.scaleTargetRef.name: Invalid value: \"a/b\": may not contain '/'",
            ],
        ),
    ],
)
@pytest.mark.parametrize("kind", [V1, V2])
def test_bounds(refusals, kind, fields, messages):
    assert refusals(kind, fields) == messages


@pytest.mark.parametrize(
    ("fields", "messages"),
    [
        (resource(type="Utilization", averageUtilization=50), []),
        (
            resource(type="Utilization"),
            [
                "spec.metrics[0].resource.target.averageUtilization: Required value: must set either a target raw value or a target utilization"
            ],
        ),
        (
            resource(type="Utilization", averageUtilization=0),
            ["spec.metrics[0].resource.target.averageUtilization: Invalid value: 0: must be greater than 0"],
        ),
        (
            resource(type="Half", averageValue="-1"),
            [
                'spec.metrics[0].resource.target.type: Invalid value: "Half": must be either Utilization, Value, or AverageValue',
                'spec.metrics[0].resource.target.averageValue: Invalid value: "-1": must be positive',
            ],
        ),
        (
            resource(type="AverageValue", averageValue="1", averageUtilization=1),
            [
                "spec.metrics[0].resource.target.averageValue: Forbidden: may not set both a target raw value and a target utilization"
            ],
        ),
        (
            metric("Pods", "pods", {"metric": {}, "target": {"type": "Value", "value": "1"}}),
            [
                "spec.metrics[0].pods.metric.name: Required value: must specify a metric name",
                "spec.metrics[0].pods.target.averageValue: Required value: must specify a positive target averageValue",
            ],
        ),
        (
            metric(
                "Object",
                "object",
                {"describedObject": TARGET, "metric": {"name": "m"}, "target": {"type": "Value"}},
            ),
            [
                "spec.metrics[0].object.target.averageValue: Required value: must set either a target value for metric or a per-pod target"
            ],
        ),
        (
            metric(
                "External",
                "external",
                {"metric": {"name": "m"}, "target": {"type": "Value", "value": "1", "averageValue": "1"}},
            ),
            [
                "spec.metrics[0].external.target.value: Forbidden: may not set both a target value for metric and a per-pod target"
            ],
        ),
        (
            scaler(metrics=[{"type": "Pods"}]),
            ["spec.metrics[0].pods: Required value: must populate information for the given metric source"],
        ),
        (
            scaler(metrics=[{"type": "Fancy"}]),
            [
                'spec.metrics[0].type: Unsupported value: "Fancy": supported values: "ContainerResource", "External", "Object", "Pods", "Resource"'
            ],
        ),
        (
            scaler(
                behavior={
                    "scaleDown": {
                        "stabilizationWindowSeconds": 3601,
                        "policies": [{"type": "All", "value": 0, "periodSeconds": 1801}],
                    }
                }
            ),
            [
                "spec.behavior.scaleDown.stabilizationWindowSeconds: Invalid value: 3601: must be less than or equal to 3600",
                'spec.behavior.scaleDown.policies[0].type: Unsupported value: "All": supported values: "Percent", "Pods"',
                "spec.behavior.scaleDown.policies[0].value: Invalid value: 0: must be greater than zero",
                "spec.behavior.scaleDown.policies[0].periodSeconds: Invalid value: 1801: must be less than or equal to 1800",
            ],
        ),
    ],
)
def test_metrics_and_behavior(refusals, fields, messages):
    assert refusals(V2, fields) == messages


def test_status():
    errors = validation.status({"status": {"currentReplicas": -1}}, None)
    assert [str(error) for error in errors] == [
        "status.currentReplicas: Invalid value: -1: must be greater than or equal to 0"
    ]
