"""What objects use of a quota: one evaluator a kind. Admission charges by it, the controller counts by it.

Every kind is counted as `count/<plural>.<group>`; a few older ones by a plain name too, and some by what is in them. The
rules are upstream's (`pkg/quota/v1`).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from tiphys.api.core.quotas.amounts import ONE, Amounts, added, read
from tiphys.api.core.quotas.base import Evaluator, Wanted
from tiphys.api.core.quotas.pods import Pods
from tiphys.api.core.quotas.scopes import Requirement, attribute_classes, claim_has, requirements
from tiphys.api.core.validation.persistent_volumes import CLASS_ANNOTATION
from tiphys.api.resource import Object
from tiphys.machinery.gvk import GroupResource
from tiphys.machinery.quantity import ZERO, Quantity, from_value

__all__ = ["Evaluator", "Wanted", "evaluator_of", "is_counted", "special_evaluators", "total"]

_STORAGE_CLASS = ".storageclass.storage.k8s.io/"
_DEVICES = ".deviceclass.resource.k8s.io/devices"
_MOST_DEVICES = 32
"""What a request for all devices may come to: an allocation has no more results."""


class Services(Evaluator):
    """Load balancers and node ports are few, so they can be limited apart."""

    def __init__(self) -> None:
        super().__init__(
            GroupResource("", "services"), "services", "services.loadbalancers", "services.nodeports"
        )

    def handles(self, wanted: Wanted) -> bool:
        return not wanted.subresource and wanted.operation in ("CREATE", "UPDATE")

    def usage(self, obj: Object, now: datetime) -> Amounts:
        spec = obj.get("spec") or {}
        ports, kind = spec.get("ports") or (), spec.get("type")
        balanced = kind == "LoadBalancer"
        if balanced and spec.get("allocateLoadBalancerNodePorts") is False:
            count = sum(1 for port in ports if port.get("nodePort"))
        else:
            count = len(ports) if balanced or kind == "NodePort" else 0
        return {
            self.count_name: ONE,
            "services": ONE,
            "services.loadbalancers": ONE if balanced else ZERO,
            "services.nodeports": from_value(count),
        }


class Claims(Evaluator):
    """PersistentVolumeClaims: how many, and how much they ask for, together and by storage class."""

    def __init__(self) -> None:
        super().__init__(
            GroupResource("", "persistentvolumeclaims"), "persistentvolumeclaims", "requests.storage"
        )

    def counts(self, name: str) -> bool:
        return name in self.names or name.endswith(
            (f"{_STORAGE_CLASS}persistentvolumeclaims", f"{_STORAGE_CLASS}requests.storage")
        )

    def handles(self, wanted: Wanted) -> bool:
        if wanted.subresource == "status":
            return wanted.old is not None and self.replenishes(wanted.old, wanted.new)
        return not wanted.subresource and wanted.operation in ("CREATE", "UPDATE")

    def usage(self, obj: Object, now: datetime) -> Amounts:
        used = {"persistentvolumeclaims": ONE, self.count_name: ONE}
        size = _size(obj)
        if size is not None:
            used["requests.storage"] = size
        annotations = obj["metadata"].get("annotations") or {}
        chosen = annotations.get(CLASS_ANNOTATION, (obj.get("spec") or {}).get("storageClassName"))
        if chosen:
            for name in ("persistentvolumeclaims", "requests.storage"):
                if name in used:
                    used[f"{chosen}{_STORAGE_CLASS}{name}"] = used[name]
        return used

    def has_scope(self, required: Requirement, obj: Object) -> bool:
        return claim_has(required, obj)

    knows_scopes = True

    def replenishes(self, old: Object, new: Object) -> bool:
        return _allocated(old) != _allocated(new) or attribute_classes(old) != attribute_classes(new)


def _size(claim: Object) -> Quantity | None:
    """What it asks for or, while it shrinks from more, what it was given: in whole bytes."""
    requested = read(((claim.get("spec") or {}).get("resources") or {}).get("requests")).get("storage")
    if requested is None:
        return None
    allocated = _allocated(claim)
    larger = allocated if allocated is not None and allocated > requested else requested
    return from_value(larger.value, larger.family)


def _allocated(claim: Object) -> Quantity | None:
    return read((claim.get("status") or {}).get("allocatedResources")).get("storage")


class ResourceClaims(Evaluator):
    """Claims of devices: how many, and the devices of each class that they may take at most."""

    def __init__(self) -> None:
        super().__init__(GroupResource("resource.k8s.io", "resourceclaims"))

    def counts(self, name: str) -> bool:
        return name in self.names or name.endswith(_DEVICES)

    def handles(self, wanted: Wanted) -> bool:
        return not wanted.subresource and wanted.operation in ("CREATE", "UPDATE")

    def usage(self, obj: Object, now: datetime) -> Amounts:
        used = {self.count_name: ONE}
        for request in ((obj.get("spec") or {}).get("devices") or {}).get("requests") or ():
            most: Amounts = {}
            for choice in request.get("firstAvailable") or [request.get("exactly")]:
                if not choice:
                    continue  # a form of request that nobody knows yet
                name, count = f"{choice.get('deviceClassName', '')}{_DEVICES}", _devices(choice)
                most[name] = max(most.get(name, ZERO), count, key=lambda amount: amount.nanos)
            used = added(used, most)
        return used


def _devices(request: Object) -> Quantity:
    mode = request.get("allocationMode", "ExactCount")
    if mode == "All":
        return from_value(_MOST_DEVICES)
    return from_value(int(request.get("count", 1))) if mode == "ExactCount" else ZERO


_LEGACY = ("configmaps", "resourcequotas", "replicationcontrollers", "secrets")
_SPECIAL = {
    evaluator.resource: evaluator
    for evaluator in (
        Pods(),
        Services(),
        Claims(),
        ResourceClaims(),
        *(Evaluator(GroupResource("", plural), plural) for plural in _LEGACY),
    )
}
_IGNORED = frozenset(
    {
        GroupResource("", "bindings"),
        GroupResource("", "componentstatuses"),
        GroupResource("", "events"),
        GroupResource("events.k8s.io", "events"),
        GroupResource("authentication.k8s.io", "selfsubjectreviews"),
        GroupResource("authentication.k8s.io", "tokenreviews"),
        GroupResource("authorization.k8s.io", "localsubjectaccessreviews"),
        GroupResource("authorization.k8s.io", "selfsubjectaccessreviews"),
        GroupResource("authorization.k8s.io", "selfsubjectrulesreviews"),
        GroupResource("authorization.k8s.io", "subjectaccessreviews"),
    }
)


def is_counted(resource: GroupResource) -> bool:
    """Not what is only asked, and not events."""
    return resource not in _IGNORED


def evaluator_of(resource: GroupResource) -> Evaluator:
    """How the objects of any resource are counted."""
    return _SPECIAL.get(resource) or Evaluator(resource)


def special_evaluators() -> Iterable[Evaluator]:
    """Of the kinds that are counted by more than `count/…`."""
    return _SPECIAL.values()


def total(
    evaluator: Evaluator, quota: Object, objects: Iterable[Object], now: datetime, *, hard: str = "spec"
) -> Amounts:
    """What these objects use of a quota, of all that it counts them by; `hard`: whether by its spec or its status."""
    names = evaluator.counted((quota.get(hard) or {}).get("hard") or ())
    sums: dict[str, Quantity] = dict.fromkeys(names, ZERO)
    if not names:
        return sums
    scoped = bool(requirements(quota))
    for obj in objects:
        if not scoped or evaluator.is_in_scope(quota, obj):
            used = evaluator.usage(obj, now)
            for name in names:
                if name in used:
                    sums[name] += used[name]
    return sums
