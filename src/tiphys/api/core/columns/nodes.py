"""Printed columns of nodes."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from tiphys.api.columns import AGE, NAME, NONE, UNKNOWN, age
from tiphys.api.resource import Column, Object, Table
from tiphys.machinery.meta import find_condition, labels, name

ROLE_PREFIX = "node-role.kubernetes.io/"
ROLE_LABEL = "kubernetes.io/role"


def _cells(obj: Object, now: datetime) -> list[Any]:
    status = obj.get("status") or {}
    info = status.get("nodeInfo") or {}
    return [
        name(obj),
        _status(obj, status),
        ",".join(roles(obj)) or NONE,
        age(obj, now),
        info.get("kubeletVersion") or "",
        _address(status, "InternalIP"),
        _address(status, "ExternalIP"),
        info.get("osImage") or UNKNOWN,
        info.get("kernelVersion") or UNKNOWN,
        info.get("containerRuntimeVersion") or UNKNOWN,
    ]


def _status(obj: Object, status: Object) -> str:
    ready = find_condition(status.get("conditions"), "Ready")
    if ready is None:
        words = "Unknown"
    else:
        words = "Ready" if ready.get("status") == "True" else "NotReady"
    return f"{words},SchedulingDisabled" if (obj.get("spec") or {}).get("unschedulable") else words


def roles(node: Object) -> list[str]:
    """From labels `node-role.kubernetes.io/ROLE` and `kubernetes.io/role=ROLE`, sorted."""
    found = set()
    for key, value in labels(node).items():
        if key.startswith(ROLE_PREFIX):
            found.add(key.removeprefix(ROLE_PREFIX))
        elif key == ROLE_LABEL:
            found.add(value)
    return sorted(found - {""})


def _address(status: Object, type: str) -> str:
    for address in status.get("addresses") or ():
        if address.get("type") == type:
            return str(address.get("address", ""))
    return NONE


NODE = Table(
    (
        NAME,
        Column("Status", description="Whether the node takes pods."),
        Column("Roles", description="Roles of the node, from its labels."),
        AGE,
        Column("Version", description="Version of the kubelet."),
        Column("Internal-IP", priority=1, description="Address of the node inside the cluster."),
        Column("External-IP", priority=1, description="Address of the node outside the cluster."),
        Column("OS-Image", priority=1, description="Operating system of the node."),
        Column("Kernel-Version", priority=1, description="Kernel of the node."),
        Column("Container-Runtime", priority=1, description="Container runtime of the node."),
    ),
    _cells,
)
