"""What is wrong with network policies, addresses and their ranges (`pkg/apis/networking/validation`)."""

from __future__ import annotations

from tiphys.api.resource import Object
from tiphys.api.validation import (
    Errors,
    by_rule,
    dns_subdomain,
    immutable,
    label_selector,
    port_number,
    required_name,
)
from tiphys.machinery import addresses, names
from tiphys.machinery.errors import FieldError, Path
from tiphys.machinery.quoting import quote

_SPEC = Path("spec")
_PROTOCOLS = ("TCP", "UDP", "SCTP")
_POLICY_TYPES = ("Ingress", "Egress")
_ONE_A_FAMILY = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64"

# Network policies


def network_policy(new: Object, old: Object | None) -> Errors:
    spec = new.get("spec") or {}
    errors = label_selector(spec.get("podSelector"), _SPEC.child("podSelector"))
    for direction, peers in (("ingress", "from"), ("egress", "to")):
        for position, rule in enumerate(spec.get(direction) or ()):
            here = _SPEC.child(direction).index(position)
            for number, port in enumerate(rule.get("ports") or ()):
                errors += _policy_port(port, here.child("ports").index(number))
            for number, peer in enumerate(rule.get(peers) or ()):
                errors += _peer(peer, here.child(peers).index(number))
    types, here = spec.get("policyTypes") or [], _SPEC.child("policyTypes")
    if len(types) > len(_POLICY_TYPES):
        return [*errors, FieldError.invalid(here, types, "may not specify more than two policyTypes")]
    errors += [
        FieldError.not_supported(here, each, _POLICY_TYPES) for each in types if each not in _POLICY_TYPES
    ]
    return errors


def _policy_port(port: Object, path: Path) -> Errors:
    protocol, number, end = port.get("protocol"), port.get("port"), port.get("endPort")
    errors: Errors = []
    if protocol is not None and protocol not in _PROTOCOLS:
        errors.append(FieldError.not_supported(path.child("protocol"), protocol, _PROTOCOLS))
    here = path.child("endPort")
    if isinstance(number, int):
        if end is not None and end < number:
            errors.append(FieldError.invalid(here, number, "must be greater than or equal to `port`"))
        errors += port_number(number, path.child("port"))
    elif isinstance(number, str):
        if end is not None:
            errors.append(FieldError.invalid(here, end, "may not be specified when `port` is non-numeric"))
        errors += by_rule(names.port_name, number, path.child("port"))
    elif end is not None:
        errors.append(FieldError.invalid(here, end, "may not be specified when `port` is not specified"))
    return errors if end is None else errors + port_number(end, here)


def _peer(peer: Object, path: Path) -> Errors:
    selectors = [field for field in ("podSelector", "namespaceSelector") if peer.get(field) is not None]
    block = peer.get("ipBlock")
    errors: Errors = []
    for field in selectors:
        errors += label_selector(peer[field], path.child(field))
    if block is not None:
        errors += _ip_block(block, path.child("ipBlock"))
    if block is None and not selectors:
        errors.append(FieldError.required(path, "must specify a peer"))
    elif block is not None and selectors:
        errors.append(FieldError.forbidden(path, "may not specify both ipBlock and another peer"))
    return errors


def _ip_block(block: Object, path: Path) -> Errors:
    text = block.get("cidr") or ""
    if not text:
        return [FieldError.required(path.child("cidr"))]
    errors = by_rule(addresses.cidr, text, path.child("cidr"))
    network = addresses.parse_network(text)
    for position, exception in enumerate(block.get("except") or ()):
        here = path.child("except").index(position)
        faults = by_rule(addresses.cidr, exception, here)
        inner = addresses.parse_network(exception)
        errors += faults
        if network is None or inner is None:
            continue
        inside = inner.version == network.version and inner.network_address in network
        if not inside or inner.prefixlen <= network.prefixlen:
            errors.append(FieldError.invalid(here, exception, "must be a strict subset of `cidr`"))
    return errors


# Addresses of services


def ip_address_name(name: str) -> list[str]:
    """An IPAddress is named by the address itself, in its canonical form."""
    address = addresses.parse_address(name)
    if address is None:
        return addresses.ip(name)
    canonical = str(address)
    return [] if name == canonical else [f"must be in canonical form ({quote(canonical)})"]


def ip_address(new: Object, old: Object | None) -> Errors:
    reference, here = (new.get("spec") or {}).get("parentRef"), _SPEC.child("parentRef")
    errors = [FieldError.required(here)] if reference is None else _parent(reference, here)
    if old is None:
        return errors
    return errors + immutable(reference, (old.get("spec") or {}).get("parentRef"), here)


def _parent(reference: Object, path: Path) -> Errors:
    errors = _optional_subdomain(reference, "group", path)
    errors += required_name(names.path_segment_name, reference.get("resource"), path.child("resource"))
    errors += required_name(names.path_segment_name, reference.get("name"), path.child("name"))
    if reference.get("namespace"):
        errors += by_rule(names.path_segment_name, reference["namespace"], path.child("namespace"))
    return errors


def _optional_subdomain(holder: Object, field: str, path: Path) -> Errors:
    return dns_subdomain(holder[field], path.child(field)) if holder.get(field) else []


def service_cidr(new: Object, old: Object | None) -> Errors:
    ranges, here = (new.get("spec") or {}).get("cidrs") or [], _SPEC.child("cidrs")
    if old is not None:
        before = (old.get("spec") or {}).get("cidrs") or []
        if len(before) == 1 and len(ranges) == 2 and ranges[0] == before[0]:
            return _ranges(ranges, here)  # a second family may be added
        return immutable(ranges, before, here)
    if not ranges:
        return [FieldError.required(here, "at least one CIDR required")]
    return _ranges(ranges, here)


def _ranges(ranges: list[str], path: Path) -> Errors:
    if len(ranges) > 2:
        return [FieldError.invalid(path, ranges, "may only hold up to 2 values")]
    errors: Errors = []
    families: set[int] = set()
    for position, text in enumerate(ranges):
        faults = by_rule(addresses.cidr, text, path.index(position))
        network = addresses.parse_network(text)
        errors += faults
        if network is None:
            continue
        if str(network) != text:
            detail = f"must be in canonical form ({quote(str(network))})"
            errors.append(FieldError.invalid(path.index(position), text, detail))
        if network.version in families:
            errors.append(FieldError.invalid(path, ranges, _ONE_A_FAMILY))
        families.add(network.version)
    return errors
