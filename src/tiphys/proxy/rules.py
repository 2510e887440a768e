"""What a node's packet filter does for Services: from a Service and its EndpointSlices to its part of the rules. Pure.

The rules are few and the same for any number of Services; what differs are elements of maps, so that one more Service costs the same
whether it is the first or the ten thousandth (docs/decisions/0035-cluster-dns.md):

    frontends   address . protocol . port        → goto any-of-3     where connections to Services begin
    any-of-3    one of 3 at random becomes the packet's mark; goto pick
    endpoints   address . protocol . port . mark → pod . port        where `pick` sends it

The mark says more than which one: connections that come from outside are masqueraded, so that answers come back this way (from
MASQUERADED on), unless their Service wants to see where they come from: then they go to pods of this node only (from NEAR on).
Services with session affinity have chains of their own, and a set of clients for each endpoint.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network, collapse_addresses, ip_address, ip_network

from tiphys.machinery.frozen import frozen
from tiphys.proxy.backends import Endpoint, Object, Place, endpoints_of, of_the_cluster, of_the_node
from tiphys.proxy.ruleset import Ruleset

MASQUERADED = 0x4000
NEAR = 0x10000
_KEY = "ipv4_addr . inet_proto . inet_service"
_PACKET = "ip daddr . meta l4proto . th dport"
_REFUSE, _DISCARD = "goto refuse", "goto discard"
DEFAULT_AFFINITY_SECONDS = 10800


@frozen
class Node:
    """`addresses`: at which it serves node ports. `pod_cidr`: of its own pods. `service_cidr`: whoever asks for an address in it
    that no Service has is refused."""

    place: Place
    addresses: tuple[str, ...] = ()
    pod_cidr: str = ""
    service_cidr: str = ""


def base(node: Node) -> Ruleset:
    """What is there without any Service."""
    sets = {
        "frontends": ("map", f"type {_KEY} : verdict"),
        "outside": ("map", f"type {_KEY} : verdict"),
        "endpoints": ("map", f"type {_KEY} . mark : ipv4_addr . inet_service"),
        "unserved": ("map", f"type {_KEY} : verdict"),
        "cluster-addresses": ("set", "type ipv4_addr"),
        "hairpins": ("set", "type ipv4_addr . ipv4_addr"),
        "guarded": ("map", f"type {_KEY} : verdict"),
    }
    frontends = f"{_PACKET} vmap @frontends"
    from_outside = f"ip saddr != {node.pod_cidr} " if node.pod_cidr else ""
    guard = f"ct state new {_PACKET} vmap @guarded"
    unserved = "ct state new jump unserved"
    refuses_unknown = (f"ip daddr {node.service_cidr} goto refuse",) if node.service_cidr else ()
    masquerade = f"ct status dnat meta mark & {MASQUERADED:#x} == {MASQUERADED:#x} masquerade"
    chains: dict[str, tuple[str, tuple[str, ...]]] = {
        # An ICMP error about a packet of the node's own would have the address in question for its source, which routing refuses.
        "refuse": ("", ("meta l4proto tcp reject with tcp reset", "reject")),
        "discard": ("", ("drop",)),
        "pick": ("", (f"dnat ip addr . port to {_PACKET} . meta mark map @endpoints",)),
        "unserved": (
            "",
            (f"{_PACKET} vmap @unserved", "ip daddr @cluster-addresses goto refuse", *refuses_unknown),
        ),
        # Before anything is sent elsewhere: who comes by a load balancer's address is looked at as he came.
        "guard": ("type filter hook prerouting priority -110", (guard,)),
        "local-guard": ("type filter hook output priority -110", (guard,)),
        "prerouting": (
            "type nat hook prerouting priority dstnat",
            (f"{from_outside}{_PACKET} vmap @outside", frontends),
        ),
        "output": ("type nat hook output priority -100", (frontends,)),
        "postrouting": (
            "type nat hook postrouting priority srcnat",
            ("ct status dnat ip saddr . ip daddr @hairpins masquerade", masquerade),
        ),
        "forward": ("type filter hook forward priority filter", (unserved,)),
        "input": ("type filter hook input priority filter", (unserved,)),
        # After what is served was sent elsewhere.
        "local-output": ("type filter hook output priority -90", (unserved,)),
    }
    return Ruleset(sets, chains)


@dataclass(slots=True)
class _Part:
    """One Service's part while it is made."""

    sets: dict[str, tuple[str, str]] = field(default_factory=dict)
    chains: dict[str, tuple[str, tuple[str, ...]]] = field(default_factory=dict)
    elements: dict[str, dict[str, str]] = field(default_factory=dict)

    def element(self, name: str, key: str, value: str = "") -> None:
        self.elements.setdefault(name, {}).setdefault(key, value)


def part_of(service: Object, slices: Sequence[Object], node: Node) -> Ruleset:
    """Empty for headless Services and those with an external name."""
    spec = service["spec"]
    part = _Part()
    cluster_ips = [ip for ip in spec.get("clusterIPs") or [spec.get("clusterIP")] if _is_ipv4(ip)]
    if spec.get("type") != "ExternalName" and cluster_ips:
        for ip in cluster_ips:
            part.element("cluster-addresses", ip)
        guard = _guard(part, service, node)
        for port in spec.get("ports") or ():
            for ip in _balanced(service) if guard else ():
                key = f"{ip} . {(port.get('protocol') or 'TCP').lower()} . {port['port']}"
                part.element("guarded", key, f"goto {guard}")
            _port(part, service, port, slices, node)
    return Ruleset(part.sets, part.chains, part.elements)


def _is_ipv4(address: str | None) -> bool:
    return bool(address) and address != "None" and ":" not in str(address)


def _port(part: _Part, service: Object, port: Object, slices: Sequence[Object], node: Node) -> None:
    spec = service["spec"]
    protocol = port.get("protocol") or "TCP"
    endpoints = endpoints_of(slices, port.get("name") or "", protocol)
    everywhere, here = of_the_cluster(endpoints, node.place), of_the_node(endpoints, node.place)
    for endpoint in here:
        part.element("hairpins", f"{endpoint.address} . {endpoint.address}")
    keeps_inside = spec.get("internalTrafficPolicy") == "Local"
    keeps_outside = spec.get("externalTrafficPolicy") == "Local"
    ways = _Ways(part, service, port, _affinity_seconds(spec))
    for ip in filter(_is_ipv4, spec.get("clusterIPs") or [spec["clusterIP"]]):
        key = f"{ip} . {protocol.lower()} . {port['port']}"
        chosen = here if keeps_inside else everywhere
        if not chosen:
            part.element("unserved", key, _DISCARD if everywhere else _REFUSE)
        else:
            part.element("frontends", key, ways.to(key, chosen, NEAR if keeps_inside else 0))
    for ip, number in _external(service, port, node):
        key = f"{ip} . {protocol.lower()} . {number}"
        if not everywhere:
            part.element("unserved", key, _REFUSE)
        elif keeps_outside:
            part.element("frontends", key, ways.to(key, everywhere, 0))
            part.element("outside", key, ways.to(key, here, NEAR) if here else _DISCARD)
        else:
            part.element("frontends", key, ways.to(key, everywhere, MASQUERADED))


def _guard(part: _Part, service: Object, node: Node) -> str:
    """The chain that only those pass who may come by the load balancer; empty when all may."""
    written = [
        ip_network(text.strip(), strict=False)
        for text in service["spec"].get("loadBalancerSourceRanges") or ()
    ]
    ranges = [each for each in written if isinstance(each, IPv4Network)]
    balanced = list(_balanced(service))
    if not ranges or not balanced or any(each.prefixlen == 0 for each in ranges):
        return ""
    if any(ip_address(own) in each for own in node.addresses for each in ranges):
        # The address of a load balancer may be one of the node, too: then the node's own connections to it come from there.
        ranges += [IPv4Network(ip) for ip in balanced]
    chain = f"guard/{service['metadata']['namespace']}/{service['metadata']['name']}"
    sources = ", ".join(str(each) for each in collapse_addresses(ranges))
    part.chains[chain] = ("", (f"ip saddr != {{ {sources} }} drop",))
    return chain


def _balanced(service: Object) -> Iterable[str]:
    """Addresses at which a load balancer sends packets on as they came; those that it sends on otherwise come to a node port."""
    ingress = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    for each in ingress:
        if each.get("ipMode") != "Proxy" and _is_ipv4(each.get("ip")):
            yield each["ip"]


def _external(service: Object, port: Object, node: Node) -> Iterable[tuple[str, int]]:
    """The addresses and ports at which it is reached from outside the cluster."""
    for ip in (*filter(_is_ipv4, service["spec"].get("externalIPs") or ()), *_balanced(service)):
        yield ip, port["port"]
    if port.get("nodePort"):
        for ip in node.addresses:
            yield ip, port["nodePort"]


def _affinity_seconds(spec: Object) -> int:
    """0: none."""
    if spec.get("sessionAffinity") != "ClientIP":
        return 0
    config = (spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}
    return int(config.get("timeoutSeconds") or DEFAULT_AFFINITY_SECONDS)


# Ways from a frontend to its endpoints


@dataclass(slots=True)
class _Ways:
    """Of one port of a Service."""

    part: _Part
    service: Object
    port: Object
    affinity_seconds: int

    def to(self, key: str, endpoints: Sequence[Endpoint], first_mark: int) -> str:
        """The verdict for a frontend; what it needs is added to the part."""
        if self.affinity_seconds:
            return f"goto {self._affine(endpoints, first_mark)}"
        for number, endpoint in enumerate(endpoints, first_mark):
            self.part.element("endpoints", f"{key} . {number}", f"{endpoint.address} . {endpoint.port}")
        count = len(endpoints)
        kind = {0: "any", NEAR: "near", MASQUERADED: "masqueraded"}[first_mark]
        offset = f" offset {first_mark}" if first_mark else ""
        which = f"numgen random mod {count}{offset}" if count > 1 else str(first_mark)
        chain = f"{kind}-of-{count}"
        self.part.chains[chain] = ("", (f"meta mark set {which}", "goto pick"))
        return f"goto {chain}"

    def _affine(self, endpoints: Sequence[Endpoint], first_mark: int) -> str:
        """Who was at an endpoint before goes there again, as long as it is there and he was not away for too long."""
        kind = {0: "affine", NEAR: "affine-near", MASQUERADED: "affine"}[first_mark]
        protocol = (self.port.get("protocol") or "TCP").lower()
        metadata = self.service["metadata"]
        name = f"{metadata['namespace']}/{metadata['name']}/{protocol}/{self.port['port']}"
        again, first = [], []
        for number, endpoint in enumerate(endpoints):
            end = f"{name}/{endpoint.address}/{endpoint.port}"
            self._end(end, protocol, endpoint)
            again.append(f"ip saddr @clients/{end} goto to/{end}")
            first.append(f"{number} : goto to/{end}")
        spread = f"numgen random mod {len(endpoints)} vmap {{ {', '.join(first)} }}"
        self.part.chains[f"{kind}/{name}"] = ("", (*again, spread))
        if first_mark != MASQUERADED:
            return f"{kind}/{name}"
        marking = f"meta mark set {MASQUERADED:#x}"
        self.part.chains[f"affine-masqueraded/{name}"] = ("", (marking, f"goto {kind}/{name}"))
        return f"affine-masqueraded/{name}"

    def _end(self, end: str, protocol: str, endpoint: Endpoint) -> None:
        declaration = f"type ipv4_addr; flags dynamic,timeout; timeout {self.affinity_seconds}s"
        self.part.sets[f"clients/{end}"] = ("set", declaration)
        send = f"meta l4proto {protocol} dnat to {endpoint.address}:{endpoint.port}"
        self.part.chains[f"to/{end}"] = ("", (f"update @clients/{end} {{ ip saddr }}", send))
