"""Pods that nobody else will remove: those of nodes that are gone, those that ended long ago, those that die on no node.

Upstream's `pkg/controller/podgc` looks every 20 s; this one is woken by what happens. A pod whose node is missing is deleted only
after the API server itself has said that there is no such node, and when the pod is older than 40 s: a node may be known later
than its first pod.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any

from tiphys.client.cache import BY_NODE, Index, View
from tiphys.client.client import Client
from tiphys.client.parts import DELETION, SPEC, STATUS
from tiphys.client.resources import NODES, PODS
from tiphys.client.transport import STRATEGIC_MERGE_PATCH, Object
from tiphys.controllers.actions import NOTHING, Action, Delete, Patch, Plan
from tiphys.controllers.pods import is_finished, is_ready, spec_of, status_of
from tiphys.controllers.runner import Controller, Watch
from tiphys.machinery import meta
from tiphys.machinery.errors import StatusError, is_not_found
from tiphys.machinery.frozen import frozen

QUARANTINE_SECONDS = 40.0
FINISHED_PODS_KEPT = 12_500
OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"


def _finished(pod: Object) -> Iterable[str]:
    return ("yes",) if is_finished(pod) else ()


BY_FINISHED = Index("finished", _finished, STATUS)


@frozen
class Observed:
    """`node`: the node it is bound to, if that is known. `surplus`: it is one of the finished pods too many."""

    node: Object | None
    surplus: bool
    node_is_gone: bool = False


def observe(pod: Object, view: View) -> Observed:
    name = spec_of(pod).get("nodeName")
    node = view.get(NODES, name) if name else None
    return Observed(node, surplus=is_finished(pod) and _is_surplus(pod, view))


def _is_surplus(pod: Object, view: View) -> bool:
    finished = view.by(PODS, BY_FINISHED, "yes")
    surplus = len(finished) - FINISHED_PODS_KEPT
    if surplus <= 0:
        return False
    return any(each is pod for each in sorted(finished, key=_removal_order)[:surplus])


def _removal_order(pod: Object) -> tuple[bool, str, str]:
    """Evicted ones first, then the oldest."""
    is_evicted = status_of(pod).get("reason") == "Evicted"
    return (not is_evicted, meta.metadata(pod).get("creationTimestamp") or "", meta.name(pod))


async def gather(pod: Object, observed: Observed, client: Client) -> Observed:
    """Asks the API server about a node that the cache does not know."""
    name = spec_of(pod).get("nodeName")
    if not name or observed.node is not None:
        return observed
    try:
        await client.get(NODES, name)
    except StatusError as error:
        if is_not_found(error):
            return replace(observed, node_is_gone=True)
        raise
    return observed


def plan(pod: Object, observed: Observed, now: datetime) -> Plan:
    if observed.node_is_gone:
        created = meta.creation_time(pod)
        age = (now - created).total_seconds() if created else QUARANTINE_SECONDS
        if age < QUARANTINE_SECONDS:
            return Plan(requeue_after_seconds=QUARANTINE_SECONDS - age, reason="its node is not known yet")
        return Plan(_remove(pod, now, orphaned=True), reason="its node no longer exists")
    if observed.surplus:
        return Plan(_remove(pod, now), reason="there are too many finished pods")
    if meta.is_deleting(pod) and not spec_of(pod).get("nodeName"):
        return Plan(_remove(pod, now), reason="it dies on no node")
    if meta.is_deleting(pod) and observed.node is not None and _is_out_of_service(observed.node):
        return Plan(_remove(pod, now), reason="its node is out of service")
    return NOTHING


def _is_out_of_service(node: Object) -> bool:
    taints = spec_of(node).get("taints") or ()
    return not is_ready(node) and any(taint.get("key") == OUT_OF_SERVICE for taint in taints)


def _remove(pod: Object, now: datetime, *, orphaned: bool = False) -> tuple[Action, ...]:
    """Failed first, for those who count outcomes; then gone without any grace, for no kubelet will answer."""
    name, namespace, uid = meta.name(pod), meta.namespace(pod), meta.uid(pod)
    delete = Delete(PODS, name, namespace, uid=uid, grace_period_seconds=0)
    if is_finished(pod):
        return (delete,)
    status: dict[str, Any] = {"phase": "Failed"}
    if orphaned:
        status["conditions"] = meta.set_condition(
            (),
            "DisruptionTarget",
            "True",
            now,
            reason="DeletionByPodGC",
            message="PodGC: node no longer exists",
            observedGeneration=meta.generation(pod),
        )
    patch = {"metadata": {"uid": uid}, "status": status}
    return (Patch(PODS, name, patch, namespace, STRATEGIC_MERGE_PATCH, "status"), delete)


def may_have_to_go(pod: Object) -> bool:
    return bool(spec_of(pod).get("nodeName")) or meta.is_deleting(pod) or is_finished(pod)


def keys_of_node(node: Object, view: View) -> Iterable[str]:
    return [meta.namespaced_name(pod) for pod in view.by(PODS, BY_NODE, meta.name(node))]


def _node_changed(old: Object, new: Object) -> bool:
    return _is_out_of_service(old) != _is_out_of_service(new)


CONTROLLER = Controller(
    name="pod-garbage-collector-controller",
    kind=PODS,
    observe=observe,
    gather=gather,
    plan=plan,
    concerns=may_have_to_go,
    parts=SPEC | DELETION | STATUS,
    watches=[Watch(NODES, keys_of_node, changed=_node_changed)],
)
