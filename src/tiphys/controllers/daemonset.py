"""DaemonSet: one pod of a template on every node that is fit for it.

Which nodes are is in `daemon_nodes.py`, how pods are replaced when the template changes in `daemon_rollout.py`. This file keeps the
nodes in order (missing pods are made; failed, doubled and misplaced ones deleted), and reports. Rules, events and statuses are
upstream's `pkg/controller/daemon`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from tiphys.client.cache import BY_CONTROLLER, View
from tiphys.client.parts import DELETION, LABELS, OWNERS, SPEC, STATUS
from tiphys.client.resources import CONTROLLERREVISIONS, DAEMONSETS, NODES, PODS
from tiphys.client.transport import Object
from tiphys.controllers.actions import (
    NORMAL,
    NOTHING,
    WARNING,
    Action,
    Create,
    Delete,
    Plan,
    RecordEvent,
    UpdateStatus,
)
from tiphys.controllers.availability import next_available_seconds
from tiphys.controllers.catalog import Options
from tiphys.controllers.claims import Claims, claim, claimant_keys, is_of_others, selector_of
from tiphys.controllers.daemon_failures import Failures
from tiphys.controllers.daemon_nodes import Requirements, new_pod, node_of
from tiphys.controllers.daemon_rollout import Changes, Daemons, replace_pods
from tiphys.controllers.executor import Failure
from tiphys.controllers.pods import (
    CREATE_FAILED,
    CREATED,
    DELETE_FAILED,
    DELETED,
    is_ready,
    ready_time,
    spec_of,
    status_of,
)
from tiphys.controllers.revisions import (
    POD_HASH,
    History,
    Lineage,
    after_collision,
    observe_history,
    settle,
    truncate,
)
from tiphys.controllers.runner import Controller, Watch, owner_keys
from tiphys.machinery import meta
from tiphys.machinery.frozen import frozen

BURST = 250


@frozen
class Observed:
    """`delays`: by the uid of a failed pod, how long it must have been there before it may be replaced."""

    claims: Claims
    history: History
    nodes: Sequence[Object]
    delays: Mapping[str, float]


@frozen
class _Order:
    """What keeps the nodes in order: changes, what is said about them, and when a failed pod may go."""

    changes: Changes
    events: tuple[RecordEvent, ...] = ()
    wait_seconds: float | None = None


class DaemonSets:
    """The controller. It remembers how often pods failed on a node: the pods that did are gone."""

    def __init__(self) -> None:
        self._failures = Failures()

    def observe(self, daemonset: Object, view: View) -> Observed:
        selector = selector_of(daemonset)
        owned = view.by(PODS, BY_CONTROLLER, meta.uid(daemonset))
        orphans = view.by(PODS, BY_CONTROLLER, f"orphan/{meta.namespace(daemonset)}")
        claims = claim(daemonset, selector, (*owned, *orphans), PODS)
        return Observed(
            claims,
            observe_history(daemonset, view),
            view.list(NODES),
            self._failures.delays(daemonset, claims.owned),
        )

    def gone(self, key: str, view: View) -> Plan:
        self._failures.forget(key)
        return NOTHING

    def controller(self) -> Controller[Observed]:
        return Controller(
            name="daemonset-controller",
            kind=DAEMONSETS,
            observe=self.observe,
            plan=plan,
            failed=failed,
            gone=self.gone,
            watches=[
                Watch(PODS, claimant_keys(DAEMONSETS, selector_of), changed=_pod_changed, parts=_COUNTED),
                Watch(NODES, _keys_of_node, changed=_node_changed, parts=LABELS | SPEC),
                Watch(CONTROLLERREVISIONS, owner_keys(DAEMONSETS.kind)),
            ],
        )


def make(options: Options) -> Controller[Observed]:
    return DaemonSets().controller()


def plan(daemonset: Object, observed: Observed, now: datetime) -> Plan:
    if meta.is_deleting(daemonset):
        return Plan(observed.claims.patches, reason="is being deleted")
    lineage = settle(daemonset, observed.history, hash_label=POD_HASH)
    if lineage.update is None:
        changed = UpdateStatus(DAEMONSETS, after_collision(daemonset))
        return Plan((*lineage.actions, changed), reason="the name of a revision is taken")
    daemons = _daemons(daemonset, observed, lineage, now)
    order = _keep_order(daemons, observed)
    changes, reason = order.changes, "nodes are not in order"
    if changes == Changes():
        changes = replace_pods(daemons) if daemons.strategy.get("type") == "RollingUpdate" else Changes()
        reason = "pods are replaced" if changes != Changes() else ""
    actions: list[Action] = [*observed.claims.patches, *lineage.actions, *order.events]
    actions += _carry_out(daemons, changes, observed)
    actions += _forget(daemonset, observed, lineage)
    actions += _report(daemonset, _status(daemons))
    min_ready = spec_of(daemonset).get("minReadySeconds", 0)
    waits = (order.wait_seconds, next_available_seconds(observed.claims.owned, min_ready, now))
    again = min((wait for wait in waits if wait is not None), default=None)
    return Plan(tuple(actions), again, reason)


def _daemons(daemonset: Object, observed: Observed, lineage: Lineage, now: datetime) -> Daemons:
    requirements = Requirements(daemonset)
    pods: dict[str, list[Object]] = {}
    for pod in observed.claims.owned:
        if node := node_of(pod):
            pods.setdefault(node, []).append(pod)
    return Daemons(
        daemonset,
        {node: sorted(several, key=_precedence) for node, several in pods.items()},
        {meta.name(node): requirements.of(node) for node in observed.nodes},
        meta.labels(lineage.update or {}).get(POD_HASH, ""),
        now,
    )


def _precedence(pod: Object) -> tuple[bool, str, str]:
    """Those that are on their node first, then the older ones."""
    created = meta.metadata(pod).get("creationTimestamp") or ""
    return not spec_of(pod).get("nodeName"), created, meta.name(pod)


# Nodes in order


def _keep_order(daemons: Daemons, observed: Observed) -> _Order:
    starts: list[str] = []
    ends: list[Object] = []
    events: list[RecordEvent] = []
    waits: list[float] = []
    for node, fitness in daemons.fitness.items():
        pods = daemons.pods.get(node, ())
        if not pods:
            if fitness.may_start:
                starts.append(node)
            continue
        staying = [pod for pod in pods if not meta.is_deleting(pod)]
        if not fitness.may_stay:
            ends += staying
            continue
        running: list[Object] = []
        for pod in staying:
            phase = status_of(pod).get("phase")
            if phase not in ("Failed", "Succeeded"):
                running.append(pod)
            elif phase == "Failed" and (wait := _wait_seconds(pod, observed, daemons.now)) > 0:
                waits.append(wait)
            else:
                events.append(_found_ended(pod, node, phase))
                ends.append(pod)
        ends += _too_many(daemons, running)
    ends += _without_node(daemons, observed)
    return _Order(Changes(tuple(starts), tuple(ends)), tuple(events), min(waits, default=None))


def _wait_seconds(pod: Object, observed: Observed, now: datetime) -> float:
    """A pod that fails at once, because its kubelet refuses it, say, is not replaced without end: each time it takes longer."""
    created = meta.creation_time(pod)
    if created is None:
        return 0
    until = created + timedelta(seconds=observed.delays.get(meta.uid(pod), 0))
    return (until - now).total_seconds()


def _found_ended(pod: Object, node: str, phase: str) -> RecordEvent:
    if phase == "Failed":
        message = f"Found failed daemon pod {meta.namespaced_name(pod)} on node {node}, will try to kill it"
        return RecordEvent(WARNING, "FailedDaemonPod", message)
    message = f"Found succeeded daemon pod {meta.namespaced_name(pod)} on node {node}, will try to delete it"
    return RecordEvent(NORMAL, "SucceededDaemonPod", message)


def _too_many(daemons: Daemons, running: Sequence[Object]) -> list[Object]:
    """All but the first; while new pods come beside old ones, all but the first of each sort."""
    if len(running) < 2:
        return []
    if not daemons.allows_surge:
        return list(running[1:])
    new = next(filter(daemons.is_updated, running), None)
    old = next((pod for pod in running if not daemons.is_updated(pod)), None)
    if new is not None and old is not None and (not is_ready(old) or daemons.is_available(new)):
        old = None
    return [pod for pod in running if pod is not new and pod is not old]


def _without_node(daemons: Daemons, observed: Observed) -> Iterable[Object]:
    """Pods that wait for a node which is no more."""
    for pod in observed.claims.owned:
        node = node_of(pod)
        waits = not spec_of(pod).get("nodeName") and not meta.is_deleting(pod)
        if waits and node and node not in daemons.fitness:
            yield pod


def _carry_out(daemons: Daemons, changes: Changes, observed: Observed) -> Iterable[Action]:
    adopted = {patch.name for patch in observed.claims.patches}
    for node in changes.starts[:BURST]:
        pod = new_pod(daemons.daemonset, daemons.hash, node)
        yield Create(PODS, pod, done=CREATED, failed=CREATE_FAILED)
    for pod in changes.ends[:BURST]:
        if meta.name(pod) not in adopted:
            yield Delete(
                PODS,
                meta.name(pod),
                meta.namespace(pod),
                uid=meta.uid(pod),
                done=DELETED,
                failed=DELETE_FAILED,
            )


def _forget(daemonset: Object, observed: Observed, lineage: Lineage) -> Iterable[Action]:
    live = {meta.labels(pod).get(POD_HASH) for pod in observed.claims.owned}
    return truncate(daemonset, lineage.others, lambda each: meta.labels(each).get(POD_HASH) in live)


# What is reported


def failed(daemonset: Object, observed: Observed, failure: Failure, now: datetime) -> Plan:
    """What could not be done is told by an event; the numbers are told all the same."""
    lineage = settle(daemonset, observed.history, hash_label=POD_HASH)
    if isinstance(failure.action, UpdateStatus) or lineage.update is None:
        return NOTHING
    return Plan(tuple(_report(daemonset, _status(_daemons(daemonset, observed, lineage, now)))))


def _status(daemons: Daemons) -> dict[str, Any]:
    before = status_of(daemons.daemonset)
    desired = [node for node, fitness in daemons.fitness.items() if fitness.may_start]
    first = [daemons.pods[node][0] for node in desired if node in daemons.pods]
    misplaced = sum(node in daemons.pods for node in daemons.fitness) - len(first)
    ready = [pod for pod in first if is_ready(pod)]
    available = sum(map(daemons.is_available, ready))
    counts = {
        "updatedNumberScheduled": sum(map(daemons.is_updated, first)),
        "numberAvailable": available,
        "numberUnavailable": len(desired) - available,
    }
    kept = ("collisionCount", "conditions")
    return {
        "currentNumberScheduled": len(first),
        "numberMisscheduled": misplaced,
        "desiredNumberScheduled": len(desired),
        "numberReady": len(ready),
        "observedGeneration": meta.generation(daemons.daemonset),
        **{name: count for name, count in counts.items() if count},
        **{name: before[name] for name in kept if before.get(name)},
    }


def _report(daemonset: Object, status: dict[str, Any]) -> list[Action]:
    if status == status_of(daemonset):
        return []
    return [UpdateStatus(DAEMONSETS, {**daemonset, "status": status})]


# Who is concerned


_COUNTED = LABELS | OWNERS | DELETION | SPEC | STATUS


def _pod_changed(old: Object, new: Object) -> bool:
    if is_of_others(old, DAEMONSETS) and is_of_others(new, DAEMONSETS):
        return False
    return _counted(old) != _counted(new)


def _counted(pod: Object) -> tuple[object, ...]:
    return (
        status_of(pod).get("phase"),
        spec_of(pod).get("nodeName"),
        meta.is_deleting(pod),
        is_ready(pod),
        ready_time(pod),
        meta.labels(pod),
        meta.owner_references(pod),
    )


def _keys_of_node(node: Object, view: View) -> Iterable[str]:
    return [meta.namespaced_name(daemonset) for daemonset in view.list(DAEMONSETS)]


def _node_changed(old: Object, new: Object) -> bool:
    """Not its heartbeats, nor what it has room for: the scheduler asks for that."""
    return meta.labels(old) != meta.labels(new) or spec_of(old).get("taints") != spec_of(new).get("taints")
