"""What is wrong with an endpoint slice (`pkg/apis/discovery/validation`)."""

from __future__ import annotations

from collections.abc import Callable

from tiphys.api.core.validation.services import non_special_ip
from tiphys.api.resource import Object
from tiphys.api.validation import (
    Errors,
    by_rule,
    dns_label,
    dns_subdomain,
    immutable,
    one_of,
    qualified_name,
)
from tiphys.machinery import addresses, names
from tiphys.machinery.errors import FieldError, Path

_ADDRESS_TYPES = ("FQDN", "IPv4", "IPv6")
_PROTOCOLS = ("SCTP", "TCP", "UDP")
_ENDPOINTS_LIMIT = 1000
_ADDRESSES_LIMIT = 100
_PORTS_LIMIT = 20000
_HINTS_LIMIT = 8


def endpoint_slice(new: Object, old: Object | None) -> Errors:
    kind = new.get("addressType") or ""
    errors = _address_type(kind)
    errors += _endpoints(new.get("endpoints") or [], kind, Path("endpoints"))
    errors += _ports(new.get("ports") or [], Path("ports"))
    return errors if old is None else errors + immutable(kind, old.get("addressType"), Path("addressType"))


def _address_type(kind: str) -> Errors:
    here = Path("addressType")
    return one_of(kind, _ADDRESS_TYPES, here) if kind else [FieldError.required(here)]


def _endpoints(endpoints: list[Object], kind: str, path: Path) -> Errors:
    if len(endpoints) > _ENDPOINTS_LIMIT:
        return [FieldError.too_many(path, len(endpoints), _ENDPOINTS_LIMIT)]
    errors: Errors = []
    for position, endpoint in enumerate(endpoints):
        here = path.index(position)
        errors += _addresses(endpoint.get("addresses") or [], kind, here.child("addresses"))
        if endpoint.get("nodeName") is not None:
            errors += dns_subdomain(endpoint["nodeName"], here.child("nodeName"))
        if endpoint.get("hostname") is not None:
            errors += dns_label(endpoint["hostname"], here.child("hostname"))
        if endpoint.get("hints") is not None:
            errors += _hints(endpoint["hints"], here.child("hints"))
    return errors


def _addresses(values: list[str], kind: str, path: Path) -> Errors:
    if not values:
        return [FieldError.required(path, "must contain at least 1 address")]
    if len(values) > _ADDRESSES_LIMIT:
        return [FieldError.too_many(path, len(values), _ADDRESSES_LIMIT)]
    check = _CHECKS.get(kind)
    errors: Errors = []
    for position, value in enumerate(values):
        if check is not None:
            errors += check(value, path.index(position))
    return errors


def _ipv4(value: str, path: Path) -> Errors:
    return by_rule(addresses.ipv4, value, path) or non_special_ip(value, path)


def _ipv6(value: str, path: Path) -> Errors:
    return by_rule(addresses.ipv6, value, path) or non_special_ip(value, path)


def _fqdn(value: str, path: Path) -> Errors:
    """At least two labels; a dot at the end does no harm."""
    if not value:
        return [FieldError.required(path)]
    name = value.removesuffix(".")
    if faults := names.dns1123_subdomain(name):
        return [FieldError.invalid(path, name, ",".join(faults))]
    if "." not in name:
        detail = "should be a domain with at least two segments separated by dots"
        return [FieldError.invalid(path, name, detail)]
    return []


_CHECKS: dict[str, Callable[[str, Path], Errors]] = {"IPv4": _ipv4, "IPv6": _ipv6, "FQDN": _fqdn}


def _hints(hints: Object, path: Path) -> Errors:
    errors: Errors = []
    for field in ("forZones", "forNodes"):
        values, here = hints.get(field) or [], path.child(field)
        if len(values) > _HINTS_LIMIT:
            errors.append(FieldError.too_many(here, len(values), _HINTS_LIMIT))
            continue
        seen: set[str] = set()
        for position, value in enumerate(values):
            name, place = value.get("name") or "", here.index(position).child("name")
            if name in seen:
                errors.append(FieldError.duplicate(place, name))
            seen.add(name)
            errors += by_rule(names.label_value, name, place)
    return errors


def _ports(ports: list[Object], path: Path) -> Errors:
    if len(ports) > _PORTS_LIMIT:
        return [FieldError.too_many(path, len(ports), _PORTS_LIMIT)]
    errors: Errors = []
    seen: set[str] = set()
    for position, port in enumerate(ports):
        here, name = path.index(position), port.get("name") or ""
        if name:
            errors += dns_label(name, here.child("name"))
        if name in seen:
            errors.append(FieldError.duplicate(here.child("name"), name))
        seen.add(name)
        protocol = port.get("protocol")
        if protocol is None:
            errors.append(FieldError.required(here.child("protocol")))
        else:
            errors += one_of(protocol, _PROTOCOLS, here.child("protocol"))
        if port.get("appProtocol") is not None:
            errors += qualified_name(port["appProtocol"], here.child("appProtocol"))
    return errors
