"""What is wrong with a disruption budget (`pkg/apis/policy/validation`)."""

from __future__ import annotations

from tiphys.api.resource import Object
from tiphys.api.validation import (
    Errors,
    at_most_100_percent,
    int_or_percent,
    label_selector,
    non_negative,
)
from tiphys.machinery.errors import FieldError, Path

_SPEC = Path("spec")
_STATUS = Path("status")
_EVICTION_POLICIES = ("AlwaysAllow", "IfHealthyBudget")
_COUNTS = ("disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods")


def pod_disruption_budget(new: Object, old: Object | None) -> Errors:
    spec = new.get("spec") or {}
    errors: Errors = []
    if spec.get("minAvailable") is not None and spec.get("maxUnavailable") is not None:
        detail = "minAvailable and maxUnavailable cannot be both set"
        errors.append(FieldError.invalid(_SPEC, spec, detail))
    for field in ("minAvailable", "maxUnavailable"):
        if spec.get(field) is not None:
            errors += int_or_percent(spec[field], _SPEC.child(field))
            errors += at_most_100_percent(spec[field], _SPEC.child(field))
    errors += label_selector(spec.get("selector"), _SPEC.child("selector"))
    policy = spec.get("unhealthyPodEvictionPolicy")
    if policy is not None and policy not in _EVICTION_POLICIES:
        here = _SPEC.child("unhealthyPodEvictionPolicy")
        errors.append(FieldError.not_supported(here, policy, _EVICTION_POLICIES))
    return errors


def status(new: Object, old: Object | None) -> Errors:
    found = new.get("status") or {}
    errors: Errors = []
    for field in _COUNTS:
        errors += non_negative(found.get(field), _STATUS.child(field))
    return errors
