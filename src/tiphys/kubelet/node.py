"""A node as the API shows it: its object at registration, its status, its conditions. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from datetime import datetime
from typing import Any

from tiphys.kubelet import allocatable
from tiphys.kubelet.configuration import KubeletConfiguration
from tiphys.kubelet.machine import Machine
from tiphys.kubelet.runtimes.interface import Image, RuntimeCondition, RuntimeHandler, Version
from tiphys.machinery import meta
from tiphys.machinery.frozen import frozen

KUBELET_VERSION = "v1.36.2"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_NAMES_PER_IMAGE = 5

Object = dict[str, Any]


@frozen
class NodeFacts:
    """All that a node's status is made of."""

    name: str
    addresses: tuple[str, ...]
    port: int
    machine: Machine
    runtime: Version
    runtime_conditions: Sequence[RuntimeCondition] = ()
    runtime_handlers: Sequence[RuntimeHandler] = ()
    supplemental_groups_policy: bool | None = None
    """None: the runtime knows of no such thing."""
    runtime_problem: str = ""
    """Why its conditions are not known, if so."""
    images: Sequence[Image] = ()
    configuration: KubeletConfiguration = field(default_factory=KubeletConfiguration)
    devices: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Of plugins: how many there are of each resource, and how many of them are well."""
    pressure: Sequence[str] = ()
    """Conditions that are true because the node is in need: MemoryPressure, …"""


def labels(facts: NodeFacts) -> dict[str, str]:
    arch = _architecture(facts)
    return {
        "beta.kubernetes.io/arch": arch,
        "beta.kubernetes.io/os": "linux",
        "kubernetes.io/arch": arch,
        "kubernetes.io/hostname": facts.name,
        "kubernetes.io/os": "linux",
    }


def new_node(facts: NodeFacts, now: datetime) -> Object:
    """The object to create."""
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": facts.name,
            "labels": labels(facts),
            "annotations": {"volumes.kubernetes.io/controller-managed-attach-detach": "true"},
        },
        "spec": {},
        "status": node_status({}, facts, now),
    }


def node_status(old: Mapping[str, Any], facts: NodeFacts, now: datetime) -> Object:
    """The whole status; conditions keep their lastTransitionTime while they stay as they are."""
    return {
        "addresses": [
            *({"type": "InternalIP", "address": address} for address in facts.addresses),
            {"type": "Hostname", "address": facts.name},
        ],
        **resources(old, facts),
        "conditions": conditions(old.get("conditions") or (), facts, now),
        "daemonEndpoints": {"kubeletEndpoint": {"Port": facts.port}},
        "nodeInfo": _node_info(facts),
        "images": _images(facts.images, facts.configuration.node_status_max_images),
        **_runtime_features(facts),
    }


def resources(old: Mapping[str, Any], facts: NodeFacts) -> dict[str, dict[str, str]]:
    """capacity and allocatable. What others have added to the capacity (extended resources) stays, and is all allocatable."""
    machine, configuration = facts.machine, facts.configuration
    own = allocatable.capacity(machine, configuration)
    others = {
        name: amount
        for name, amount in allocatable.quantities(old.get("capacity")).items()
        if name not in own and allocatable.is_extended(name)
    }
    have = {name: str(amount) for name, (amount, _) in facts.devices.items()}
    well = {name: str(amount) for name, (_, amount) in facts.devices.items()}
    offered = {**allocatable.allocatable(own, configuration), **others}
    return {
        "capacity": {**allocatable.texts({**own, **others}), **have},
        "allocatable": {**allocatable.texts(offered), **well},
    }


def _runtime_features(facts: NodeFacts) -> Object:
    """What the runtime tells of itself; one that tells nothing leaves nothing."""
    found: Object = {}
    if facts.runtime_handlers:
        found["runtimeHandlers"] = [_handler(handler) for handler in facts.runtime_handlers]
    if facts.supplemental_groups_policy is not None:
        found["features"] = {"supplementalGroupsPolicy": facts.supplemental_groups_policy}
    return found


def _handler(handler: RuntimeHandler) -> Object:
    # User namespaces take a kubelet that gives each pod its ids: ours does not.
    features = {"recursiveReadOnlyMounts": handler.recursive_read_only_mounts, "userNamespaces": False}
    return {"name": handler.name, "features": features}


def _architecture(facts: NodeFacts) -> str:
    return _ARCHITECTURES.get(facts.machine.architecture, facts.machine.architecture)


def _node_info(facts: NodeFacts) -> dict[str, Any]:
    machine, runtime = facts.machine, facts.runtime
    return {
        "architecture": _architecture(facts),
        "bootID": machine.boot_id,
        "containerRuntimeVersion": f"{runtime.name}://{runtime.version.partition('~')[0].removeprefix('v')}",
        "kernelVersion": machine.kernel_version,
        "kubeProxyVersion": "",
        "kubeletVersion": KUBELET_VERSION,
        "machineID": machine.machine_id,
        "operatingSystem": "linux",
        "osImage": machine.os_image,
        "systemUUID": machine.system_uuid,
    }


def _images(images: Sequence[Image], limit: int) -> list[Object]:
    """The largest ones, with some of their names; a limit of -1 is none."""
    largest = sorted(images, key=lambda image: image.size_bytes, reverse=True)
    largest = largest if limit == -1 else largest[:limit]
    return [
        {
            "names": [*image.repo_digests, *image.repo_tags][:_NAMES_PER_IMAGE],
            "sizeBytes": image.size_bytes,
        }
        for image in largest
    ]


# Conditions

_PRESSURES = ("MemoryPressure", "DiskPressure", "PIDPressure")
_PRESSURE = {
    ("MemoryPressure", False): (
        "False",
        "KubeletHasSufficientMemory",
        "kubelet has sufficient memory available",
    ),
    ("MemoryPressure", True): (
        "True",
        "KubeletHasInsufficientMemory",
        "kubelet has insufficient memory available",
    ),
    ("DiskPressure", False): ("False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    ("DiskPressure", True): ("True", "KubeletHasDiskPressure", "kubelet has disk pressure"),
    ("PIDPressure", False): ("False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
    ("PIDPressure", True): ("True", "KubeletHasInsufficientPID", "kubelet has insufficient PID available"),
}
"""(condition, whether it is true) → status, reason, message."""


def conditions(old: Sequence[Mapping[str, Any]], facts: NodeFacts, now: datetime) -> list[Object]:
    """Ours, in upstream's order and words, and those of others."""
    problems = runtime_problems(facts)
    wanted = [
        *((type, *_PRESSURE[type, type in facts.pressure]) for type in _PRESSURES),
        ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
    ]
    if problems:
        wanted[-1] = (
            "Ready",
            "False",
            "KubeletNotReady",
            problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]",
        )
    found = [dict(condition) for condition in old]
    heartbeat = meta.format_time(now)
    for type, status, reason, message in wanted:
        found = meta.set_condition(
            found, type, status, now, reason=reason, message=message, lastHeartbeatTime=heartbeat
        )
    return found


CONDITION_EVENTS = {
    ("MemoryPressure", "False"): "NodeHasSufficientMemory",
    ("MemoryPressure", "True"): "NodeHasInsufficientMemory",
    ("DiskPressure", "False"): "NodeHasNoDiskPressure",
    ("DiskPressure", "True"): "NodeHasDiskPressure",
    ("PIDPressure", "False"): "NodeHasSufficientPID",
    ("PIDPressure", "True"): "NodeHasInsufficientPID",
    ("Ready", "True"): "NodeReady",
    ("Ready", "False"): "NodeNotReady",
}
"""(condition, status) → the reason of the event that tells of it."""


def condition_events(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Reasons of the events that a change of a node's status is told by."""
    before = {condition["type"]: condition.get("status") for condition in old.get("conditions") or ()}
    return [
        CONDITION_EVENTS[condition["type"], condition["status"]]
        for condition in new.get("conditions") or ()
        if (condition["type"], condition["status"]) in CONDITION_EVENTS
        and before.get(condition["type"]) != condition["status"]
    ]


def runtime_problems(facts: NodeFacts) -> list[str]:
    """Why the node is not ready, in upstream's words."""
    found = [facts.runtime_problem] if facts.runtime_problem else []
    for condition in facts.runtime_conditions:
        if not condition.status:
            what = "network " if condition.type == "NetworkReady" else ""
            told = f"{condition.type}=false reason:{condition.reason} message:{condition.message}"
            found.append(f"container runtime {what}not ready: {told}")
    return found


def differs(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether a status says something else than that we are still alive."""
    return _without_heartbeats(old) != _without_heartbeats(new)


def _without_heartbeats(status: Mapping[str, Any]) -> Object:
    kept = {
        "addresses", "capacity", "allocatable", "daemonEndpoints", "nodeInfo", "images", "runtimeHandlers", "features"
    }  # fmt: skip
    found = {name: value for name, value in status.items() if name in kept and value}
    found["conditions"] = [
        {name: value for name, value in condition.items() if name != "lastHeartbeatTime"}
        for condition in status.get("conditions") or ()
    ]
    return found
