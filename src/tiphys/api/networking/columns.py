"""Printed columns of ingresses, network policies and addresses. Names, order and cells are upstream's."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from tiphys.api.columns import AGE, NAME, NONE, age, format_label_selector
from tiphys.api.resource import Column, Object, Table
from tiphys.machinery.meta import name

_HOSTS_SHOWN = 3


def _ingress_cells(obj: Object, now: datetime) -> list[Any]:
    spec = obj.get("spec") or {}
    return [
        name(obj),
        NONE if spec.get("ingressClassName") is None else spec["ingressClassName"],
        _hosts(spec.get("rules") or []),
        _addresses(((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []),
        "80, 443" if spec.get("tls") else "80",
        age(obj, now),
    ]


def _hosts(rules: list[Object]) -> str:
    """A rule without a host is not listed, but it is counted."""
    shown: list[str] = []
    more = False
    for rule in rules:
        more = more or len(shown) == _HOSTS_SHOWN
        if rule.get("host") and not more:
            shown.append(rule["host"])
    if not shown:
        return "*"
    text = ",".join(shown)
    return f"{text} + {len(rules) - _HOSTS_SHOWN} more..." if more else text


def _addresses(points: list[Object]) -> str:
    return ",".join(sorted({point.get("ip") or point.get("hostname") or "" for point in points} - {""}))


INGRESS = Table(
    (
        NAME,
        Column("Class", description="Name of the IngressClass that serves it."),
        Column("Hosts", description="Hosts that requests are matched by."),
        Column("Address", description="Where the load balancer can be reached."),
        Column("Ports", description="Ports that are open; 443 when there is a TLS configuration."),
        AGE,
    ),
    _ingress_cells,
)


def _ingress_class_cells(obj: Object, now: datetime) -> list[Any]:
    spec = obj.get("spec") or {}
    return [name(obj), spec.get("controller") or "", _parameters(spec.get("parameters")), age(obj, now)]


def _parameters(reference: Object | None) -> str:
    if reference is None:
        return NONE
    group = reference.get("apiGroup")
    kind = reference.get("kind", "") if group is None else f"{reference.get('kind', '')}.{group}"
    return f"{kind}/{reference.get('name', '')}"


INGRESS_CLASS = Table(
    (
        NAME,
        Column("Controller", description="Controller that serves ingresses of the class."),
        Column("Parameters", description="Object with further settings of the class."),
        AGE,
    ),
    _ingress_class_cells,
)


def _network_policy_cells(obj: Object, now: datetime) -> list[Any]:
    selector = (obj.get("spec") or {}).get("podSelector") or {}
    return [name(obj), format_label_selector(selector), age(obj, now)]


NETWORK_POLICY = Table(
    (NAME, Column("Pod-Selector", description="Pods that the policy is about."), AGE), _network_policy_cells
)


def _service_cidr_cells(obj: Object, now: datetime) -> list[Any]:
    return [name(obj), ",".join((obj.get("spec") or {}).get("cidrs") or ()), age(obj, now)]


SERVICE_CIDR = Table(
    (NAME, Column("CIDRs", description="Ranges that addresses of services are taken from."), AGE),
    _service_cidr_cells,
)


def _ip_address_cells(obj: Object, now: datetime) -> list[Any]:
    return [name(obj), _parent((obj.get("spec") or {}).get("parentRef")), age(obj, now)]


def _parent(reference: Object | None) -> str:
    """`services/default/kubernetes`"""
    if reference is None:
        return NONE
    group, resource = reference.get("group"), reference.get("resource", "")
    parts = (f"{resource}.{group}" if group else resource, reference.get("namespace"), reference.get("name"))
    return "/".join(part for part in parts if part)


IP_ADDRESS = Table((NAME, Column("ParentRef", description="What has the address."), AGE), _ip_address_cells)
