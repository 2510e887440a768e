"""What a Deployment reports: counts, and the conditions Available, Progressing and ReplicaFailure.

`kubectl rollout status` reads nothing else. Reasons, messages and the rule when a rollout counts as stuck are upstream's
(`pkg/controller/deployment/progress.go` and `sync.go`).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from tiphys.client.transport import Object
from tiphys.controllers.pods import spec_of, status_of
from tiphys.controllers.rollout import Rollout, available_of, total_size
from tiphys.machinery import meta

Status = dict[str, Any]
Conditions = Sequence[dict[str, Any]]

NO_DEADLINE = 2**31 - 1
NEW_REPLICASET_AVAILABLE = "NewReplicaSetAvailable"
TIMED_OUT = "ProgressDeadlineExceeded"
PAUSED = "DeploymentPaused"


def counts(rollout: Rollout, now: datetime) -> Status:
    """The counts and the Available condition; the other conditions as they are."""
    deployment = rollout.deployment
    available = sum(map(available_of, rollout.all))
    numbers = {
        "replicas": _sum(rollout.all, "replicas"),
        "updatedReplicas": _sum([rollout.new] if rollout.new else [], "replicas"),
        "readyReplicas": _sum(rollout.all, "readyReplicas"),
        "availableReplicas": available,
        "unavailableReplicas": max(total_size(rollout.all) - available, 0),
    }
    status: Status = {"observedGeneration": meta.generation(deployment)}
    status |= {name: number for name, number in numbers.items() if number}
    terminating = [status_of(replicaset).get("terminatingReplicas") for replicaset in rollout.all]
    if None not in terminating:
        status["terminatingReplicas"] = sum(terminating)
    if "collisionCount" in status_of(deployment):
        status["collisionCount"] = status_of(deployment)["collisionCount"]
    status["conditions"] = _availability(rollout, available, now)
    return status


def _sum(replicasets: Sequence[Object], field: str) -> int:
    return sum(status_of(replicaset).get(field, 0) for replicaset in replicasets)


def _availability(rollout: Rollout, available: int, now: datetime) -> Conditions:
    existing = meta.conditions(rollout.deployment)
    if available >= rollout.desired - rollout.max_unavailable:
        reason, message = "MinimumReplicasAvailable", "Deployment has minimum availability."
        return set_condition(existing, "Available", "True", now, reason=reason, message=message)
    reason, message = "MinimumReplicasUnavailable", "Deployment does not have minimum availability."
    return set_condition(existing, "Available", "False", now, reason=reason, message=message)


def set_condition(
    existing: Conditions, type: str, status: str, now: datetime, *, reason: str, message: str
) -> Conditions:
    """Sets a condition unless it stands there with the same status and reason: then even its message stays."""
    old = meta.find_condition(existing, type)
    if old is not None and old.get("status") == status and old.get("reason") == reason:
        return existing
    return meta.set_condition(
        existing, type, status, now, reason=reason, message=message, lastUpdateTime=meta.format_time(now)
    )


def deadline_of(deployment: Object) -> int | None:
    """progressDeadlineSeconds, or None when progress is not judged."""
    deadline = spec_of(deployment).get("progressDeadlineSeconds", 600)
    return None if deadline is None or deadline == NO_DEADLINE else int(deadline)


def progress(rollout: Rollout, now: datetime) -> Status:
    """`counts` with the Progressing and ReplicaFailure conditions of a rollout under way."""
    status = counts(rollout, now)
    deployment = rollout.deployment
    current = meta.find_condition(meta.conditions(deployment), "Progressing")
    settled = _number(status, "replicas") == _number(status, "updatedReplicas")
    is_old_news = settled and current is not None and current.get("reason") == NEW_REPLICASET_AVAILABLE
    if deadline_of(deployment) is None:
        status["conditions"] = meta.remove_condition(status["conditions"], "Progressing")
    elif not is_old_news:
        status["conditions"] = _progressing(rollout, status, current, now)
    status["conditions"] = _replica_failure(rollout, status["conditions"], now)
    return status


def _progressing(rollout: Rollout, status: Status, current: Status | None, now: datetime) -> Conditions:
    conditions: Conditions = status["conditions"]
    kind, name = (
        ("ReplicaSet", meta.name(rollout.new))
        if rollout.new
        else ("Deployment", meta.name(rollout.deployment))
    )
    if is_complete(rollout, status):
        message = f'{kind} "{name}" has successfully progressed.'
        return set_condition(
            conditions, "Progressing", "True", now, reason=NEW_REPLICASET_AVAILABLE, message=message
        )
    if _has_progressed(status_of(rollout.deployment), status):
        # Unlike the others, this one is written anew each time: lastUpdateTime is when the deadline starts.
        return meta.set_condition(
            conditions,
            "Progressing",
            "True",
            now,
            reason="ReplicaSetUpdated",
            message=f'{kind} "{name}" is progressing.',
            lastUpdateTime=meta.format_time(now),
        )
    if _has_timed_out(rollout.deployment, current, now):
        message = f'{kind} "{name}" has timed out progressing.'
        return set_condition(conditions, "Progressing", "False", now, reason=TIMED_OUT, message=message)
    return conditions


def is_complete(rollout: Rollout, status: Status) -> bool:
    """Every pod is of the new template and available, and no old one is left."""
    fields = ("updatedReplicas", "replicas", "availableReplicas")
    counted = all(_number(status, field) == rollout.desired for field in fields)
    return counted and _number(status, "observedGeneration") >= meta.generation(rollout.deployment)


def _has_progressed(before: Status, after: Status) -> bool:
    def old_pods(status: Status) -> int:
        return _number(status, "replicas") - _number(status, "updatedReplicas")

    more = ("updatedReplicas", "readyReplicas", "availableReplicas")
    return old_pods(after) < old_pods(before) or any(
        _number(after, name) > _number(before, name) for name in more
    )


def _has_timed_out(deployment: Object, current: Status | None, now: datetime) -> bool:
    if current is None or current.get("reason") == NEW_REPLICASET_AVAILABLE:
        return False
    if current.get("reason") == TIMED_OUT:
        return True
    ends = _ends(deployment, current)
    return ends is not None and ends < now


def _ends(deployment: Object, condition: Status) -> datetime | None:
    since, deadline = condition.get("lastUpdateTime"), deadline_of(deployment)
    if not since or deadline is None:
        return None
    return meta.parse_time(since) + timedelta(seconds=deadline)


def _replica_failure(rollout: Rollout, conditions: Conditions, now: datetime) -> Conditions:
    """The failure of a ReplicaSet, of the new one first, is the Deployment's too."""
    for replicaset in [*([rollout.new] if rollout.new else []), *rollout.old]:
        found = meta.find_condition(meta.conditions(replicaset), "ReplicaFailure")
        if found is not None:
            words = {"reason": found.get("reason", ""), "message": found.get("message", "")}
            return set_condition(conditions, "ReplicaFailure", found["status"], now, **words)
    return meta.remove_condition(conditions, "ReplicaFailure")


def judge_again_after_seconds(rollout: Rollout, status: Status, now: datetime) -> float | None:
    """When a rollout that makes no progress will have timed out: no event will tell."""
    condition = meta.find_condition(status.get("conditions"), "Progressing")
    if condition is None or condition.get("reason") in (TIMED_OUT, NEW_REPLICASET_AVAILABLE, PAUSED):
        return None
    ends = _ends(rollout.deployment, condition)
    if ends is None or is_complete(rollout, status):
        return None
    # A second more: the times in conditions are cut to seconds.
    return max((ends - now).total_seconds(), 0) + 1


def _number(status: Status, field: str) -> int:
    return int(status.get(field, 0))
