"""What a pod's containers are granted while it asks for something else: the arithmetic of in-place resizes (KEP-1287, KEP-5419). Pure.

A pod runs with its allocation: the cpu and memory that this node last agreed to. A write of `/resize` changes the spec; when the node
agrees, the spec becomes the allocation, and then the containers are brought there, one way or the other.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from tiphys.kubelet import fit, spec
from tiphys.kubelet.fit import Amounts
from tiphys.kubelet.spec import Object
from tiphys.machinery import meta
from tiphys.machinery.frozen import frozen
from tiphys.machinery.quantity import Quantity, parse

Allocation = Mapping[str, Object]
"""By container name (`POD`: the pod as a whole): {"limits": …, "requests": …}. Of containers whose resources may change."""
POD = ""
RESIZED = ("cpu", "memory")
_LEAST_LIMIT_MILLI = 10
_LEAST_REQUEST_MILLI = 2
"""Below these amounts of cpu the kernel makes no difference."""

Change = Literal["none", "update", "restart"]


def wanted(pod: Object) -> Allocation:
    """What the spec asks for."""
    found = {container["name"]: container.get("resources") or {} for container in resizable(pod)}
    if pod["spec"].get("resources"):
        found[POD] = pod["spec"]["resources"]
    return found


def resizable(pod: Object) -> list[Object]:
    """Main containers and sidecars; other init containers run once, as they were made."""
    return [*spec.sidecars(pod), *spec.containers(pod)]


def reported(pod: Object) -> Allocation:
    """What a kubelet that comes back grants: as the status says that the containers run, else as the spec asks."""
    found = dict(wanted(pod))
    status = pod.get("status") or {}
    for name in found:
        entry = spec.reported_status(pod, name) if name != POD else status
        if entry and entry.get("resources") is not None and (name == POD or entry.get("containerID")):
            found[name] = entry["resources"]
    return found


def with_allocation(pod: Object, allocation: Allocation) -> Object:
    """The pod as it is granted."""
    if are_same(allocation, wanted(pod)):
        return pod
    changed: dict[str, Any] = {**pod["spec"]}
    for field in ("containers", "initContainers"):
        if field in changed:
            changed[field] = [
                {**container, "resources": allocation[container["name"]]}
                if container["name"] in allocation
                else container
                for container in changed[field]
            ]
    if POD in allocation:
        changed["resources"] = allocation[POD]
    return {**pod, "spec": changed}


def are_same(one: Allocation, other: Allocation) -> bool:
    if one == other:
        return True
    return one.keys() == other.keys() and all(_amounts(one[name]) == _amounts(other[name]) for name in one)


def _amounts(resources: Object) -> dict[tuple[str, str], Quantity]:
    return {
        (kind, name): parse(amount)
        for kind in ("limits", "requests")
        for name, amount in (resources.get(kind) or {}).items()
    }


def change(container: Object, actual: Object) -> Change:
    """What becomes of a running container that has `actual`: nothing, an update as it runs, or, by its resizePolicy, a restart."""
    after, before = _effective(container.get("resources") or {}), _effective(actual)
    changed = {
        name for kind, name in {*after, *before} if after.get((kind, name)) != before.get((kind, name))
    }
    if not changed:
        return "none"
    policies = {
        policy["resourceName"]: policy["restartPolicy"] for policy in container.get("resizePolicy") or ()
    }
    needs_restart = any(policies.get(name) == "RestartContainer" for name in changed)
    return "restart" if needs_restart else "update"


def changes(after: Allocation, before: Allocation) -> list[tuple[str, str, str]]:
    """What a resize asks for: (resource, "requests" or "limits", what becomes of it), of each container."""
    found = []
    for name in after:
        new, old = _amounts(after[name]), _amounts(before.get(name) or {})
        for key in sorted({*new, *old}):
            if key[1] in RESIZED and (operation := _operation(new.get(key), old.get(key))):
                found.append((key[1], key[0], operation))
    return found


def _operation(new: Quantity | None, old: Quantity | None) -> str:
    if new == old:
        return ""
    if not old:
        return "add"
    if not new:
        return "remove"
    return "increase" if new > old else "decrease"


def _effective(resources: Object) -> dict[tuple[str, str], int]:
    """In nanos, as far as the kernel can tell amounts apart."""
    found = {key: amount.nanos for key, amount in _amounts(resources).items() if key[1] in RESIZED}
    for key, least in ((("limits", "cpu"), _LEAST_LIMIT_MILLI), (("requests", "cpu"), _LEAST_REQUEST_MILLI)):
        if key in found:
            found[key] = max(found[key], least * 10**6)
    return found


def shrinks(container: Object, actual: Object) -> bool:
    """Whether it gives something back: such changes are made first."""
    after, before = _effective(container.get("resources") or {}), _effective(actual)
    return any(after.get(key, 0) < amount for key, amount in before.items())


# Whether the node agrees


@frozen
class Refusal:
    """`detail`: as it is counted."""

    reason: Literal["Deferred", "Infeasible"]
    message: str
    detail: str = ""


def refusal(
    requests: Amounts, others: Sequence[Amounts], allocatable: Mapping[str, Quantity]
) -> Refusal | None:
    """Why a node does not grant what a pod requests now; `others`: what its other pods are granted."""
    for name in reversed(RESIZED):
        amount, room = requests.get(name, 0), _room(allocatable, name)
        if room is not None and amount > room:
            told = f"{name}, requested: {amount}, capacity: {room}"
            message = f"Node didn't have enough capacity: {told}"
            return Refusal("Infeasible", message, "insufficient_node_allocatable")
    for name in RESIZED:
        amount, room = requests.get(name, 0), _room(allocatable, name)
        taken = sum(each.get(name, 0) for each in others)
        if room is not None and amount and amount + taken > room:
            told = f"requested: {amount}, used: {taken}, capacity: {room}"
            return Refusal("Deferred", f"Node didn't have enough resource: {name}, {told}")
    return None


def _room(allocatable: Mapping[str, Quantity], name: str) -> int | None:
    return fit.whole(name, allocatable[name]) if name in allocatable else None


def grows(after: Amounts, before: Amounts) -> bool:
    """Whether something is more than it was; less is always granted."""
    return any(after.get(name, 0) > before.get(name, 0) for name in RESIZED)


def summary(pod: Object, error: str = "") -> str:
    """What an event says of a resize, after its own words: JSON, as upstream's."""
    told: dict[str, Any] = {}
    for field in ("initContainers", "containers"):
        if pod["spec"].get(field):
            told[field] = [
                {"name": container["name"], "resources": _ordered(container.get("resources") or {})}
                for container in pod["spec"][field]
            ]
    told["generation"] = meta.generation(pod)
    if error:
        told["error"] = error
    return json.dumps(told, separators=(",", ":"))


def _ordered(resources: Object) -> Object:
    return {
        kind: dict(sorted(resources[kind].items())) for kind in ("limits", "requests") if resources.get(kind)
    }
