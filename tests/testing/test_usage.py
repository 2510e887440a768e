"""metrics.k8s.io in a test cluster: what `kubectl top` and autoscalers find there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tiphys.testing import Cluster, Namespace

KUBECTL = Path(sys.executable).parent / "kubectl"
API = "/apis/metrics.k8s.io/v1beta1"


def pod(name: str, cpu: str, **labels: str) -> dict[str, Any]:
    requests = {"cpu": cpu, "memory": "128Mi"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels},
        "spec": {"containers": [{"name": "main", "image": "busybox", "resources": {"requests": requests}}]},
    }


def kubectl(cluster: Cluster, *arguments: str) -> str:
    result = subprocess.run(
        [str(KUBECTL), *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "KUBECONFIG": str(cluster.kubeconfig)},
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture
def pods(namespace: Namespace) -> None:
    namespace.create(pod("web", "500m", app="web"))
    namespace.create(pod("db", "1", app="db"))
    namespace.wait_for("pod/web", "Ready")
    namespace.wait_for("pod/db", "Ready")


def rows(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


@pytest.mark.usefixtures("pods")
def test_kubectl_top_at_first_try(cluster: Cluster, namespace: Namespace) -> None:
    assert rows(kubectl(cluster, "top", "pod", "-n", namespace.name, "--sort-by=cpu")) == [
        ["NAME", "CPU(cores)", "MEMORY(bytes)"],
        ["db", "500m", "64Mi"],
        ["web", "250m", "64Mi"],
    ]
    assert rows(kubectl(cluster, "top", "pod", "-n", namespace.name, "--containers", "-l", "app=db"))[1:] == [
        ["db", "main", "500m", "64Mi"]
    ]
    [header, *nodes] = rows(kubectl(cluster, "top", "node"))
    assert header == ["NAME", "CPU(cores)", "CPU(%)", "MEMORY(bytes)", "MEMORY(%)"]
    assert [node[0] for node in nodes] == ["node-1"]


@pytest.mark.usefixtures("pods")
def test_what_a_rule_says_is_used(cluster: Cluster, namespace: Namespace) -> None:
    with cluster.pods.behave("web", namespace=namespace.name, cpu="2", memory="1Gi"):
        cluster.clock.advance(16)
        found = kubectl(cluster, "get", "--raw", f"{API}/namespaces/{namespace.name}/pods/web")
        [container] = json.loads(found)["containers"]
        assert container["usage"] == {"cpu": "2", "memory": "1Gi"}


@pytest.mark.usefixtures("pods")
def test_tables_and_selectors(cluster: Cluster, namespace: Namespace) -> None:
    at = ("-n", namespace.name)
    found = rows(kubectl(cluster, "get", "podmetrics", "web", *at))
    assert found[0] == ["NAME", "CPU", "MEMORY", "WINDOW"]
    assert found[1][:3] == ["web", "250m", "64Mi"]
    selected = kubectl(cluster, "get", "podmetrics", "-A", "--field-selector=metadata.name=db", "-o", "name")
    assert "db" in selected
    assert "web" not in selected
    [node] = json.loads(kubectl(cluster, "get", "--raw", f"{API}/nodes"))["items"]
    assert node["metadata"]["labels"]["kubernetes.io/hostname"] == "node-1"


def test_how_it_is_discovered(cluster: Cluster) -> None:
    document = json.loads(kubectl(cluster, "get", "--raw", API))
    served = {entry["name"]: entry for entry in document["resources"]}
    assert served["nodes"]["kind"] == "NodeMetrics"
    assert served["pods"]["kind"] == "PodMetrics"
    assert [served["nodes"]["namespaced"], served["pods"]["namespaced"]] == [False, True]
    assert served["pods"]["verbs"] == ["get", "list"]
    service = json.loads(kubectl(cluster, "get", "apiservice", "v1beta1.metrics.k8s.io", "-o", "json"))
    assert (service["spec"]["groupPriorityMinimum"], service["spec"]["versionPriority"]) == (100, 100)


@pytest.mark.usefixtures("pods")
def test_what_is_not_there(cluster: Cluster, namespace: Namespace) -> None:
    for path, message in (
        (f"namespaces/{namespace.name}/pods/none", 'pods "none" not found'),
        ("nodes/none", 'nodes "none" not found'),
    ):
        result = subprocess.run(
            [str(KUBECTL), "get", "--raw", f"{API}/{path}"],
            capture_output=True,
            text=True,
            env={**os.environ, "KUBECONFIG": str(cluster.kubeconfig)},
            timeout=60,
            check=False,
        )
        assert result.returncode == 1
        assert message in result.stderr
