"""Which pods of a StatefulSet come, go and are replaced next: the order of things, apart from how they are counted and told.

First every ordinal that should have a pod, from the lowest up; then the pods beyond, from the highest down; then those of another
revision. With OrderedReady the first that must be waited for ends the round.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from tiphys.client.transport import Object
from tiphys.controllers.actions import Action, Delete
from tiphys.controllers.pods import is_available, is_finished, is_ready, spec_of, status_of
from tiphys.controllers.revisions import template_of
from tiphys.controllers.rollout import resolve
from tiphys.controllers.stateful_pods import (
    Claims,
    cannot_create,
    create_claims,
    create_pod,
    delete_pod,
    is_stale,
    leaving_claims,
    new_pod,
    ordinals_of,
    pod_name,
    restore_identity,
    revision_of,
    settle_owners,
    start_of,
)
from tiphys.machinery import meta
from tiphys.machinery.frozen import frozen

REST_SECONDS = 1.0
"""The shortest life of a pod. (Upstream's have none, but its controller may not write as fast as ours.)"""
Step = tuple[list[Action], str]
"""What to do, and what must be waited for before anything else is done; "": nothing."""


@frozen
class Members:
    """A set with its pods by ordinal. `current` and `update` are revisions: from one to the other the rollout goes."""

    statefulset: Object
    pods: Mapping[int, Object]
    volumes: Claims
    taken: frozenset[int]
    current: Object
    update: Object
    now: datetime

    @property
    def is_ordered(self) -> bool:
        return spec_of(self.statefulset).get("podManagementPolicy") != "Parallel"

    @property
    def strategy(self) -> Mapping[str, Any]:
        return spec_of(self.statefulset).get("updateStrategy") or {}

    @property
    def rolling(self) -> Mapping[str, Any]:
        return self.strategy.get("rollingUpdate") or {}

    @property
    def surplus(self) -> list[int]:
        """Ordinals beyond those that there should be, the first to go first."""
        return sorted(set(self.pods) - set(ordinals_of(self.statefulset)), reverse=True)

    def is_available(self, pod: Object) -> bool:
        min_ready = spec_of(self.statefulset).get("minReadySeconds", 0)
        return is_running_and_ready(pod) and is_available(pod, min_ready, self.now)

    def is_updated(self, pod: Object) -> bool:
        return revision_of(pod) == meta.name(self.update)

    def pod_to_make(self, ordinal: int) -> Object:
        revision = self.current if self._needs_current(ordinal) else self.update
        return new_pod(self.statefulset, template_of(revision), meta.name(revision), ordinal)

    def _needs_current(self, ordinal: int) -> bool:
        """Below the partition; without one, as many as the current revision still has."""
        start = start_of(self.statefulset)
        if "partition" in self.rolling:
            return ordinal < start + int(self.rolling["partition"])
        if self.strategy.get("type") != "RollingUpdate":
            return False
        return ordinal < start + int(status_of(self.statefulset).get("currentReplicas", 0))

    def replaced(self, steps: Iterable[Action]) -> int:
        """How many pods of the current revision these steps delete in order to update them."""
        going = {step.name for step in steps if isinstance(step, Delete)}
        return sum(
            pod_name(self.statefulset, ordinal) in going
            and not is_finished(pod)
            and revision_of(pod) == meta.name(self.current)
            and not self.is_updated(pod)
            for ordinal, pod in self.pods.items()
            if ordinal in ordinals_of(self.statefulset)
        )


def is_running_and_ready(pod: Object) -> bool:
    return status_of(pod).get("phase") == "Running" and is_ready(pod)


def is_healthy(pod: Object | None) -> bool:
    return pod is not None and is_running_and_ready(pod) and not meta.is_deleting(pod)


def seconds_to_stay(pod: Object, now: datetime) -> float:
    """How long a pod that has ended is still left alone: one that its node refuses, and its successors, would keep everybody busy."""
    created = meta.creation_time(pod)
    if created is None or not is_finished(pod):
        return 0
    return REST_SECONDS - (now - created).total_seconds()


def next_steps(members: Members) -> Step:
    actions: list[Action] = []
    for ordinal in ordinals_of(members.statefulset):
        done, waits = _care_for(members, ordinal)
        actions += done
        if waits and members.is_ordered:
            return actions, waits
    done, waits = _shrink(members)
    actions += done
    if waits and members.is_ordered:
        return actions, waits
    if members.strategy.get("type") == "OnDelete":
        return actions, ""
    going = {action.name for action in actions if isinstance(action, Delete)}
    done, waits = _roll(members, going)
    return [*actions, *done], waits


def _care_for(members: Members, ordinal: int) -> Step:
    """One ordinal that should have a pod."""
    statefulset, pod, volumes = members.statefulset, members.pods.get(ordinal), members.volumes
    name = pod_name(statefulset, ordinal)
    if pod is None:
        if ordinal in members.taken:
            return [], f"another pod is named {name}"
        if is_stale(statefulset, ordinal, volumes):
            return [], f"claims of the last pod {name} are going"
        if leaving := leaving_claims(statefulset, ordinal, volumes):
            return [cannot_create(statefulset, name, leaving[0])], f"claims of {name} are being deleted"
        made = create_pod(statefulset, members.pod_to_make(ordinal))
        return [*create_claims(statefulset, ordinal, volumes), made], f"{name} is made"
    if is_finished(pod):
        # However it ended: the phase of a pod that was evicted says nothing about its work.
        stays = meta.is_deleting(pod) or seconds_to_stay(pod, members.now) > 0
        return ([] if stays else [delete_pod(statefulset, pod)]), f"{name} has ended"
    actions: list[Action] = []
    if status_of(pod).get("phase") == "Pending":
        actions += create_claims(statefulset, ordinal, volumes)
    waits = _waits_for(members, pod)
    if waits and members.is_ordered:
        return actions, waits
    if not meta.is_deleting(pod):
        actions += restore_identity(statefulset, pod)
    actions += settle_owners(statefulset, pod, ordinal, volumes)
    return actions, ""


def _waits_for(members: Members, pod: Object) -> str:
    if meta.is_deleting(pod):
        return f"{meta.name(pod)} is terminating"
    if members.is_available(pod):
        return ""
    return f"{meta.name(pod)} is not {'available' if is_running_and_ready(pod) else 'ready'}"


def _shrink(members: Members) -> Step:
    """Pods beyond those that there should be. The lowest that is not well may go although it is not: others wait for it."""
    actions: list[Action] = []
    surplus = members.surplus
    unwell = next((ordinal for ordinal in surplus[::-1] if not is_healthy(members.pods[ordinal])), None)
    for ordinal in surplus:
        actions += settle_owners(members.statefulset, members.pods[ordinal], ordinal, members.volumes)
    for ordinal in surplus:
        pod = members.pods[ordinal]
        waits = _waits_for(members, pod)
        if waits and members.is_ordered and (meta.is_deleting(pod) or ordinal != unwell):
            return actions, waits
        if not meta.is_deleting(pod):
            actions.append(delete_pod(members.statefulset, pod))
            if members.is_ordered:
                return actions, f"{meta.name(pod)} is too much"
    return actions, ""


def _roll(members: Members, going: set[str]) -> Step:
    """Pods of another revision, from the highest ordinal down to the partition."""
    ordinals = ordinals_of(members.statefulset)
    first = ordinals.start + int(members.rolling.get("partition") or 0)
    targets = [ordinal for ordinal in ordinals[::-1] if ordinal >= first]
    if members.rolling.get("maxUnavailable") is not None:
        return _roll_several(members, targets, going)
    for ordinal in targets:
        pod = members.pods.get(ordinal)
        if pod is not None and _may_go(members, pod, going):
            return [delete_pod(members.statefulset, pod)], f"{meta.name(pod)} is updated"
        if not is_healthy(pod):
            return [], f"{pod_name(members.statefulset, ordinal)} is not updated yet"
    return [], ""


def _may_go(members: Members, pod: Object, going: set[str]) -> bool:
    return not members.is_updated(pod) and not meta.is_deleting(pod) and meta.name(pod) not in going


def _roll_several(members: Members, targets: Sequence[int], going: set[str]) -> Step:
    """As many at a time as may be unavailable, whoever is so already included."""
    ordinals = ordinals_of(members.statefulset)
    limit = max(resolve(members.rolling["maxUnavailable"], len(ordinals), round_up=False), 1)
    unavailable = sum(not _serves(members, members.pods.get(ordinal)) for ordinal in ordinals)
    outdated = [
        pod
        for ordinal in targets
        if (pod := members.pods.get(ordinal)) is not None and _may_go(members, pod, going)
    ]
    chosen = outdated[: max(limit - unavailable, 0)]
    waits = "" if chosen or not outdated else f"{unavailable} pods are unavailable"
    return [delete_pod(members.statefulset, pod) for pod in chosen], waits


def _serves(members: Members, pod: Object | None) -> bool:
    return pod is not None and members.is_available(pod) and not meta.is_deleting(pod)
