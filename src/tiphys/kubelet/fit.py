"""Whether a pod fits on the node beside those that are there: the scheduler's own questions, asked once more by who has to do it. Pure.

The scheduler may have been mistaken, or not have been asked (`spec.nodeName` by hand, static pods). Reasons and messages are upstream's
(`pkg/kubelet/lifecycle` predicate.go over `scheduler.AdmissionCheck`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import field
from typing import Any, NamedTuple

from tiphys.api.core.pod_resources import pod_requests
from tiphys.api.core.taints import toleration_of
from tiphys.kubelet import spec
from tiphys.kubelet.admission import Rejection
from tiphys.kubelet.allocatable import is_extended
from tiphys.kubelet.spec import Object
from tiphys.machinery.frozen import frozen
from tiphys.machinery.quantity import Quantity
from tiphys.machinery.selectors.nodes import NodeSelector

Amounts = Mapping[str, int]
"""Of processor in thousandths, of everything else in whole units."""
_FIRST = ("pods", "cpu", "memory", "ephemeral-storage")


@frozen
class Offer:
    """What the node has for pods. `labels` None: not known yet, and nothing is asked about them."""

    name: str
    allocatable: Mapping[str, Quantity]
    labels: Mapping[str, str] | None = None
    taints: tuple[Mapping[str, Any], ...] = field(default=())


class Shortage(NamedTuple):
    resource: str
    requested: int
    used: int
    capacity: int

    @property
    def missing(self) -> int:
        return self.requested - (self.capacity - self.used)

    @property
    def rejection(self) -> Rejection:
        amounts = f"requested: {self.requested}, used: {self.used}, capacity: {self.capacity}"
        message = f"Node didn't have enough resource: {self.resource}, {amounts}"
        return Rejection(f"OutOf{self.resource}", message)


def requests(pod: Object) -> dict[str, int]:
    return {name: whole(name, amount) for name, amount in pod_requests(pod["spec"]).items()}


def whole(name: str, amount: Quantity) -> int:
    """One of Amounts."""
    return amount.milli if name == "cpu" else amount.value


def shortages(
    requested: Amounts, others: Iterable[Amounts], allocatable: Mapping[str, Quantity]
) -> list[Shortage]:
    """Of what a pod requests and the node has not left beside others' requests, in upstream's order.

    Extended resources that the node knows nothing of are somebody else's.
    """
    used: dict[str, int] = {"pods": 0}
    for other in others:
        used["pods"] += 1
        for name, amount in other.items():
            used[name] = used.get(name, 0) + amount
    wanted = {"pods": 1, **requested}
    found = []
    for name in sorted(
        wanted, key=lambda name: (_FIRST.index(name) if name in _FIRST else len(_FIRST), name)
    ):
        if name not in allocatable and is_extended(name):
            continue
        has = whole(name, allocatable[name]) if name in allocatable else 0
        if wanted[name] and wanted[name] > has - used.get(name, 0):
            found.append(Shortage(name, wanted[name], used.get(name, 0), has))
    return found


def misfits(pod: Object, others: Iterable[Object], offer: Offer) -> Iterator[Rejection]:
    """Why else the pod cannot be here, in upstream's order; no other pod's end would help."""
    if offer.labels is not None and not _is_for(pod, offer.labels, offer.name):
        yield _failed("NodeAffinity", "node(s) didn't match Pod's node affinity/selector")
    if _takes_a_taken_port(pod, others):
        yield _failed("NodePorts", "node(s) didn't have free ports for the requested pod ports")
    if not spec.is_static(pod) and not _tolerates(pod, offer.taints):
        yield _failed("TaintToleration", "node(s) had taints that the pod didn't tolerate")


def _failed(predicate: str, description: str) -> Rejection:
    return Rejection(predicate, f"Predicate {predicate} failed: {description}")


def _is_for(pod: Object, labels: Mapping[str, str], name: str) -> bool:
    selector = pod["spec"].get("nodeSelector") or {}
    if not selector.items() <= labels.items():
        return False
    affinity = (pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    return required is None or NodeSelector(required).matches(labels, name)


class _Port(NamedTuple):
    address: str
    protocol: str
    number: int

    def meets(self, other: _Port) -> bool:
        addresses = {self.address, other.address}
        return self[1:] == other[1:] and (len(addresses) == 1 or "0.0.0.0" in addresses)


def _ports(pod: Object) -> list[_Port]:
    return [
        _Port(port.get("hostIP") or "0.0.0.0", port.get("protocol") or "TCP", port["hostPort"])
        for container in (*spec.containers(pod), *spec.sidecars(pod))
        for port in container.get("ports") or ()
        if port.get("hostPort")
    ]


def _takes_a_taken_port(pod: Object, others: Iterable[Object]) -> bool:
    wanted = _ports(pod)
    if not wanted:
        return False
    taken = [port for other in others for port in _ports(other)]
    return any(want.meets(port) for want in wanted for port in taken)


def _tolerates(pod: Object, taints: Iterable[Mapping[str, Any]]) -> bool:
    """Of taints only NoExecute concerns who is here already."""
    tolerations = pod["spec"].get("tolerations") or ()
    return all(
        toleration_of(tolerations, taint) is not None
        for taint in taints
        if taint.get("effect") == "NoExecute"
    )
