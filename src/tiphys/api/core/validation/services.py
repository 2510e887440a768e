"""Services and endpoints."""

from __future__ import annotations

from collections.abc import Iterable

from tiphys.api.core.defaults.services import externally_accessible
from tiphys.api.core.service_fields import HEADLESS, is_headless, needs_health_check
from tiphys.api.core.validation.containers import PROTOCOLS
from tiphys.api.resource import Object
from tiphys.api.validation import (
    Errors,
    cidr,
    dns_label,
    dns_subdomain,
    ip_address,
    label_map,
    one_of,
    port_number,
    port_number_or_name,
    qualified_name,
    required_one_of,
)
from tiphys.machinery.addresses import parse_address
from tiphys.machinery.errors import FieldError, Path
from tiphys.machinery.meta import annotations as annotations_of

_SPEC = Path("spec")
_METADATA = Path("metadata")
_TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
_FAMILIES = ("IPv4", "IPv6")
_FAMILY_POLICIES = ("PreferDualStack", "RequireDualStack", "SingleStack")
_DISTRIBUTIONS = ("PreferClose", "PreferSameNode", "PreferSameZone")
_AFFINITY_LIMIT_SECONDS = 86400
_TOPOLOGY_MODE = "service.kubernetes.io/topology-mode"
_TOPOLOGY_HINTS = "service.kubernetes.io/topology-aware-hints"
_SOURCE_RANGES = "service.beta.kubernetes.io/load-balancer-source-ranges"
_ONLY_BALANCED = "may only be used when `type` is 'LoadBalancer'"
_ONE_A_FAMILY = "may specify no more than one IP for each IP family"


def service(new: Object, old: Object | None) -> Errors:
    spec = new["spec"]
    errors = _update(spec, old["spec"]) if old is not None else []
    errors += _topology_annotations(new)
    errors += _type(spec)
    errors += _ports(spec)
    errors += label_map(spec.get("selector"), _SPEC.child("selector"))
    errors += _session_affinity(spec)
    errors += _cluster_ips(spec)
    for position, address in enumerate(spec.get("externalIPs") or ()):
        here = _SPEC.child("externalIPs").index(position)
        errors += ip_address(address, here) or non_special_ip(address, here)
    errors += _load_balancer(new, spec)
    return errors + _traffic(spec)


def _topology_annotations(obj: Object) -> Errors:
    values = annotations_of(obj)
    mode, hints = values.get(_TOPOLOGY_MODE), values.get(_TOPOLOGY_HINTS)
    if mode is None or hints is None or mode == hints:
        return []
    here = _METADATA.child("annotations").key(_TOPOLOGY_MODE)
    return [
        FieldError.invalid(here, mode, f"must match annotations[{_TOPOLOGY_HINTS}] when both are specified")
    ]


def _type(spec: Object) -> Errors:
    type = spec.get("type")
    errors = required_one_of(type, _TYPES, _SPEC.child("type"))
    if not spec.get("ports") and not is_headless(spec) and type != "ExternalName":
        errors.append(FieldError.required(_SPEC.child("ports")))
    if type in ("LoadBalancer", "NodePort") and is_headless(spec):
        here = _SPEC.child("clusterIPs").index(0)
        errors.append(FieldError.invalid(here, HEADLESS, f"may not be set to 'None' for {type} services"))
    if type == "ExternalName":
        errors += _external_name(spec)
    return errors


def _external_name(spec: Object) -> Errors:
    errors = [
        FieldError.forbidden(_SPEC.child(field), "may not be set for ExternalName services")
        for field in ("clusterIPs", "ipFamilies", "ipFamilyPolicy")
        if spec.get(field)
    ]
    here, host = _SPEC.child("externalName"), (spec.get("externalName") or "").removesuffix(".")
    return errors + (dns_subdomain(host, here) if host else [FieldError.required(here)])


# Ports


def _ports(spec: Object) -> Errors:
    ports = spec.get("ports") or ()
    errors: Errors = []
    seen_names: set[str] = set()
    node_ports: set[tuple[str, int]] = set()
    numbers: set[tuple[str, int]] = set()
    for position, port in enumerate(ports):
        here = _SPEC.child("ports").index(position)
        errors += _port(port, here, seen_names, name_required=len(ports) > 1)
        protocol, number, on_node = (
            port.get("protocol") or "",
            port.get("port") or 0,
            port.get("nodePort") or 0,
        )
        if on_node and spec.get("type") == "ClusterIP":
            detail = "may not be used when `type` is 'ClusterIP'"
            errors.append(FieldError.forbidden(here.child("nodePort"), detail))
        if on_node and (protocol, on_node) in node_ports:
            errors.append(FieldError.duplicate(here.child("nodePort"), on_node))
        if (protocol, number) in numbers:
            errors.append(FieldError.duplicate(here, {"protocol": protocol, "port": number}))
        node_ports.add((protocol, on_node))
        numbers.add((protocol, number))
    return errors


def _port(port: Object, path: Path, seen: set[str], *, name_required: bool) -> Errors:
    name = port.get("name") or ""
    errors: Errors = []
    if name:
        errors += dns_label(name, path.child("name"))
        if name in seen:
            errors.append(FieldError.duplicate(path.child("name"), name))
        seen.add(name)
    elif name_required:
        errors.append(FieldError.required(path.child("name")))
    errors += port_number(port.get("port") or 0, path.child("port"))
    errors += required_one_of(port.get("protocol"), PROTOCOLS, path.child("protocol"))
    errors += port_number_or_name(port.get("targetPort"), path.child("targetPort"))
    if port.get("appProtocol") is not None:
        errors += qualified_name(port["appProtocol"], path.child("appProtocol"))
    return errors


def _session_affinity(spec: Object) -> Errors:
    affinity, here = spec.get("sessionAffinity"), _SPEC.child("sessionAffinityConfig")
    errors = required_one_of(affinity, ("ClientIP", "None"), _SPEC.child("sessionAffinity"))
    config = spec.get("sessionAffinityConfig")
    if affinity == "None" and config is not None:
        errors.append(FieldError.forbidden(here, "must not be set when session affinity is None"))
    if affinity != "ClientIP":
        return errors
    client_ip = None if config is None else config.get("clientIP")
    seconds = None if client_ip is None else client_ip.get("timeoutSeconds")
    if seconds is None:
        missing = here if config is None else here.child("clientIP")
        missing = missing if client_ip is None else missing.child("timeoutSeconds")
        return [*errors, FieldError.required(missing, "when session affinity type is ClientIP")]
    here = here.child("clientIP", "timeoutSeconds")
    if not 0 < seconds <= _AFFINITY_LIMIT_SECONDS:
        detail = f"must be greater than 0 and less than {_AFFINITY_LIMIT_SECONDS}"
        errors.append(FieldError.invalid(here, seconds, detail))
    return errors


# Addresses


def _cluster_ips(spec: Object) -> Errors:
    if spec.get("type") == "ExternalName":
        return []
    single, several, here = (
        spec.get("clusterIP") or "",
        spec.get("clusterIPs") or [],
        _SPEC.child("clusterIPs"),
    )
    errors: Errors = []
    if single and not several:
        errors.append(FieldError.required(here))
    elif single and several[0] != single:
        errors.append(FieldError.invalid(here, several, "first value must match `clusterIP`"))
    elif several and not single:
        errors.append(FieldError.invalid(here, several, "must be empty when `clusterIP` is not specified"))
    errors += _families(spec)
    return errors + _addresses(several, spec.get("ipFamilies") or [], here)


def _families(spec: Object) -> Errors:
    families, errors = spec.get("ipFamilies") or [], []
    for position, family in enumerate(families):
        here = _SPEC.child("ipFamilies").index(position)
        errors += one_of(family, _FAMILIES, here)
        if family in families[:position]:
            errors.append(FieldError.duplicate(here, family))
    if spec.get("ipFamilyPolicy") is not None:
        errors += one_of(spec["ipFamilyPolicy"], _FAMILY_POLICIES, _SPEC.child("ipFamilyPolicy"))
    return errors


def _addresses(values: list[str], families: list[str], path: Path) -> Errors:
    faults: Errors = []
    if values and values[0] == HEADLESS:
        if len(values) == 1:
            return []
        faults.append(FieldError.invalid(path, values, "'None' must be the first and only value"))
    for position, value in enumerate(values):
        if position or value != HEADLESS:
            faults += ip_address(value, path.index(position))
    too_many = [FieldError.invalid(path, values, "may only hold up to 2 values")] if len(values) > 2 else []
    if faults:
        return faults + too_many
    found = [parse_address(value) for value in values]
    versions = [each.version for each in found if each is not None]
    errors: Errors = list(too_many)
    if len(values) > 1 and len(set(versions)) == 1:
        errors.append(FieldError.invalid(path, values, _ONE_A_FAMILY))
    for position, (version, family) in enumerate(zip(versions, families, strict=False)):
        if family in _FAMILIES and f"IPv{version}" != family:
            detail = f"expected an {family} value as indicated by `ipFamilies[{position}]`"
            errors.append(FieldError.invalid(path.index(position), values[position], detail))
    return errors


def non_special_ip(text: str, path: Path) -> Errors:
    """An address that traffic can be sent to: no loopback, no link-local one."""
    address = parse_address(text)
    if address is None:
        return [FieldError.invalid(path, text, "must be a valid IP address")]
    rules = (
        (address.is_unspecified, f"may not be unspecified ({text})"),
        (address.is_loopback, "may not be in the loopback range (127.0.0.0/8, ::1/128)"),
        (address.is_link_local, "may not be in the link-local range (169.254.0.0/16, fe80::/10)"),
        (
            _is_link_local_multicast(address.packed),
            "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)",
        ),
    )
    return [FieldError.invalid(path, text, detail) for broken, detail in rules if broken]


def _is_link_local_multicast(packed: bytes) -> bool:
    return packed[:3] == b"\xe0\x00\x00" if len(packed) == 4 else packed[:2] == b"\xff\x02"


# Load balancers and traffic


def _load_balancer(obj: Object, spec: Object) -> Errors:
    balanced = spec.get("type") == "LoadBalancer"
    errors = _source_ranges(obj, spec, balanced=balanced)
    allocate = spec.get("allocateLoadBalancerNodePorts")
    if allocate is not None and not balanced:
        errors.append(FieldError.forbidden(_SPEC.child("allocateLoadBalancerNodePorts"), _ONLY_BALANCED))
    if allocate is None and balanced:
        errors.append(FieldError.required(Path("allocateLoadBalancerNodePorts")))
    name, here = spec.get("loadBalancerClass"), _SPEC.child("loadBalancerClass")
    if name is None:
        return errors
    return errors + (qualified_name(name, here) if balanced else [FieldError.forbidden(here, _ONLY_BALANCED)])


def _source_ranges(obj: Object, spec: Object, *, balanced: bool) -> Errors:
    ranges = spec.get("loadBalancerSourceRanges")
    if ranges:
        here = _SPEC.child("LoadBalancerSourceRanges")
        places = [here.index(position) for position in range(len(ranges))]
    else:
        text = annotations_of(obj).get(_SOURCE_RANGES)
        if text is None:
            return []
        here = _METADATA.child("annotations").key(_SOURCE_RANGES)
        ranges = text.strip().split(",") if text.strip() else []
        places = [here] * len(ranges)
    errors: Errors = [] if balanced else [FieldError.forbidden(here, _ONLY_BALANCED)]
    for value, place in zip(ranges, places, strict=True):
        errors += cidr(value.strip(), place)
    return errors


def _traffic(spec: Object) -> Errors:
    external, here = spec.get("externalTrafficPolicy"), _SPEC.child("externalTrafficPolicy")
    errors: Errors = []
    if externally_accessible(spec):
        errors += required_one_of(external, ("Cluster", "Local"), here)
    elif external:
        errors.append(
            FieldError.invalid(here, external, "may only be set for externally-accessible services")
        )
    errors += _health_check_port(spec)
    internal, here = spec.get("internalTrafficPolicy"), _SPEC.child("internalTrafficPolicy")
    if internal is not None:
        errors += one_of(internal, ("Cluster", "Local"), here)
    elif spec.get("type") in ("ClusterIP", "NodePort", "LoadBalancer"):
        errors.append(FieldError.required(here))
    if spec.get("trafficDistribution") is not None:
        errors += one_of(spec["trafficDistribution"], _DISTRIBUTIONS, _SPEC.child("trafficDistribution"))
    return errors


def _health_check_port(spec: Object) -> Errors:
    port, here = spec.get("healthCheckNodePort"), _SPEC.child("healthCheckNodePort")
    if not port:
        return []
    if needs_health_check(spec):
        return port_number(port, here)
    detail = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"
    return [FieldError.invalid(here, port, detail)]


# Update


def _update(new: Object, old: Object) -> Errors:
    errors = _fixed_addresses(new, old)
    balanced = new.get("type") == old.get("type") == "LoadBalancer"
    if balanced and new.get("loadBalancerClass") != old.get("loadBalancerClass"):
        here = _SPEC.child("loadBalancerClass")
        errors.append(FieldError.invalid(here, new.get("loadBalancerClass"), "may not change once set"))
    if needs_health_check(new) and needs_health_check(old):
        here = _SPEC.child("healthCheckNodePort")
        if (new.get("healthCheckNodePort") or 0) != (old.get("healthCheckNodePort") or 0):
            errors.append(FieldError.forbidden(here, "field is immutable"))
    return errors


def _fixed_addresses(new: Object, old: Object) -> Errors:
    """The first address and family stay; the second may come and go."""
    if "ExternalName" in (new.get("type"), old.get("type")):
        return []
    errors: Errors = []
    if not (is_headless(new) and is_headless(old)):
        errors += _fixed_list(new, old, "clusterIPs", "clusterIP")
    if not is_headless(new) and not is_headless(old):
        errors += _fixed_list(new, old, "ipFamilies", "ipFamily")
    return errors


def _fixed_list(new: Object, old: Object, field: str, noun: str) -> Errors:
    after, before, here = new.get(field) or [], old.get(field) or [], _SPEC.child(field)
    changed = "may not change once set"
    if len(after) == len(before):
        return [
            FieldError.invalid(here.index(position), after, changed)
            for position, (now, then) in enumerate(zip(after, before, strict=True))
            if now != then
        ]
    errors: Errors = []
    if before and not after:
        errors.append(FieldError.invalid(here.index(0), after, f"primary {noun} can not be unset"))
    if before and after and after[0] != before[0]:
        errors.append(FieldError.invalid(here.index(0), after, changed))
    if len(before) > len(after) == 1 and new.get("ipFamilyPolicy") != "SingleStack":
        detail = f"must be set to 'SingleStack' when releasing the secondary {noun}"
        errors.append(FieldError.invalid(_SPEC.child("ipFamilyPolicy"), new.get("ipFamilyPolicy"), detail))
    return errors


def service_status(new: Object, old: Object | None) -> Errors:
    balancer = (new.get("status") or {}).get("loadBalancer") or {}
    here = Path("status", "loadBalancer", "ingress")
    ingress = balancer.get("ingress") or []
    if ingress and new["spec"].get("type") != "LoadBalancer":
        return [FieldError.forbidden(here, "may only be used when `spec.type` is 'LoadBalancer'")]
    errors: Errors = []
    for position, each in enumerate(ingress):
        errors += _ingress(each, here.index(position))
    return errors


def _ingress(ingress: Object, path: Path) -> Errors:
    address, mode, host = ingress.get("ip"), ingress.get("ipMode"), ingress.get("hostname")
    errors = ip_address(address, path.child("ip")) if address else []
    if mode is None:
        if address:
            errors.append(FieldError.required(path.child("ipMode"), "must be specified when `ip` is set"))
    elif not address:
        errors.append(FieldError.forbidden(path.child("ipMode"), "may not be specified when `ip` is not set"))
    else:
        errors += one_of(mode, ("Proxy", "VIP"), path.child("ipMode"))
    if host:
        errors += dns_subdomain(host, path.child("hostname"))
        if parse_address(host) is not None:
            detail = "must be a DNS name, not an IP address"
            errors.append(FieldError.invalid(path.child("hostname"), host, detail))
    return errors


# Endpoints


def endpoints(new: Object, old: Object | None) -> Errors:
    errors: Errors = []
    for position, subset in enumerate(new.get("subsets") or ()):
        here = Path("subsets").index(position)
        ready, waiting = subset.get("addresses") or (), subset.get("notReadyAddresses") or ()
        if not ready and not waiting:
            errors.append(FieldError.required(here, "must specify `addresses` or `notReadyAddresses`"))
        errors += _endpoint_addresses(ready, here.child("addresses"))
        errors += _endpoint_addresses(waiting, here.child("notReadyAddresses"))
        ports = subset.get("ports") or ()
        for number, port in enumerate(ports):
            errors += _endpoint_port(port, here.child("ports").index(number), name_required=len(ports) > 1)
    return errors


def _endpoint_addresses(values: Iterable[Object], path: Path) -> Errors:
    errors: Errors = []
    for position, address in enumerate(values):
        here, text = path.index(position), address.get("ip") or ""
        errors += ip_address(text, here.child("ip"))
        if address.get("hostname"):
            errors += dns_label(address["hostname"], here.child("hostname"))
        if address.get("nodeName") is not None:
            errors += dns_subdomain(address["nodeName"], here.child("nodeName"))
        errors += non_special_ip(text, here.child("ip"))
    return errors


def _endpoint_port(port: Object, path: Path, *, name_required: bool) -> Errors:
    name = port.get("name") or ""
    errors = dns_label(name, path.child("name")) if name else []
    if name_required and not name:
        errors.append(FieldError.required(path.child("name")))
    errors += port_number(port.get("port") or 0, path.child("port"))
    errors += required_one_of(port.get("protocol"), PROTOCOLS, path.child("protocol"))
    if port.get("appProtocol") is not None:
        errors += qualified_name(port["appProtocol"], path.child("appProtocol"))
    return errors
