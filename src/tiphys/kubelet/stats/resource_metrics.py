"""/metrics/resource: what autoscaling needs, and nothing else. Names, help and stability are upstream's (KEP-727)."""

from __future__ import annotations

from tiphys.kubelet.stats.exposition import COUNTER, GAUGE, Exposition, Labels
from tiphys.kubelet.stats.summary import Measurements
from tiphys.kubelet.stats.usage import CPUUsage, MemoryUsage
from tiphys.machinery import meta

_NOT_ON_WINDOWS = "Reported only on non-windows systems"
_FAMILIES = (
    ("container_cpu_usage_seconds_total", COUNTER, "[STABLE] Cumulative cpu time consumed by the container in core-seconds"),
    ("container_memory_working_set_bytes", GAUGE, "[STABLE] Current working set of the container in bytes"),
    ("container_start_time_seconds", GAUGE, "[STABLE] Start time of the container since unix epoch in seconds"),
    ("container_swap_limit_bytes", GAUGE, f"[ALPHA] Current amount of the container swap limit in bytes. {_NOT_ON_WINDOWS}"),
    ("container_swap_usage_bytes", GAUGE, f"[ALPHA] Current amount of the container swap usage in bytes. {_NOT_ON_WINDOWS}"),
    ("node_cpu_usage_seconds_total", COUNTER, "[STABLE] Cumulative cpu time consumed by the node in core-seconds"),
    ("node_memory_working_set_bytes", GAUGE, "[STABLE] Current working set of the node in bytes"),
    ("node_swap_usage_bytes", GAUGE, f"[ALPHA] Current swap usage of the node in bytes. {_NOT_ON_WINDOWS}"),
    ("pod_cpu_usage_seconds_total", COUNTER, "[STABLE] Cumulative cpu time consumed by the pod in core-seconds"),
    ("pod_memory_working_set_bytes", GAUGE, "[STABLE] Current working set of the pod in bytes"),
    ("pod_swap_usage_bytes", GAUGE, f"[ALPHA] Current amount of the pod swap usage in bytes. {_NOT_ON_WINDOWS}"),
    ("resource_scrape_error", GAUGE, "[STABLE] 1 if there was an error while getting container metrics, 0 otherwise"),
)  # fmt: skip


def resource_metrics(found: Measurements) -> bytes:
    text = Exposition()
    for family in _FAMILIES:
        text.declare(*family)
    _add(text, "node", {}, found.node.cpu, found.node.memory)
    for pod in found.pods:
        usage = found.usages.get(pod.uid)
        if usage is None:
            continue
        labels = {"namespace": meta.namespace(pod.pod), "pod": meta.name(pod.pod)}
        _add(text, "pod", labels, usage.cpu, usage.memory)
        for container in usage.containers:
            own = {**labels, "container": container.name}
            _add(text, "container", own, container.cpu, container.memory)
            if container.started_at is not None:
                text.add("container_start_time_seconds", own, container.started_at.timestamp())
    text.add("resource_scrape_error", {}, 0)
    return text.render()


def _add(
    text: Exposition, what: str, labels: Labels, cpu: CPUUsage | None, memory: MemoryUsage | None
) -> None:
    if cpu is not None:
        text.add(f"{what}_cpu_usage_seconds_total", labels, cpu.usage_nanoseconds / 1e9, cpu.time)
    if memory is None:
        return
    text.add(f"{what}_memory_working_set_bytes", labels, memory.working_set_bytes, memory.time)
    if memory.swap_bytes is not None:
        text.add(f"{what}_swap_usage_bytes", labels, memory.swap_bytes, memory.time)
    if what == "container" and memory.swap_limit_bytes is not None:
        text.add("container_swap_limit_bytes", labels, memory.swap_limit_bytes, memory.time)
