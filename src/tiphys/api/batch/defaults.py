"""Defaults of jobs and cron jobs, as upstream has them (`pkg/apis/batch/v1/defaults.go`)."""

from __future__ import annotations

from tiphys.api.core.defaults.pods import pod_template
from tiphys.api.defaults import fill, part
from tiphys.api.resource import Object

BACKOFF_LIMIT = 6
UNLIMITED = 2**31 - 1
SUCCESSFUL_JOBS_HISTORY_LIMIT = 3
FAILED_JOBS_HISTORY_LIMIT = 1


def job(obj: Object) -> None:
    spec = part(obj, "spec")
    if spec.get("parallelism") is None:
        spec["parallelism"] = 1
        # With a parallelism of its own and no completions, the job is a work queue that says itself when it is done.
        fill(spec, completions=1)
    limited_by_index = spec.get("backoffLimitPerIndex") is not None
    failure_policy = spec.get("podFailurePolicy")
    fill(
        spec,
        backoffLimit=UNLIMITED if limited_by_index else BACKOFF_LIMIT,
        completionMode="NonIndexed",
        suspend=False,
        manualSelector=False,
        podReplacementPolicy="TerminatingOrFailed" if failure_policy is None else "Failed",
    )
    for rule in (failure_policy or {}).get("rules") or ():
        for pattern in rule.get("onPodConditions") or ():
            fill(pattern, status="True")
    pod_template(part(spec, "template"))
    part(obj, "status")


def cron_job(obj: Object) -> None:
    spec = part(obj, "spec")
    fill(
        spec,
        concurrencyPolicy="Allow",
        suspend=False,
        successfulJobsHistoryLimit=SUCCESSFUL_JOBS_HISTORY_LIMIT,
        failedJobsHistoryLimit=FAILED_JOBS_HISTORY_LIMIT,
    )
    template = part(spec, "jobTemplate")
    part(template, "metadata")
    # The job's own defaults come when it is made.
    pod_template(part(part(template, "spec"), "template"))
    part(obj, "status")
