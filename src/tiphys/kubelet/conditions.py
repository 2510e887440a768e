"""The conditions of a pod that are the kubelet's, with upstream's reasons and messages (`pkg/kubelet/status/generate.go`). Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from tiphys.kubelet import restarting_all, spec
from tiphys.kubelet.seen import Resize, Seen
from tiphys.kubelet.spec import Object
from tiphys.machinery import meta
from tiphys.machinery.frozen import frozen


@frozen
class Verdict:
    status: str
    reason: str = ""
    message: str = ""


_TRUE = Verdict("True")
_POD_COMPLETED = "PodCompleted"
_ENDED = {"Succeeded": _POD_COMPLETED, "Failed": "PodFailed"}
_RESTARTING = "AllContainersRestarting"
_RESIZE_PENDING, _RESIZE_IN_PROGRESS = PASSING = ("PodResizePending", "PodResizeInProgress")
"""Ours that come and go."""


def pod_conditions(pod: Object, status: Mapping[str, Any], seen: Seen, now: datetime) -> list[dict[str, Any]]:
    """All conditions of the pod with ours as they should be; `status` is the new one, with all lists of containers."""
    phase = status["phase"]
    existing = meta.conditions(pod)
    containers_ready = ready_containers(_main_and_sidecars(pod, status), phase)
    verdicts = {
        "PodReadyToStartContainers": Verdict("True" if _has_network(pod, seen) else "False"),
        "Initialized": initialized(pod, status, phase),
        "Ready": ready(pod, containers_ready),
        "ContainersReady": containers_ready,
        "PodScheduled": _TRUE,
    }
    conditions = list(existing)
    for type, verdict in verdicts.items():
        conditions = _with(conditions, type, verdict, now, meta.generation(pod))
    conditions = _with_resize(conditions, seen.resize, now)
    if restarting_all.may_happen(pod):
        # Upstream's has no generation.
        conditions = _with(conditions, _RESTARTING, _restarting(pod, seen, phase), now, 0)
    return conditions


def _with(
    conditions: list[Any], type: str, verdict: Verdict, now: datetime, generation: int
) -> list[dict[str, Any]]:
    more = {"observedGeneration": generation} if generation else {}
    return meta.set_condition(
        conditions, type, verdict.status, now, reason=verdict.reason, message=verdict.message, **more
    )


def _with_resize(conditions: list[Any], resize: Resize | None, now: datetime) -> list[dict[str, Any]]:
    """What a resize waits for, and how it goes; gone once it is through."""
    kept = [each for each in conditions if each["type"] not in PASSING]
    if resize is None:
        return kept
    if resize.pending is not None:
        before = [each for each in conditions if each["type"] == _RESIZE_PENDING]
        verdict = Verdict("True", resize.pending.reason, resize.pending.message)
        kept += _with(before, _RESIZE_PENDING, verdict, now, resize.asked_generation)
    if resize.is_in_progress:
        before = [each for each in conditions if each["type"] == _RESIZE_IN_PROGRESS]
        verdict = Verdict("True", "Error" if resize.error else "", resize.error)
        kept += _with(before, _RESIZE_IN_PROGRESS, verdict, now, resize.granted_generation)
    return kept


def _restarting(pod: Object, seen: Seen, phase: str) -> Verdict:
    if phase in _ENDED:
        return Verdict("False", _ENDED[phase])
    if restarting_all.is_under_way(pod, seen):
        return Verdict("True", "RestartAllContainersStarted", "container exited with restart policy rule")
    return Verdict("False")


def _has_network(pod: Object, seen: Seen) -> bool:
    sandbox = seen.sandbox
    return sandbox is not None and (bool(sandbox.ips) or spec.uses_host_network(pod))


def _main_and_sidecars(pod: Object, status: Mapping[str, Any]) -> list[Object]:
    """In the order of the spec."""
    entries = {
        entry["name"]: entry for entry in (*status["initContainerStatuses"], *status["containerStatuses"])
    }
    return [entries[container["name"]] for container in (*spec.sidecars(pod), *spec.containers(pod))]


def ready_containers(entries: Sequence[Object], phase: str) -> Verdict:
    """ContainersReady."""
    if phase in _ENDED:
        return Verdict("False", _ENDED[phase])
    unready = [entry["name"] for entry in entries if not entry["ready"]]
    if unready:
        return Verdict(
            "False", "ContainersNotReady", f"containers with unready status: [{' '.join(unready)}]"
        )
    return _TRUE


def ready(pod: Object, containers_ready: Verdict) -> Verdict:
    """Ready: the containers are, and so says every readiness gate."""
    if containers_ready.status != "True":
        return containers_ready
    messages = []
    for gate in pod["spec"].get("readinessGates") or ():
        type = gate["conditionType"]
        condition = meta.find_condition(meta.conditions(pod), type)
        if condition is None:
            messages.append(f'corresponding condition of pod readiness gate "{type}" does not exist.')
        elif condition["status"] != "True":
            text = f'the status of pod readiness gate "{type}" is not "True", but {condition["status"]}'
            messages.append(text)
    return Verdict("False", "ReadinessGatesNotReady", ", ".join(messages)) if messages else _TRUE


def initialized(pod: Object, status: Mapping[str, Any], phase: str) -> Verdict:
    if phase == "Succeeded":
        return Verdict("True", _POD_COMPLETED)
    if any(_has_begun(entry) for entry in status["containerStatuses"]):
        return _TRUE
    incomplete = [
        entry["name"]
        for container, entry in zip(
            spec.containers(pod, "init"), status["initContainerStatuses"], strict=True
        )
        if not entry.get("started" if spec.is_sidecar(container) else "ready")
    ]
    if incomplete:
        message = f"containers with incomplete status: [{' '.join(incomplete)}]"
        return Verdict("False", "ContainersNotInitialized", message)
    return _TRUE


def _has_begun(entry: Object) -> bool:
    return "waiting" not in entry["state"] or bool(entry.get("lastState")) or entry.get("restartCount", 0) > 0
