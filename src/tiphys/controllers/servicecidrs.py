"""ServiceCIDR: says that a network is ready, and keeps it as long as Services have addresses that are in no other one.

A finalizer holds a ServiceCIDR that is being deleted; it goes ten seconds later, when nobody takes addresses from it any more, and
only if another one contains it, or no address is left that only it contains. Rules and words are upstream's
`pkg/controller/servicecidrs` (KEP-1880).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from ipaddress import IPv4Network, IPv6Network

from tiphys.client.cache import View
from tiphys.client.resources import IPADDRESSES, SERVICECIDRS
from tiphys.client.transport import STRATEGIC_MERGE_PATCH, Object
from tiphys.controllers.actions import NOTHING, Patch, Plan, UpdateStatus
from tiphys.controllers.pods import spec_of, status_of
from tiphys.controllers.runner import Controller, Watch
from tiphys.machinery import meta
from tiphys.machinery.addresses import parse_address, parse_network
from tiphys.machinery.frozen import frozen

FINALIZER = "networking.k8s.io/service-cidr-finalizer"
MANAGED_BY = ("ipaddress.kubernetes.io/managed-by", "ipallocator.k8s.io")
GRACE_SECONDS = 10.0
_READY = "Kubernetes Service CIDR is ready"
_HELD = (
    "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR"
)
Network = IPv4Network | IPv6Network


@frozen
class Observed:
    """`is_needed`: an address would be in no ServiceCIDR without this one. Only looked at when it is to go."""

    is_needed: bool


def networks_of(cidr: Object) -> list[Network]:
    parsed = map(parse_network, spec_of(cidr).get("cidrs") or ())
    return [network for network in parsed if network is not None]


def observe(cidr: Object, view: View) -> Observed:
    if not meta.is_deleting(cidr):
        return Observed(is_needed=True)
    others = [
        network
        for other in view.list(SERVICECIDRS)
        if meta.uid(other) != meta.uid(cidr)
        for network in networks_of(other)
    ]
    own = networks_of(cidr)
    if all(any(_contains(other, network) for other in others) for network in own):
        return Observed(is_needed=False)
    return Observed(is_needed=any(_is_only_in(own, others, address) for address in view.list(IPADDRESSES)))


def _contains(outer: Network, inner: Network) -> bool:
    if isinstance(outer, IPv4Network):
        return isinstance(inner, IPv4Network) and inner.subnet_of(outer)
    return isinstance(inner, IPv6Network) and inner.subnet_of(outer)


def _is_only_in(own: list[Network], others: list[Network], address: Object) -> bool:
    label, value = MANAGED_BY
    parsed = parse_address(meta.name(address))
    if parsed is None or meta.labels(address).get(label) != value:
        return False
    return any(parsed in network for network in own) and not any(parsed in network for network in others)


def plan(cidr: Object, observed: Observed, now: datetime) -> Plan:
    has_finalizer = FINALIZER in meta.finalizers(cidr)
    deleted = meta.deletion_time(cidr)
    if deleted is None:
        if not has_finalizer:
            return Plan((_patch(cidr, {"finalizers": [FINALIZER]}),), reason="has no finalizer")
        return _report(cidr, "True", "", _READY, now)
    if not has_finalizer:
        return NOTHING
    if observed.is_needed:
        return _report(cidr, "False", "Terminating", _HELD, now)
    left = GRACE_SECONDS - (now - deleted).total_seconds()
    if left > 0:
        return Plan(requeue_after_seconds=left, reason="an address may still be taken from it")
    removal = {"$deleteFromPrimitiveList/finalizers": [FINALIZER]}
    return Plan((_patch(cidr, removal),), reason="nobody needs it")


def _patch(cidr: Object, metadata: Object) -> Patch:
    patch = {"metadata": {"uid": meta.uid(cidr), **metadata}}
    return Patch(SERVICECIDRS, meta.name(cidr), patch, "", STRATEGIC_MERGE_PATCH)


def _report(cidr: Object, status: str, reason: str, message: str, now: datetime) -> Plan:
    changed = meta.set_condition(meta.conditions(cidr), "Ready", status, now, reason=reason, message=message)
    conditions = [{"reason": "", **condition} for condition in changed]
    if conditions == list(meta.conditions(cidr)):
        return NOTHING
    reported = {**cidr, "status": {**status_of(cidr), "conditions": conditions}}
    return Plan((UpdateStatus(SERVICECIDRS, reported),))


def everyone(obj: Object, view: View) -> Iterable[str]:
    """There are few of them, and each may be what another one leans on."""
    return [meta.name(cidr) for cidr in view.list(SERVICECIDRS)]


def dying(address: Object, view: View) -> Iterable[str]:
    """An address came or went: that matters to those that wait to go."""
    return [meta.name(cidr) for cidr in view.list(SERVICECIDRS) if meta.is_deleting(cidr)]


CONTROLLER = Controller(
    name="service-cidr-controller",
    kind=SERVICECIDRS,
    observe=observe,
    plan=plan,
    watches=[Watch(SERVICECIDRS, everyone), Watch(IPADDRESSES, dying)],
    component="servicecidrs-controller",
)
