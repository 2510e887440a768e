"""Whether a pod has come to its end, and how: deleted, out of time, or all its work done. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from tiphys.kubelet import spec
from tiphys.kubelet.admission import Rejection
from tiphys.kubelet.seen import Seen
from tiphys.kubelet.spec import Kind, Object
from tiphys.machinery import meta
from tiphys.machinery.frozen import frozen

DEADLINE_EXCEEDED = "DeadlineExceeded"
REJECTED = "Pod was rejected: "
_DEADLINE_MESSAGE = "Pod was active on the node longer than the specified deadline"


@frozen
class Ending:
    """`phase`, `reason`, `message`: what the status must say whatever the containers did; empty: they decide."""

    deleted: bool = False
    phase: str = ""
    reason: str = ""
    message: str = ""
    grace_seconds: float | None = None
    """Its containers get no more than that; None: what the pod asks for."""
    conditions: tuple[Mapping[str, str], ...] = ()
    """What the status says besides, at its end."""


def ending(pod: Object, seen: Seen, now: datetime) -> Ending | None:
    """None while the pod has something to do."""
    if seen.is_gone or meta.is_deleting(pod):
        return Ending(deleted=True, grace_seconds=seen.sentence.grace_seconds if seen.sentence else None)
    if spec.is_finished(pod):
        return Ending(phase=pod["status"]["phase"])
    if seen.rejection is not None:
        return Ending(phase="Failed", reason=seen.rejection.reason, message=rejected(seen.rejection))
    if seen.sentence is not None:
        why = seen.sentence
        return Ending(False, "Failed", why.reason, why.message, why.grace_seconds, why.conditions)
    if _is_out_of_time(pod, now):
        return Ending(phase="Failed", reason=DEADLINE_EXCEEDED, message=_DEADLINE_MESSAGE)
    if _has_completed(pod, seen) or _cannot_initialize(pod, seen) or _is_lost(pod, seen):
        return Ending()
    return None


def rejected(why: Rejection) -> str:
    return f"{REJECTED}{why.message}"


def was_rejected(pod: Object, seen: Seen) -> bool:
    """The node has refused it, now or in an earlier life of ours: there is nothing to tell of its containers."""
    if seen.rejection is not None:
        return True
    status = pod.get("status") or {}
    return status.get("phase") == "Failed" and str(status.get("message", "")).startswith(REJECTED)


def _is_out_of_time(pod: Object, now: datetime) -> bool:
    limit = pod["spec"].get("activeDeadlineSeconds")
    started = (pod.get("status") or {}).get("startTime")
    if limit is None or not started:
        return False
    return now >= meta.parse_time(started) + timedelta(seconds=limit)


def _has_completed(pod: Object, seen: Seen) -> bool:
    return all(_is_over(pod, container, "main", seen) for container in spec.containers(pod))


def _is_over(pod: Object, container: Object, kind: Kind, seen: Seen) -> bool:
    """It has ended and is not started again."""
    newest = seen.newest(container["name"])
    if newest is None or not newest.has_exited or newest.status.id in seen.replaced:
        return False
    return not spec.should_restart(pod, container, kind, newest.status.exit_code)


def _cannot_initialize(pod: Object, seen: Seen) -> bool:
    """An init container failed for good."""
    return any(
        _is_over(pod, container, "init", seen) and _exit_code(seen, container) != 0
        for container in spec.containers(pod, "init")
        if not spec.is_sidecar(container)
    )


def _exit_code(seen: Seen, container: Object) -> int:
    newest = seen.newest(container["name"])
    return newest.status.exit_code if newest else 0


def _is_lost(pod: Object, seen: Seen) -> bool:
    """Its sandbox is gone with what ran in it, and nothing of it may run twice."""
    return (
        spec.restart_policy(pod) == "Never"
        and seen.sandbox is None
        and bool(seen.sandboxes)
        and any(seen.newest(container["name"]) for container in spec.containers(pod))
        and not any(container.is_alive for container in seen.containers)
    )
