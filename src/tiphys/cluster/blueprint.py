"""What a cluster consists of, from its configuration: certificates, processes, addresses. Pure, so that tests can read it."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

from tiphys.cluster.layout import ClusterConfig, Layout
from tiphys.cluster.pki import NODES, Leaf
from tiphys.cluster.supervisor import Process

SERVICE_CIDR = "10.96.0.0/16"
CLUSTER_CIDR = "10.91.0.0/16"
SIMULATED_CLUSTER_CIDR = "10.128.0.0/9"
"""Room for 32,768 nodes; no packet ever goes there."""
KUBERNETES_SERVICE = "10.96.0.1"
SEGMENT_PORT = 6443
_SERVER_NAMES = (
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
    "localhost",
    "127.0.0.1",
    KUBERNETES_SERVICE,
)


KUBELET_CLIENT = "kube-apiserver-kubelet-client"
"""Whom kubelets know the API server by. In no group: what it may do with kubelets is granted (`grants.py`)."""


KUBE_PROXY = "kube-proxy"
"""The service proxy's certificate; its user, `system:kube-proxy`, is upstream's, whose role it has."""
CLUSTER_DNS = "cluster-dns"
CLUSTER_DNS_USER = "tiphys:cluster-dns"
"""What it may see is granted (`grants.py`)."""
CLUSTER_DNS_ADDRESS = "10.96.0.10"
"""Where kubelets send pods for names."""


def leaves(config: ClusterConfig) -> list[Leaf]:
    """Every certificate of the cluster; users and groups are upstream's."""
    return [
        Leaf("apiserver", "kube-apiserver", names=(*_SERVER_NAMES, config.segment_address)),
        Leaf("apiserver-kubelet-client", KUBELET_CLIENT),
        Leaf("admin", "kubernetes-admin", ("system:masters",)),
        *(leaf for number in kubelet_numbers(config) for leaf in _kubelet_leaves(config, number)),
        *(_network_leaves() if own_nodes(config) else ()),
    ]


def _network_leaves() -> list[Leaf]:
    return [Leaf(KUBE_PROXY, "system:kube-proxy"), Leaf(CLUSTER_DNS, CLUSTER_DNS_USER)]


HOLLOW_KUBELET = "tiphys:hollow-kubelet"
"""The user that the kubelet of all simulated nodes is, where it acts as none of them."""
FRONT_PROXY = "front-proxy-client"


def front_proxy_leaves() -> list[Leaf]:
    """Of an authority of its own: whoever it signs for may speak in anybody's name."""
    return [Leaf(FRONT_PROXY, FRONT_PROXY)]


def kubelet_numbers(config: ClusterConfig) -> range:
    """One kubelet a node with containers; one for all simulated nodes together."""
    return range(1, 2 if config.runtime == "simulated" else config.nodes + 1)


def _kubelet_leaves(config: ClusterConfig, number: int) -> list[Leaf]:
    """The first ones that a node has; it renews them itself, through the API."""
    name, address = config.node_name(number), config.node_address(number)
    if config.runtime == "simulated":
        # One kubelet is all nodes: it may act as each of them (`grants.py`), and has one certificate to show.
        names = (name, address, "127.0.0.1")
        return [Leaf(kubelet_file(name), HOLLOW_KUBELET, (), names)]
    user = f"system:node:{name}"
    return [
        Leaf(kubelet_file(name), user, (NODES,)),
        Leaf(serving_file(config, number), user, (NODES,), (name, address), only_server=True),
    ]


def serving_file(config: ClusterConfig, number: int) -> str:
    """What a kubelet's HTTPS server shows."""
    file = kubelet_file(config.node_name(number))
    return file if config.runtime == "simulated" else f"{file}-serving"


def simulated_nodes(config: ClusterConfig) -> list[str]:
    return config.node_names if config.runtime == "simulated" else []


def own_nodes(config: ClusterConfig) -> dict[str, str]:
    """The nodes with containers, and the address at which each one serves."""
    if config.runtime == "simulated":
        return {}
    numbers = range(1, config.nodes + 1)
    return {config.node_name(number): config.node_address(number) for number in numbers}


def kubelet_file(node: str) -> str:
    return f"kubelet-{node}"


def pod_cidr(number: int) -> str:
    """The pod network of node `number`, counted from 1: what the API server's range allocation gives to the nodes in order."""
    return f"10.91.{number - 1}.0/24"


def cluster_cidr(config: ClusterConfig) -> str:
    """Out of which every node gets its pod network."""
    return SIMULATED_CLUSTER_CIDR if config.runtime == "simulated" else CLUSTER_CIDR


def control_plane_process(layout: Layout) -> Process:
    arguments = [sys.executable, "-m", "tiphys.cluster.control_plane", str(control_plane_settings(layout))]
    return Process("control-plane", arguments, str(layout.log("control-plane")), stop_seconds=15.0)


def kubelet_process(layout: Layout, node: str, enter: list[str]) -> Process:
    """`enter` is the beginning of a command line inside the node's namespaces; empty for simulated nodes."""
    arguments = [
        *enter,
        sys.executable,
        "-m",
        "tiphys.cluster.kubelet_process",
        str(kubelet_settings(layout, node)),
    ]
    name = kubelet_name(node)
    return Process(name, arguments, str(layout.log(name)), stop_seconds=10.0)


def kubelet_name(node: str) -> str:
    """Of the kubelet's process; one kubelet of all simulated nodes has the first node's."""
    return f"kubelet-{node}"


def node_network_process(layout: Layout, node: str, enter: list[str]) -> Process:
    settings = str(node_network_settings(layout, node))
    arguments = [*enter, sys.executable, "-m", "tiphys.cluster.node_network_process", settings]
    name = f"network-{node}"
    return Process(name, arguments, str(layout.log(name)), stop_seconds=5.0)


def node_network_settings(layout: Layout, node: str) -> Path:
    return layout.run / f"network-{node}.json"


def control_plane_settings(layout: Layout) -> Path:
    return layout.run / "control-plane.json"


def kubelet_settings(layout: Layout, node: str) -> Path:
    return layout.run / f"kubelet-{node}.json"


def port_file(layout: Layout) -> Path:
    return layout.run / "api-port"


def node_cgroup(layout: Layout, config: ClusterConfig, node: str) -> str:
    """Below which all control groups of a node's pods are. The machine has one tree of groups for all users' clusters: two of the
    same name, with data in different places, must not meet there."""
    place = hashlib.sha256(str(layout.data).encode()).hexdigest()[:8]
    return f"/tiphys-{config.name}-{place}/{node}"
