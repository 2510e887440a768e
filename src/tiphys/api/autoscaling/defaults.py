"""Defaults of autoscalers, as upstream has them (`pkg/apis/autoscaling/v2/defaults.go`)."""

from __future__ import annotations

from tiphys.api.autoscaling.conversion import cpu_metric
from tiphys.api.defaults import fill, items, part
from tiphys.api.resource import Object


def v2(obj: Object) -> None:
    spec = part(obj, "spec")
    part(spec, "scaleTargetRef")
    fill(spec, minReplicas=1)
    if not spec.get("metrics"):
        spec["metrics"] = [cpu_metric()]
    behavior = spec.get("behavior")
    if behavior is not None:
        _scale_up(part(behavior, "scaleUp"))
        _scale_down(part(behavior, "scaleDown"))
    status = part(obj, "status")
    status.setdefault("desiredReplicas", 0)
    items(status, "currentMetrics")


def v1(obj: Object) -> None:
    """The metric that counts without any other is added by the conversion: it knows which others there are."""
    spec = part(obj, "spec")
    part(spec, "scaleTargetRef")
    fill(spec, minReplicas=1)
    status = part(obj, "status")
    status.setdefault("currentReplicas", 0)
    status.setdefault("desiredReplicas", 0)


def _scale_up(rules: Object) -> None:
    """At once, and by whatever is more: four pods or as many as there are, every 15 seconds."""
    fill(rules, stabilizationWindowSeconds=0, selectPolicy="Max")
    if rules.get("policies") is None:
        rules["policies"] = [
            {"type": "Pods", "value": 4, "periodSeconds": 15},
            {"type": "Percent", "value": 100, "periodSeconds": 15},
        ]


def _scale_down(rules: Object) -> None:
    """All of them every 15 seconds; the window is the controller's (5 minutes)."""
    fill(rules, selectPolicy="Max")
    if rules.get("policies") is None:
        rules["policies"] = [{"type": "Percent", "value": 100, "periodSeconds": 15}]
