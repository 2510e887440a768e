"""Limit ranges and resource quotas."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from tiphys.api.core.validation.resources import (
    amounts,
    container_resource_name,
    is_overcommit_allowed,
    is_standard_quota,
    quota_resource_name,
    resource_name,
)
from tiphys.api.resource import Object
from tiphys.api.validation import IMMUTABLE, Errors, by_rule, quantity
from tiphys.machinery import names
from tiphys.machinery.errors import FieldError, Path
from tiphys.machinery.quantity import NANO, Quantity

_LIMIT_TYPES = ("Pod", "Container", "PersistentVolumeClaim")
_PARTS = ("max", "min", "default", "defaultRequest", "maxLimitRequestRatio")
_COMPUTE = frozenset({"cpu", "memory", "limits.cpu", "limits.memory", "requests.cpu", "requests.memory"})
_STORAGE = frozenset({"persistentvolumeclaims", "requests.storage"})
_EXISTING_ONLY = ("BestEffort", "NotBestEffort", "Terminating", "NotTerminating", "CrossNamespacePodAffinity")
_SCOPES = (*_EXISTING_ONLY, "PriorityClass", "VolumeAttributesClass")
_CONTRADICTIONS = (("BestEffort", "NotBestEffort"), ("Terminating", "NotTerminating"))


def limit_range(new: Object, old: Object | None) -> Errors:
    errors: Errors = []
    seen: set[str] = set()
    for position, item in enumerate((new.get("spec") or {}).get("limits") or ()):
        here, type = Path("spec", "limits").index(position), item.get("type") or ""
        errors += _limit_type(type, here.child("type"))
        if type in seen:
            errors.append(FieldError.duplicate(here.child("type"), type))
        seen.add(type)
        errors += _limit_names(item, type, here)
        parts = {part: _quantities(item, part, type) for part in _PARTS}
        for name in dict.fromkeys(each for part in parts.values() for each in part):
            errors += _limits_agree(name, {part: values.get(name) for part, values in parts.items()}, here)
    return errors


def _limit_type(type: str, path: Path) -> Errors:
    errors = by_rule(names.qualified_name, type, path)
    if not errors and "/" not in type and type not in _LIMIT_TYPES:
        errors.append(FieldError.invalid(path, type, "must be a standard limit type or fully qualified"))
    return errors


def _limit_names(item: Object, type: str, path: Path) -> Errors:
    check: Callable[[str, Path], Errors] = (
        container_resource_name if type in ("Pod", "Container") else resource_name
    )
    errors: Errors = []
    for part in _PARTS:
        values = item.get(part) or {}
        if type == "Pod" and part in ("default", "defaultRequest"):
            if values:
                errors.append(
                    FieldError.forbidden(path.child(part), "may not be specified when `type` is 'Pod'")
                )
            continue
        for name in values:
            errors += check(name, path.child(part).key(name))
    if type == "PersistentVolumeClaim" and not any(
        "storage" in (item.get(part) or {}) for part in ("min", "max")
    ):
        detail = "either minimum or maximum storage value is required, but neither was provided"
        errors.append(FieldError.required(path.child("limits"), detail))
    return errors


def _quantities(item: Object, part: str, type: str) -> dict[str, Quantity]:
    if type == "Pod" and part in ("default", "defaultRequest"):
        return {}
    return {name: quantity(text) for name, text in (item.get(part) or {}).items()}


_ORDERED = (
    # smaller, larger, where the fault is, what is shown, how the two are called
    ("min", "max", "min", "min", "min value", "max value"),
    ("min", "defaultRequest", "defaultRequest", "defaultRequest", "min value", "default request value"),
    ("defaultRequest", "max", "defaultRequest", "defaultRequest", "default request value", "max value"),
    (
        "defaultRequest",
        "default",
        "defaultRequest",
        "defaultRequest",
        "default request value",
        "default limit value",
    ),
    ("min", "default", "default", "min", "min value", "default value"),
    ("default", "max", "default", "max", "default value", "max value"),
)


def _limits_agree(name: str, values: dict[str, Quantity | None], path: Path) -> Errors:
    errors: Errors = []
    for lesser, greater, place, shown, first, second in _ORDERED:
        low, high = values[lesser], values[greater]
        if low is not None and high is not None and low > high:
            detail = f"{first} {low} is greater than {second} {high}"
            errors.append(FieldError.invalid(path.child(place).key(name), str(values[shown]), detail))
    errors += _ratio(values, path.child("maxLimitRequestRatio").key(name))
    default, request = values["default"], values["defaultRequest"]
    if default is not None and request is not None and default != request and not is_overcommit_allowed(name):
        detail = f"default value {default} must equal to defaultRequest value {request} in {name}"
        errors.append(FieldError.invalid(path.child("defaultRequest").key(name), str(request), detail))
    return errors


def _ratio(values: dict[str, Quantity | None], path: Path) -> Errors:
    ratio, low, high = values["maxLimitRequestRatio"], values["min"], values["max"]
    if ratio is None:
        return []
    if ratio.nanos < NANO:
        return [FieldError.invalid(path, str(ratio), f"ratio {ratio} is less than 1")]
    if not low or high is None or ratio.nanos * low.nanos <= high.nanos * NANO:
        return []
    detail = f"ratio {ratio} is greater than max/min = {high.nanos / low.nanos:f}"
    return [FieldError.invalid(path, str(ratio), detail)]


# Quotas


def resource_quota(new: Object, old: Object | None) -> Errors:
    spec, here = new.get("spec") or {}, Path("spec")
    hard = spec.get("hard") or {}
    errors = amounts(hard, quota_resource_name, here.child("hard"))
    errors += _scopes(spec.get("scopes") or [], hard, here.child("scopes"))
    if spec.get("scopeSelector") is not None:
        errors += _scope_selector(
            spec["scopeSelector"], hard, here.child("scopeSelector", "matchExpressions")
        )
    before = ((old or {}).get("spec") or {}).get("scopes") or []
    if old is not None and set(before) != set(spec.get("scopes") or []):
        errors.append(FieldError.invalid(here.child("scopes"), spec.get("scopes") or [], IMMUTABLE))
    return errors


def _scopes(scopes: list[str], hard: Iterable[str], path: Path) -> Errors:
    errors: Errors = []
    for scope in scopes:
        if scope not in _SCOPES:
            errors.append(FieldError.invalid(path, scopes, "unsupported scope"))
        errors += _scope_fits(scope, hard, scopes, path)
    return errors + _contradictions(set(scopes), scopes, path)


def _scope_fits(scope: str, hard: Iterable[str], shown: object, path: Path) -> Errors:
    """A scope narrows what is counted: most of them choose pods, so only pods and their resources can be counted."""
    allowed = {"BestEffort": frozenset({"pods"}), "VolumeAttributesClass": _STORAGE}.get(
        scope, _COMPUTE | {"pods"}
    )
    if scope not in _SCOPES:
        return []
    wrong = [name for name in sorted(hard) if is_standard_quota(name) and name not in allowed]
    return [FieldError.invalid(path, shown, "unsupported scope applied to resource") for _ in wrong]


def _contradictions(scopes: set[str], shown: list[str], path: Path) -> Errors:
    return [
        FieldError.invalid(path, shown, "conflicting scopes")
        for pair in _CONTRADICTIONS
        if scopes.issuperset(pair)
    ]


def _scope_selector(selector: Object, hard: Iterable[str], path: Path) -> Errors:
    errors: Errors = []
    expressions = selector.get("matchExpressions") or ()
    for expression in expressions:
        scope, operator = expression.get("scopeName") or "", expression.get("operator") or ""
        values = expression.get("values") or []
        if scope not in _SCOPES:
            errors.append(FieldError.invalid(path.child("scopeName"), scope, "unsupported scope"))
        errors += _scope_fits(scope, hard, selector, path)
        if scope in _EXISTING_ONLY and operator != "Exists":
            errors.append(FieldError.invalid(path.child("operator"), operator, _MUST_EXIST))
        errors += _scope_operator(operator, values, path)
    names_of = [each.get("scopeName") or "" for each in expressions]
    return errors + _contradictions(set(names_of), names_of, path)


_MUST_EXIST = (
    "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, "
    "ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity"
)


def _scope_operator(operator: str, values: list[str], path: Path) -> Errors:
    here = path.child("values")
    if operator in ("In", "NotIn"):
        detail = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"
        return [] if values else [FieldError.required(here, detail)]
    if operator in ("Exists", "DoesNotExist"):
        detail = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector"
        return [FieldError.invalid(here, values, detail)] if values else []
    return [FieldError.invalid(path.child("operator"), operator, "not a valid selector operator")]


def resource_quota_status(new: Object, old: Object | None) -> Errors:
    status = new.get("status") or {}
    errors = amounts(status.get("hard"), quota_resource_name, Path("status", "hard"))
    return errors + amounts(status.get("used"), quota_resource_name, Path("status", "used"))
