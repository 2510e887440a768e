"""CronJob: makes a job whenever its schedule is due, and keeps a few of those that are over.

A job is named after the minute for which it was made, so that none is made twice. What a cron job knows of its jobs is read from
them at every look. Rules, names and events are upstream's `pkg/controller/cronjob`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from tiphys.client.cache import BY_CONTROLLER, View
from tiphys.client.client import Client
from tiphys.client.events import object_reference
from tiphys.client.reflector import Informers
from tiphys.client.resources import CRONJOBS, JOBS
from tiphys.client.transport import Object
from tiphys.controllers.actions import (
    NORMAL,
    NOTHING,
    WARNING,
    Action,
    Create,
    Delete,
    Note,
    Plan,
    RecordEvent,
    UpdateStatus,
)
from tiphys.controllers.jobs.due import due, in_zone
from tiphys.controllers.jobs.finished import COMPLETE, FAILED, finished
from tiphys.controllers.pods import spec_of, status_of
from tiphys.controllers.runner import Controller, Runner, Watch, owner_keys
from tiphys.machinery import meta
from tiphys.machinery.clock import Clock
from tiphys.machinery.frozen import frozen

SCHEDULED = "batch.kubernetes.io/cronjob-scheduled-timestamp"
_CREATED = Note(NORMAL, "SuccessfulCreate", "Created job {name}")
_CREATE_FAILED = Note(WARNING, "FailedCreate", "Error creating job: {error}")
_DELETED = Note(NORMAL, "SuccessfulDelete", "Deleted job {name}")
_DELETE_FAILED = Note(WARNING, "FailedDelete", "Deleted job: {error}")


@frozen
class Observed:
    """`missing`: uids in the list of active jobs that are no job any more. `taken`: names of jobs that are not its own.

    `rescheduled`: when the schedule was changed; what was due before by the new one does not count.
    """

    jobs: Sequence[Object]
    missing: frozenset[str] = frozenset()
    taken: frozenset[str] = frozenset()
    rescheduled: datetime | None = None


def observe(cron_job: Object, view: View, rescheduled: datetime | None = None) -> Observed:
    namespace, prefix = meta.namespace(cron_job), f"{meta.name(cron_job)}-"
    active = status_of(cron_job).get("active") or ()
    named = [job for job in view.list(JOBS, namespace) if meta.name(job).startswith(prefix)]
    uids = {meta.uid(job) for job in view.list(JOBS, namespace)} if active else set()
    return Observed(
        jobs=sorted(view.by(JOBS, BY_CONTROLLER, meta.uid(cron_job)), key=_age),
        missing=frozenset(entry["uid"] for entry in active if entry["uid"] not in uids),
        taken=frozenset(meta.name(job) for job in named if not meta.is_controlled_by(job, cron_job)),
        rescheduled=rescheduled,
    )


def _age(job: Object) -> tuple[bool, str, str]:
    """The oldest first; those that have not started last."""
    started = status_of(job).get("startTime") or ""
    return (not started, started, meta.name(job))


def plan(cron_job: Object, observed: Observed, now: datetime) -> Plan:
    status, actions = _seen(cron_job, observed)
    found = due(cron_job, status, observed.rescheduled, now)
    moment = found.moment
    taken = observed.taken.union(map(meta.name, observed.jobs))
    if moment is not None and _name(cron_job, moment) in taken:
        moment = None  # somebody else's, or a second one within a minute (`@every 30s`)
    deleted = _superfluous(cron_job, observed.jobs)
    if moment is not None and spec_of(cron_job).get("concurrencyPolicy") == "Replace":
        replaced = {entry["uid"] for entry in status.get("active", ())}
        deleted += [job for job in observed.jobs if meta.uid(job) in replaced]
        status.pop("active", None)
    actions += [*found.events, *map(_deletion, deleted)]
    if moment is None:
        return Plan((*actions, *_report(cron_job, status)), found.next_seconds)
    if status.get("active") != status_of(cron_job).get("active"):
        # A job that is replaced is not one that went missing: the list is told before there is another one.
        actions += _report(cron_job, status)
        return Plan(tuple(actions), 0.0, "makes room for the next job")
    actions.append(Create(JOBS, _job(cron_job, moment), done=_CREATED, failed=_CREATE_FAILED))
    actions += _report(cron_job, {**status, "lastScheduleTime": meta.format_time(moment)})
    return Plan(tuple(actions), found.next_seconds, f"is due at {meta.format_time(moment)}")


# What its jobs say


def _seen(cron_job: Object, observed: Observed) -> tuple[dict[str, Any], list[Action]]:
    """The status by what its jobs are now, and events about what is new in it."""
    status = {**status_of(cron_job)}
    active = [entry for entry in status.get("active") or () if entry["uid"] not in observed.missing]
    events: list[Action] = [
        RecordEvent(NORMAL, "MissingJob", f"Active job went missing: {entry['name']}")
        for entry in status.get("active") or ()
        if entry["uid"] in observed.missing
    ]
    last = _time(status.get("lastScheduleTime"))
    for job in observed.jobs:
        scheduled, how = _scheduled(cron_job, job), finished(job)
        is_listed = any(entry["uid"] == meta.uid(job) for entry in active)
        is_new = scheduled is not None and (last is None or scheduled > last)
        if how:
            active = [entry for entry in active if entry["uid"] != meta.uid(job)]
            if is_listed or is_new:
                message = f"Saw completed job: {meta.name(job)}, condition: {how}"
                events.append(RecordEvent(NORMAL, "SawCompletedJob", message))
        elif not is_listed and scheduled is not None and not meta.is_deleting(job):
            active.append(object_reference(job))
        elif not is_listed and scheduled is None:
            message = f"Saw a job that the controller did not create or forgot: {meta.name(job)}"
            events.append(RecordEvent(WARNING, "UnexpectedJob", message))
        if scheduled is not None and is_new:
            last = scheduled
    succeeded = [status_of(job).get("completionTime") for job in observed.jobs if finished(job) == COMPLETE]
    known = [text for text in (status.get("lastSuccessfulTime"), *succeeded) if text]
    for field, value in (
        ("active", active),
        ("lastScheduleTime", meta.format_time(last) if last else None),
        ("lastSuccessfulTime", max(known, key=meta.parse_time, default=None)),
    ):
        status.pop(field, None)
        if value:
            status[field] = value
    return status, events


def _scheduled(cron_job: Object, job: Object) -> datetime | None:
    """When a job was due that was made here; None for others, which somebody made by hand."""
    scheduled = _time(meta.annotations(job).get(SCHEDULED))
    if scheduled is None or meta.name(job) != _name(cron_job, scheduled):
        return None
    return scheduled


def _superfluous(cron_job: Object, jobs: Sequence[Object]) -> list[Object]:
    """Jobs that are over, but for the last few of each sort; `jobs` are in order of age."""
    if meta.is_deleting(cron_job):
        return []
    found: list[Object] = []
    for how, field in ((COMPLETE, "successfulJobsHistoryLimit"), (FAILED, "failedJobsHistoryLimit")):
        limit = spec_of(cron_job).get(field)
        ended = [job for job in jobs if finished(job) == how and not meta.is_deleting(job)]
        if limit is not None:
            found += ended[: max(0, len(ended) - limit)]
    return found


# What is written


def _name(cron_job: Object, scheduled: datetime) -> str:
    return f"{meta.name(cron_job)}-{int(scheduled.timestamp()) // 60}"


def _job(cron_job: Object, scheduled: datetime) -> Object:
    spec = spec_of(cron_job)
    template = spec["jobTemplate"]
    metadata = {
        "name": _name(cron_job, scheduled),
        "namespace": meta.namespace(cron_job),
        "annotations": {**meta.annotations(template), SCHEDULED: in_zone(scheduled, spec.get("timeZone"))},
        "ownerReferences": [meta.controller_reference(cron_job)],
    }
    if meta.labels(template):
        metadata["labels"] = meta.labels(template)
    return {"apiVersion": JOBS.api_version, "kind": JOBS.kind, "metadata": metadata, "spec": template["spec"]}


def _deletion(job: Object) -> Delete:
    return Delete(
        JOBS,
        meta.name(job),
        meta.namespace(job),
        uid=meta.uid(job),
        propagation="Background",
        done=_DELETED,
        failed=_DELETE_FAILED,
    )


def _report(cron_job: Object, status: dict[str, Any]) -> list[Action]:
    if status == status_of(cron_job):
        return []
    return [UpdateStatus(CRONJOBS, {**cron_job, "status": status})]


def _time(text: str | None) -> datetime | None:
    try:
        return meta.parse_time(text) if text else None
    except ValueError:
        return None


# Which changes matter


def _is_news(old: Object, new: Object) -> bool:
    """Of a job only how it ends matters, and whose it is."""
    return _told(old) != _told(new)


def _told(job: Object) -> tuple[object, ...]:
    return (
        finished(job),
        status_of(job).get("completionTime"),
        meta.is_deleting(job),
        meta.owner_references(job),
    )


class Reschedulings:
    """When schedules were changed while this controller looked: what would have been due by a new one before that does not count.

    A fact that no object keeps; upstream forgets it in a restart, too.
    """

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._at: dict[str, datetime] = {}

    def note(self, old: Object, new: Object) -> bool:
        if any(spec_of(old).get(field) != spec_of(new).get(field) for field in ("schedule", "timeZone")):
            self._at[meta.namespaced_name(new)] = self._now()
        return False

    def at(self, cron_job: Object) -> datetime | None:
        return self._at.get(meta.namespaced_name(cron_job))

    def forget(self, key: str, view: View) -> Plan:
        self._at.pop(key, None)
        return NOTHING


def controller(now: Callable[[], datetime]) -> Controller[Observed]:
    changes = Reschedulings(now)
    return Controller(
        name="cronjob-controller",
        kind=CRONJOBS,
        observe=lambda cron_job, view: observe(cron_job, view, changes.at(cron_job)),
        plan=plan,
        watches=[
            Watch(JOBS, owner_keys(CRONJOBS.kind), changed=_is_news),
            Watch(CRONJOBS, lambda cron_job, view: (), changed=changes.note),
        ],
        gone=changes.forget,
    )


CONTROLLER = Controller(name="cronjob-controller", kind=CRONJOBS, observe=observe, plan=plan)
"""For a single look; `run` has the one that also notices when a schedule is changed."""


async def run(informers: Informers, *, clock: Clock, client: Client) -> None:
    """Until cancelled."""
    await Runner(controller(clock.now), informers, clock=clock, client=client).run()
