"""Which nodes are alive, and what that means for their pods.

A kubelet shows that it lives by renewing its Lease and by posting its status. When neither came for 50 s the node's conditions
become Unknown and its pods are marked not ready. Conditions become taints: `not-ready` and `unreachable` keep new pods away at once
and drive old ones out after their toleration (`taint_eviction.py`); pressure and cordons only keep new ones away. When no node at
all is ready, the fault is probably ours: then nothing is driven out.

Words and numbers are upstream's `pkg/controller/nodelifecycle`. Times are compared with our own clock; a control plane that was
stopped gives every node the whole 50 s from its start.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from tiphys.client.cache import BY_NODE, View
from tiphys.client.leases import NODE_LEASE_NAMESPACE
from tiphys.client.parts import STATUS
from tiphys.client.resources import LEASES, NODES, PODS
from tiphys.client.transport import STRATEGIC_MERGE_PATCH, Object
from tiphys.controllers.actions import NORMAL, WARNING, Action, Patch, Plan, RecordEvent, UpdateStatus
from tiphys.controllers.catalog import Options
from tiphys.controllers.pods import is_finished, is_ready, ready_time, spec_of, status_of
from tiphys.controllers.runner import Controller, Watch
from tiphys.machinery import meta
from tiphys.machinery.frozen import frozen

GRACE = timedelta(seconds=50)
"""node-monitor-grace-period, 50 s since v1.32."""
STARTUP_GRACE = timedelta(seconds=60)
"""For a node whose kubelet never posted a status."""

NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"
UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
MONITORED = ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")
# (condition, status) → taint NoSchedule
CONDITION_TAINTS = {
    ("Ready", "False"): NOT_READY,
    ("Ready", "Unknown"): UNREACHABLE,
    ("MemoryPressure", "True"): "node.kubernetes.io/memory-pressure",
    ("DiskPressure", "True"): "node.kubernetes.io/disk-pressure",
    ("NetworkUnavailable", "True"): "node.kubernetes.io/network-unavailable",
    ("PIDPressure", "True"): "node.kubernetes.io/pid-pressure",
}
OURS = {*CONDITION_TAINTS.values(), UNSCHEDULABLE}
Taint = dict[str, Any]


@frozen
class Observed:
    """`pods` and `nodes` (each with its lease) are looked at for a node that is not ready only: leases are renewed all the time."""

    lease: Object | None
    pods: Sequence[Object] = ()
    nodes: Sequence[tuple[Object, Object | None]] = ()


def observe(node: Object, view: View) -> Observed:
    lease = lease_of(node, view)
    if is_ready(node):
        return Observed(lease)
    pods = view.by(PODS, BY_NODE, meta.name(node))
    return Observed(lease, pods, [(each, lease_of(each, view)) for each in view.list(NODES)])


def lease_of(node: Object, view: View) -> Object | None:
    return view.get(LEASES, meta.name(node), NODE_LEASE_NAMESPACE)


# Is it alive?


def last_sign(node: Object, lease: Object | None) -> datetime | None:
    """The newest heartbeat: of the lease, or of the status."""
    ready = meta.find_condition(meta.conditions(node), "Ready") or {}
    texts = ((lease or {}).get("spec", {}).get("renewTime"), ready.get("lastHeartbeatTime"))
    return max((meta.parse_time(text) for text in texts if text), default=None)


def overdue_at(node: Object, lease: Object | None, started: datetime) -> datetime:
    """From when the node counts as lost."""
    sign = last_sign(node, lease)
    if sign is not None:
        return max(sign, started) + GRACE
    return max(meta.creation_time(node) or started, started) + STARTUP_GRACE


def all_are_lost(nodes: Iterable[tuple[Object, Object | None]], started: datetime, now: datetime) -> bool:
    """No node is ready and alive: then it is more likely that we are cut off than that all of them are."""
    return not any(is_ready(node) and overdue_at(node, lease, started) > now for node, lease in nodes)


def lost_conditions(node: Object, now: datetime) -> list[dict[str, Any]]:
    """The node's conditions with those that a kubelet posts set to Unknown."""
    conditions = list(meta.conditions(node))
    for type in MONITORED:
        old = meta.find_condition(conditions, type)
        if old is None:
            created = meta.metadata(node).get("creationTimestamp")
            words = {"reason": "NodeStatusNeverUpdated", "message": "Kubelet never posted node status."}
            conditions = meta.set_condition(
                conditions, type, "Unknown", now, lastHeartbeatTime=created, **words
            )
        elif old.get("status") != "Unknown":
            words = {"reason": "NodeStatusUnknown", "message": "Kubelet stopped posting node status."}
            conditions = meta.set_condition(conditions, type, "Unknown", now, **words)
    return conditions


# What follows


def wanted_taints(node: Object, now: datetime, *, disrupted: bool) -> list[Taint]:
    """The node's taints with ours put right; those of others stay, NoExecute ones with the time since when they count."""
    keys = {
        key
        for (type, status), key in CONDITION_TAINTS.items()
        if (meta.find_condition(meta.conditions(node), type) or {}).get("status") == status
    }
    wanted = {(key, "NoSchedule") for key in keys}
    if spec_of(node).get("unschedulable"):
        wanted.add((UNSCHEDULABLE, "NoSchedule"))
    if not disrupted:
        wanted |= {(key, "NoExecute") for key in keys & {NOT_READY, UNREACHABLE}}
    existing: list[Taint] = spec_of(node).get("taints") or []
    kept = [_timed(taint, now) for taint in existing if _is_foreign(taint) or _name(taint) in wanted]
    missing = sorted(wanted - set(map(_name, kept)))
    return kept + [
        {"key": key, "effect": effect, "timeAdded": meta.format_time(now)} for key, effect in missing
    ]


def _name(taint: Taint) -> tuple[str, str]:
    return taint.get("key", ""), taint.get("effect", "")


def _is_foreign(taint: Taint) -> bool:
    return taint.get("key") not in OURS or taint.get("effect") not in ("NoSchedule", "NoExecute")


def _timed(taint: Taint, now: datetime) -> Taint:
    if taint.get("effect") != "NoExecute" or taint.get("timeAdded"):
        return taint
    return {**taint, "timeAdded": meta.format_time(now)}


def mark_not_ready(node: Object, pods: Iterable[Object], now: datetime) -> list[Action]:
    """A pod on a node that was lost is not ready either: Services stop sending to it.

    Only of those that were ready before: a kubelet that speaks, be it to say that its node is not ready, speaks for its pods, and
    whoever contradicted it would never have the last word.
    """
    ready = meta.find_condition(meta.conditions(node), "Ready") or {}
    if ready.get("status") != "Unknown":
        return []
    lost = meta.parse_time(ready["lastTransitionTime"]) if ready.get("lastTransitionTime") else now
    actions: list[Action] = []
    for pod in pods:
        if not is_ready(pod) or is_finished(pod) or (ready_time(pod) or lost) > lost:
            continue
        old = [condition for condition in meta.conditions(pod) if condition.get("type") == "Ready"]
        conditions = meta.set_condition(old, "Ready", "False", now)
        patch = {"metadata": {"uid": meta.uid(pod)}, "status": {"conditions": conditions}}
        where = (meta.name(pod), patch, meta.namespace(pod), STRATEGIC_MERGE_PATCH, "status")
        actions += [Patch(PODS, *where), RecordEvent(WARNING, "NodeNotReady", "Node is not ready", pod)]
    return actions


def make(options: Options) -> Controller[Observed]:
    started = options.started or datetime.fromtimestamp(0, UTC)

    def plan(node: Object, observed: Observed, now: datetime) -> Plan:
        if meta.is_deleting(node):
            return Plan()
        overdue = overdue_at(node, observed.lease, started)
        again = (overdue - now).total_seconds() if overdue > now else None
        if again is None:
            conditions = lost_conditions(node, now)
            if conditions != list(meta.conditions(node)):
                status = {**status_of(node), "conditions": conditions}
                lost = UpdateStatus(NODES, {**node, "status": status})
                return Plan((*_tell_not_ready(node), lost), reason="no sign of life")
        actions: list[Action] = []
        if not is_ready(node):
            actions += mark_not_ready(node, observed.pods, now)
        taints = wanted_taints(node, now, disrupted=all_are_lost(observed.nodes, started, now))
        if taints != (spec_of(node).get("taints") or []):
            metadata = {"resourceVersion": meta.resource_version(node), "uid": meta.uid(node)}
            actions.append(
                Patch(NODES, meta.name(node), {"metadata": metadata, "spec": {"taints": taints or None}})
            )
        return Plan(tuple(actions), again)

    return Controller(
        name="node-lifecycle-controller",
        kind=NODES,
        observe=observe,
        plan=plan,
        component="node-controller",
        watches=[
            Watch(LEASES, keys_of_lease),
            Watch(NODES, all_nodes, changed=lambda old, new: is_ready(old) != is_ready(new)),
            Watch(
                PODS, keys_of_pod, changed=lambda old, new: is_ready(new) and not is_ready(old), parts=STATUS
            ),
        ],
    )


def _tell_not_ready(node: Object) -> list[RecordEvent]:
    if not is_ready(node):
        return []
    message = f"Node {meta.name(node)} status is now: NodeNotReady"
    return [RecordEvent(NORMAL, "NodeNotReady", message)]


def keys_of_lease(lease: Object, view: View) -> Iterable[str]:
    return (meta.name(lease),) if meta.namespace(lease) == NODE_LEASE_NAMESPACE else ()


def all_nodes(node: Object, view: View) -> Iterable[str]:
    return [meta.name(each) for each in view.list(NODES)]


def keys_of_pod(pod: Object, view: View) -> Iterable[str]:
    name = spec_of(pod).get("nodeName")
    node = view.get(NODES, name) if name else None
    return (name,) if name and node is not None and not is_ready(node) else ()
