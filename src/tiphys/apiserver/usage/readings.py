"""What kubelets say that their nodes and pods use, as metrics.k8s.io says it: read from a kubelet's summary. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime
from typing import Any

from tiphys.api.resource import Object
from tiphys.machinery import meta
from tiphys.machinery.frozen import frozen
from tiphys.machinery.quantity import BINARY_SI, Quantity, from_value
from tiphys.machinery.quoting import format_duration

GROUP_VERSION = "metrics.k8s.io/v1beta1"
SHORTEST_WINDOW_SECONDS = 1.0


@frozen
class Amounts:
    nano_cores: int
    memory_bytes: int

    def to_dict(self) -> dict[str, str]:
        return {
            "cpu": str(Quantity(self.nano_cores)),
            "memory": str(from_value(self.memory_bytes, BINARY_SI)),
        }


@frozen
class PodReading:
    """All of its containers at one moment; `began_at`: of the youngest one."""

    time: datetime
    began_at: datetime
    containers: Mapping[str, Amounts]


@frozen
class NodeReading:
    """Of one node. `window_seconds`: how long is what was measured, at most."""

    at_seconds: float
    window_seconds: float
    time: datetime | None = None
    amounts: Amounts | None = None
    pods: Mapping[tuple[str, str], PodReading] = field(default_factory=dict)
    """By namespace and name; those of which everything is known."""


def read_summary(summary: Object, at_seconds: float, previous: NodeReading | None) -> NodeReading:
    """What a kubelet tells. Raises KeyError, TypeError, ValueError or AttributeError for what is no summary."""
    window = at_seconds - previous.at_seconds if previous is not None else SHORTEST_WINDOW_SECONDS
    node = summary["node"]
    pods = {}
    for pod in summary.get("pods") or ():
        reading = _pod(pod)
        if reading is not None:
            pods[pod["podRef"]["namespace"], pod["podRef"]["name"]] = reading
    amounts = _amounts(node)
    time = meta.parse_time(node["cpu"]["time"]) if amounts is not None else None
    return NodeReading(at_seconds, max(window, SHORTEST_WINDOW_SECONDS), time, amounts, pods)


def _pod(pod: Object) -> PodReading | None:
    """None: it runs nothing, or there is a container of which too little is known yet."""
    containers, times, began = {}, [], []
    for container in pod.get("containers") or ():
        amounts = _amounts(container)
        if amounts is None:
            return None
        containers[container["name"]] = amounts
        times.append(meta.parse_time(container["cpu"]["time"]))
        began.append(meta.parse_time(container["startTime"]))
    return PodReading(min(times), max(began), containers) if containers else None


def _amounts(usage: Object) -> Amounts | None:
    cpu = (usage.get("cpu") or {}).get("usageNanoCores")
    memory = (usage.get("memory") or {}).get("workingSetBytes")
    return None if cpu is None or memory is None else Amounts(int(cpu), int(memory))


def node_metrics(node: Object, reading: NodeReading, now: datetime) -> Object | None:
    """The object; None when nothing is known."""
    if reading.amounts is None or reading.time is None:
        return None
    head = _head("NodeMetrics", node, now)
    measured = _measured(reading.time, reading.window_seconds)
    return {**head, **measured, "usage": reading.amounts.to_dict()}


def pod_metrics(pod: Object, reading: NodeReading, now: datetime) -> Object | None:
    found = reading.pods.get((meta.namespace(pod), meta.name(pod)))
    if found is None:
        return None
    age = max((found.time - found.began_at).total_seconds(), SHORTEST_WINDOW_SECONDS)
    containers = [{"name": name, "usage": amounts.to_dict()} for name, amounts in found.containers.items()]
    window = min(reading.window_seconds, age) if reading.window_seconds > SHORTEST_WINDOW_SECONDS else age
    return {**_head("PodMetrics", pod, now), **_measured(found.time, window), "containers": containers}


def _head(kind: str, about: Object, now: datetime) -> Object:
    metadata: Object = {"name": meta.name(about)}
    if meta.namespace(about):
        metadata["namespace"] = meta.namespace(about)
    metadata["creationTimestamp"] = meta.format_time(now)
    if meta.labels(about):
        metadata["labels"] = dict(meta.labels(about))
    return {"kind": kind, "apiVersion": GROUP_VERSION, "metadata": metadata}


def _measured(time: datetime, window_seconds: float) -> dict[str, Any]:
    return {"timestamp": meta.format_time(time), "window": format_duration(round(window_seconds, 3))}
