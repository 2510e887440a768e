"""When the next pod may be made after one has failed: ten seconds, then twice as long for each failure on end, up to ten minutes.

Upstream (`backoff_utils.go`) keeps the number of failures in memory; here it is read from the pods, which are kept as long as the job,
so that it is the same after a restart.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from tiphys.client.transport import Object
from tiphys.controllers.pods import spec_of, status_of
from tiphys.machinery import meta

FIRST_SECONDS = 10.0
LONGEST_SECONDS = 600.0
_DOUBLINGS = 10


def wait_seconds(succeeded: Sequence[Object], failed: Sequence[Object], now: datetime) -> float:
    """How long no pod may be made; all pods are of one job."""
    last_success = max(map(finished_at, succeeded), default=None)
    failures = [at for at in map(finished_at, failed) if last_success is None or at > last_success]
    return wait_after(len(failures), max(failures), now) if failures else 0.0


def wait_after(failures: int, last: datetime, now: datetime) -> float:
    if failures == 0:
        return 0.0
    span: float = min(FIRST_SECONDS * 2 ** min(failures - 1, _DOUBLINGS), LONGEST_SECONDS)
    return max(0.0, span - (now - last).total_seconds())


def finished_at(pod: Object) -> datetime:
    """When its last container ended; if they do not say, since when it is not ready; if not that, when its deletion was asked for."""
    found = _last_end(pod) or _not_ready_since(pod) or _deletion_asked_for(pod) or meta.creation_time(pod)
    return found or datetime.min.replace(tzinfo=UTC)


def _last_end(pod: Object) -> datetime | None:
    status = status_of(pod)
    sidecars = {
        container["name"]
        for container in spec_of(pod).get("initContainers") or ()
        if container.get("restartPolicy") == "Always"
    }
    ends = [
        _end(each)
        for each in (
            *(status.get("containerStatuses") or ()),
            *(each for each in status.get("initContainerStatuses") or () if each["name"] in sidecars),
        )
    ]
    known = [end for end in ends if end is not None]
    return max(known) if known and len(known) == len(ends) else None


def _end(status: dict[str, Any]) -> datetime | None:
    text = ((status.get("state") or {}).get("terminated") or {}).get("finishedAt")
    return meta.parse_time(text) if text else None


def _not_ready_since(pod: Object) -> datetime | None:
    condition = meta.find_condition(meta.conditions(pod), "Ready")
    if condition is None or condition.get("status") != "False" or not condition.get("lastTransitionTime"):
        return None
    return meta.parse_time(condition["lastTransitionTime"])


def _deletion_asked_for(pod: Object) -> datetime | None:
    moment = meta.deletion_time(pod)
    grace = meta.metadata(pod).get("deletionGracePeriodSeconds") or 0
    return moment - timedelta(seconds=grace) if moment else None
