"""Printed columns of pods: the words that stand for all that can happen to containers.

The rules are upstream's (`pkg/printers/internalversion`, `printPod`), read from the first init container on: a pod that
is still initializing says where, a pod that runs says what its first unhappy container says.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from datetime import datetime
from typing import Any

from tiphys.api.columns import AGE, CONTAINERS, IMAGES, NAME, NONE, age, container_cells, format_labels, since
from tiphys.api.resource import Column, Object, Table
from tiphys.machinery.meta import is_condition_true, metadata, name

NODE_LOST = "NodeLost"
_TERMINAL = ("Succeeded", "Failed")


def pod_cells(pod: Object, now: datetime) -> list[Any]:
    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    summary = _Summary(spec, status)
    addresses = status.get("podIPs")
    gates = spec.get("readinessGates")
    return [
        name(pod),
        f"{summary.ready}/{summary.total}",
        _with_deletion(pod, status, summary.reason),
        summary.restarts_cell(now) if summary.restarts else "0",
        age(pod, now),
        (addresses[0].get("ip") if addresses else "") or NONE,
        spec.get("nodeName") or NONE,
        status.get("nominatedNodeName") or NONE,
        _readiness_gates(gates, status) if gates else NONE,
    ]


class _Summary:
    """What the statuses of a pod's containers come to: how many are ready, why not, and how often they restarted."""

    __slots__ = ("_sidecars", "last_restart", "ready", "reason", "restarts", "total")

    def __init__(self, spec: Object, status: Object) -> None:
        self.ready = self.restarts = 0
        self.last_restart = ""
        self.total = len(spec.get("containers") or ())
        self.reason = _first_reason(status)
        self._sidecars: Container[str] = ()
        initializing = False
        if init_containers := spec.get("initContainers"):
            sidecars = {each["name"] for each in init_containers if each.get("restartPolicy") == "Always"}
            self._sidecars = sidecars
            self.total += len(sidecars)
            initializing = self._read_init(status.get("initContainerStatuses") or (), len(init_containers))
        if not initializing or is_condition_true(status.get("conditions"), "Initialized"):
            self._read_main(status)

    def restarts_cell(self, now: datetime) -> str:
        if self.last_restart:
            return f"{self.restarts} ({since(self.last_restart, now)} ago)"
        return str(self.restarts)

    def _read_init(self, statuses: Iterable[Object], total: int) -> bool:
        """True while an init container has not done its part; `reason` says which."""
        for position, status in enumerate(statuses):
            self._count_restart(status)
            state = status.get("state") or {}
            terminated = state.get("terminated")
            if terminated is not None and not terminated.get("exitCode"):
                continue
            if status.get("name") in self._sidecars and status.get("started"):
                self.ready += bool(status.get("ready"))
                continue
            waiting = (state.get("waiting") or {}).get("reason")
            if terminated is not None:
                self.reason = f"Init:{_termination(terminated)}"
            elif waiting and waiting != "PodInitializing":
                self.reason = f"Init:{waiting}"
            else:
                self.reason = f"Init:{position}/{total}"
            return True
        return False

    def _read_main(self, status: Object) -> None:
        # Restarts of plain init containers are history once the pod runs; those of sidecars are not.
        self.restarts, self.last_restart = 0, ""
        for init in status.get("initContainerStatuses") or ():
            if init.get("name") in self._sidecars:
                self._count_restart(init)
        running = False
        for container in reversed(status.get("containerStatuses") or ()):
            self._count_restart(container)
            state = container.get("state") or {}
            waiting = (state.get("waiting") or {}).get("reason")
            terminated = state.get("terminated")
            if waiting:
                self.reason = waiting
            elif terminated is not None:
                self.reason = _termination(terminated)
            elif container.get("ready") and state.get("running") is not None:
                running = True
                self.ready += 1
        if self.reason == "Completed" and running:
            ready = is_condition_true(status.get("conditions"), "Ready")
            self.reason = "Running" if ready else "NotReady"

    def _count_restart(self, status: Object) -> None:
        self.restarts += status.get("restartCount") or 0
        if last := status.get("lastState"):
            finished = (last.get("terminated") or {}).get("finishedAt") or ""
            # RFC 3339 in UTC with whole seconds: the text sorts as the time does.
            self.last_restart = max(self.last_restart, finished)


def _first_reason(status: Object) -> str:
    for condition in status.get("conditions") or ():
        if condition.get("reason") == "SchedulingGated" and condition.get("type") == "PodScheduled":
            return "SchedulingGated"
    return status.get("reason") or status.get("phase") or ""


def _termination(terminated: Object) -> str:
    if terminated.get("reason"):
        return str(terminated["reason"])
    if terminated.get("signal"):
        return f"Signal:{terminated['signal']}"
    return f"ExitCode:{terminated.get('exitCode', 0)}"


def _with_deletion(pod: Object, status: Object, reason: str) -> str:
    if not metadata(pod).get("deletionTimestamp"):
        return reason
    if status.get("reason") == NODE_LOST:
        return "Unknown"
    return reason if status.get("phase") in _TERMINAL else "Terminating"


def _readiness_gates(gates: Sequence[Object], status: Object) -> str:
    true = sum(is_condition_true(status.get("conditions"), gate.get("conditionType", "")) for gate in gates)
    return f"{true}/{len(gates)}"


_OVER = {
    "Succeeded": "The pod has completed successfully.",
    "Failed": "The pod failed.",
}


def pod_conditions(pod: Object) -> list[Object]:
    phase = (pod.get("status") or {}).get("phase") or ""
    if phase not in _OVER:
        return []
    return [{"type": "Completed", "status": "True", "reason": phase, "message": _OVER[phase]}]


POD = Table(
    (
        NAME,
        Column("Ready", description="How many of the pod's containers are ready."),
        Column("Status", description="What the pod is doing, or what keeps it from running."),
        Column("Restarts", description="How often containers of the pod were restarted, and when last."),
        AGE,
        Column("IP", priority=1, description="Address of the pod."),
        Column("Node", priority=1, description="Node that the pod is assigned to."),
        Column("Nominated Node", priority=1, description="Node on which room is being made for the pod."),
        Column("Readiness Gates", priority=1, description="How many of the pod's own conditions are true."),
    ),
    pod_cells,
    pod_conditions,
)


def _pod_template_cells(obj: Object, now: datetime) -> list[Any]:
    template = obj.get("template") or {}
    return [name(obj), *container_cells(template), format_labels(metadata(template).get("labels"))]


POD_TEMPLATE = Table(
    (
        NAME,
        Column("Containers", description=CONTAINERS.description),
        Column("Images", description=IMAGES.description),
        Column("Pod Labels", description="Labels of the pods that are made from the template."),
    ),
    _pod_template_cells,
)
