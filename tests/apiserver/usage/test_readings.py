"""What metrics.k8s.io makes of kubelets' summaries."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from tiphys.apiserver.usage.readings import node_metrics, pod_metrics, read_summary

NOW = datetime(2026, 11, 28, 12, 1, tzinfo=UTC)
NODE = {"metadata": {"name": "node-1", "labels": {"zone": "a"}}}
POD = {"metadata": {"name": "web", "namespace": "argo", "labels": {"app": "web"}}}


def usage(cores: int | None, memory: int | None, **more: Any) -> dict[str, Any]:
    cpu = {"time": "2026-11-28T12:00:30Z", "usageCoreNanoSeconds": 5}
    return {
        "cpu": cpu | ({} if cores is None else {"usageNanoCores": cores}),
        "memory": {} if memory is None else {"workingSetBytes": memory},
        **more,
    }


def container(name: str, cores: int | None, memory: int | None = 2048) -> dict[str, Any]:
    return usage(cores, memory, name=name, startTime="2026-11-28T12:00:00Z")


def summary(*containers: dict[str, Any]) -> dict[str, Any]:
    reference = {"name": "web", "namespace": "argo", "uid": "u1"}
    return {
        "node": usage(133_557_461, 5 << 30, nodeName="node-1"),
        "pods": [{"podRef": reference, "containers": list(containers)}],
    }


def test_a_node() -> None:
    first = read_summary(summary(), 100.0, None)
    assert node_metrics(NODE, first, NOW) == {
        "kind": "NodeMetrics",
        "apiVersion": "metrics.k8s.io/v1beta1",
        "metadata": {
            "name": "node-1",
            "creationTimestamp": "2026-11-28T12:01:00Z",
            "labels": {"zone": "a"},
        },
        "timestamp": "2026-11-28T12:00:30Z",
        "window": "1s",
        "usage": {"cpu": "133557461n", "memory": "5Gi"},
    }
    second = read_summary(summary(), 115.25, first)
    found = node_metrics(NODE, second, NOW)
    assert found is not None
    assert found["window"] == "15.25s"


def test_a_pod() -> None:
    reading = read_summary(summary(container("main", 1_000_000), container("side", 0, 1000)), 1.0, None)
    assert pod_metrics(POD, reading, NOW) == {
        "kind": "PodMetrics",
        "apiVersion": "metrics.k8s.io/v1beta1",
        "metadata": {
            "name": "web",
            "namespace": "argo",
            "creationTimestamp": "2026-11-28T12:01:00Z",
            "labels": {"app": "web"},
        },
        "timestamp": "2026-11-28T12:00:30Z",
        "window": "30s",
        "containers": [
            {"name": "main", "usage": {"cpu": "1m", "memory": "2Ki"}},
            {"name": "side", "usage": {"cpu": "0", "memory": "1k"}},
        ],
    }


def test_a_pod_is_known_once_all_of_its_containers_are() -> None:
    reading = read_summary(summary(container("main", 1), container("late", None)), 1.0, None)
    assert reading.pods == {}
    assert pod_metrics(POD, reading, NOW) is None
    assert read_summary(summary(), 1.0, None).pods == {}


def test_a_node_that_is_not_known_yet() -> None:
    reading = read_summary({"node": usage(None, 5), "pods": []}, 1.0, None)
    assert node_metrics(NODE, reading, NOW) is None


@pytest.mark.parametrize("nonsense", [{}, {"node": {"cpu": 1}}, {"node": None}, []])
def test_what_is_no_summary_is_refused(nonsense: Any) -> None:
    with pytest.raises((KeyError, TypeError, ValueError, AttributeError)):
        read_summary(nonsense, 1.0, None)
