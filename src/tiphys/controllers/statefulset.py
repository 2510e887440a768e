"""StatefulSet: pods that are not all the same: each has an ordinal, and keeps its name and its claims when it is made anew.

With OrderedReady one thing happens at a time: pods come from the lowest ordinal up, each when those before it are available, and go
from the highest down; with Parallel all that is missing comes, and all that is too much goes, at once. Then, with RollingUpdate, pods
of another revision are deleted from the highest ordinal down to the partition, and come back with the new template. Rules, events
and statuses are upstream's `pkg/controller/statefulset`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from tiphys.client.cache import BY_CONTROLLER, View
from tiphys.client.parts import DELETION, LABELS, OWNERS, STATUS
from tiphys.client.resources import CONTROLLERREVISIONS, PERSISTENTVOLUMECLAIMS, PODS, STATEFULSETS
from tiphys.client.transport import Object
from tiphys.controllers.actions import NOTHING, Action, Plan, UpdateStatus
from tiphys.controllers.availability import next_available_seconds
from tiphys.controllers.claims import Claims, claim, release, selector_of
from tiphys.controllers.executor import Failure
from tiphys.controllers.pods import is_available, is_finished, is_ready, ready_time, spec_of, status_of
from tiphys.controllers.revisions import (
    History,
    Lineage,
    after_collision,
    observe_history,
    settle,
    truncate,
)
from tiphys.controllers.runner import Controller, Watch, owner_keys
from tiphys.controllers.stateful_pods import claim_names, ordinal_in, ordinal_of, ordinals_of, pod_name
from tiphys.controllers.stateful_pods import revision_of as revision_name_of
from tiphys.controllers.stateful_rollout import Members, next_steps, seconds_to_stay
from tiphys.machinery import meta
from tiphys.machinery.frozen import frozen

HASH_LABEL = "controller.kubernetes.io/hash"
"""On revisions."""
STRANGER_SECONDS = 15.0
"""So long until it is looked again whether a stranger still has the name of one of our pods."""


@frozen
class Observed:
    """`volumes`: the set's PersistentVolumeClaims by name. `taken`: ordinals whose names pods have that are not ours."""

    claims: Claims
    history: History
    volumes: Mapping[str, Object]
    taken: frozenset[int]


def observe(statefulset: Object, view: View) -> Observed:
    claims = _claim_pods(statefulset, view)
    namespace = meta.namespace(statefulset)
    ours = {meta.name(pod): pod for pod in claims.owned}
    wanted = ordinals_of(statefulset)
    missing = (ordinal for ordinal in wanted if pod_name(statefulset, ordinal) not in ours)
    taken = (
        ordinal
        for ordinal in missing
        if view.get(PODS, pod_name(statefulset, ordinal), namespace) is not None
    )
    having = {*wanted, *(ordinal_in(meta.name(statefulset), name) or 0 for name in ours)}
    names = (name for ordinal in having for name in claim_names(statefulset, ordinal))
    volumes = {name: view.get(PERSISTENTVOLUMECLAIMS, name, namespace) for name in names}
    return Observed(
        claims,
        observe_history(statefulset, view),
        {name: volume for name, volume in volumes.items() if volume is not None},
        frozenset(taken),
    )


def _claim_pods(statefulset: Object, view: View) -> Claims:
    """Pods that the selector matches and that are named as ours are; finished and terminating ones too."""
    selector = selector_of(statefulset)
    owned = view.by(PODS, BY_CONTROLLER, meta.uid(statefulset))
    orphans = view.by(PODS, BY_CONTROLLER, f"orphan/{meta.namespace(statefulset)}")
    fitting = (pod for pod in (*owned, *orphans) if ordinal_of(statefulset, pod) is not None)
    claims = claim(statefulset, selector, fitting, PODS)
    misnamed = (
        release(statefulset, pod, PODS)
        for pod in owned
        if ordinal_of(statefulset, pod) is None and not meta.is_deleting(statefulset)
    )
    return Claims(claims.owned, (*claims.patches, *misnamed))


def plan(statefulset: Object, observed: Observed, now: datetime) -> Plan:
    if meta.is_deleting(statefulset):
        status = _status(statefulset, observed, _kept(statefulset, observed), now)
        return Plan((*observed.claims.patches, *_report(statefulset, status)), reason="is being deleted")
    lineage = settle(statefulset, observed.history, hash_label=HASH_LABEL)
    if lineage.update is None:
        changed = UpdateStatus(STATEFULSETS, after_collision(statefulset))
        return Plan((*lineage.actions, changed), reason="the name of a revision is taken")
    actions: list[Action] = [*observed.claims.patches, *lineage.actions]
    members = _members(statefulset, observed, lineage, now)
    steps, reason = next_steps(members)
    # A pod that is adopted or let go of is looked at again when that is seen.
    adopted = {patch.name for patch in observed.claims.patches}
    actions += (step for step in steps if getattr(step, "name", "") not in adopted)
    actions += _forget(statefulset, observed, lineage)
    status = _status(statefulset, observed, lineage, now, members.replaced(steps))
    actions += _report(statefulset, status)
    return Plan(tuple(actions), _look_again_seconds(statefulset, observed, now), reason)


def _members(statefulset: Object, observed: Observed, lineage: Lineage, now: datetime) -> Members:
    update = lineage.update or {}
    return Members(
        statefulset,
        {ordinal_of(statefulset, pod) or 0: pod for pod in observed.claims.owned},
        observed.volumes,
        observed.taken,
        _current(statefulset, lineage),
        update,
        now,
    )


def _current(statefulset: Object, lineage: Lineage) -> Object:
    """The revision that the pods below a partition have; at the beginning, the present one."""
    name = status_of(statefulset).get("currentRevision")
    found = (revision for revision in lineage.all if meta.name(revision) == name)
    return next(found, None) or lineage.update or {}


def _kept(statefulset: Object, observed: Observed) -> Lineage:
    """What the status said, for a set that is going away: it makes no revisions any more."""
    name = status_of(statefulset).get("updateRevision")
    known = tuple(observed.history.revisions)
    return Lineage(next((each for each in known if meta.name(each) == name), None), known)


def _forget(statefulset: Object, observed: Observed, lineage: Lineage) -> Iterable[Action]:
    live = {revision_name_of(pod) for pod in observed.claims.owned}
    live |= {meta.name(lineage.update or {}), meta.name(_current(statefulset, lineage))}
    dead = [revision for revision in lineage.all if meta.name(revision) not in live]
    return truncate(statefulset, dead, lambda revision: False)


def failed(statefulset: Object, observed: Observed, failure: Failure, now: datetime) -> Plan:
    """What could not be done is told by an event; the numbers are told all the same."""
    if isinstance(failure.action, UpdateStatus) or meta.is_deleting(statefulset):
        return NOTHING
    lineage = settle(statefulset, observed.history, hash_label=HASH_LABEL)
    if lineage.update is None:
        return NOTHING
    return Plan(tuple(_report(statefulset, _status(statefulset, observed, lineage, now))))


def _status(
    statefulset: Object, observed: Observed, lineage: Lineage, now: datetime, replaced: int = 0
) -> dict[str, Any]:
    """`replaced`: pods of the current revision that are being deleted so that they come back updated."""
    before, pods = status_of(statefulset), observed.claims.owned
    min_ready = spec_of(statefulset).get("minReadySeconds", 0)
    current, update = meta.name(_current(statefulset, lineage)), meta.name(lineage.update or {})
    if not update:
        current, update = before.get("currentRevision", ""), before.get("updateRevision", "")
    living = [pod for pod in pods if not meta.is_deleting(pod)]
    ready = [pod for pod in pods if status_of(pod).get("phase") == "Running" and is_ready(pod)]
    counts = {
        "readyReplicas": len(ready),
        "currentReplicas": sum(revision_name_of(pod) == current for pod in living) - replaced,
        "updatedReplicas": sum(revision_name_of(pod) == update for pod in living),
    }
    wanted = len(ordinals_of(statefulset))
    is_rolling = (spec_of(statefulset).get("updateStrategy") or {}).get("type") == "RollingUpdate"
    if is_rolling and counts["updatedReplicas"] == counts["readyReplicas"] == len(pods) == wanted:
        counts["currentReplicas"], current = counts["updatedReplicas"], update
    return {
        "observedGeneration": meta.generation(statefulset),
        "replicas": len(pods),
        **{name: count for name, count in counts.items() if count > 0},
        **({"currentRevision": current} if current else {}),
        **({"updateRevision": update} if update else {}),
        "collisionCount": before.get("collisionCount", 0),
        **({"conditions": before["conditions"]} if before.get("conditions") else {}),
        "availableReplicas": sum(is_available(pod, min_ready, now) for pod in ready),
    }


def _report(statefulset: Object, status: dict[str, Any]) -> list[Action]:
    if status == status_of(statefulset):
        return []
    return [UpdateStatus(STATEFULSETS, {**statefulset, "status": status})]


def _look_again_seconds(statefulset: Object, observed: Observed, now: datetime) -> float | None:
    min_ready = spec_of(statefulset).get("minReadySeconds", 0)
    waits = [next_available_seconds(observed.claims.owned, min_ready, now)]
    if observed.taken:
        waits.append(STRANGER_SECONDS)
    rests = (seconds_to_stay(pod, now) for pod in observed.claims.owned if not meta.is_deleting(pod))
    waits += (rest for rest in rests if rest > 0)
    return min((wait for wait in waits if wait is not None), default=None)


# Who is concerned


def _keys_of_pod(pod: Object, view: View) -> Iterable[str]:
    """The set that controls it; for a pod that nobody controls, the set of whose pods it has a name: it may take it, or wait for it."""
    owner = meta.controller_of(pod)
    if owner is not None:
        return (f"{meta.namespace(pod)}/{owner['name']}",) if owner.get("kind") == STATEFULSETS.kind else ()
    parent = meta.name(pod).rpartition("-")[0]
    statefulset = view.get(STATEFULSETS, parent, meta.namespace(pod)) if parent else None
    if statefulset is None or ordinal_of(statefulset, pod) is None:
        return ()
    return (meta.namespaced_name(statefulset),)


def _keys_of_claim(volume: Object, view: View) -> Iterable[str]:
    """The set whose template and ordinal its name is made of."""
    for statefulset in view.list(STATEFULSETS, meta.namespace(volume)):
        parents = (f"{meta.name(each)}-{meta.name(statefulset)}" for each in _templates(statefulset))
        if any(ordinal_in(parent, meta.name(volume)) is not None for parent in parents):
            yield meta.namespaced_name(statefulset)


def _templates(statefulset: Object) -> Iterable[Object]:
    return spec_of(statefulset).get("volumeClaimTemplates") or ()


_COUNTED = LABELS | OWNERS | DELETION | STATUS


def _pod_changed(old: Object, new: Object) -> bool:
    owners = (meta.controller_of(old), meta.controller_of(new))
    if all(owner is not None and owner.get("kind") != STATEFULSETS.kind for owner in owners):
        return False  # somebody else's
    return _counted(old) != _counted(new)


def _counted(pod: Object) -> tuple[object, ...]:
    return (
        status_of(pod).get("phase"),
        is_finished(pod),
        meta.is_deleting(pod),
        is_ready(pod),
        ready_time(pod),
        meta.labels(pod),
        meta.owner_references(pod),
    )


def _claim_changed(old: Object, new: Object) -> bool:
    return meta.owner_references(old) != meta.owner_references(new)


CONTROLLER = Controller(
    name="statefulset-controller",
    kind=STATEFULSETS,
    observe=observe,
    plan=plan,
    failed=failed,
    watches=[
        Watch(PODS, _keys_of_pod, changed=_pod_changed, parts=_COUNTED),
        Watch(PERSISTENTVOLUMECLAIMS, _keys_of_claim, changed=_claim_changed, parts=OWNERS),
        Watch(CONTROLLERREVISIONS, owner_keys(STATEFULSETS.kind)),
    ],
)
