"""From requests and limits to what the kernel enforces. Pure; the arithmetic is upstream's (`kuberuntime_container_linux`, `cm/helpers_linux`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tiphys.api.core.pod_resources import container_requests, pod_limits, pod_requests, qos_class
from tiphys.kubelet import spec
from tiphys.kubelet.runtimes.interface import Resources
from tiphys.kubelet.spec import Object
from tiphys.machinery.frozen import frozen
from tiphys.machinery.quantity import Quantity, parse

MINIMUM_SHARES = 2
MAXIMUM_SHARES = 262_144
PERIOD_MICROSECONDS = 100_000
MINIMUM_QUOTA_MICROSECONDS = 1000
GUARANTEED_OOM_SCORE = -997
BEST_EFFORT_OOM_SCORE = 1000
HUGE_PAGES = "hugepages-"


def cpu_shares(milli: int) -> int:
    return min(max(milli * 1024 // 1000, MINIMUM_SHARES), MAXIMUM_SHARES)


def cpu_quota_microseconds(milli: int) -> int:
    """For each period; 0: no limit."""
    return max(milli * PERIOD_MICROSECONDS // 1000, MINIMUM_QUOTA_MICROSECONDS) if milli else 0


@frozen
class Enforcement:
    """What this node tells its kernel of pods' resources. `memory_bytes`: all that the node has."""

    memory_bytes: int = 0
    cpu_cfs_quota: bool = True
    pids_limit: int = 0
    """Of a whole pod; 0: none."""
    is_unified: bool = False
    """The machine has cgroup version 2."""
    huge_page_sizes: tuple[str, ...] = ()
    """As the kernel spells them: "2MB"."""


def container_resources(pod: Object, container: Object, enforced: Enforcement) -> Resources:
    """A container that has no limit of its own has the pod's, if that has one."""
    requests, limits = _amounts(container, "requests"), _amounts(container, "limits")
    of_pod = _amounts(pod["spec"], "limits")
    cpu, memory = limits.get("cpu") or of_pod.get("cpu"), limits.get("memory") or of_pod.get("memory")
    requested = requests.get("cpu", cpu)
    memory_limit_bytes = memory.value if memory else 0
    is_grouped = enforced.is_unified and memory_limit_bytes
    return Resources(
        **_cpu(cpu, requested, enforced),
        memory_limit_bytes=memory_limit_bytes,
        # No swap, where the kernel counts it: what a container may have is memory.
        memory_swap_limit_bytes=memory_limit_bytes if is_grouped else 0,
        oom_score_adj=oom_score_adj(pod, container, enforced.memory_bytes),
        hugepage_limits_bytes=_huge_pages(limits, enforced),
        # A container that the kernel has taken a process from is no container any more: all of it ends.
        unified={"memory.oom.group": "1"} if is_grouped else {},
    )


def pod_resources(pod: Object, enforced: Enforcement) -> Resources:
    """The limits of the pod's own cgroup: a limit only where every container has one (or the pod itself does)."""
    requests, limits = pod_requests(pod["spec"]), pod_limits(pod["spec"])
    cpu = limits.get("cpu") if _is_limited(pod, "cpu") else None
    memory = limits.get("memory") if _is_limited(pod, "memory") else None
    is_best_effort = qos_class(pod["spec"]) == "BestEffort"
    return Resources(
        **_cpu(cpu, None if is_best_effort else requests.get("cpu"), enforced),
        memory_limit_bytes=memory.value if memory else 0,
        hugepage_limits_bytes=_huge_pages(limits, enforced),
    )


def _cpu(limit: Quantity | None, request: Quantity | None, enforced: Enforcement) -> dict[str, Any]:
    found = {"cpu_shares": cpu_shares(request.milli if request else 0)}
    if enforced.cpu_cfs_quota:
        found["cpu_period_microseconds"] = PERIOD_MICROSECONDS
        found["cpu_quota_microseconds"] = cpu_quota_microseconds(limit.milli) if limit else 0
    return found


def _huge_pages(limits: Mapping[str, Quantity], enforced: Enforcement) -> dict[str, int]:
    """Of each size that the machine has; a size that is not asked for may not be used."""
    asked = {
        huge_page_size(parse(name.removeprefix(HUGE_PAGES)).value): amount.value
        for name, amount in limits.items()
        if name.startswith(HUGE_PAGES)
    }
    return {size: asked.get(size, 0) for size in enforced.huge_page_sizes}


def huge_page_size(size_bytes: int) -> str:
    """As the kernel names its files: "2MB"."""
    units = ["B", "KB", "MB", "GB", "TB"]
    while size_bytes >= 1024 and len(units) > 1:
        size_bytes //= 1024
        units.pop(0)
    return f"{size_bytes}{units[0]}"


def widest(one: Resources, other: Resources) -> Resources:
    """What is enough for both; no limit is the widest of all."""

    def wider(a: int, b: int) -> int:
        return max(a, b) if a and b else 0

    return replace(
        other,
        cpu_shares=max(one.cpu_shares, other.cpu_shares),
        cpu_quota_microseconds=wider(one.cpu_quota_microseconds, other.cpu_quota_microseconds),
        memory_limit_bytes=wider(one.memory_limit_bytes, other.memory_limit_bytes),
    )


def _is_limited(pod: Object, resource: str) -> bool:
    if _amounts(pod["spec"], "limits").get(resource):
        return True
    holders = [*spec.containers(pod), *spec.containers(pod, "init")]
    return all(_amounts(container, "limits").get(resource) for container in holders)


def _amounts(holder: Object, kind: str) -> Mapping[str, Quantity]:
    amounts = (holder.get("resources") or {}).get(kind) or {}
    return {name: parse(amount) for name, amount in amounts.items()}


def oom_score_adj(pod: Object, container: Object, node_memory_bytes: int) -> int:
    """How soon the kernel kills it when memory runs out: -997 hardly ever, 1000 first."""
    if spec.is_critical(pod) and pod["spec"].get("priorityClassName") == "system-node-critical":
        return GUARANTEED_OOM_SCORE
    match qos_class(pod["spec"]):
        case "Guaranteed":
            return GUARANTEED_OOM_SCORE
        case "BestEffort":
            return BEST_EFFORT_OOM_SCORE
    request = _memory_request(container)
    if spec.is_sidecar(container):
        # A sidecar is to outlive the containers that it serves.
        request = max(request, min(_memory_request(each) for each in spec.containers(pod)))
    request += _undivided_memory(pod)
    score = 1000 - 1000 * request // max(node_memory_bytes, 1)
    return min(max(score, 1000 + GUARANTEED_OOM_SCORE), BEST_EFFORT_OOM_SCORE - 1)


def _memory_request(container: Object) -> int:
    request = _amounts(container, "requests").get("memory")
    return request.value if request else 0


def _undivided_memory(pod: Object) -> int:
    """Of what the pod requests as a whole and its containers do not, each one's part (KEP-2837)."""
    whole = _amounts(pod["spec"], "requests").get("memory")
    if not whole:
        return 0
    divided = container_requests(pod["spec"]).get("memory")
    count = len(spec.containers(pod)) + len(spec.containers(pod, "init"))
    return (whole.value - (divided.value if divided else 0)) // count


def cgroup_path(root: str, pod: Object, uid: str) -> str:
    """`root` is the node's: "/tiphys-default/node-1" → "/tiphys-default/node-1/kubepods/burstable/pod<uid>"."""
    qos = qos_class(pod["spec"])
    level = "" if qos == "Guaranteed" else f"/{qos.lower()}"
    return f"{root}/kubepods{level}/pod{uid}"
