"""Who may come onto the node: asks every rule about a pod, once, before anything of it is made. One a node; asked by the pods' workers.

The order is upstream's: a node in need takes hardly anybody; then the rules that know only the pod and the node's abilities; then
whether it fits. A critical pod that does not fit has others thrown out.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from tiphys.api.core.pod_resources import qos_class
from tiphys.api.core.taints import toleration_of
from tiphys.client.client import Client
from tiphys.client.resources import NODES
from tiphys.kubelet import allocatable, fit, spec
from tiphys.kubelet.account import Account
from tiphys.kubelet.admission import Abilities, Rejection, rejection
from tiphys.kubelet.fit import Offer
from tiphys.kubelet.preemption import SENTENCE, NobodyToPreempt, victims
from tiphys.kubelet.seen import Sentence
from tiphys.kubelet.spec import Object
from tiphys.machinery import meta
from tiphys.machinery.errors import StatusError
from tiphys.machinery.quantity import Quantity, from_value

FAILURES = (StatusError, OSError, TimeoutError)


class Inhabitants(Protocol):
    """The node and its pods, as the gate must know them."""

    @property
    def node(self) -> Mapping[str, Any]:
        """As the API last had it; empty before it is registered."""

    @property
    def active_pods(self) -> Iterable[Object]:
        """Those that were let in and have not come to their end."""

    async def throw_out(
        self,
        pods: Iterable[Object],
        sentence: Sentence,
        annotations: Mapping[str, str] | None = None,
    ) -> None:
        """Until nothing of them runs any more."""


class Devices(Protocol):
    """Of plugins."""

    async def admit(self, pod: Object) -> Rejection | None:
        """Gives the pod's containers their devices, or says why not."""

    @property
    def offered(self) -> Mapping[str, int]:
        """Devices that are well, and never fewer than are given away: what runs already is not refused for a plugin's absence."""


class Gate:
    """`own`: what the node has to give without what others have added to it in the API."""

    def __init__(
        self,
        name: str,
        own: Mapping[str, Quantity],
        client: Client,
        inhabitants: Callable[[], Inhabitants],
        account: Account,
        *,
        abilities: Callable[[], Awaitable[Abilities]],
        pressure: Callable[[], Sequence[str]] = tuple,
        devices: Devices | None = None,
        count_preemption: Callable[[str], None] = lambda resource: None,
    ) -> None:
        self._name = name
        self._own = own
        self._client = client
        self._inhabitants = inhabitants
        self._account = account
        self._abilities = abilities
        self._pressure = pressure
        self._devices = devices
        self._count_preemption = count_preemption

    async def admit(self, pod: Object) -> Rejection | None:
        found = in_need(pod, self._pressure()) or rejection(pod, await self._abilities())
        if found is None and self._devices is not None:
            found = await self._devices.admit(pod)
        if found is not None:
            return found
        inhabitants = self._inhabitants()
        node = inhabitants.node
        if next(fit.misfits(pod, (), self._offer(node)), None) is not None:
            # The scheduler may have seen a label, or the end of a taint, that we have not.
            node = await self._newest(node)
        return await self._fit(pod, inhabitants, self._offer(node))

    async def _fit(self, pod: Object, inhabitants: Inhabitants, offer: Offer) -> Rejection | None:
        others = list(inhabitants.active_pods)
        shortages = fit.shortages(fit.requests(pod), self._account.others(pod), offer.allocatable)
        misfit = next(fit.misfits(pod, others, offer), None)
        if not shortages or not spec.is_critical(pod):
            return shortages[0].rejection if shortages else misfit
        if misfit is not None:
            return misfit
        try:
            going = victims(pod, others, {shortage.resource: shortage.missing for shortage in shortages})
        except NobodyToPreempt as error:
            told = f"preemption: error finding a set of pods to preempt: {error}"
            message = f"Unexpected error while attempting to recover from admission failure: {told}"
            return Rejection("UnexpectedAdmissionError", message)
        for _ in going:
            self._count_preemption(shortages[0].resource)
        await inhabitants.throw_out(going, SENTENCE)
        return None

    def _offer(self, node: Mapping[str, Any]) -> Offer:
        known = allocatable.quantities((node.get("status") or {}).get("allocatable"))
        others = {name: amount for name, amount in known.items() if allocatable.is_extended(name)}
        if self._devices is not None:
            others |= {name: from_value(count) for name, count in self._devices.offered.items()}
        return Offer(
            self._name,
            {**self._own, **others},
            meta.labels(node) if node else None,
            tuple((node.get("spec") or {}).get("taints") or ()),
        )

    async def _newest(self, node: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            return await self._client.get(NODES, self._name)
        except FAILURES:
            return node


def in_need(pod: Object, pressure: Sequence[str]) -> Rejection | None:
    """A node that is short of memory takes nobody who requests none; one that is short of anything else nobody but critical pods."""
    if not pressure or spec.is_critical(pod):
        return None
    if tuple(pressure) == ("MemoryPressure",):
        if qos_class(pod["spec"]) != "BestEffort":
            return None
        taint = {"key": "node.kubernetes.io/memory-pressure", "effect": "NoSchedule"}
        if toleration_of(pod["spec"].get("tolerations") or (), taint) is not None:
            return None
    return Rejection("Evicted", f"The node had condition: [{' '.join(pressure)}]. ")
