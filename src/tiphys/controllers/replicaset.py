"""ReplicaSet: as many pods of one template as asked for. (And ReplicationController, which is the same in an older dress.)

Counts the active pods that its selector owns, creates what is missing (500 at a time), deletes what is too much in the order of
`ranking.py`, and reports what it sees in the status. Rules, events and the ReplicaFailure condition are upstream's
`pkg/controller/replicaset`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any

from tiphys.api.resource import Resource
from tiphys.client.cache import BY_CONTROLLER, View
from tiphys.client.parts import DELETION, LABELS, OWNERS, STATUS
from tiphys.client.resources import PODS, REPLICASETS
from tiphys.client.transport import Object
from tiphys.controllers.actions import (
    NOTHING,
    Action,
    Create,
    Delete,
    Plan,
    UpdateStatus,
)
from tiphys.controllers.claims import Claims, claim, claimant_keys, selector_of
from tiphys.controllers.executor import Failure
from tiphys.controllers.pods import (
    CREATE_FAILED,
    CREATED,
    DELETE_FAILED,
    DELETED,
    available_at,
    is_active,
    is_available,
    is_ready,
    is_terminating,
    pod_from_template,
    ready_time,
    spec_of,
    status_of,
)
from tiphys.controllers.ranking import deletion_order
from tiphys.controllers.runner import Controller, Watch
from tiphys.machinery import meta
from tiphys.machinery.frozen import frozen
from tiphys.machinery.selectors import LabelSelector, label_selector_from_set

BURST = 500


@frozen
class Observed:
    """`siblings`: active pods of all ReplicaSets of the same Deployment; they decide whose node is the most crowded."""

    claims: Claims
    terminating: int
    siblings: Sequence[Object]

    @property
    def pods(self) -> tuple[Object, ...]:
        return self.claims.owned


@frozen
class Replicas:
    """The rules, and what differs between a ReplicaSet and the ReplicationController that it came from."""

    row: Resource
    selector: Callable[[Object], LabelSelector]
    tells_terminating: bool = True
    """Whether the status has `terminatingReplicas`."""

    def observe(self, replicaset: Object, view: View) -> Observed:
        owned = view.by(PODS, BY_CONTROLLER, meta.uid(replicaset))
        orphans = view.by(PODS, BY_CONTROLLER, f"orphan/{meta.namespace(replicaset)}")
        active = filter(is_active, (*owned, *orphans))
        return Observed(
            claims=claim(replicaset, self.selector(replicaset), active, PODS),
            terminating=sum(map(is_terminating, owned)),
            siblings=self._pods_of_siblings(replicaset, view),
        )

    def _pods_of_siblings(self, replicaset: Object, view: View) -> Sequence[Object]:
        owner = meta.controller_of(replicaset)
        if owner is None:
            return view.by(PODS, BY_CONTROLLER, meta.uid(replicaset))
        return [
            pod
            for sibling in view.by(self.row, BY_CONTROLLER, owner["uid"])
            for pod in view.by(PODS, BY_CONTROLLER, meta.uid(sibling))
        ]

    def plan(self, replicaset: Object, observed: Observed, now: datetime) -> Plan:
        actions: list[Action] = [*observed.claims.patches]
        wanted = spec_of(replicaset).get("replicas", 1)
        missing = wanted - len(observed.pods)
        if meta.is_deleting(replicaset):
            reason = "is being deleted"
        elif missing > 0:
            actions += _create(replicaset, min(missing, BURST))
            reason = f"{missing} of {wanted} pods are missing"
        elif missing < 0:
            actions += _delete(observed, min(-missing, BURST), now)
            reason = f"{-missing} pods too many"
        else:
            reason = ""
        actions += self._report(replicaset, self._status(replicaset, observed, now))
        return Plan(tuple(actions), _next_available(replicaset, observed, now), reason)

    def failed(self, replicaset: Object, observed: Observed, failure: Failure, now: datetime) -> Plan:
        """The ReplicaFailure condition: why pods could not be created or deleted."""
        if not isinstance(failure.action, Create | Delete):
            return NOTHING
        status = self._status(replicaset, observed, now)
        conditions = [*meta.conditions(replicaset)]
        # The first failure stays told until there is none: the name in the message is another each time, and a status that
        # differs at every look would run for ever.
        if meta.find_condition(conditions, "ReplicaFailure") is None:
            reason = "FailedCreate" if isinstance(failure.action, Create) else "FailedDelete"
            message = str(failure.error)
            conditions = meta.set_condition(
                conditions, "ReplicaFailure", "True", now, reason=reason, message=message
            )
        status["conditions"] = conditions
        return Plan(tuple(self._report(replicaset, status)))

    def _status(self, replicaset: Object, observed: Observed, now: datetime) -> dict[str, Any]:
        """What is, without a failure: counts that are 0 are left out, except where upstream's form shows them."""
        spec = spec_of(replicaset)
        template_labels = label_selector_from_set(meta.labels(spec.get("template") or {}))
        min_ready = spec.get("minReadySeconds", 0)
        counts = {
            "fullyLabeledReplicas": sum(template_labels.matches(meta.labels(pod)) for pod in observed.pods),
            "readyReplicas": sum(map(is_ready, observed.pods)),
            "availableReplicas": sum(is_available(pod, min_ready, now) for pod in observed.pods),
        }
        conditions = meta.remove_condition(meta.conditions(replicaset), "ReplicaFailure")
        return {
            "replicas": len(observed.pods),
            **{name: count for name, count in counts.items() if count},
            **({"terminatingReplicas": observed.terminating} if self.tells_terminating else {}),
            "observedGeneration": meta.generation(replicaset),
            **({"conditions": conditions} if conditions else {}),
        }

    def _report(self, replicaset: Object, status: dict[str, Any]) -> list[Action]:
        if status == status_of(replicaset):
            return []
        return [UpdateStatus(self.row, {**replicaset, "status": status})]

    def controller(self, name: str, component: str = "") -> Controller[Observed]:
        return Controller(
            name=name,
            kind=self.row,
            observe=self.observe,
            plan=self.plan,
            failed=self.failed,
            watches=[Watch(PODS, claimant_keys(self.row, self.selector), changed=concerns, parts=COUNTED)],
            component=component,
        )


def _create(replicaset: Object, count: int) -> Iterable[Create]:
    pod = pod_from_template(spec_of(replicaset)["template"], replicaset)
    return [Create(PODS, pod, done=CREATED, failed=CREATE_FAILED)] * count


def _delete(observed: Observed, count: int, now: datetime) -> Iterable[Delete]:
    for pod in deletion_order(observed.pods, observed.siblings, now)[:count]:
        yield Delete(
            PODS,
            meta.name(pod),
            meta.namespace(pod),
            uid=meta.uid(pod),
            done=DELETED,
            failed=DELETE_FAILED,
        )


def _next_available(replicaset: Object, observed: Observed, now: datetime) -> float | None:
    """When the next ready pod will have been ready for long enough: no event will tell."""
    min_ready = spec_of(replicaset).get("minReadySeconds", 0)
    if not min_ready:
        return None
    moments = (available_at(pod, min_ready) for pod in observed.pods)
    waits = [(moment - now).total_seconds() for moment in moments if moment is not None and moment > now]
    return min(waits, default=None)


COUNTED = LABELS | OWNERS | DELETION | STATUS


def concerns(old: Object, new: Object) -> bool:
    """Whether a change of a pod can change the count: most do not (its binding, its addresses, its containers' states)."""
    return _counted(old) != _counted(new)


def _counted(pod: Object) -> tuple[object, ...]:
    return (
        is_active(pod),
        is_terminating(pod),
        is_ready(pod),
        ready_time(pod),
        meta.labels(pod),
        meta.owner_references(pod),
    )


CONTROLLER = Replicas(REPLICASETS, selector_of).controller("replicaset-controller")
