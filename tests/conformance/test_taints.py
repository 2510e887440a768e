"""Pods leave a node whose taint they no longer tolerate, on a simulated cluster."""

from __future__ import annotations

from typing import Any

import pytest
from kubernetes import client as official
from kubernetes import config

from tiphys.testing import Cluster, Namespace

KEY = "kubernetes.io/e2e-evict-taint-key"
TAINT = {"key": KEY, "value": "evictTaintVal", "effect": "NoExecute"}


def tolerating(name: str, seconds: int, node: str) -> dict[str, Any]:
    toleration = {**TAINT, "operator": "Equal", "tolerationSeconds": seconds}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "nodeName": node,
            "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "pause", "image": "pause"}],
            "tolerations": [toleration],
        },
    }


@pytest.fixture
def nodes(cluster: Cluster) -> official.CoreV1Api:
    return official.CoreV1Api(config.new_client_from_config(str(cluster.kubeconfig)))


def set_taints(nodes: official.CoreV1Api, *taints: dict[str, str]) -> str:
    name: str = nodes.list_node().items[0].metadata.name
    nodes.patch_node(name, {"spec": {"taints": list(taints) or None}})
    return name


@pytest.mark.conformance(
    "NoExecuteTaintManager Multiple Pods [Serial] evicts pods with minTolerationSeconds [Disruptive]"
)
def test_each_pod_leaves_when_its_time_is_over(
    cluster: Cluster, namespace: Namespace, nodes: official.CoreV1Api
) -> None:
    node = set_taints(nodes)
    namespace.load([tolerating("short", 60, node), tolerating("long", 240, node)])
    for name in ("short", "long"):
        namespace.wait_for(f"pod/{name}", "Ready")
    set_taints(nodes, TAINT)
    try:
        cluster.clock.advance(50)
        assert {pod["metadata"]["name"] for pod in namespace.list("pods")} == {"short", "long"}
        cluster.clock.advance(20)
        assert [pod["metadata"]["name"] for pod in namespace.list("pods")] == ["long"]
        cluster.clock.advance(160)
        assert [pod["metadata"]["name"] for pod in namespace.list("pods")] == ["long"]
        cluster.clock.advance(20)
        assert namespace.list("pods") == []
    finally:
        set_taints(nodes)


@pytest.mark.conformance(
    "NoExecuteTaintManager Single Pod [Serial] removing taint cancels eviction [Disruptive]"
)
def test_a_taint_that_goes_in_time_evicts_nobody(
    cluster: Cluster, namespace: Namespace, nodes: official.CoreV1Api
) -> None:
    namespace.load(tolerating("stays", 60, set_taints(nodes)))
    namespace.wait_for("pod/stays", "Ready")
    set_taints(nodes, TAINT)
    cluster.clock.advance(40)
    set_taints(nodes)
    cluster.clock.advance(300)
    assert [pod["metadata"]["name"] for pod in namespace.list("pods")] == ["stays"]
