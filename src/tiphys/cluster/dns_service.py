"""The Service `kube-dns`, at the address to which kubelets send pods for names, and whom it stands for: a name server on every node.

They run on nodes, not in pods, so no controller finds them: the control plane writes their EndpointSlice at every start. Each is for its
own node's pods (hints), so that names depend on no other node.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from tiphys.api.resource import Resource
from tiphys.client.client import Client
from tiphys.client.resources import ENDPOINTSLICES, SERVICES
from tiphys.cluster.blueprint import CLUSTER_DNS_ADDRESS
from tiphys.cluster.node_network_pages import NAMES_PORT
from tiphys.dns.server import PORT
from tiphys.machinery import meta
from tiphys.machinery.errors import StatusError, is_not_found

log = logging.getLogger("tiphys")

Object = dict[str, Any]
NAME, NAMESPACE = "kube-dns", "kube-system"
_PORTS = (("dns", PORT, "UDP"), ("dns-tcp", PORT, "TCP"), ("metrics", NAMES_PORT, "TCP"))


async def publish(client: Client, nodes: Mapping[str, str]) -> None:
    """`nodes`: names and addresses. What is there is brought up to date; a cluster whose user has other plans with the address runs on."""
    try:
        await _ensure(client, SERVICES, service())
        await _ensure(client, ENDPOINTSLICES, endpoints(nodes))
    except StatusError as error:
        log.error("pods of this cluster cannot look up names: %s", error)


def service() -> Object:
    labels = {
        "k8s-app": NAME,
        "kubernetes.io/cluster-service": "true",
        "kubernetes.io/name": "KubeDNS",
    }
    ports = [{"name": name, "port": port, "protocol": protocol} for name, port, protocol in _PORTS]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": NAME, "namespace": NAMESPACE, "labels": labels},
        "spec": {"clusterIP": CLUSTER_DNS_ADDRESS, "ports": ports},
    }


def endpoints(nodes: Mapping[str, str]) -> Object:
    labels = {
        "k8s-app": NAME,
        "kubernetes.io/service-name": NAME,
        "endpointslice.kubernetes.io/managed-by": "tiphys",
    }
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": f"{NAME}-nodes", "namespace": NAMESPACE, "labels": labels},
        "addressType": "IPv4",
        "ports": [{"name": name, "port": port, "protocol": protocol} for name, port, protocol in _PORTS],
        "endpoints": [
            {
                "addresses": [address],
                "conditions": {"ready": True, "serving": True, "terminating": False},
                "nodeName": node,
                "hints": {"forNodes": [{"name": node}]},
            }
            for node, address in nodes.items()
        ],
    }


async def _ensure(client: Client, resource: Resource, wanted: Object) -> None:
    """Looks first: to make a Service again at its own address is refused because of the address, not of the name."""
    try:
        found = await client.get(resource, meta.name(wanted), NAMESPACE)
    except StatusError as error:
        if not is_not_found(error):
            raise
        await client.create(resource, wanted)
        return
    fields: Object = {name: wanted[name] for name in ("endpoints", "ports") if name in wanted}
    if any(found.get(name) != value for name, value in fields.items()):
        await client.patch(resource, meta.name(wanted), fields, NAMESPACE)
