"""From requests and limits to what the kernel enforces. Pure; the arithmetic is upstream's (`kuberuntime_container_linux`, `cm/helpers_linux`)."""

from __future__ import annotations

from collections.abc import Mapping

from tiphys.api.core.pod_resources import pod_limits, pod_requests, qos_class
from tiphys.kubelet import spec
from tiphys.kubelet.runtimes.interface import Resources
from tiphys.kubelet.spec import Object
from tiphys.machinery.quantity import Quantity, parse

MINIMUM_SHARES = 2
MAXIMUM_SHARES = 262_144
PERIOD_MICROSECONDS = 100_000
MINIMUM_QUOTA_MICROSECONDS = 1000
GUARANTEED_OOM_SCORE = -997
BEST_EFFORT_OOM_SCORE = 1000
SYSTEM_CRITICAL_PRIORITY = 2_000_000_000


def cpu_shares(milli: int) -> int:
    return min(max(milli * 1024 // 1000, MINIMUM_SHARES), MAXIMUM_SHARES)


def cpu_quota_microseconds(milli: int) -> int:
    """For each period; 0: no limit."""
    return max(milli * PERIOD_MICROSECONDS // 1000, MINIMUM_QUOTA_MICROSECONDS) if milli else 0


def container_resources(pod: Object, container: Object, node_memory_bytes: int) -> Resources:
    requests, limits = _amounts(container, "requests"), _amounts(container, "limits")
    cpu, memory = limits.get("cpu"), limits.get("memory")
    requested = requests.get("cpu", cpu)
    return Resources(
        cpu_period_microseconds=PERIOD_MICROSECONDS,
        cpu_quota_microseconds=cpu_quota_microseconds(cpu.milli) if cpu else 0,
        cpu_shares=cpu_shares(requested.milli if requested else 0),
        memory_limit_bytes=memory.value if memory else 0,
        oom_score_adj=oom_score_adj(pod, container, node_memory_bytes),
    )


def pod_resources(pod: Object) -> Resources:
    """The limits of the pod's own cgroup: a limit only where every container has one (or the pod itself does)."""
    requests, limits = pod_requests(pod["spec"]), pod_limits(pod["spec"])
    cpu = limits.get("cpu") if _is_limited(pod, "cpu") else None
    memory = limits.get("memory") if _is_limited(pod, "memory") else None
    return Resources(
        cpu_period_microseconds=PERIOD_MICROSECONDS,
        cpu_quota_microseconds=cpu_quota_microseconds(cpu.milli) if cpu else 0,
        cpu_shares=cpu_shares(requests["cpu"].milli if "cpu" in requests else 0),
        memory_limit_bytes=memory.value if memory else 0,
    )


def _is_limited(pod: Object, resource: str) -> bool:
    if resource in ((pod["spec"].get("resources") or {}).get("limits") or {}):
        return True
    holders = [*spec.containers(pod), *spec.containers(pod, "init")]
    return all(resource in _amounts(container, "limits") for container in holders)


def _amounts(container: Object, kind: str) -> Mapping[str, Quantity]:
    amounts = (container.get("resources") or {}).get(kind) or {}
    return {name: parse(amount) for name, amount in amounts.items()}


def oom_score_adj(pod: Object, container: Object, node_memory_bytes: int) -> int:
    """How soon the kernel kills it when memory runs out: -997 hardly ever, 1000 first."""
    if (pod["spec"].get("priority") or 0) >= SYSTEM_CRITICAL_PRIORITY:
        return GUARANTEED_OOM_SCORE
    match qos_class(pod["spec"]):
        case "Guaranteed":
            return GUARANTEED_OOM_SCORE
        case "BestEffort":
            return BEST_EFFORT_OOM_SCORE
    request = _amounts(container, "requests").get("memory")
    score = 1000 - 1000 * (request.value if request else 0) // max(node_memory_bytes, 1)
    return min(max(score, 1000 + GUARANTEED_OOM_SCORE), BEST_EFFORT_OOM_SCORE - 1)


def cgroup_path(root: str, pod: Object, uid: str) -> str:
    """`root` is the node's: "/tiphys-default/node-1" → "/tiphys-default/node-1/kubepods/burstable/pod<uid>"."""
    qos = qos_class(pod["spec"])
    level = "" if qos == "Guaranteed" else f"/{qos.lower()}"
    return f"{root}/kubepods{level}/pod{uid}"
