"""Pod addresses: every node gets a range of its own out of the cluster's, written into `spec.podCIDR`.

A node that brings a range keeps it. Ranges are given in order, and again once their node is gone.
"""

from __future__ import annotations

from datetime import datetime
from ipaddress import IPv4Network, IPv6Network, ip_network

from tiphys.client.cache import View
from tiphys.client.resources import NODES
from tiphys.client.transport import Object
from tiphys.controllers.actions import NORMAL, NOTHING, Patch, Plan, RecordEvent
from tiphys.controllers.catalog import Options
from tiphys.controllers.pods import spec_of
from tiphys.controllers.runner import Controller
from tiphys.machinery import meta

Network = IPv4Network | IPv6Network
Used = frozenset[str]


def observe(node: Object, view: View) -> Used:
    """The ranges that nodes have; none for a node that has its own, since nothing will be asked."""
    if ranges_of(node):
        return frozenset()
    return frozenset(cidr for each in view.list(NODES) for cidr in ranges_of(each))


def ranges_of(node: Object) -> list[str]:
    spec = spec_of(node)
    return spec.get("podCIDRs") or ([spec["podCIDR"]] if spec.get("podCIDR") else [])


def first_free(cluster: Network, mask_size: int, used: Used) -> str | None:
    """The first subnet that overlaps no used range. Counts in whole subnets: a thousand nodes ask one after the other."""
    size = 1 << (cluster.max_prefixlen - mask_size)
    base = int(cluster.network_address)
    taken: set[int] = set()
    for cidr in used:
        network = ip_network(cidr, strict=False)
        if network.version == cluster.version:
            first = (int(network.network_address) - base) // size
            last = (int(network.broadcast_address) - base) // size
            taken.update(range(max(first, 0), min(last, cluster.num_addresses // size) + 1))
    for number in range(cluster.num_addresses // size):
        if number not in taken:
            return f"{type(cluster.network_address)(base + number * size)}/{mask_size}"
    return None


def make(options: Options) -> Controller[Used]:
    cluster = ip_network(options.cluster_cidr)

    def plan(node: Object, observed: Used, now: datetime) -> Plan:
        if ranges_of(node) or meta.is_deleting(node):
            return NOTHING
        free = first_free(cluster, options.node_cidr_mask_size, observed)
        if free is None:
            message = f"Node {meta.name(node)} status is now: CIDRNotAvailable"
            return Plan((RecordEvent(NORMAL, "CIDRNotAvailable", message),), 60.0, "all ranges are taken")
        patch = {"metadata": {"uid": meta.uid(node)}, "spec": {"podCIDR": free, "podCIDRs": [free]}}
        return Plan((Patch(NODES, meta.name(node), patch),), reason=f"it gets {free}")

    return Controller(
        name="node-ipam-controller",
        kind=NODES,
        observe=observe,
        plan=plan,
        component="cidrAllocator",
        one_at_a_time=True,
    )
