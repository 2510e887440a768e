"""HorizontalPodAutoscalers of autoscaling/v1 are kept as v2; what v1 has no fields for travels in four annotations.

v1 knows one metric: the CPU utilization of pods. The others, the metrics that were measured, the conditions and the
behavior are JSON in annotations (upstream's `pkg/apis/autoscaling/v1/conversion.go`), the metrics in a flat shape of their
own, with `targetAverageValue` where v2 has `target.averageValue`. Annotations that cannot be read are dropped.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from tiphys.api.resource import Conversion, Object

METRICS = "autoscaling.alpha.kubernetes.io/metrics"
CURRENT_METRICS = "autoscaling.alpha.kubernetes.io/current-metrics"
CONDITIONS = "autoscaling.alpha.kubernetes.io/conditions"
BEHAVIOR = "autoscaling.alpha.kubernetes.io/behavior"
ROUND_TRIP = (METRICS, CURRENT_METRICS, CONDITIONS, BEHAVIOR)
DEFAULT_CPU_UTILIZATION = 80

_SOURCES = {
    "Resource": "resource",
    "ContainerResource": "containerResource",
    "Pods": "pods",
    "Object": "object",
    "External": "external",
}
# Which flat fields a kind of metric has; the same with `current` for `target` in a measured one.
_AVERAGES = {"AverageUtilization": "averageUtilization", "AverageValue": "averageValue"}
_VALUES: Mapping[str, Mapping[str, str]] = {
    "Resource": _AVERAGES,
    "ContainerResource": _AVERAGES,
    "Pods": {"AverageValue": "averageValue"},
    "Object": {"Value": "value"},
    "External": {"Value": "value", "AverageValue": "averageValue"},
}
_TYPES = {"averageUtilization": "Utilization", "averageValue": "AverageValue", "value": "Value"}


def to_v2(obj: Object) -> Object:
    """autoscaling/v1 → autoscaling/v2"""
    metadata, carried = _take_annotations(obj["metadata"])
    spec = dict(obj.get("spec") or {})
    cpu = spec.pop("targetCPUUtilizationPercentage", None)
    metrics = [] if cpu is None else [cpu_metric(cpu)]
    metrics += [_nested(metric, "target") for metric in carried.get(METRICS) or ()]
    spec["metrics"] = metrics or [cpu_metric()]
    if carried.get(BEHAVIOR):
        spec["behavior"] = carried[BEHAVIOR]
    result = {**obj, "apiVersion": "autoscaling/v2", "metadata": metadata, "spec": spec}
    status = _status_to_v2(obj.get("status"), carried)
    if status is not None:
        result["status"] = status
    return result


def _status_to_v2(status: Object | None, carried: Object) -> Object | None:
    if status is None and not carried.get(CURRENT_METRICS) and not carried.get(CONDITIONS):
        return None
    new = dict(status or {})
    cpu = new.pop("currentCPUUtilizationPercentage", None)
    measured = [_nested(metric, "current") for metric in carried.get(CURRENT_METRICS) or ()]
    if not measured and cpu is not None:
        measured = [{"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": cpu}}}]
    new["currentMetrics"] = measured
    if carried.get(CONDITIONS):
        new["conditions"] = carried[CONDITIONS]
    return new


def cpu_metric(utilization: int = DEFAULT_CPU_UTILIZATION) -> Object:
    target = {"type": "Utilization", "averageUtilization": utilization}
    return {"type": "Resource", "resource": {"name": "cpu", "target": target}}


def _take_annotations(metadata: Object) -> tuple[Object, Object]:
    """The metadata without what travels in it, and that, decoded."""
    annotations = metadata.get("annotations") or {}
    if not any(key in annotations for key in ROUND_TRIP):
        return metadata, {}
    kept = {key: value for key, value in annotations.items() if key not in ROUND_TRIP}
    carried = {key: _decode(annotations[key], key) for key in ROUND_TRIP if key in annotations}
    return {**metadata, "annotations": kept}, carried


def _decode(text: str, key: str) -> Any:
    """None unless it is JSON of the right form: a list of objects, or one object for the behavior."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    if key == BEHAVIOR:
        return value if isinstance(value, dict) else None
    good = isinstance(value, list) and all(isinstance(item, dict) for item in value)
    return value if good else None


def _nested(metric: Object, what: str) -> Object:
    """A metric of the annotation in v2's shape. `what` is target or current."""
    kind = metric.get("type", "")
    field = _SOURCES.get(kind, "")
    flat = metric.get(field)
    if not isinstance(flat, dict):
        return {"type": kind}
    flat = dict(flat)
    value: Object = {}
    for suffix, name in _VALUES[kind].items():
        if flat.get(what + suffix) is not None:
            value[name] = flat[what + suffix]
    if kind == "Object" and flat.get("averageValue") is not None:
        value["averageValue"] = flat["averageValue"]
        if value.get("value") == "0":  # written only because the flat shape must have one
            del value["value"]
    if what == "target":
        value["type"] = _target_type(value)
    source: Object = {what: value}
    if "name" in flat:
        source["name"] = flat["name"]
    if "container" in flat:
        source["container"] = flat["container"]
    if "metricName" in flat:
        source["metric"] = _identifier(flat, "metricSelector" if kind == "External" else "selector")
    if kind == "Object":
        source["describedObject"] = flat.get("target") or {}
    return {"type": kind, field: source}


def _identifier(flat: Object, selector: str) -> Object:
    name = {"name": flat["metricName"]}
    return {**name, "selector": flat[selector]} if flat.get(selector) is not None else name


def _target_type(value: Object) -> str:
    # As upstream: where an average is set, it is what counts.
    for name in ("averageUtilization", "averageValue", "value"):
        if name in value:
            return _TYPES[name]
    return "Value"


def to_v1(obj: Object) -> Object:
    """autoscaling/v2 → autoscaling/v1"""
    spec, status = dict(obj.get("spec") or {}), obj.get("status")
    metrics, behavior = spec.pop("metrics", None) or (), spec.pop("behavior", None)
    cpu = _first_cpu_utilization(metrics, "target")
    if cpu is not None:
        spec["targetCPUUtilizationPercentage"] = cpu
    carried: dict[str, Any] = {
        METRICS: [_flat(metric, "target") for metric in metrics if not _is_cpu_utilization(metric)],
        BEHAVIOR: behavior,
    }
    result = {**obj, "apiVersion": "autoscaling/v1", "spec": spec}
    if status is not None:
        status = dict(status)
        measured = status.pop("currentMetrics", None) or ()
        carried[CURRENT_METRICS] = [_flat(metric, "current") for metric in measured]
        carried[CONDITIONS] = status.pop("conditions", None)
        cpu = _first_cpu_utilization(measured, "current")
        if cpu is not None:
            status["currentCPUUtilizationPercentage"] = cpu
        status.setdefault("currentReplicas", 0)
        result["status"] = status
    annotations = {key: orjson.dumps(value).decode() for key, value in carried.items() if value}
    if annotations:
        metadata = obj["metadata"]
        result["metadata"] = {
            **metadata,
            "annotations": {**(metadata.get("annotations") or {}), **annotations},
        }
    return result


def _is_cpu_utilization(metric: Object) -> bool:
    resource = metric.get("resource") or {}
    utilization = (resource.get("target") or {}).get("averageUtilization")
    return metric.get("type") == "Resource" and resource.get("name") == "cpu" and utilization is not None


def _first_cpu_utilization(metrics: Any, what: str) -> int | None:
    for metric in metrics:
        resource = metric.get("resource") or {}
        if metric.get("type") == "Resource" and resource.get("name") == "cpu":
            utilization: int | None = (resource.get(what) or {}).get("averageUtilization")
            return utilization
    return None


def _flat(metric: Object, what: str) -> Object:
    """A metric of v2 in the annotation's shape."""
    kind = metric.get("type", "")
    field = _SOURCES.get(kind, "")
    source = metric.get(field)
    if not isinstance(source, dict):
        return {"type": kind}
    value = source.get(what) or {}
    flat: Object = {key: source[key] for key in ("name", "container") if key in source}
    for suffix, name in _VALUES[kind].items():
        if value.get(name) is not None:
            flat[what + suffix] = value[name]
    if kind == "Object":
        flat["target"] = source.get("describedObject") or {}
        if value.get("averageValue") is not None:
            flat["averageValue"] = value["averageValue"]
        flat.setdefault(f"{what}Value", "0")
    identifier = source.get("metric")
    if identifier:
        flat["metricName"] = identifier.get("name", "")
        if identifier.get("selector") is not None:
            flat["metricSelector" if kind == "External" else "selector"] = identifier["selector"]
    return {"type": kind, field: flat}


HORIZONTAL_POD_AUTOSCALER = Conversion(to_stored=to_v2, from_stored=to_v1)
