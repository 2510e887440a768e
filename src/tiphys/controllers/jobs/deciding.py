"""Is a job over, and why? The order of the questions, reasons and messages are upstream's (`syncJob`).

A verdict is first written as SuccessCriteriaMet or FailureTarget; Complete or Failed follow when every pod has ended and is counted.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from tiphys.client.transport import Object
from tiphys.controllers.jobs import policies
from tiphys.controllers.jobs.counting import Tally, is_failed
from tiphys.controllers.jobs.finished import COMPLETE, FAILED
from tiphys.controllers.pods import spec_of, status_of
from tiphys.machinery import meta
from tiphys.machinery.frozen import frozen

SUCCESS = "SuccessCriteriaMet"
FAILURE = "FailureTarget"


@frozen
class Verdict:
    """`type` is SUCCESS or FAILURE."""

    type: str
    reason: str
    message: str
    is_written: bool = False
    """It stands in the job's status already."""

    @property
    def final(self) -> str:
        return COMPLETE if self.type == SUCCESS else FAILED


COMPLETED = Verdict(SUCCESS, "CompletionsReached", "Reached expected number of succeeded pods")
_BACKOFF = Verdict(FAILURE, "BackoffLimitExceeded", "Job has reached the specified backoff limit")
_DEADLINE = Verdict(FAILURE, "DeadlineExceeded", "Job was active longer than specified deadline")
_TOO_MANY_INDEXES = Verdict(
    FAILURE, "MaxFailedIndexesExceeded", "Job has exceeded the specified maximal number of failed indexes"
)
_INDEXES = Verdict(FAILURE, "FailedIndexes", "Job has failed indexes")


def verdict(found: Tally, started: datetime | None, now: datetime) -> Verdict | None:
    """Why it is over before all that was asked for has succeeded, or None. `started`: when the job did."""
    job = found.job
    return (
        _written(job)
        or _failed_by_policy(found)
        or (_BACKOFF if _is_past_backoff_limit(found) else None)
        or (_DEADLINE if _is_past_deadline(job, started, now) else None)
        or _by_indexes(found)
        or _by_success_policy(found)
    )


def is_complete(found: Tally, active: int) -> bool:
    """All that was asked for has succeeded; without a number of completions, one pod did and the others have ended."""
    completions = spec_of(found.job).get("completions")
    wanted = 1 if completions is None else completions
    return found.succeeded >= wanted and active == 0


def deadline(job: Object, started: datetime | None) -> datetime | None:
    """When it has been active for too long; a suspended job is not active."""
    seconds = spec_of(job).get("activeDeadlineSeconds")
    if seconds is None or started is None or spec_of(job).get("suspend"):
        return None
    return started + timedelta(seconds=seconds)


def _written(job: Object) -> Verdict | None:
    for type in (SUCCESS, FAILURE):
        condition = meta.find_condition(meta.conditions(job), type)
        if condition is not None and condition.get("status") == "True":
            reason, message = condition.get("reason", ""), condition.get("message", "")
            return Verdict(type, reason, message, is_written=True)
    return None


def _failed_by_policy(found: Tally) -> Verdict | None:
    if spec_of(found.job).get("podFailurePolicy") is None:
        return None
    for pod in found.pods:
        if is_failed(found.job, pod) and (message := policies.judge(found.job, pod).message):
            return Verdict(FAILURE, "PodFailurePolicy", message)
    return None


def _is_past_backoff_limit(found: Tally) -> bool:
    spec = spec_of(found.job)
    limit = spec.get("backoffLimit", 6)
    if found.failed > limit:
        return True
    if (spec["template"].get("spec") or {}).get("restartPolicy") != "OnFailure":
        return False
    restarted = sum(map(_restarts, found.pods))
    return restarted > 0 if limit == 0 else restarted >= limit


def _restarts(pod: Object) -> int:
    status = status_of(pod)
    if status.get("phase") not in ("Running", "Pending"):
        return 0
    containers = (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ()))
    return sum(container.get("restartCount", 0) for container in containers)


def _is_past_deadline(job: Object, started: datetime | None, now: datetime) -> bool:
    moment = deadline(job, started)
    return moment is not None and moment <= now


def _by_indexes(found: Tally) -> Verdict | None:
    if not found.failed_indexes:
        return None
    spec, failed = spec_of(found.job), len(found.failed_indexes)
    limit = spec.get("maxFailedIndexes")
    if limit is not None and failed > limit:
        return _TOO_MANY_INDEXES
    return _INDEXES if failed + len(found.succeeded_indexes) >= spec["completions"] else None


def _by_success_policy(found: Tally) -> Verdict | None:
    message = policies.success(found.job, found.succeeded_indexes)
    return Verdict(SUCCESS, "SuccessPolicy", message) if message else None
