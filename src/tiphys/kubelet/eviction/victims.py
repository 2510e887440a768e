"""Which pod goes first when the node is short of something, and what it is told. Pure; order and words are upstream's.

Pods that use more than they requested go first, the least important of them before others, then those that are furthest above.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from tiphys.api.core.pod_resources import pod_requests
from tiphys.kubelet import spec
from tiphys.kubelet.eviction.pressure import Observations
from tiphys.kubelet.eviction.thresholds import (
    ALLOCATABLE_MEMORY_AVAILABLE,
    IMAGEFS_AVAILABLE,
    IMAGEFS_INODES_FREE,
    MEMORY_AVAILABLE,
    PID_AVAILABLE,
    Threshold,
)
from tiphys.kubelet.seen import Sentence
from tiphys.kubelet.spec import Object
from tiphys.kubelet.stats.usage import ContainerUsage, FilesystemUsage, PodDisks, PodUsage
from tiphys.machinery import meta
from tiphys.machinery.frozen import frozen
from tiphys.machinery.quantity import BINARY_SI, ZERO, Quantity, from_value, parse

REASON = "Evicted"
HARD_GRACE_SECONDS = 1.0
_INODES, _PIDS = "inodes", "pids"


@frozen
class Candidate:
    """A pod and what it uses; None where that is not known, which does not speak for it."""

    pod: Object
    usage: PodUsage | None = None
    disks: PodDisks | None = None


def ranked(candidates: Iterable[Candidate], threshold: Threshold, *, has_image_disk: bool) -> list[Candidate]:
    """The first one goes first. `has_image_disk`: images and containers have a filesystem of their own."""
    key: Callable[[Candidate], tuple[float, ...]]
    if threshold.signal in (MEMORY_AVAILABLE, ALLOCATABLE_MEMORY_AVAILABLE):
        key = _by_memory
    elif threshold.signal == PID_AVAILABLE:
        key = _by_processes
    else:
        parts = _parts(threshold.signal, has_image_disk=has_image_disk)
        is_inodes = threshold.resource == _INODES

        def by_disk(candidate: Candidate) -> tuple[float, ...]:
            return _by_disk(candidate, parts, is_inodes=is_inodes)

        key = by_disk
    return sorted(candidates, key=key)


def _request(pod: Object, resource: str) -> int:
    return pod_requests(pod["spec"]).get(resource, ZERO).value


def _by_memory(candidate: Candidate) -> tuple[float, ...]:
    pod, usage = candidate.pod, candidate.usage
    if usage is None:
        return (0, 0, spec.priority(pod))
    used = usage.memory.working_set_bytes if usage.memory else 0
    above = used - _request(pod, "memory")
    return (1, above <= 0, spec.priority(pod), -above)


def _by_processes(candidate: Candidate) -> tuple[float, ...]:
    usage = candidate.usage
    is_known = usage is not None
    return (spec.priority(candidate.pod), is_known, -(usage.processes or 0) if usage else 0)


def _parts(signal: str, *, has_image_disk: bool) -> tuple[str, ...]:
    """What of a pod lies on the disk in question."""
    if not has_image_disk:
        return ("layers", "logs", "volumes")
    return ("layers",) if signal in (IMAGEFS_AVAILABLE, IMAGEFS_INODES_FREE) else ("logs", "volumes")


def _by_disk(candidate: Candidate, parts: Sequence[str], *, is_inodes: bool) -> tuple[float, ...]:
    pod, disks = candidate.pod, candidate.disks
    if disks is None:
        return (0, 0, spec.priority(pod))
    found: list[FilesystemUsage] = []
    if "layers" in parts:
        found += disks.root_filesystems.values()
    if "logs" in parts:
        found += disks.logs.values()
    if "volumes" in parts:
        found += [volume.usage for volume in disks.volumes if volume.is_ephemeral]
    used = sum((each.inodes_used if is_inodes else each.used_bytes) or 0 for each in found)
    requested = _request(pod, "ephemeral-storage")
    above = used - (0 if is_inodes else requested)
    return (1, above <= 0, spec.priority(pod), requested - used)


# What it is told


def sentence(
    candidate: Candidate,
    acting: Sequence[Threshold],
    seen: Observations,
    grace_limit_seconds: float,
) -> Sentence:
    """For the first of the thresholds. `grace_limit_seconds`: what a soft one leaves a pod; negative: what it asks for."""
    threshold = acting[0]
    message = _message(candidate, acting, seen)
    condition = {"type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet"}
    return Sentence(
        REASON,
        message,
        _grace(candidate.pod, threshold, grace_limit_seconds),
        ({**condition, "message": message},),
    )


def _grace(pod: Object, threshold: Threshold, limit_seconds: float) -> float | None:
    if threshold.is_hard:
        return HARD_GRACE_SECONDS
    return None if limit_seconds < 0 else limit_seconds


def _message(candidate: Candidate, acting: Sequence[Threshold], seen: Observations) -> str:
    resource = acting[0].resource
    told = f"The node was low on resource: {resource}. "
    told += _threshold_told(resource, acting, seen)
    usage = candidate.usage
    if usage is None:
        return told
    whole = _whole(candidate, resource)
    if whole is not None:
        name, (used, request) = meta.name(candidate.pod), whole
        told += f"Pod {name} was using {used}, request is {request}, {_larger(resource)}"
    for container, used in offenders(candidate, resource):
        request = _container_request(container, resource)
        told += f"Container {container['name']} was using {used}, request is {request}, {_larger(resource)}"
    return told


def _whole(candidate: Candidate, resource: str) -> tuple[Quantity, str] | None:
    """What a pod that requests memory as a whole uses of it, and its request."""
    memory = candidate.usage.memory if candidate.usage else None
    requests = (candidate.pod["spec"].get("resources") or {}).get("requests") or {}
    if resource != "memory" or resource not in requests or memory is None:
        return None
    return from_value(memory.working_set_bytes, BINARY_SI), str(requests[resource])


def _larger(resource: str) -> str:
    return f"has larger consumption of {resource}. "


def _threshold_told(resource: str, acting: Sequence[Threshold], seen: Observations) -> str:
    for threshold in acting:
        observed = seen.get(threshold.signal)
        if threshold.resource == resource and observed is not None:
            amount = threshold.amount.quantity
            if amount is None:
                amount = from_value(threshold.amount.of(observed.capacity), BINARY_SI)
            available = _shown(observed.available, resource)
            return f"Threshold quantity: {amount}, available: {available}. "
    return ""


def _shown(amount: int, resource: str) -> Quantity:
    return from_value(amount) if resource in (_INODES, _PIDS) else from_value(amount, BINARY_SI)


def offenders(candidate: Candidate, resource: str) -> list[tuple[Object, Quantity]]:
    """Containers that use more than they requested, and how much."""
    usage = candidate.usage
    containers = {each["name"]: each for each in _blamed(candidate.pod)}
    found = []
    for of_container in usage.containers if usage else ():
        container = containers.get(of_container.name)
        used = _container_use(of_container, candidate.disks, resource)
        if (
            container is not None
            and used is not None
            and used > parse(_container_request(container, resource))
        ):
            found.append((container, used))
    return found


def _blamed(pod: Object) -> list[Object]:
    """Ephemeral containers can request nothing: they would always be to blame."""
    return [*spec.containers(pod), *spec.containers(pod, "init")]


def _container_use(usage: ContainerUsage, disks: PodDisks | None, resource: str) -> Quantity | None:
    if resource == "memory":
        return from_value(usage.memory.working_set_bytes, BINARY_SI) if usage.memory else None
    if resource != "ephemeral-storage" or disks is None:
        return None
    layer, logs = disks.root_filesystems.get(usage.name), disks.logs.get(usage.name)
    if layer is None or logs is None:
        return None
    return from_value((layer.used_bytes or 0) + (logs.used_bytes or 0), BINARY_SI)


def _container_request(container: Object, resource: str) -> str:
    return str(((container.get("resources") or {}).get("requests") or {}).get(resource, "0"))


def event_annotations(candidate: Candidate, resource: str) -> Mapping[str, str]:
    """Of the event: what programs want to know of it."""
    found = offenders(candidate, resource)
    whole = _whole(candidate, resource)
    of_pod = (
        {"offending_pod": meta.name(candidate.pod), "offending_pod_usage": str(whole[0])} if whole else {}
    )
    return {
        **of_pod,
        "offending_containers": ",".join(container["name"] for container, _ in found),
        "offending_containers_usage": ",".join(str(used) for _, used in found),
        "starved_resource": resource,
    }
