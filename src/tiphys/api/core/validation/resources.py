"""Names and amounts of resources: what containers, pods, quotas, limits and nodes may ask for or offer."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from tiphys.api.core.pod_resources import is_pod_level
from tiphys.api.resource import Object
from tiphys.api.validation import (
    NOT_AN_INTEGER,
    Errors,
    by_rule,
    dns_label,
    non_negative_quantity,
    quantity,
)
from tiphys.machinery import names
from tiphys.machinery.errors import FieldError, Path
from tiphys.machinery.fields import FieldErrorKind
from tiphys.machinery.quantity import NANO, ZERO, Quantity

HUGE_PAGES = "hugepages-"
_COMPUTE = frozenset({"cpu", "memory", "ephemeral-storage"})
_COUNTS = frozenset(
    {
        "pods",
        "resourcequotas",
        "services",
        "replicationcontrollers",
        "secrets",
        "configmaps",
        "persistentvolumeclaims",
        "services.nodeports",
        "services.loadbalancers",
    }
)
_OF_QUOTAS = frozenset(f"{kind}.{name}" for kind in ("requests", "limits") for name in _COMPUTE)
_STANDARD = _COMPUTE | _COUNTS | _OF_QUOTAS | {"storage", "requests.storage"}
_STANDARD_QUOTA = _STANDARD - {"storage"}
NameCheck = Callable[[str, Path], Errors]


def is_huge_page(name: str) -> bool:
    return name.startswith(HUGE_PAGES)


def is_native(name: str) -> bool:
    """Kubernetes' own: without a domain, or in kubernetes.io."""
    return "/" not in name or "kubernetes.io/" in name


def is_extended(name: str) -> bool:
    """A resource that a device plugin or a driver offers, such as nvidia.com/gpu."""
    if is_native(name) or name.startswith("requests."):
        return False
    return not names.qualified_name(f"requests.{name}")


def is_overcommit_allowed(name: str) -> bool:
    return is_native(name) and not is_huge_page(name)


def is_standard_quota(name: str) -> bool:
    return name in _STANDARD_QUOTA or name.startswith((HUGE_PAGES, f"requests.{HUGE_PAGES}"))


def resource_name(name: str, path: Path) -> Errors:
    errors = by_rule(names.qualified_name, name, path)
    standard = name in _STANDARD or name.startswith((HUGE_PAGES, f"requests.{HUGE_PAGES}"))
    if not errors and "/" not in name and not standard:
        detail = "must be a standard resource type or fully qualified"
        errors.append(FieldError.invalid(path, name, detail))
    return errors


def container_resource_name(name: str, path: Path) -> Errors:
    if name in _COMPUTE:
        return []
    errors = resource_name(name, path)
    if "/" not in name:
        if not is_huge_page(name):
            errors.append(FieldError.invalid(path, name, "must be a standard resource for containers"))
    elif not is_native(name) and not is_extended(name):
        errors.append(FieldError.invalid(path, name, "doesn't follow extended resource name standard"))
    return errors


def quota_resource_name(name: str, path: Path) -> Errors:
    errors = resource_name(name, path)
    if "/" not in name and not is_standard_quota(name):
        errors.append(FieldError.invalid(path, name, "must be a standard resource for quota"))
    return errors


def _pod_resource_name(name: str, path: Path) -> Errors:
    errors = resource_name(name, path)
    if not errors and not is_pod_level(name):
        errors.append(FieldError.not_supported(path, name, ("cpu", HUGE_PAGES, "memory")))
    return errors


def amount(name: str, value: Quantity, path: Path) -> Errors:
    """An amount of a resource: not negative, and whole where there are only whole ones."""
    errors = non_negative_quantity(value, path)
    # `nanos` is exact: 0.5 of a device is no amount.
    if (name in _COUNTS or is_extended(name)) and value.nanos % NANO:
        errors.append(FieldError.invalid(path, str(value), NOT_AN_INTEGER))
    return errors


def amounts(values: Mapping[str, Any] | None, name_check: NameCheck, path: Path) -> Errors:
    errors: Errors = []
    for name, text in (values or {}).items():
        here = path.key(name)
        errors += name_check(name, here)
        errors += amount(name, quantity(text), here)
    return errors


def container_requirements(resources: Object | None, claims: Collection[str], path: Path) -> Errors:
    return _requirements(resources, container_resource_name, claims, path) if resources else []


def pod_requirements(resources: Object, claims: Collection[str], path: Path) -> Errors:
    return _requirements(resources, _pod_resource_name, claims, path)


def _requirements(resources: Object, name_check: NameCheck, claims: Collection[str], path: Path) -> Errors:
    limits = {name: quantity(text) for name, text in (resources.get("limits") or {}).items()}
    requests = {name: quantity(text) for name, text in (resources.get("requests") or {}).items()}
    errors: Errors = []
    if limits:
        errors += _named_amounts(limits, name_check, path.child("limits"))
    if requests:
        errors += _named_amounts(requests, name_check, path.child("requests"))
        errors += _requests_within_limits(requests, limits, path)
    everything = limits.keys() | requests.keys()
    if any(map(is_huge_page, everything)) and not everything & {"cpu", "memory"}:
        errors.append(FieldError.forbidden(path, "HugePages require cpu or memory"))
    if resources.get("claims"):
        errors += _claim_names(resources["claims"], claims, path.child("claims"))
    return errors


def _named_amounts(values: Mapping[str, Quantity], name_check: NameCheck, path: Path) -> Errors:
    errors: Errors = []
    for name, value in values.items():
        here = path.key(name)
        errors += name_check(name, here)
        errors += amount(name, value, here)
        if is_huge_page(name):
            errors += _divisible(name, value, here)
    return errors


def _divisible(name: str, value: Quantity, path: Path) -> Errors:
    try:
        page = quantity(name.removeprefix(HUGE_PAGES))
    except ValueError:
        page = ZERO
    if page > ZERO and value >= ZERO and value.nanos % page.nanos == 0:
        return []
    return [FieldError.invalid(path, str(value), f"{value} is not positive integer multiple of {name}")]


def _requests_within_limits(
    requests: Mapping[str, Quantity], limits: Mapping[str, Quantity], path: Path
) -> Errors:
    errors: Errors = []
    for name, request in requests.items():
        limit = limits.get(name)
        if limit is None:
            if not is_overcommit_allowed(name):
                detail = "Limit must be set for non overcommitable resources"
                errors.append(FieldError.required(path.child("limits"), detail))
        elif request != limit and not is_overcommit_allowed(name):
            detail = f"must be equal to {name} limit of {limit}"
            errors.append(FieldError.invalid(path.child("requests"), str(request), detail))
        elif request > limit:
            detail = f"must be less than or equal to {name} limit of {limit}"
            errors.append(FieldError.invalid(path.child("requests"), str(request), detail))
    return errors


def _claim_names(references: list[Object], claims: Collection[str], path: Path) -> Errors:
    """References of a container to `spec.resourceClaims`: to a claim as a whole, or to one request in it."""
    errors: Errors = []
    seen: set[str] = set()
    for position, reference in enumerate(references):
        here, name = path.index(position), reference.get("name", "")
        if not name:
            errors.append(FieldError.required(here))
            continue
        key = name
        if request := reference.get("request"):
            errors += dns_label(request, here.child("request"))
            key = f"{name}/{request}"
        whole_after_part = not request and any(other.startswith(f"{name}/") for other in seen)
        if name in seen or key in seen or whole_after_part:
            errors.append(FieldError.duplicate(here, name if name in seen or whole_after_part else key))
        seen.add(key)
        if name not in claims:
            detail = "must be one of the names in pod.spec.resourceClaims"
            detail += f": {', '.join(sorted(claims))}" if claims else " which is empty"
            errors.append(FieldError(FieldErrorKind.NOT_FOUND, here, name, detail))
    return errors
