"""Where the kubelet of a node is, and the client that speaks to it with the API server's certificate."""

from __future__ import annotations

from tiphys.api.resource import Object
from tiphys.apiserver.call import Call
from tiphys.machinery import errors
from tiphys.machinery.frozen import frozen
from tiphys.machinery.gvk import GroupResource
from tiphys.net.client import HTTPClient

_NODES = GroupResource("", "nodes")
_PORT = 10250


@frozen
class KubeletAddress:
    node: str
    host: str
    port: int


def kubelet_address(call: Call, node_name: str) -> KubeletAddress:
    """Where the kubelet of a node listens, from the node's status."""
    record = call.server.writes.cache("", "nodes").get("", node_name)
    if record is None:
        raise errors.not_found(_NODES, node_name)
    return address_of(node_name, record.object.get("status") or {})


def address_of(node_name: str, status: Object) -> KubeletAddress:
    """Raises 503 for a node that says nothing of it."""
    port = ((status.get("daemonEndpoints") or {}).get("kubeletEndpoint") or {}).get("Port") or _PORT
    addresses = {entry["type"]: entry["address"] for entry in status.get("addresses") or ()}
    for kind in ("InternalIP", "ExternalIP", "Hostname"):
        if addresses.get(kind):
            return KubeletAddress(node_name, addresses[kind], port)
    raise errors.service_unavailable(f'no preferred addresses found; known addresses: []: node "{node_name}"')


def client_of(call: Call, kubelet: KubeletAddress) -> HTTPClient:
    return call.server.kubelet_client(kubelet.node, kubelet.host, kubelet.port)
