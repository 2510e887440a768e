"""What a pod asks of a node: the sum over its containers, its own pod-level resources, and the class that follows.

The rules are upstream's (`component-helpers/resource`, `apis/core/helper/qos`, KEP-2837 for pod-level resources,
KEP-753 for sidecars). Amounts are Quantity objects, keyed by the name of the resource.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tiphys.api.resource import Object
from tiphys.machinery.quantity import ZERO, Quantity, parse

Amounts = dict[str, Quantity]
_QOS_RESOURCES = ("cpu", "memory")


def container_requests(spec: Object) -> Amounts:
    """What the containers of a pod request together, without pod-level resources and overhead."""
    return _aggregate(spec, "requests")


def container_limits(spec: Object) -> Amounts:
    return _aggregate(spec, "limits")


def pod_requests(spec: Object, *, overhead: bool = True) -> Amounts:
    """What the scheduler counts: pod-level requests win over those of the containers; overhead is added."""
    return _effective(spec, "requests", overhead=overhead)


def pod_limits(spec: Object, *, overhead: bool = True) -> Amounts:
    limits = _effective(spec, "limits", overhead=False)
    if not overhead:
        return limits
    for name, amount in _amounts(spec.get("overhead")).items():
        if name in limits:
            limits[name] += amount
    return limits


def is_pod_level(name: str) -> bool:
    """The resources that a pod as a whole may ask for."""
    return name in _QOS_RESOURCES or name.startswith("hugepages-")


def qos_class(spec: Object) -> str:
    """Guaranteed, Burstable or BestEffort, from cpu and memory alone. Changes never: set once, on create."""
    holders = (
        [spec]
        if has_pod_level_resources(spec)
        else [*spec.get("containers", ()), *spec.get("initContainers", ())]
    )
    requests: Amounts = {}
    limits: Amounts = {}
    guaranteed = True
    for holder in holders:
        resources = holder.get("resources") or {}
        _add(requests, _for_qos(resources.get("requests")))
        found = _for_qos(resources.get("limits"))
        _add(limits, found)
        guaranteed = guaranteed and len(found) == len(_QOS_RESOURCES)
    if not requests and not limits:
        return "BestEffort"
    return "Guaranteed" if guaranteed and requests == limits else "Burstable"


def fill_in_pod_level(spec: Object) -> None:
    """Defaults of `spec.resources` once the containers have theirs. Nothing happens when a client left it out."""
    resources = spec["resources"]
    if resources.get("limits") or resources.get("requests"):
        _huge_page_limits(spec, resources)
    if resources.get("limits"):
        _pod_level_requests(spec, resources)


def _huge_page_limits(spec: Object, resources: Object) -> None:
    limits = dict(resources.get("limits") or {})
    requests = resources.get("requests") or {}
    for name, amount in container_limits(spec).items():
        if name.startswith("hugepages-") and name not in requests:
            limits.setdefault(name, str(amount))
    if limits:
        resources["limits"] = limits


def _pod_level_requests(spec: Object, resources: Object) -> None:
    """Requests come from the containers, and where those name none, from the pod's limits."""
    requests = dict(resources.get("requests") or {})
    for name, amount in container_requests(spec).items():
        if name in _QOS_RESOURCES:
            requests.setdefault(name, str(amount))
    for name, limit in resources["limits"].items():
        if is_pod_level(name):
            requests.setdefault(name, limit)
    if requests:
        resources["requests"] = requests


def _effective(spec: Object, kind: str, *, overhead: bool = True) -> Amounts:
    amounts = _aggregate(spec, kind)
    for name, amount in _amounts((spec.get("resources") or {}).get(kind)).items():
        if is_pod_level(name):
            amounts[name] = amount
    if overhead:
        _add(amounts, _amounts(spec.get("overhead")))
    return amounts


def _aggregate(spec: Object, kind: str) -> Amounts:
    """Containers and sidecars run together; an init container runs alone, beside the sidecars started before it."""
    total: Amounts = {}
    for container in spec.get("containers") or ():
        _add(total, _amounts((container.get("resources") or {}).get(kind)))
    sidecars: Amounts = {}
    peak: Amounts = {}
    for container in spec.get("initContainers") or ():
        amounts = _amounts((container.get("resources") or {}).get(kind))
        if container.get("restartPolicy") == "Always":
            _add(total, amounts)
            _add(sidecars, amounts)
            amounts = sidecars
        else:
            _add(amounts, sidecars)
        _raise_to(peak, amounts)
    _raise_to(total, peak)
    return total


def _amounts(resources: Mapping[str, Any] | None) -> Amounts:
    return {name: parse(text) for name, text in resources.items()} if resources else {}


def _add(total: Amounts, more: Amounts) -> None:
    for name, amount in more.items():
        total[name] = total[name] + amount if name in total else amount


def _raise_to(total: Amounts, floor: Amounts) -> None:
    for name, amount in floor.items():
        if name not in total or total[name] < amount:
            total[name] = amount


def has_pod_level_resources(spec: Object) -> bool:
    """Whether the pod asks for something as a whole; then its containers need not."""
    resources = spec.get("resources") or {}
    return any(is_pod_level(name) for kind in ("requests", "limits") for name in resources.get(kind) or ())


def _for_qos(resources: Mapping[str, Any] | None) -> Amounts:
    return {
        name: amount
        for name, amount in _amounts(resources).items()
        if name in _QOS_RESOURCES and amount > ZERO
    }
