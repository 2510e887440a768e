"""PodDisruptionBudget: counts the pods that a budget selects, and says how many of them may be evicted now.

The eviction subresource spends what `status.disruptionsAllowed` grants and notes the pod in `disruptedPods`; this controller
counts such a pod as gone for two minutes, and forgets it when it is gone or did not go. `run` also takes back the condition
DisruptionTarget from pods that were to be disrupted and still run two minutes later. Rules, events and conditions are upstream's
`pkg/controller/disruption`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import field, replace
from datetime import datetime, timedelta
from typing import Any

from tiphys.client.cache import View
from tiphys.client.client import Client
from tiphys.client.parts import DELETION, LABELS, OWNERS, STATUS
from tiphys.client.reflector import Informers
from tiphys.client.resources import (
    DEPLOYMENTS,
    PODDISRUPTIONBUDGETS,
    PODS,
    REPLICASETS,
    REPLICATIONCONTROLLERS,
    STATEFULSETS,
)
from tiphys.client.transport import STRATEGIC_MERGE_PATCH, Object
from tiphys.controllers.actions import (
    NORMAL,
    NOTHING,
    WARNING,
    Action,
    Patch,
    Plan,
    RecordEvent,
    UpdateStatus,
)
from tiphys.controllers.pods import is_finished, is_ready, spec_of, status_of
from tiphys.controllers.rollout import resolve
from tiphys.controllers.runner import Controller, Runner, Watch
from tiphys.machinery import meta
from tiphys.machinery.clock import Clock
from tiphys.machinery.errors import StatusError, is_not_found
from tiphys.machinery.frozen import frozen
from tiphys.machinery.gvk import parse_api_version
from tiphys.machinery.selectors import NOTHING as NO_PODS
from tiphys.machinery.selectors import LabelSelector, label_selector_from_dict

DELETION_TIMEOUT = timedelta(minutes=2)
STALE_CONDITION = timedelta(minutes=2)
_KNOWN = {
    ("ReplicationController", ""): REPLICATIONCONTROLLERS,
    ("ReplicaSet", "apps"): REPLICASETS,
    ("StatefulSet", "apps"): STATEFULSETS,
}
_UNMANAGED = (
    "Pods selected by this PodDisruptionBudget (selector: {}) were found to be unmanaged. As a result, the status of "
    "the PDB cannot be calculated correctly, which may result in undefined behavior. To account for these pods please "
    'set ".spec.minAvailable" field of the PDB to an integer value.'
)


@frozen
class Observed:
    """`scales`: how many pods each controller of the pods wants, by its uid. `strangers`: owners whose scale no cache knows."""

    pods: tuple[Object, ...]
    scales: Mapping[str, int]
    strangers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    unmanaged: tuple[str, ...] = ()
    error: str = ""


def selector_of(budget: Object) -> LabelSelector:
    """None selects nothing, an empty one everything."""
    selector = spec_of(budget).get("selector")
    return NO_PODS if selector is None else label_selector_from_dict(selector)


def _needs_scale(budget: Object) -> bool:
    """A share can only be counted of a number that somebody wants."""
    spec = spec_of(budget)
    return spec.get("maxUnavailable") is not None or isinstance(spec.get("minAvailable"), str)


def observe(budget: Object, view: View) -> Observed:
    selector = selector_of(budget)
    pods = tuple(pod for pod in view.list(PODS, meta.namespace(budget)) if selector.matches(meta.labels(pod)))
    if not _needs_scale(budget):
        return Observed(pods, {})
    scales: dict[str, int] = {}
    strangers: dict[str, Mapping[str, Any]] = {}
    unmanaged = []
    for pod in pods:
        owner = meta.controller_of(pod)
        if owner is None:
            unmanaged.append(meta.name(pod))
            continue
        known = _known_scale(owner, meta.namespace(pod), view)
        if known is None:
            strangers[meta.name(pod)] = owner
        else:
            scales[known[0]] = known[1]
    return Observed(pods, scales, strangers, tuple(unmanaged))


def _known_scale(owner: Mapping[str, Any], namespace: str, view: View) -> tuple[str, int] | None:
    """(uid, replicas) of the ReplicationController, StatefulSet, ReplicaSet or Deployment behind a pod."""
    row = _KNOWN.get((owner["kind"], parse_api_version(owner["apiVersion"]).group))
    found = view.get(row, owner["name"], namespace) if row is not None else None
    if found is None or meta.uid(found) != owner["uid"]:
        return None
    above = meta.controller_of(found)
    if row is REPLICASETS and above is not None and above["kind"] == "Deployment":
        deployment = view.get(DEPLOYMENTS, above["name"], namespace)
        if deployment is None or meta.uid(deployment) != above["uid"]:
            return None
        found = deployment
    return meta.uid(found), spec_of(found).get("replicas", 1)


async def gather(budget: Object, observed: Observed, client: Client) -> Observed:
    """Asks for the scale of controllers of other kinds (custom resources)."""
    scales = dict(observed.scales)
    for pod, owner in observed.strangers.items():
        if owner["uid"] in scales:
            continue
        scale, error = await _scale_of(owner, meta.namespace(budget), client)
        if error:
            return replace(observed, error=error)
        if scale is None or meta.uid(scale) != owner["uid"]:
            return replace(observed, error=f'found no controllers for pod "{pod}"')
        scales[owner["uid"]] = spec_of(scale).get("replicas", 0)
    return replace(observed, scales=scales)


async def _scale_of(owner: Mapping[str, Any], namespace: str, client: Client) -> tuple[Object | None, str]:
    """The Scale of an owner, or what is wrong with asking for it."""
    group, version = owner["apiVersion"].rpartition("/")[::2]
    root = f"/apis/{owner['apiVersion']}" if group else f"/api/{version}"
    try:
        resources = (await client.transport.request("GET", root)).get("resources") or ()
        plural = next(each["name"] for each in resources if each["kind"] == owner["kind"])
    except (StatusError, StopIteration):
        return None, f'no matches for kind "{owner["kind"]}" in version "{owner["apiVersion"]}"'
    if not any(each["name"] == f"{plural}/scale" and each["kind"] == "Scale" for each in resources):
        named = f"{plural}.{group}" if group else plural
        return None, f"{named} does not implement the scale subresource"
    path = f"{root}/namespaces/{namespace}/{plural}/{owner['name']}/scale"
    try:
        return await client.transport.request("GET", path), ""
    except StatusError as error:
        if is_not_found(error):
            return None, ""
        raise


def plan(budget: Object, observed: Observed, now: datetime) -> Plan:
    actions: list[Action] = []
    if not observed.pods:
        actions.append(RecordEvent(NORMAL, "NoPods", "No matching pods found"))
    if observed.error:
        message = f"Failed to calculate the number of expected pods: {observed.error}"
        actions.append(RecordEvent(WARNING, "CalculateExpectedPodCountFailed", message))
        return Plan((*actions, *_report(budget, _failed_status(budget, observed.error, now))), reason=message)
    if observed.unmanaged:
        message = _UNMANAGED.format(_in_go(spec_of(budget)["selector"]))
        actions.append(RecordEvent(WARNING, "UnmanagedPods", message))
    disrupted, again = _still_disrupted(budget, observed, now, actions)
    status = _status(budget, observed, disrupted, now)
    return Plan((*actions, *_report(budget, status)), again)


def _in_go(selector: Object) -> str:
    """A LabelSelector as Go prints it: the event's text has it so."""
    labels = "".join(f"{key}: {value}," for key, value in sorted((selector.get("matchLabels") or {}).items()))
    rules = "".join(
        f"LabelSelectorRequirement{{Key:{each['key']},Operator:{each['operator']},"
        f"Values:[{' '.join(each.get('values') or ())}],}},"
        for each in selector.get("matchExpressions") or ()
    )
    lists = f"[]LabelSelectorRequirement{{{rules}}}"
    return f"&LabelSelector{{MatchLabels:map[string]string{{{labels}}},MatchExpressions:{lists},}}"


def _still_disrupted(
    budget: Object, observed: Observed, now: datetime, actions: list[Action]
) -> tuple[dict[str, str], float | None]:
    """The evicted pods that are not being deleted yet, and in how many seconds the first of them is given up."""
    noted = status_of(budget).get("disruptedPods") or {}
    kept: dict[str, str] = {}
    again: float | None = None
    for pod in observed.pods:
        since = noted.get(meta.name(pod))
        if since is None or meta.is_deleting(pod):
            continue
        left = (meta.parse_time(since) + DELETION_TIMEOUT - now).total_seconds()
        if left < 0:
            # Upstream names the budget by its namespace twice; so do we, for those who match the text.
            where = f"{meta.namespace(budget)}/{meta.namespace(budget)}"
            message = f"Pod was expected by PDB {where} to be deleted but it wasn't"
            actions.append(RecordEvent(WARNING, "NotDeleted", message, pod))
        else:
            kept[meta.name(pod)] = since
            again = left if again is None else min(again, left)
    return kept, None if again is None else again + 1


def _status(
    budget: Object, observed: Observed, disrupted: Mapping[str, str], now: datetime
) -> dict[str, Any]:
    expected, desired = _expected(budget, observed)
    healthy = sum(
        is_ready(pod) and not meta.is_deleting(pod) and meta.name(pod) not in disrupted
        for pod in observed.pods
    )
    allowed = max(healthy - desired, 0) if expected > 0 else 0
    status: dict[str, Any] = {"observedGeneration": meta.generation(budget)}
    if disrupted:
        status["disruptedPods"] = dict(disrupted)
    status |= {
        "disruptionsAllowed": allowed,
        "currentHealthy": healthy,
        "desiredHealthy": desired,
        "expectedPods": expected,
    }
    status["conditions"] = allowed_condition(budget, allowed, now)
    return status


def allowed_condition(budget: Object, allowed: int, now: datetime) -> list[dict[str, Any]]:
    """The budget's conditions with DisruptionAllowed as it must be for that many."""
    changed = meta.set_condition(
        meta.conditions(budget),
        "DisruptionAllowed",
        "True" if allowed else "False",
        now,
        reason="SufficientPods" if allowed else "InsufficientPods",
        observedGeneration=meta.generation(budget),
    )
    return [{"message": "", **condition} for condition in changed]


def _expected(budget: Object, observed: Observed) -> tuple[int, int]:
    """(pods that there should be, pods that must be healthy)"""
    spec = spec_of(budget)
    wanted = sum(observed.scales.values())
    if spec.get("maxUnavailable") is not None:
        return wanted, max(wanted - resolve(spec["maxUnavailable"], wanted, round_up=True), 0)
    least = spec.get("minAvailable")
    if isinstance(least, str):
        return wanted, resolve(least, wanted, round_up=True)
    # Neither is given: upstream expects nothing and so allows nothing.
    return (len(observed.pods), least) if least is not None else (0, 0)


def _failed_status(budget: Object, error: str, now: datetime) -> dict[str, Any]:
    """When the count cannot be made, nothing may be evicted."""
    status = {**status_of(budget), "disruptionsAllowed": 0}
    more = {"observedGeneration": status["observedGeneration"]} if status.get("observedGeneration") else {}
    status["conditions"] = meta.set_condition(
        meta.conditions(budget), "DisruptionAllowed", "False", now, reason="SyncFailed", message=error, **more
    )
    return status


def _report(budget: Object, status: dict[str, Any]) -> list[Action]:
    if status == status_of(budget):
        return []
    return [UpdateStatus(PODDISRUPTIONBUDGETS, {**budget, "status": status})]


def keys_of_pod(pod: Object, view: View) -> Iterable[str]:
    return [
        meta.namespaced_name(budget)
        for budget in view.list(PODDISRUPTIONBUDGETS, meta.namespace(pod))
        if selector_of(budget).matches(meta.labels(pod))
    ]


def _pod_counts(old: Object, new: Object) -> bool:
    return _counted(old) != _counted(new)


def _counted(pod: Object) -> tuple[object, ...]:
    return is_ready(pod), meta.is_deleting(pod), meta.labels(pod), meta.owner_references(pod)


def keys_of_namespace(obj: Object, view: View) -> Iterable[str]:
    """A controller was scaled: the budgets of its namespace that count a share."""
    return [
        meta.namespaced_name(budget)
        for budget in view.list(PODDISRUPTIONBUDGETS, meta.namespace(obj))
        if _needs_scale(budget)
    ]


def _scaled(old: Object, new: Object) -> bool:
    return bool(spec_of(old).get("replicas") != spec_of(new).get("replicas"))


CONTROLLER = Controller(
    name="disruption-controller",
    kind=PODDISRUPTIONBUDGETS,
    observe=observe,
    gather=gather,
    plan=plan,
    watches=[
        Watch(PODS, keys_of_pod, changed=_pod_counts, parts=LABELS | OWNERS | DELETION | STATUS),
        *(
            Watch(row, keys_of_namespace, changed=_scaled)
            for row in (DEPLOYMENTS, REPLICASETS, STATEFULSETS, REPLICATIONCONTROLLERS)
        ),
    ],
    component="controllermanager",
)


# Conditions of pods that were to be disrupted


def observe_nothing(pod: Object, view: View) -> None:
    """All that matters is on the pod."""


def plan_condition(pod: Object, observed: None, now: datetime) -> Plan:
    """Resets a DisruptionTarget that came to nothing. The kubelet's own are its business, and those of ended pods history."""
    condition = meta.find_condition(meta.conditions(pod), "DisruptionTarget")
    if meta.is_deleting(pod) or is_finished(pod) or condition is None or condition["status"] != "True":
        return NOTHING
    if condition.get("reason") == "TerminationByKubelet":
        return NOTHING
    since = condition.get("lastTransitionTime")
    left = (meta.parse_time(since) + STALE_CONDITION - now).total_seconds() if since else 0.0
    if left > 0:
        return Plan(requeue_after_seconds=left, reason="it may still be disrupted")
    reset = {"type": "DisruptionTarget", "status": "False", "lastTransitionTime": meta.format_time(now)}
    cleared = {**reset, "reason": None, "message": None}
    patch = {"metadata": {"uid": meta.uid(pod)}, "status": {"conditions": [cleared]}}
    action = Patch(PODS, meta.name(pod), patch, meta.namespace(pod), STRATEGIC_MERGE_PATCH, "status")
    return Plan((action,), reason="it was not disrupted")


CONDITIONS = Controller(
    name="disruption-controller",
    kind=PODS,
    observe=observe_nothing,
    plan=plan_condition,
    concerns=lambda pod: meta.find_condition(meta.conditions(pod), "DisruptionTarget") is not None,
    parts=DELETION | STATUS,
    component="controllermanager",
)


async def run(informers: Informers, *, clock: Clock, client: Client) -> None:
    """Both loops; ends by cancellation."""
    async with asyncio.TaskGroup() as loops:
        for controller in (CONTROLLER, CONDITIONS):
            loops.create_task(Runner(controller, informers, clock=clock, client=client).run())
