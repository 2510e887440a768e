"""Printed columns of jobs and cron jobs. Names, order and cells are upstream's."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from tiphys.api.columns import (
    AGE,
    CONTAINERS,
    IMAGES,
    NAME,
    NONE,
    SELECTOR,
    UNSET,
    age,
    container_cells,
    format_label_selector,
    human_duration,
    since,
)
from tiphys.api.resource import Column, Object, Table
from tiphys.machinery.meta import conditions, is_condition_true, is_deleting, name, parse_time


def _job_cells(obj: Object, now: datetime) -> list[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    return [
        name(obj),
        _job_status(obj),
        _completions(spec, status),
        _duration(status, now),
        age(obj, now),
        *container_cells(spec.get("template")),
        format_label_selector(spec.get("selector")),
    ]


def _job_status(job: Object) -> str:
    """How it ended comes before that it is being deleted; what it waits for comes last."""
    found = conditions(job)
    for condition in ("Complete", "Failed"):
        if is_condition_true(found, condition):
            return condition
    if is_deleting(job):
        return "Terminating"
    for condition in ("Suspended", "FailureTarget", "SuccessCriteriaMet"):
        if is_condition_true(found, condition):
            return condition
    return "Running"


def _completions(spec: Object, status: Object) -> str:
    succeeded, wanted = status.get("succeeded") or 0, spec.get("completions")
    if wanted is not None:
        return f"{succeeded}/{wanted}"
    parallelism = spec.get("parallelism") or 0
    return f"{succeeded}/1 of {parallelism}" if parallelism > 1 else f"{succeeded}/1"


def _duration(status: Object, now: datetime) -> str:
    started, completed = status.get("startTime"), status.get("completionTime")
    if not started:
        return ""
    if not completed:
        return since(started, now)
    return human_duration((parse_time(completed) - parse_time(started)).total_seconds())


JOB = Table(
    (
        NAME,
        Column("Status", description="How the job ended, or what it is doing."),
        Column("Completions", description="Number of pods that succeeded, of those that must."),
        Column("Duration", description="How long the job has run, or did run."),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ),
    _job_cells,
)


def _cron_job_cells(obj: Object, now: datetime) -> list[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    job = (spec.get("jobTemplate") or {}).get("spec") or {}
    last = status.get("lastScheduleTime")
    return [
        name(obj),
        spec.get("schedule") or "",
        NONE if spec.get("timeZone") is None else spec["timeZone"],
        UNSET if spec.get("suspend") is None else str(spec["suspend"]),
        len(status.get("active") or ()),
        since(last, now) if last else NONE,
        age(obj, now),
        *container_cells(job.get("template")),
        format_label_selector(job.get("selector")),
    ]


CRON_JOB = Table(
    (
        NAME,
        Column("Schedule", description="When jobs are made, in cron's format."),
        Column("Timezone", description="Time zone of the schedule."),
        Column("Suspend", type="boolean", description="Whether no further jobs are made for now."),
        Column("Active", type="integer", description="Number of jobs that run now."),
        Column("Last Schedule", description="Time since a job was last made."),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ),
    _cron_job_cells,
)
