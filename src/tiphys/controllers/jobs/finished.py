"""Whether and how a job is over, and who works on it: what other controllers want to know of jobs."""

from __future__ import annotations

from datetime import datetime

from tiphys.client.transport import Object
from tiphys.controllers.pods import spec_of
from tiphys.machinery import meta

COMPLETE = "Complete"
FAILED = "Failed"
OURSELVES = "kubernetes.io/job-controller"


def finished(job: Object) -> str:
    """The condition that says how it ended, `Complete` or `Failed`; "" while it is not over."""
    return next(
        (type for type in (COMPLETE, FAILED) if meta.is_condition_true(meta.conditions(job), type)), ""
    )


def finished_at(job: Object) -> datetime | None:
    condition = meta.find_condition(meta.conditions(job), finished(job))
    text = (condition or {}).get("lastTransitionTime")
    return meta.parse_time(text) if text else None


def is_ours(job: Object) -> bool:
    """Nobody else was asked to work on it."""
    managed_by: str = spec_of(job).get("managedBy", OURSELVES)
    return managed_by == OURSELVES
