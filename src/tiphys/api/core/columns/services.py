"""Printed columns of services and endpoints."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from tiphys.api.columns import AGE, NAME, NONE, UNKNOWN, age, format_labels, list_with_more
from tiphys.api.resource import Column, Object, Table
from tiphys.machinery.meta import name


def _service_cells(obj: Object, now: datetime) -> list[Any]:
    spec = obj.get("spec") or {}
    addresses = spec.get("clusterIPs") or ()
    return [
        name(obj),
        spec.get("type") or "",
        addresses[0] if addresses else NONE,
        _external_address(spec, obj.get("status") or {}),
        ",".join(map(_port, spec.get("ports") or ())) or NONE,
        age(obj, now),
        format_labels(spec.get("selector")),
    ]


def _external_address(spec: Object, status: Object) -> str:
    external = spec.get("externalIPs") or []
    type = spec.get("type")
    if type in ("ClusterIP", "NodePort"):
        return ",".join(external) or NONE
    if type == "LoadBalancer":
        return ",".join([*load_balancer_addresses(status), *external]) or "<pending>"
    return str(spec.get("externalName") or "") if type == "ExternalName" else UNKNOWN


def load_balancer_addresses(status: Object) -> list[str]:
    """Addresses and host names of `status.loadBalancer`, of a service or an ingress."""
    ingress = (status.get("loadBalancer") or {}).get("ingress") or ()
    return sorted({each.get("ip") or each.get("hostname") or "" for each in ingress} - {""})


def _port(port: Object) -> str:
    node_port = port.get("nodePort")
    outside = f":{node_port}" if node_port else ""
    return f"{port.get('port', 0)}{outside}/{port.get('protocol', '')}"


SERVICE = Table(
    (
        NAME,
        Column(
            "Type", description="How the service is reached: inside the cluster, on nodes, or from outside."
        ),
        Column("Cluster-IP", description="Address of the service inside the cluster."),
        Column("External-IP", description="Addresses of the service outside the cluster."),
        Column("Port(s)", description="Ports of the service, with their node ports."),
        AGE,
        Column("Selector", priority=1, description="Labels of the pods that receive the traffic."),
    ),
    _service_cells,
)


def _endpoints_cells(obj: Object, now: datetime) -> list[Any]:
    return [name(obj), list_with_more(_endpoints(obj)) if obj.get("subsets") else NONE, age(obj, now)]


def _endpoints(obj: Object) -> Iterator[str]:
    for subset in obj.get("subsets") or ():
        addresses = [address.get("ip", "") for address in subset.get("addresses") or ()]
        if not subset.get("ports"):
            yield from addresses
        for port in subset.get("ports") or ():
            yield from (join_host_port(address, port.get("port", 0)) for address in addresses)


def join_host_port(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


ENDPOINTS = Table(
    (NAME, Column("Endpoints", description="Addresses and ports that serve."), AGE), _endpoints_cells
)
