"""What is wrong with an autoscaler. Wording and places are upstream's (`pkg/apis/autoscaling/validation`)."""

from __future__ import annotations

from collections.abc import Callable

from tiphys.api.autoscaling.conversion import to_v2
from tiphys.api.resource import Object
from tiphys.api.validation import Errors, by_rule, label_selector, non_negative, quantity, required_name
from tiphys.machinery import names
from tiphys.machinery.errors import FieldError, Path
from tiphys.machinery.quantity import ZERO

_SPEC = Path("spec")
_TARGET_TYPES = ("Utilization", "Value", "AverageValue")
_PERIOD_LIMIT_SECONDS = 1800
_WINDOW_LIMIT_SECONDS = 3600
_VALUE_OR_AVERAGE = "must set either a target value for metric or a per-pod target"


def v2(new: Object, old: Object | None) -> Errors:
    spec = new.get("spec") or {}
    errors: Errors = []
    low, high = spec.get("minReplicas"), spec.get("maxReplicas") or 0
    if low is not None and low < 1:
        errors.append(
            FieldError.invalid(_SPEC.child("minReplicas"), low, "must be greater than or equal to 1")
        )
    if high < 1:
        errors.append(FieldError.invalid(_SPEC.child("maxReplicas"), high, "must be greater than 0"))
    if low is not None and high < low:
        detail = "must be greater than or equal to `minReplicas`"
        errors.append(FieldError.invalid(_SPEC.child("maxReplicas"), high, detail))
    errors += _reference(spec.get("scaleTargetRef") or {}, _SPEC.child("scaleTargetRef"))
    for position, metric in enumerate(spec.get("metrics") or ()):
        errors += _metric(metric, _SPEC.child("metrics").index(position))
    behavior = spec.get("behavior") or {}
    for direction in ("scaleUp", "scaleDown"):
        if behavior.get(direction) is not None:
            errors += _rules(behavior[direction], _SPEC.child("behavior", direction))
    return errors


def v1(new: Object, old: Object | None) -> Errors:
    """By what it means in v2, the version that is kept."""
    return v2(to_v2(new), None if old is None else to_v2(old))


def status(new: Object, old: Object | None) -> Errors:
    found, here = new.get("status") or {}, Path("status")
    errors = non_negative(found.get("currentReplicas"), here.child("currentReplicas"))
    return errors + non_negative(found.get("desiredReplicas"), here.child("desiredReplicas"))


def _reference(reference: Object, path: Path) -> Errors:
    errors: Errors = []
    for field in ("kind", "name"):
        errors += required_name(names.path_segment_name, reference.get(field), path.child(field))
    return errors


# Metrics


def _metric(metric: Object, path: Path) -> Errors:
    kind = metric.get("type") or ""
    errors: Errors = []
    if not kind:
        errors.append(FieldError.required(path.child("type"), "must specify a metric source type"))
    elif kind not in _SOURCES:
        errors.append(FieldError.not_supported(path.child("type"), kind, sorted(_SOURCES)))
    present = [field for field in _CHECKS if metric.get(field) is not None]
    if len(present) == 1:
        errors += _CHECKS[present[0]](metric[present[0]], path.child(present[0]))
    expected = _SOURCES.get(kind)
    if expected is not None and expected not in present:
        detail = "must populate information for the given metric source"
        errors.append(FieldError.required(path.child(expected), detail))
    if len(present) > 1:
        errors += [
            FieldError.forbidden(path.child(field), "must populate the given metric source only")
            for field in sorted(present)
            if field != expected
        ]
    return errors


def _identifier(source: Object, path: Path) -> Errors:
    metric = source.get("metric") or {}
    if not metric.get("name"):
        return [FieldError.required(path.child("metric", "name"), "must specify a metric name")]
    errors = by_rule(names.path_segment_name, metric["name"], path.child("metric", "name"))
    return errors + label_selector(metric.get("selector"), path.child("metric", "selector"))


def _target(target: Object, path: Path) -> Errors:
    kind, utilization = target.get("type") or "", target.get("averageUtilization")
    errors: Errors = []
    if not kind:
        errors.append(FieldError.required(path.child("type"), "must specify a metric target type"))
    elif kind not in _TARGET_TYPES:
        detail = "must be either Utilization, Value, or AverageValue"
        errors.append(FieldError.invalid(path.child("type"), kind, detail))
    for field in ("value", "averageValue"):
        if target.get(field) is not None and quantity(target[field]) <= ZERO:
            errors.append(FieldError.invalid(path.child(field), str(target[field]), "must be positive"))
    if utilization is not None and utilization < 1:
        here = path.child("averageUtilization")
        errors.append(FieldError.invalid(here, utilization, "must be greater than 0"))
    return errors


def _value_or_average(source: Object, path: Path) -> Errors:
    target, here = source.get("target") or {}, path.child("target")
    errors = _identifier(source, path) + _target(target, here)
    if target.get("value") is None and target.get("averageValue") is None:
        errors.append(FieldError.required(here.child("averageValue"), _VALUE_OR_AVERAGE))
    return errors


def _object(source: Object, path: Path) -> Errors:
    errors = _reference(source.get("describedObject") or {}, path.child("describedObject"))
    return errors + _value_or_average(source, path)


def _external(source: Object, path: Path) -> Errors:
    errors, target = _value_or_average(source, path), source.get("target") or {}
    if target.get("value") is not None and target.get("averageValue") is not None:
        detail = "may not set both a target value for metric and a per-pod target"
        errors.append(FieldError.forbidden(path.child("target", "value"), detail))
    return errors


def _pods(source: Object, path: Path) -> Errors:
    target, here = source.get("target") or {}, path.child("target")
    errors = _identifier(source, path) + _target(target, here)
    if target.get("averageValue") is None or quantity(target["averageValue"]) <= ZERO:
        detail = "must specify a positive target averageValue"
        errors.append(FieldError.required(here.child("averageValue"), detail))
    return errors


def _resource(source: Object, path: Path) -> Errors:
    errors: Errors = []
    if not source.get("name"):
        errors.append(FieldError.required(path.child("name"), "must specify a resource name"))
    target, here = source.get("target") or {}, path.child("target")
    errors += _target(target, here)
    raw, utilization = target.get("averageValue"), target.get("averageUtilization")
    if raw is None and utilization is None:
        detail = "must set either a target raw value or a target utilization"
        errors.append(FieldError.required(here.child("averageUtilization"), detail))
    if raw is not None and utilization is not None:
        detail = "may not set both a target raw value and a target utilization"
        errors.append(FieldError.forbidden(here.child("averageValue"), detail))
    return errors


def _container_resource(source: Object, path: Path) -> Errors:
    errors: Errors = []
    if not source.get("container"):
        errors.append(FieldError.required(path.child("container"), "must specify a container"))
    return _resource(source, path) + errors


_CHECKS: dict[str, Callable[[Object, Path], Errors]] = {
    "object": _object,
    "external": _external,
    "pods": _pods,
    "resource": _resource,
    "containerResource": _container_resource,
}
_SOURCES = {
    "Object": "object",
    "External": "external",
    "Pods": "pods",
    "Resource": "resource",
    "ContainerResource": "containerResource",
}

# Behavior


def _rules(rules: Object, path: Path) -> Errors:
    errors = _window(rules.get("stabilizationWindowSeconds"), path.child("stabilizationWindowSeconds"))
    select, here = rules.get("selectPolicy"), path.child("policies")
    if select is not None and select not in ("Disabled", "Max", "Min"):
        errors.append(
            FieldError.not_supported(path.child("selectPolicy"), select, ("Disabled", "Max", "Min"))
        )
    if not rules.get("policies"):
        errors.append(FieldError.required(here, "must specify at least one Policy"))
    for position, policy in enumerate(rules.get("policies") or ()):
        errors += _policy(policy, here.index(position))
    tolerance = rules.get("tolerance")
    if tolerance is not None and quantity(tolerance) < ZERO:
        detail = "must be greater or equal to zero"
        errors.append(FieldError.invalid(path.child("tolerance"), str(tolerance), detail))
    return errors


def _window(seconds: int | None, path: Path) -> Errors:
    if seconds is not None and seconds < 0:
        return [FieldError.invalid(path, seconds, "must be greater than or equal to zero")]
    if seconds is not None and seconds > _WINDOW_LIMIT_SECONDS:
        return [FieldError.invalid(path, seconds, f"must be less than or equal to {_WINDOW_LIMIT_SECONDS}")]
    return []


def _policy(policy: Object, path: Path) -> Errors:
    errors: Errors = []
    if policy.get("type") not in ("Percent", "Pods"):
        errors.append(
            FieldError.not_supported(path.child("type"), policy.get("type") or "", ("Percent", "Pods"))
        )
    for field in ("value", "periodSeconds"):
        if (policy.get(field) or 0) <= 0:
            detail = "must be greater than zero"
            errors.append(FieldError.invalid(path.child(field), policy.get(field) or 0, detail))
    period = policy.get("periodSeconds") or 0
    if period > _PERIOD_LIMIT_SECONDS:
        detail = f"must be less than or equal to {_PERIOD_LIMIT_SECONDS}"
        errors.append(FieldError.invalid(path.child("periodSeconds"), period, detail))
    return errors
