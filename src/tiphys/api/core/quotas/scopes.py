"""Which objects a quota is about: `spec.scopes` and `spec.scopeSelector` of a ResourceQuota."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from tiphys.api.core.pod_resources import qos_class
from tiphys.api.resource import Object

Requirement = dict[str, Any]
"""A ScopedResourceSelectorRequirement: scopeName, operator, values."""


def requirements(quota: Object) -> list[Requirement]:
    spec = quota.get("spec") or {}
    found: list[Requirement] = [
        {"scopeName": scope, "operator": "Exists"} for scope in spec.get("scopes") or ()
    ]
    return found + list((spec.get("scopeSelector") or {}).get("matchExpressions") or ())


def shown(required: Iterable[Requirement]) -> str:
    """As upstream's messages show several: `[{PriorityClass In [a b]}]`."""
    parts = (
        f"{{{each.get('scopeName', '')} {each.get('operator', '')} [{' '.join(each.get('values') or ())}]}}"
        for each in required
    )
    return f"[{' '.join(parts)}]"


def pod_has(required: Requirement, pod: Object) -> bool:
    spec, scope = pod.get("spec") or {}, required.get("scopeName")
    if scope == "PriorityClass":
        name = spec.get("priorityClassName")
        return _chosen(required, {name} if name else set())
    holds = _OF_PODS.get(scope or "")
    return holds is not None and holds(spec)


def claim_has(required: Requirement, claim: Object) -> bool:
    """Claims know one scope, by the classes of volume attributes that they have, had or shall have."""
    if required.get("scopeName") != "VolumeAttributesClass":
        return False
    return _chosen(required, attribute_classes(claim))


def attribute_classes(claim: Object) -> set[str]:
    status = claim.get("status") or {}
    names = (
        (claim.get("spec") or {}).get("volumeAttributesClassName"),
        status.get("currentVolumeAttributesClassName"),
        (status.get("modifyVolumeStatus") or {}).get("targetVolumeAttributesClassName"),
    )
    return {name for name in names if name}


def is_terminating(spec: Object) -> bool:
    """The pod ends by itself after a while: it has an active deadline."""
    deadline = spec.get("activeDeadlineSeconds")
    return deadline is not None and deadline >= 0


def _chosen(required: Requirement, names: set[str]) -> bool:
    """A label selector's operators, over a label that may have one of several values."""
    operator, values = required.get("operator"), set(required.get("values") or ())
    if operator == "In":
        return bool(names & values)
    if operator == "NotIn":
        return not names or bool(names - values)
    return not names if operator == "DoesNotExist" else bool(names)


def _looks_elsewhere(spec: Object) -> bool:
    """Affinity to pods of other namespaces."""
    affinity = spec.get("affinity") or {}
    for kind in ("podAffinity", "podAntiAffinity"):
        terms = affinity.get(kind) or {}
        required = terms.get("requiredDuringSchedulingIgnoredDuringExecution") or ()
        preferred = terms.get("preferredDuringSchedulingIgnoredDuringExecution") or ()
        for term in (*required, *(each.get("podAffinityTerm") or {} for each in preferred)):
            if term.get("namespaces") or term.get("namespaceSelector") is not None:
                return True
    return False


_OF_PODS: dict[str, Callable[[Object], bool]] = {
    "Terminating": is_terminating,
    "NotTerminating": lambda spec: not is_terminating(spec),
    "BestEffort": lambda spec: qos_class(spec) == "BestEffort",
    "NotBestEffort": lambda spec: qos_class(spec) != "BestEffort",
    "CrossNamespacePodAffinity": _looks_elsewhere,
}
