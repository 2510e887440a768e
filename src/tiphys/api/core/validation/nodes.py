"""Nodes."""

from __future__ import annotations

from tiphys.api.core.validation.resources import amount
from tiphys.api.core.validation.scheduling import taints
from tiphys.api.resource import Object
from tiphys.api.validation import Errors, cidr, quantity
from tiphys.machinery.addresses import parse_network
from tiphys.machinery.errors import FieldError, Path

_SPEC = Path("spec")


def node(new: Object, old: Object | None) -> Errors:
    spec = new.get("spec") or {}
    # Upstream's place for taints is metadata.taints; kept.
    errors = taints(spec.get("taints") or (), Path("metadata", "taints"))
    errors += _resources(new)
    return errors + (_pod_ranges(spec) if old is None else _update(new, old))


def node_status(new: Object, old: Object | None) -> Errors:
    return _resources(new) + _addresses(new)


def _resources(node: Object) -> Errors:
    status = node.get("status") or {}
    errors: Errors = []
    for field in ("capacity", "allocatable"):
        for name, text in (status.get(field) or {}).items():
            errors += amount(name, quantity(text), Path("status", field, name))
    return errors


def _addresses(node: Object) -> Errors:
    addresses = (node.get("status") or {}).get("addresses") or []
    here = Path("status", "addresses")
    return [
        FieldError.duplicate(here.index(position), address)
        for position, address in enumerate(addresses)
        if address in addresses[:position]
    ]


def _pod_ranges(spec: Object) -> Errors:
    ranges, here = spec.get("podCIDRs") or [], _SPEC.child("podCIDRs")
    errors: Errors = []
    for position, value in enumerate(ranges):
        errors += cidr(value, here.index(position))
    if errors or len(ranges) < 2:
        return errors
    families = {network.version for network in map(parse_network, ranges) if network is not None}
    if len(families) != len(ranges):
        errors.append(
            FieldError.invalid(here, ranges, "may specify no more than one CIDR for each IP family")
        )
    for position, value in enumerate(ranges):
        if value in ranges[:position]:
            errors.append(FieldError.duplicate(here.index(position), value))
    return errors


def _update(new: Object, old: Object) -> Errors:
    after, before = new.get("spec") or {}, old.get("spec") or {}
    errors = _addresses(new)
    if before.get("podCIDRs") and after.get("podCIDRs") != before["podCIDRs"]:
        detail = 'node updates may not change podCIDR except from "" to valid'
        errors.append(FieldError.forbidden(_SPEC.child("podCIDRs"), detail))
    if before.get("providerID") and after.get("providerID") != before["providerID"]:
        detail = 'node updates may not change providerID except from "" to valid'
        errors.append(FieldError.forbidden(_SPEC.child("providerID"), detail))
    if (after.get("externalID") or "") != (before.get("externalID") or ""):
        errors.append(FieldError.forbidden(_SPEC.child("externalID"), "may not be updated"))
    return errors
