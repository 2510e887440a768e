"""Deployment: moves pods from one template to the next by sizing ReplicaSets, and never makes a pod itself.

There is one ReplicaSet per template, told apart by the label pod-template-hash. The newest is grown and the others are shrunk,
within the strategy's bounds (`rollout.py`); each carries the revision under which `kubectl rollout history` and `undo` find it.
One reconcile takes one step; the ReplicaSets' statuses bring the next. Rules, events and messages are upstream's
`pkg/controller/deployment`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from tiphys.client.cache import BY_CONTROLLER, View
from tiphys.client.parts import STATUS
from tiphys.client.resources import DEPLOYMENTS, PODS, REPLICASETS
from tiphys.client.transport import Object
from tiphys.controllers.actions import (
    NORMAL,
    NOTHING,
    WARNING,
    Action,
    Create,
    Delete,
    Note,
    Plan,
    Update,
    UpdateStatus,
)
from tiphys.controllers.claims import Claims, claim
from tiphys.controllers.deployment_status import (
    PAUSED,
    TIMED_OUT,
    Status,
    counts,
    deadline_of,
    is_complete,
    judge_again_after_seconds,
    progress,
    set_condition,
)
from tiphys.controllers.executor import Failure
from tiphys.controllers.pods import is_finished, spec_of, status_of
from tiphys.controllers.rollout import (
    DESIRED_REPLICAS,
    MAX_REPLICAS,
    REVISION,
    REVISION_HISTORY,
    TEMPLATE_HASH,
    Rollout,
    Sizes,
    active,
    by_age,
    first_size,
    grow_new,
    is_scaling,
    revision_of,
    scale,
    shrink_old,
    shrink_to_nothing,
    size_of,
)
from tiphys.controllers.runner import Controller, Watch
from tiphys.machinery import meta
from tiphys.machinery.errors import is_already_exists
from tiphys.machinery.frozen import frozen
from tiphys.machinery.selectors import label_selector_from_dict

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
NOT_COPIED = {
    LAST_APPLIED,
    REVISION,
    REVISION_HISTORY,
    DESIRED_REPLICAS,
    MAX_REPLICAS,
    "deprecated.deployment.rollback.to",
}
HISTORY_LIMIT_CHARACTERS = 2000


@frozen
class Observed:
    """`running`: uids of ReplicaSets that still have unfinished pods. `taken`: a foreign ReplicaSet has our next one's name."""

    claims: Claims
    running: frozenset[str]
    taken: bool

    @property
    def replicasets(self) -> tuple[Object, ...]:
        return self.claims.owned


@frozen
class Step:
    """What one reconcile wants of the ReplicaSets: new sizes, a new one, old ones gone."""

    sizes: Sizes | None = None
    create: bool = False
    clean_up: bool = False
    follows_rollout: bool = True
    """Whether progress is judged: not while paused, nor when only the number changed."""
    reason: str = ""


def observe(deployment: Object, view: View) -> Observed:
    selector = label_selector_from_dict(spec_of(deployment).get("selector"))
    owned = view.by(REPLICASETS, BY_CONTROLLER, meta.uid(deployment))
    orphans = view.by(REPLICASETS, BY_CONTROLLER, f"orphan/{meta.namespace(deployment)}")
    claims = claim(deployment, selector, (*owned, *orphans), REPLICASETS)
    namesake = view.get(REPLICASETS, new_name(deployment), meta.namespace(deployment))
    running = (
        meta.uid(replicaset)
        for replicaset in claims.owned
        if not all(map(is_finished, view.by(PODS, BY_CONTROLLER, meta.uid(replicaset))))
    )
    return Observed(
        claims, frozenset(running), taken=namesake is not None and not _fits(deployment, namesake)
    )


def _fits(deployment: Object, replicaset: Object) -> bool:
    return meta.is_controlled_by(replicaset, deployment) and has_template_of(deployment, replicaset)


def plan(deployment: Object, observed: Observed, now: datetime) -> Plan:
    rollout = split(deployment, observed.replicasets)
    deployment = rollout.deployment
    if meta.is_deleting(deployment):
        return _carry_out(rollout, Step(follows_rollout=False, reason="is being deleted"), observed, now)
    if _paused_condition(deployment, now) is not None:
        return _report(rollout, _paused_condition(deployment, now) or {}, reason="paused or resumed")
    if rollout.new is None and observed.taken:
        return _avoid_collision(deployment)
    return _carry_out(rollout, _step(rollout, observed), observed, now)


def split(deployment: Object, replicasets: Iterable[Object]) -> Rollout:
    """Which ReplicaSet has the Deployment's template (the oldest, should there be several), and which do not."""
    ordered = by_age(replicasets)
    new = next((each for each in ordered if has_template_of(deployment, each)), None)
    return Rollout(deployment, new, tuple(each for each in ordered if each is not new))


def has_template_of(deployment: Object, replicaset: Object) -> bool:
    return _without_hash(spec_of(deployment).get("template") or {}) == _without_hash(
        spec_of(replicaset).get("template") or {}
    )


def _without_hash(template: Mapping[str, Any]) -> dict[str, Any]:
    metadata = {
        name: value for name, value in (template.get("metadata") or {}).items() if name != "creationTimestamp"
    }
    labels = {name: value for name, value in (metadata.get("labels") or {}).items() if name != TEMPLATE_HASH}
    return {**template, "metadata": {**metadata, "labels": labels}}


# Which step


def _step(rollout: Rollout, observed: Observed) -> Step:
    if spec_of(rollout.deployment).get("paused"):
        return Step(scale(rollout), clean_up=True, follows_rollout=False, reason="paused")
    if is_scaling(rollout):
        return Step(scale(rollout), follows_rollout=False, reason="another number of replicas")
    if rollout.is_rolling:
        return _roll(rollout)
    return _recreate(rollout, observed)


def _roll(rollout: Rollout) -> Step:
    if rollout.new is None:
        return Step(create=True, reason="a new template")
    grown = grow_new(rollout)
    if grown:
        return Step(grown, reason="growing the new ReplicaSet")
    shrunk = shrink_old(rollout)
    if shrunk:
        return Step(shrunk, reason="shrinking old ReplicaSets")
    return Step(clean_up=is_complete(rollout, status_of(rollout.deployment)))


def _recreate(rollout: Rollout, observed: Observed) -> Step:
    if active(rollout.old):
        return Step(shrink_to_nothing(rollout.old), reason="deleting all old pods")
    if any(meta.uid(old) in observed.running or status_of(old).get("replicas") for old in rollout.old):
        return Step(reason="waiting for old pods to end")
    if rollout.new is None:
        return Step(create=True, reason="a new template")
    grown = grow_new(rollout)
    if grown:
        return Step(grown, reason="growing the new ReplicaSet")
    return Step(clean_up=is_complete(rollout, status_of(rollout.deployment)))


# From the step to actions


def _carry_out(rollout: Rollout, step: Step, observed: Observed, now: datetime) -> Plan:
    actions: list[Action] = [*observed.claims.patches]
    # An adopted ReplicaSet is written again only after the adoption is seen: its version changes with it.
    adopted = {patch.name for patch in observed.claims.patches}
    resized = [] if adopted else list(_updates(rollout, step))
    actions += resized
    if step.create:
        actions.append(_create(rollout))
    if step.clean_up:
        actions += _clean_up(rollout)
    status = progress(rollout, now) if step.follows_rollout else counts(rollout, now)
    if step.follows_rollout:
        status = _found_or_created(rollout, status, step, now)
    return _report(rollout, status, actions, now if step.follows_rollout else None, reason=step.reason)


def _updates(rollout: Rollout, step: Step) -> Iterable[Update]:
    """ReplicaSets that change: their size, the numbers they were sized for, and what the new one copies from us."""
    sizes = step.sizes or {}
    for replicaset in rollout.all:
        draft = (
            _synced(rollout, replicaset)
            if replicaset is rollout.new and not meta.is_deleting(rollout.deployment)
            else replicaset
        )
        size = sizes.get(meta.uid(replicaset), size_of(replicaset))
        resizes = size != size_of(replicaset)
        if resizes or (not step.follows_rollout and step.sizes is not None and size):
            draft = _sized(draft, size, rollout)
        if draft != replicaset:
            direction = "up" if size > size_of(replicaset) else "down"
            message = (
                f"Scaled {direction} replica set {meta.name(replicaset)} from {size_of(replicaset)} to {size}"
            )
            done = Note(NORMAL, "ScalingReplicaSet", message) if resizes else None
            yield Update(REPLICASETS, draft, done=done)


def _sized(replicaset: Object, size: int, rollout: Rollout) -> Object:
    numbers = {DESIRED_REPLICAS: str(rollout.desired), MAX_REPLICAS: str(rollout.largest)}
    return _annotated({**replicaset, "spec": {**spec_of(replicaset), "replicas": size}}, numbers)


def _synced(rollout: Rollout, replicaset: Object) -> Object:
    """The new ReplicaSet with the Deployment's annotations, the newest revision, and its minReadySeconds."""
    draft = _annotated(replicaset, _copied_annotations(rollout.deployment))
    revision = _next_revision(rollout)
    if revision_of(replicaset) < revision:
        draft = _annotated(draft, {REVISION: str(revision)})
        if REVISION in meta.annotations(replicaset):
            # It was the newest before: `rollout undo` came back to it.
            draft = _annotated(draft, {REVISION_HISTORY: _history(replicaset)})
    wanted = spec_of(rollout.deployment).get("minReadySeconds", 0)
    if spec_of(draft).get("minReadySeconds", 0) != wanted:
        draft = {**draft, "spec": {**spec_of(draft), "minReadySeconds": wanted}}
    return draft


def _history(replicaset: Object) -> str:
    """Its earlier revisions with the present one; the oldest are forgotten when the list grows too long."""
    annotations = meta.annotations(replicaset)
    revisions = [*filter(None, annotations.get(REVISION_HISTORY, "").split(",")), annotations[REVISION]]
    while len(",".join(revisions)) > HISTORY_LIMIT_CHARACTERS:
        revisions.pop(0)
    return ",".join(revisions)


def _next_revision(rollout: Rollout) -> int:
    return max(map(revision_of, rollout.old), default=0) + 1


def _copied_annotations(deployment: Object) -> dict[str, str]:
    return {name: value for name, value in meta.annotations(deployment).items() if name not in NOT_COPIED}


def _annotated(obj: Object, annotations: Mapping[str, str]) -> Object:
    if annotations.items() <= meta.annotations(obj).items():
        return obj
    return {**obj, "metadata": {**obj["metadata"], "annotations": {**meta.annotations(obj), **annotations}}}


def _with_revision(rollout: Rollout) -> Object:
    """The Deployment with the revision of its newest ReplicaSet."""
    revision = meta.annotations(rollout.new or {}).get(REVISION)
    if meta.is_deleting(rollout.deployment) or not revision:
        return rollout.deployment
    return _annotated(rollout.deployment, {REVISION: revision})


# A new ReplicaSet


def new_hash(deployment: Object) -> str:
    return meta.template_hash(
        spec_of(deployment).get("template") or {}, status_of(deployment).get("collisionCount")
    )


def new_name(deployment: Object) -> str:
    return f"{meta.name(deployment)}-{new_hash(deployment)}"


def _create(rollout: Rollout) -> Create:
    replicaset = new_replicaset(rollout)
    size = size_of(replicaset)
    message = f"Scaled up replica set {{name}} from 0 to {size}"
    done = Note(NORMAL, "ScalingReplicaSet", message) if size else None
    failure = Note(
        WARNING,
        "ReplicaSetCreateError",
        f'Failed to create new replica set "{meta.name(replicaset)}": {{error}}',
    )
    return Create(REPLICASETS, replicaset, done=done, failed=failure)


def new_replicaset(rollout: Rollout) -> Object:
    """The ReplicaSet of the Deployment's present template, with as many pods as the bounds allow at once."""
    deployment = rollout.deployment
    spec = spec_of(deployment)
    label = {TEMPLATE_HASH: new_hash(deployment)}
    template = spec["template"]
    labels = {**meta.labels(template), **label}
    selector = spec.get("selector") or {}
    annotations = {
        **_copied_annotations(deployment),
        REVISION: str(_next_revision(rollout)),
        DESIRED_REPLICAS: str(rollout.desired),
        MAX_REPLICAS: str(rollout.largest),
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": new_name(deployment),
            "namespace": meta.namespace(deployment),
            "labels": labels,
            "annotations": annotations,
            "ownerReferences": [meta.controller_reference(deployment)],
        },
        "spec": {
            "replicas": first_size(rollout),
            **({"minReadySeconds": spec["minReadySeconds"]} if spec.get("minReadySeconds") else {}),
            "selector": {**selector, "matchLabels": {**(selector.get("matchLabels") or {}), **label}},
            "template": {**template, "metadata": {**(template.get("metadata") or {}), "labels": labels}},
        },
    }


def _avoid_collision(deployment: Object) -> Plan:
    """Another object has the name: another count gives another hash."""
    status = {**status_of(deployment), "collisionCount": status_of(deployment).get("collisionCount", 0) + 1}
    return Plan((UpdateStatus(DEPLOYMENTS, {**deployment, "status": status}),), reason="the name is taken")


def _clean_up(rollout: Rollout) -> Iterable[Delete]:
    """Old ReplicaSets beyond revisionHistoryLimit, the oldest revisions first; only such as are done with."""
    limit = spec_of(rollout.deployment).get("revisionHistoryLimit", 10)
    kept = [replicaset for replicaset in rollout.old if not meta.is_deleting(replicaset)]
    surplus = len(kept) - limit
    if limit == 2**31 - 1 or surplus <= 0:
        return
    for replicaset in sorted(by_age(kept), key=revision_of)[:surplus]:
        status = status_of(replicaset)
        seen = status.get("observedGeneration", 0) >= meta.generation(replicaset)
        if size_of(replicaset) == 0 and not status.get("replicas") and seen:
            yield Delete(
                REPLICASETS, meta.name(replicaset), meta.namespace(replicaset), uid=meta.uid(replicaset)
            )


# What is reported


def _paused_condition(deployment: Object, now: datetime) -> Status | None:
    """The status in which Progressing says that the Deployment was paused or resumed; None when it says so already."""
    condition = meta.find_condition(meta.conditions(deployment), "Progressing") or {}
    if deadline_of(deployment) is None or condition.get("reason") == TIMED_OUT:
        return None
    is_paused, says_paused = bool(spec_of(deployment).get("paused")), condition.get("reason") == PAUSED
    if is_paused == says_paused:
        return None
    reason, message = (
        (PAUSED, "Deployment is paused") if is_paused else ("DeploymentResumed", "Deployment is resumed")
    )
    conditions = set_condition(
        meta.conditions(deployment), "Progressing", "Unknown", now, reason=reason, message=message
    )
    return {**status_of(deployment), "conditions": conditions}


def _found_or_created(rollout: Rollout, status: Status, step: Step, now: datetime) -> Status:
    """The first word on progress: which ReplicaSet the rollout goes to."""
    if deadline_of(rollout.deployment) is None:
        return status
    conditions = status["conditions"]
    if step.create:
        message = f'Created new replica set "{new_name(rollout.deployment)}"'
        conditions = set_condition(
            conditions, "Progressing", "True", now, reason="NewReplicaSetCreated", message=message
        )
    elif rollout.new is not None and meta.find_condition(conditions, "Progressing") is None:
        message = f'Found new replica set "{meta.name(rollout.new)}"'
        conditions = set_condition(
            conditions, "Progressing", "True", now, reason="FoundNewReplicaSet", message=message
        )
    return {**status, "conditions": conditions}


def _report(
    rollout: Rollout,
    status: Status,
    actions: Iterable[Action] = (),
    judged_at: datetime | None = None,
    *,
    reason: str,
) -> Plan:
    # The revision goes with the status: written otherwise, an annotation would count as a change of intent.
    revised = {**_with_revision(rollout), "status": status}
    report = [UpdateStatus(DEPLOYMENTS, revised)] if revised != {"status": {}, **rollout.deployment} else []
    again = judge_again_after_seconds(rollout, status, judged_at) if judged_at else None
    return Plan((*actions, *report), again, reason)


def failed(deployment: Object, observed: Observed, failure: Failure, now: datetime) -> Plan:
    """A ReplicaSet that cannot be created stands in the Progressing condition."""
    if not isinstance(failure.action, Create) or deadline_of(deployment) is None:
        return NOTHING
    if is_already_exists(failure.error):
        # The cache is behind: the next look sees whose it is.
        return NOTHING
    rollout = split(deployment, observed.replicasets)
    message = f'Failed to create new replica set "{meta.name(failure.action.obj)}": {failure.error}'
    status = counts(rollout, now)
    conditions = set_condition(
        status["conditions"], "Progressing", "False", now, reason="ReplicaSetCreateError", message=message
    )
    return replace(
        _report(rollout, {**status, "conditions": conditions}, reason=""), requeue_after_seconds=None
    )


# Whom a change concerns


def keys_of_replicaset(replicaset: Object, view: View) -> Iterable[str]:
    """Its Deployment; for a ReplicaSet that nobody controls, those whose selector matches it."""
    owner = meta.controller_of(replicaset)
    if owner is not None:
        return (f"{meta.namespace(replicaset)}/{owner['name']}",) if owner.get("kind") == "Deployment" else ()
    return [
        meta.namespaced_name(deployment)
        for deployment in view.list(DEPLOYMENTS, meta.namespace(replicaset))
        if label_selector_from_dict(spec_of(deployment).get("selector")).matches(meta.labels(replicaset))
    ]


def keys_of_pod(pod: Object, view: View) -> Iterable[str]:
    """The Deployment above its ReplicaSet, if it waits for old pods to end (Recreate)."""
    owner = meta.controller_of(pod)
    if owner is None or owner.get("kind") != "ReplicaSet":
        return ()
    replicaset = view.get(REPLICASETS, owner["name"], meta.namespace(pod))
    if replicaset is None:
        return ()
    keys = keys_of_replicaset(replicaset, view)
    found = (view.cache(DEPLOYMENTS).get(key) for key in keys)
    return [meta.namespaced_name(each) for each in found if each and not Rollout(each, None, ()).is_rolling]


CONTROLLER = Controller(
    name="deployment-controller",
    kind=DEPLOYMENTS,
    observe=observe,
    plan=plan,
    failed=failed,
    watches=[
        Watch(REPLICASETS, keys_of_replicaset),
        Watch(PODS, keys_of_pod, changed=lambda old, new: is_finished(old) != is_finished(new), parts=STATUS),
    ],
)
