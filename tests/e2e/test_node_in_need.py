"""A node that has not what pods want, in a whole cluster: what kubectl shows, and what the control plane makes of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from e2e_cluster import Cluster, running, wait_for

pytestmark = pytest.mark.real

NAME = "needy"
PATIENCE_SECONDS = 120.0


@pytest.fixture(scope="module")
def needy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    home = tmp_path_factory.mktemp(NAME)
    settle(home, maxPods=6)
    yield from running(home, NAME, "--kubelet-config", str(home / "kubelet.json"))


def settle(home: Path, **settings: Any) -> None:
    """Writes the kubelet's configuration; JSON is YAML."""
    head = {"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration"}
    (home / "kubelet.json").write_text(json.dumps({**head, **settings}))


def run(cluster: Cluster, name: str, **spec: Any) -> None:
    requests = spec.pop("requests", {})
    container = {
        "name": "main",
        "image": "busybox",
        "imagePullPolicy": "IfNotPresent",
        "command": ["sleep", "1000"],
        "resources": {"requests": requests},
    }
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": [container], **spec},
    }
    wait_for(
        lambda: cluster.kubectl("get", "serviceaccount", "default", check=False).returncode == 0, "an account"
    )
    cluster.kubectl("apply", "-f", "-", input=json.dumps(pod))


def column(cluster: Cluster, name: str) -> str:
    """STATUS, as the table has it."""
    row = cluster.kubectl("get", "pod", name, "--no-headers").stdout.split()
    return row[2]


def reason(cluster: Cluster, name: str) -> str:
    return str(cluster.get("pod", name)["status"].get("reason"))


def taints(cluster: Cluster) -> set[str]:
    [node] = cluster.get("nodes")["items"]
    return {taint["key"] for taint in node["spec"].get("taints") or ()}


def test_a_pod_that_the_scheduler_was_not_asked_about(needy: Cluster) -> None:
    [node] = needy.get("nodes")["items"]
    assert node["status"]["capacity"]["pods"] == node["status"]["allocatable"]["pods"] == "6"
    run(needy, "large", nodeName=node["metadata"]["name"], requests={"cpu": "1000"})
    wait_for(lambda: column(needy, "large") == "OutOfcpu", "the kubelet refuses the pod")
    message = needy.get("pod", "large")["status"]["message"]
    assert message.startswith(
        "Pod was rejected: Node didn't have enough resource: cpu, requested: 1000000, used: "
    )


def test_a_node_without_memory_ends_a_pod_and_takes_no_new_one(needy: Cluster) -> None:
    run(needy, "old")
    wait_for(lambda: column(needy, "old") == "Running", "the pod runs", seconds=PATIENCE_SECONDS)
    settle(needy.home, evictionHard={"memory.available": "99%"})
    needy.tiphys("up", "--name", NAME)
    wait_for(lambda: reason(needy, "old") == "Evicted", "the pod is evicted", seconds=PATIENCE_SECONDS)
    status = needy.get("pod", "old")["status"]
    assert status["message"].startswith("The node was low on resource: memory. Threshold quantity: ")
    [target] = [each for each in status["conditions"] if each["type"] == "DisruptionTarget"]
    assert target["reason"] == "TerminationByKubelet"
    reasons = needy.kubectl("get", "events", "-o", "jsonpath={.items[*].reason}").stdout.split()
    assert "Evicted" in reasons
    pressure = "node.kubernetes.io/memory-pressure"
    wait_for(lambda: pressure in taints(needy), "the node is tainted", seconds=PATIENCE_SECONDS)
    run(needy, "new")
    told = "untolerated taint(s)"
    wait_for(
        lambda: told in needy.kubectl("get", "events", "-o", "jsonpath={.items[*].message}").stdout,
        "the scheduler says why the pod waits",
    )
    needy.tiphys("up", "--name", NAME, "--kubelet-config", "")
    wait_for(lambda: column(needy, "new") == "Running", "the pod runs", seconds=PATIENCE_SECONDS)
    assert pressure not in taints(needy)
