"""Pods: how many are alive, and what they request and may use at most."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from tiphys.api.core.pod_resources import has_pod_level_resources, pod_limits, pod_requests
from tiphys.api.core.quotas.amounts import ONE, Amounts, read
from tiphys.api.core.quotas.base import Evaluator, Wanted
from tiphys.api.core.quotas.scopes import Requirement, is_terminating, pod_has
from tiphys.api.core.validation.resources import HUGE_PAGES, is_extended, is_native
from tiphys.api.resource import Object
from tiphys.machinery import meta
from tiphys.machinery.gvk import GroupResource

_COMPUTE = ("cpu", "memory", "ephemeral-storage")
_REQUESTS, _LIMITS = "requests.", "limits."
_DEVICE_CLASS = "deviceclass.resource.kubernetes.io/"
"""A class of devices asked for as if it were an extended resource."""
_DEMANDED = frozenset(f"{kind}{name}" for kind in ("", _REQUESTS, _LIMITS) for name in ("cpu", "memory"))
"""A quota of these demands that every container says how much it wants. Of no others: upstream regrets it."""


class Pods(Evaluator):
    knows_scopes = True

    def __init__(self) -> None:
        compute = (f"{kind}{name}" for kind in ("", _REQUESTS, _LIMITS) for name in _COMPUTE)
        super().__init__(GroupResource("", "pods"), "pods", *compute)

    def counts(self, name: str) -> bool:
        if name in self.names or name.startswith((HUGE_PAGES, f"{_REQUESTS}{HUGE_PAGES}")):
            return True
        return name.startswith(_REQUESTS) and (
            not is_native(name) or name.startswith(f"{_REQUESTS}{_DEVICE_CLASS}")
        )

    def handles(self, wanted: Wanted) -> bool:
        if wanted.subresource == "resize":
            return wanted.operation == "UPDATE"
        if wanted.subresource:
            return False
        if wanted.operation == "UPDATE" and wanted.old is not None:
            return is_terminating(wanted.old["spec"]) != is_terminating(wanted.new["spec"])
        return wanted.operation == "CREATE"

    def usage(self, obj: Object, now: datetime) -> Amounts:
        if not is_charged(obj, now):
            return {self.count_name: ONE}
        spec = granted_spec(obj)
        requests, limits = pod_requests(spec), pod_limits(spec)
        used = {self.count_name: ONE, "pods": ONE}
        for name, amount in requests.items():
            if name in _COMPUTE or name.startswith(HUGE_PAGES):
                used[name] = used[_REQUESTS + name] = amount
            elif is_extended(name) or name.startswith(_DEVICE_CLASS):
                used[_REQUESTS + name] = amount
        for name in _COMPUTE:
            if name in limits:
                used[_LIMITS + name] = limits[name]
        return used

    def has_scope(self, required: Requirement, obj: Object) -> bool:
        return pod_has(required, obj)

    def missing(self, names: Iterable[str], obj: Object) -> str:
        demanded = sorted(_DEMANDED.intersection(names))
        spec = obj["spec"]
        if not demanded or has_pod_level_resources(spec):
            return ""
        lacking: dict[str, set[str]] = {}
        for container in (*(spec.get("containers") or ()), *(spec.get("initContainers") or ())):
            resources = container.get("resources") or {}
            for name in demanded:
                kind = "limits" if name.startswith(_LIMITS) else "requests"
                if name.removeprefix(_LIMITS).removeprefix(_REQUESTS) not in (resources.get(kind) or {}):
                    lacking.setdefault(name, set()).add(container.get("name", ""))
        texts = [f"{name} for: {','.join(sorted(who))}" for name, who in sorted(lacking.items())]
        return f"must specify {'; '.join(texts)}" if texts else ""

    def replenishes(self, old: Object, new: Object) -> bool:
        return _is_over(old) != _is_over(new) or _allocations(old) != _allocations(new)


def is_charged(pod: Object, now: datetime) -> bool:
    """Not one that is over, nor one that should be gone by now: its node may be lost, and nobody shall pay for that."""
    if _is_over(pod):
        return False
    metadata = pod["metadata"]
    grace = metadata.get("deletionGracePeriodSeconds")
    if not metadata.get("deletionTimestamp") or grace is None:
        return True
    return now <= meta.parse_time(metadata["deletionTimestamp"]) + timedelta(seconds=grace)


def _is_over(pod: Object) -> bool:
    return (pod.get("status") or {}).get("phase") in ("Failed", "Succeeded")


def _allocations(pod: Object) -> list[object]:
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    return [status.get("allocatedResources") for status in statuses]


def granted_spec(pod: Object) -> Object:
    """The pod's spec with what its containers have been given where that is more than they ask for (a resize under way)."""
    spec: Object = pod["spec"]
    status = pod.get("status") or {}
    given = {
        each.get("name"): each
        for kind in ("containerStatuses", "initContainerStatuses")
        for each in status.get(kind) or ()
        if each.get("resources")
    }
    if not given:
        return spec
    refused = any(
        condition.get("type") == "PodResizePending"
        and condition.get("status") == "True"
        and condition.get("reason") == "Infeasible"
        for condition in status.get("conditions") or ()
    )
    containers = [_granted(each, given, refused=refused) for each in spec.get("containers") or ()]
    first = [
        _granted(each, given, refused=refused) if each.get("restartPolicy") == "Always" else each
        for each in spec.get("initContainers") or ()
    ]
    return {**spec, "containers": containers, "initContainers": first}


def _granted(container: Object, given: dict[str, Object], *, refused: bool) -> Object:
    status = given.get(container.get("name", ""))
    if status is None:
        return container
    asked, actual = container.get("resources") or {}, status["resources"]
    sources = [actual] if refused else [asked, actual]
    requests = [each.get("requests") for each in sources] + [status.get("allocatedResources")]
    limits = [each.get("limits") for each in sources]
    return {**container, "resources": {"requests": _largest(requests), "limits": _largest(limits)}}


def _largest(several: Iterable[Object | None]) -> dict[str, str]:
    largest: Amounts = {}
    for amounts in several:
        for name, amount in read(amounts).items():
            if name not in largest or largest[name] < amount:
                largest[name] = amount
    return {name: str(amount) for name, amount in largest.items()}
