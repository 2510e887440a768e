"""A node that has not what pods want, in a whole cluster: what kubectl shows, and what the control plane makes of it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fake_plugin
import pytest
from e2e_cluster import ROOT, Cluster, running, wait_for

from tiphys.cluster.namespaces import find_node

pytestmark = pytest.mark.real

NAME = "needy"
TOY = "example.com/toy"
PATIENCE_SECONDS = 300.0


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
    resources = {kind: spec.pop(kind) for kind in ("requests", "limits") if kind in spec}
    container = {
        "name": "main",
        "image": "busybox",
        "imagePullPolicy": "IfNotPresent",
        "command": ["sleep", "1000"],
        "resources": resources,
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


@pytest.fixture
def toys(needy: Cluster) -> Iterator[None]:
    """A device plugin's process on the node, as a DaemonSet would run it."""
    node = find_node(needy.home / "tiphys" / NAME / "nodes" / f"{NAME}-node-1")
    assert node is not None
    command = [*node.enter, sys.executable, fake_plugin.__file__, "/var/lib/kubelet/device-plugins"]
    plugin = subprocess.Popen(command, env={"PYTHONPATH": str(ROOT / "src")})
    yield
    plugin.terminate()
    plugin.wait()


def test_devices_of_a_plugin_are_scheduled_and_given_away(needy: Cluster, toys: None) -> None:
    def offered() -> str | None:
        [node] = needy.get("nodes")["items"]
        amount: str | None = node["status"]["allocatable"].get(TOY)
        return amount

    wait_for(lambda: offered() == "2", "the node offers two toys", seconds=PATIENCE_SECONDS)
    run(needy, "plays", limits={TOY: "1"})
    run(needy, "hoards", limits={TOY: "2"})
    wait_for(lambda: column(needy, "plays") == "Running", "the pod has its toy", seconds=PATIENCE_SECONDS)
    assert needy.kubectl("exec", "plays", "--", "sh", "-c", "echo $TOYS; ls /dev/toy*").stdout.split() == [
        "toy1",
        "/dev/toy1",
    ]
    wait_for(
        lambda: (
            f"Insufficient {TOY}"
            in needy.kubectl("get", "events", "-o", "jsonpath={.items[*].message}").stdout
        ),
        "the scheduler says that there are not enough toys",
    )
    needy.kubectl("delete", "pod", "plays")
    wait_for(lambda: column(needy, "hoards") == "Running", "the toys go on", seconds=PATIENCE_SECONDS)


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
