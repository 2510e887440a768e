"""What nodes and pods use, on real containers: `kubectl top` at the first try, and the kubelet's pages behind it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from e2e_cluster import Cluster, wait_for

pytestmark = pytest.mark.real

BUSY = "head -c 30000000 /dev/zero > /dev/shm/file; while :; do :; done"
POD: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "busy", "labels": {"app": "busy"}},
    "spec": {
        "terminationGracePeriodSeconds": 0,
        "volumes": [{"name": "scratch", "emptyDir": {}}],
        "containers": [
            {
                "name": "main",
                "image": "busybox",
                "imagePullPolicy": "IfNotPresent",
                "command": ["sh", "-c", BUSY],
                "resources": {"limits": {"cpu": "100m", "memory": "128Mi"}},
                "volumeMounts": [{"name": "scratch", "mountPath": "/scratch"}],
            },
            {
                "name": "idle",
                "image": "busybox",
                "imagePullPolicy": "IfNotPresent",
                "command": ["sleep", "600"],
            },
        ],
    },
}


def rows(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_usage(cluster: Cluster, namespace: str) -> None:
    at = ("-n", namespace)
    cluster.kubectl("create", *at, "-f", "-", input=json.dumps(POD))
    cluster.kubectl("wait", "pod/busy", "--for=condition=Ready", "--timeout=300s", *at)
    found = wait_for(
        lambda: cluster.kubectl("top", "pod", "--containers", "--sort-by=cpu", *at, check=False).stdout,
        "the pod's usage is known",
    )
    header, *containers = rows(found)
    assert header == ["POD", "NAME", "CPU(cores)", "MEMORY(bytes)"]
    assert [container[:2] for container in containers] == [["busy", "main"], ["busy", "idle"]]
    assert int(containers[0][3].removesuffix("Mi")) >= 1
    [_, [name, cores, share, *_]] = rows(cluster.kubectl("top", "node").stdout)
    assert name == cluster.get("nodes")["items"][0]["metadata"]["name"]
    assert int(cores.removesuffix("m")) > 0
    assert share.endswith("%")

    pages = f"/api/v1/nodes/{name}/proxy"
    summary = json.loads(cluster.kubectl("get", "--raw", f"{pages}/stats/summary").stdout)
    [pod] = [pod for pod in summary["pods"] if pod["podRef"]["namespace"] == namespace]
    used = {container["name"]: container for container in pod["containers"]}
    assert 0 < used["main"]["cpu"]["usageNanoCores"] < 400_000_000
    assert used["main"]["memory"]["workingSetBytes"] <= used["main"]["memory"]["usageBytes"]
    assert used["main"]["rootfs"]["capacityBytes"] > 0
    assert used["main"]["logs"]["usedBytes"] >= 0
    assert pod["network"]["name"] == "eth0"
    assert {volume["name"] for volume in pod["volume"]} >= {"scratch"}
    assert pod["process_stats"]["process_count"] >= 3
    assert summary["node"]["runtime"]["imageFs"]["capacityBytes"] > 0

    labels = f'container="main",namespace="{namespace}",pod="busy"'
    resource = cluster.kubectl("get", "--raw", f"{pages}/metrics/resource").stdout
    assert f"container_cpu_usage_seconds_total{{{labels}}}" in resource
    cadvisor = cluster.kubectl("get", "--raw", f"{pages}/metrics/cadvisor").stdout
    wanted = f'namespace="{namespace}",pod="busy"'
    for family in ("container_cpu_cfs_periods_total", "container_network_receive_bytes_total"):
        assert any(line.startswith(f"{family}{{") and wanted in line for line in cadvisor.splitlines())
    own = cluster.kubectl("get", "--raw", f"{pages}/metrics").stdout
    assert f'kubelet_node_name{{node="{name}"}} 1' in own
    assert 'kubelet_runtime_operations_total{operation_type="run_podsandbox"}' in own
    made = 'migrated="false",operation_name="volume_mount",status="success",volume_plugin="kubernetes.io/empty-dir"'
    there = 'plugin_name="kubernetes.io/empty-dir",state="actual_state_of_world"'
    for sample in (
        f"storage_operation_duration_seconds_count{{{made}}}",
        f"volume_manager_total_volumes{{{there}}}",
        'kubelet_cgroup_manager_duration_seconds_count{operation_type="create"}',
        "kubelet_pod_start_sli_duration_seconds_count",
        "kubelet_pod_status_sync_duration_seconds_count",
        'kubelet_run_podsandbox_duration_seconds_count{runtime_handler=""}',
        f'kubelet_container_log_filesystem_used_bytes{{container="main",namespace="{namespace}",pod="busy"',
        "kubelet_cgroup_version",
    ):
        assert f"\n{sample}" in own, sample


def test_simulated_nodes_have_a_usage_each(hollow: Cluster) -> None:
    names = sorted(node["metadata"]["name"] for node in hollow.get("nodes")["items"])
    for name in names:
        summary = hollow.kubectl("get", "--raw", f"/api/v1/nodes/{name}/proxy/stats/summary").stdout
        assert json.loads(summary)["node"]["nodeName"] == name
    [header, *nodes] = rows(hollow.kubectl("top", "node").stdout)
    assert header[0] == "NAME"
    assert sorted(node[0] for node in nodes) == names
