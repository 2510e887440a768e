"""A pod's status: a pure function of the pod, what is seen of it, and why its containers wait.

Phases, conditions, reasons and messages are upstream's (`pkg/kubelet/kubelet_pods.go`, `status/generate.go`). What others
wrote into the status (the scheduler's condition, readiness gates) stays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tiphys.api.core.pod_resources import qos_class
from tiphys.kubelet import spec
from tiphys.kubelet.allocation import POD
from tiphys.kubelet.conditions import PASSING, pod_conditions
from tiphys.kubelet.container_status import container_statuses
from tiphys.kubelet.ending import Ending, was_rejected
from tiphys.kubelet.seen import Seen, Waiting
from tiphys.kubelet.spec import Object
from tiphys.machinery import meta
from tiphys.machinery.frozen import frozen

Status = dict[str, Any]
LISTS = {
    "init": "initContainerStatuses",
    "main": "containerStatuses",
    "ephemeral": "ephemeralContainerStatuses",
}


@frozen
class Reason:
    """Why it is as it is, as the plan knows it."""

    waiting: Mapping[str, Waiting]
    ending: Ending | None = None


def pod_status(pod: Object, seen: Seen, why: Reason, host_ips: Sequence[str], now: datetime) -> Status:
    """The whole status as it should be. `host_ips`: the node's, first the main one."""
    old = pod.get("status") or {}
    if was_rejected(pod, seen):
        return _rejected(pod, why, now)
    lists = {
        field: container_statuses(pod, kind, seen, why.waiting, has_ended=_has_stopped(seen, why))  # type: ignore[arg-type]
        for kind, field in LISTS.items()
    }
    found = phase(pod, lists, why, has_stopped=_has_stopped(seen, why))
    status: Status = {
        **{name: value for name, value in old.items() if name not in ("reason", "message")},
        "phase": found,
        "observedGeneration": meta.generation(pod),
        "startTime": old.get("startTime") or meta.format_time(now),
        "qosClass": old.get("qosClass") or qos_class(pod["spec"]),
        "hostIP": host_ips[0],
        "hostIPs": [{"ip": ip} for ip in host_ips],
        **{field: entries for field, entries in lists.items() if entries},
        **_addresses(pod, seen, host_ips, old),
        **_pod_resources(pod, seen),
        **_explanation(old, why, found, is_final=_has_stopped(seen, why)),
    }
    conditions = pod_conditions(pod, {**status, **lists}, seen, now)
    status["conditions"] = _with_last_ones(pod, conditions, seen, why, now)
    return {name: value for name, value in status.items() if value not in (None, "")}


def _rejected(pod: Object, why: Reason, now: datetime) -> Status:
    """Nothing was made of it, and its containers have no status."""
    old = pod.get("status") or {}
    said = {"reason": why.ending.reason, "message": why.ending.message} if why.ending else {}
    return {
        **old,
        "phase": "Failed",
        "observedGeneration": meta.generation(pod),
        "startTime": old.get("startTime") or meta.format_time(now),
        "qosClass": old.get("qosClass") or qos_class(pod["spec"]),
        **{name: value for name, value in said.items() if value},
    }


def _with_last_ones(
    pod: Object, conditions: list[Status], seen: Seen, why: Reason, now: datetime
) -> list[Status]:
    """What a pod that was thrown out says besides, once nothing of it runs any more."""
    if why.ending is not None and _has_stopped(seen, why):
        for said in why.ending.conditions:
            conditions = meta.set_condition(
                conditions,
                said["type"],
                said["status"],
                now,
                reason=said["reason"],
                message=said["message"],
                observedGeneration=meta.generation(pod),
            )
    return conditions


def _has_stopped(seen: Seen, why: Reason) -> bool:
    """The pod has come to its end and nothing of it runs any more."""
    return why.ending is not None and not any(container.is_alive for container in seen.containers)


def _explanation(old: Object, why: Reason, found: str, *, is_final: bool) -> Status:
    if is_final and why.ending is not None and why.ending.reason:
        return {"reason": why.ending.reason, "message": why.ending.message}
    kept = found == old.get("phase") and found == "Failed"
    return {name: old[name] for name in ("reason", "message") if kept and old.get(name)}


def _addresses(pod: Object, seen: Seen, host_ips: Sequence[str], old: Object) -> Status:
    """The pod's own addresses once it has them; it keeps the last ones to its end."""
    if spec.uses_host_network(pod):
        ips: Sequence[str] = host_ips
    else:
        ips = seen.sandboxes[0].ips if seen.sandboxes else ()
    if not ips:
        return {name: old[name] for name in ("podIP", "podIPs") if name in old}
    return {"podIP": ips[0], "podIPs": [{"ip": ip} for ip in ips]}


def _pod_resources(pod: Object, seen: Seen) -> Status:
    """Of a pod that asks for something as a whole (KEP-2837): what it was granted, and what its cgroup was made for."""
    granted = pod["spec"].get("resources")
    if not granted:
        return {}
    found: Status = {"resources": seen.resize.enforced.get(POD, granted) if seen.resize else granted}
    if granted.get("requests"):
        found["allocatedResources"] = granted["requests"]
    return found


# The phase


@dataclass(slots=True)
class _Count:
    waiting: int = 0
    running: int = 0
    stopped: int = 0
    succeeded: int = 0


def phase(pod: Object, lists: Mapping[str, Sequence[Object]], why: Reason, *, has_stopped: bool) -> str:
    """Pending, Running, Succeeded or Failed. The last two are final."""
    if spec.is_finished(pod):
        return str(pod["status"]["phase"])
    if has_stopped and why.ending is not None and why.ending.phase:
        return why.ending.phase
    initializing, failed = _initialization(pod, lists["initContainerStatuses"])
    count = _count(lists["containerStatuses"])
    if failed:
        return "Failed"
    has_begun = count.running > 0 or count.stopped > 0
    if (initializing and not has_begun) or count.waiting:
        return "Failed" if has_stopped else "Pending"
    if not has_stopped:
        # What has ended but is not at its end comes back; sidecars may outlive the others for a moment.
        return "Running"
    return "Succeeded" if count.stopped == count.succeeded else "Failed"


def _count(entries: Sequence[Object]) -> _Count:
    """A container that waits for its restart counts as stopped."""
    count = _Count()
    for entry in entries:
        state = entry["state"]
        terminated = state.get("terminated") or (entry.get("lastState") or {}).get("terminated")
        if "running" in state:
            count.running += 1
        elif terminated:
            count.stopped += 1
            count.succeeded += "terminated" in state and terminated["exitCode"] == 0
        else:
            count.waiting += 1
    return count


def _initialization(pod: Object, entries: Sequence[Object]) -> tuple[bool, bool]:
    """(some init container is not through, some has failed for good)."""
    pending = failed = False
    for container, entry in zip(spec.containers(pod, "init"), entries, strict=True):
        state = entry["state"]
        if spec.is_sidecar(container):
            pending = pending or not entry.get("started")
        elif "terminated" in state:
            code = state["terminated"]["exitCode"]
            comes_back = spec.should_restart(pod, container, "init", code)
            failed = failed or (code != 0 and not comes_back)
            pending = pending or comes_back
        else:
            pending = True
    return pending, failed


# What is sent


def status_patch(pod: Object, wanted: Status) -> Status | None:
    """A strategic merge patch of /status that makes it so; None when it is so already."""
    old: Mapping[str, Any] = pod.get("status") or {}
    changes: Status = {name: value for name, value in wanted.items() if old.get(name) != value}
    changes |= {name: None for name in ("reason", "message") if name in old and name not in wanted}
    if "conditions" in changes:
        changes["conditions"] = _changed_conditions(old.get("conditions") or (), wanted["conditions"])
    for field in ("podIPs", "hostIPs"):
        if field in changes:
            changes[field] += _dropped(old.get(field) or (), wanted[field])
    if not changes:
        return None
    return {"metadata": {"uid": meta.uid(pod)}, "status": changes}


def _changed_conditions(old: Sequence[Object], wanted: Sequence[Object]) -> list[Object]:
    """Merged by type on the server; what lacks a field now must say so."""
    changed: list[Object] = []
    for condition in wanted:
        before = meta.find_condition(old, condition["type"])  # type: ignore[arg-type]
        if before != condition:
            gone = {name: None for name in before or () if name not in condition}
            changed.append({**condition, **gone})
    kept = {condition["type"] for condition in wanted}
    # Conditions of others may be newer than what we made ours from.
    gone_types = [type for type in PASSING if type not in kept and meta.find_condition(old, type)]  # type: ignore[arg-type]
    return changed + [{"type": type, "$patch": "delete"} for type in gone_types]


def _dropped(old: Sequence[Object], wanted: Sequence[Object]) -> list[Object]:
    """Addresses are merged, too: one that is no longer ours must be taken out."""
    kept = {entry["ip"] for entry in wanted}
    return [{"ip": entry["ip"], "$patch": "delete"} for entry in old if entry["ip"] not in kept]
