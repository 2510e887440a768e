"""Evicts pods from nodes with a NoExecute taint that they do not tolerate, or no longer.

A toleration may be for some seconds only (300 for a node that is not ready or unreachable, unless a pod says otherwise). They count
from the taint's `timeAdded`, which the node lifecycle controller writes for taints that lack it; so a restart of this controller
neither shortens nor lengthens them. Words and the DisruptionTarget condition are upstream's `pkg/controller/tainteviction`.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from tiphys.api.core.taints import toleration_of
from tiphys.client.cache import BY_NODE, View
from tiphys.client.parts import DELETION, SPEC, STATUS
from tiphys.client.resources import NODES, PODS
from tiphys.client.transport import STRATEGIC_MERGE_PATCH, Object
from tiphys.controllers.actions import NORMAL, NOTHING, Delete, Patch, Plan, RecordEvent
from tiphys.controllers.pods import is_finished, spec_of
from tiphys.controllers.runner import Controller, Watch
from tiphys.machinery import meta

Taints = tuple[dict[str, Any], ...]


def no_execute_taints(node: Object) -> Taints:
    return tuple(taint for taint in spec_of(node).get("taints") or () if taint.get("effect") == "NoExecute")


def observe(pod: Object, view: View) -> Taints:
    """The NoExecute taints of its node."""
    name = spec_of(pod).get("nodeName")
    node = view.get(NODES, name) if name else None
    return no_execute_taints(node) if node else ()


def plan(pod: Object, observed: Taints, now: datetime) -> Plan:
    if not observed or meta.is_deleting(pod) or is_finished(pod):
        return NOTHING
    moment = eviction_time(pod, observed, now)
    if moment is None:
        return NOTHING
    if moment > now:
        return Plan(requeue_after_seconds=(moment - now).total_seconds(), reason="its toleration runs out")
    return _evict(pod, now)


def eviction_time(pod: Object, taints: Taints, now: datetime) -> datetime | None:
    """When it must go: the earliest end of its tolerations; None: never, as far as one can tell now."""
    tolerations = spec_of(pod).get("tolerations") or ()
    moments = []
    for taint in taints:
        toleration = toleration_of(tolerations, taint)
        if toleration is None:
            return now
        seconds = toleration.get("tolerationSeconds")
        if seconds is None:
            continue
        if seconds <= 0:
            return now
        if taint.get("timeAdded"):
            moments.append(meta.parse_time(taint["timeAdded"]) + timedelta(seconds=seconds))
    return min(moments, default=None)


def _evict(pod: Object, now: datetime) -> Plan:
    name, namespace, uid = meta.name(pod), meta.namespace(pod), meta.uid(pod)
    condition = meta.set_condition(
        (),
        "DisruptionTarget",
        "True",
        now,
        reason="DeletionByTaintManager",
        message="Taint manager: deleting due to NoExecute taint",
        observedGeneration=meta.generation(pod),
    )
    patch = {"metadata": {"uid": uid}, "status": {"conditions": condition}}
    return Plan(
        (
            RecordEvent(NORMAL, "TaintManagerEviction", f"Marking for deletion Pod {namespace}/{name}"),
            Patch(PODS, name, patch, namespace, STRATEGIC_MERGE_PATCH, "status"),
            Delete(PODS, name, namespace, uid=uid),
        ),
        reason="its node has a taint that it does not tolerate",
    )


def is_bound(pod: Object) -> bool:
    return bool(spec_of(pod).get("nodeName"))


def keys_of_node(node: Object, view: View) -> Iterable[str]:
    return [meta.namespaced_name(pod) for pod in view.by(PODS, BY_NODE, meta.name(node))]


CONTROLLER = Controller(
    name="taint-eviction-controller",
    kind=PODS,
    observe=observe,
    plan=plan,
    concerns=is_bound,
    parts=SPEC | DELETION | STATUS,
    watches=[
        Watch(NODES, keys_of_node, changed=lambda old, new: no_execute_taints(old) != no_execute_taints(new))
    ],
)
