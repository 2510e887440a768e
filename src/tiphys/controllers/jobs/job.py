"""Job: pods run until as many have succeeded as asked for, or too many have failed.

A look at a job counts its finished pods (`counting.py`), decides whether it is over (`deciding.py`), makes or deletes pods, and
writes one status; the finalizers of the pods that this status counts go after it. Rules, events and conditions are upstream's
`pkg/controller/job`. `orphans.py` lets go of the pods of jobs that are no more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import islice
from typing import Any

from tiphys.client.cache import BY_CONTROLLER, View
from tiphys.client.client import Client
from tiphys.client.parts import DELETION, FINALIZERS, LABELS, OWNERS, STATUS
from tiphys.client.reflector import Informers
from tiphys.client.resources import JOBS, PODS
from tiphys.client.transport import Object
from tiphys.controllers.actions import (
    NORMAL,
    NOTHING,
    WARNING,
    Action,
    Create,
    Delete,
    Plan,
    RecordEvent,
    UpdateStatus,
)
from tiphys.controllers.claims import Claims, claim, claimant_keys, is_of_others, selector_of
from tiphys.controllers.executor import Failure
from tiphys.controllers.jobs import backoff, counting, deciding, indexes, making
from tiphys.controllers.jobs.counting import Tally, is_indexed, replaces_failed_only
from tiphys.controllers.jobs.deciding import COMPLETED, Verdict
from tiphys.controllers.jobs.finished import COMPLETE, finished, is_ours
from tiphys.controllers.jobs.making import TRACKING, failures, ignored_failures, is_tracked
from tiphys.controllers.jobs.orphans import ORPHANS
from tiphys.controllers.pods import is_finished, is_ready, is_terminating, spec_of, status_of
from tiphys.controllers.ranking import deletion_order
from tiphys.controllers.runner import Controller, Runner, Watch
from tiphys.machinery import meta
from tiphys.machinery.clock import Clock
from tiphys.machinery.frozen import frozen

BURST = 500


@frozen
class Work:
    """What is done to pods now, what that changes in the counts, and how long to wait for the rest."""

    actions: Sequence[Action] = ()
    active: int = 0
    ready: int = 0
    terminating: int = 0
    wait_seconds: float | None = None


def observe(job: Object, view: View) -> Claims:
    owned = view.by(PODS, BY_CONTROLLER, meta.uid(job))
    orphans = view.by(PODS, BY_CONTROLLER, f"orphan/{meta.namespace(job)}")
    selector = selector_of(job)
    return claim(job, selector, (*owned, *orphans), PODS, finalizer=TRACKING)


def plan(job: Object, claims: Claims, now: datetime) -> Plan:
    if not _concerns(job):
        return NOTHING
    if claims.patches:
        return Plan(claims.patches, reason="pods come and go by their labels")
    found = counting.tally(job, claims.owned)
    started = _started(job, now)
    verdict = deciding.verdict(found, started, now)
    work = _work(found, verdict, now)
    if verdict is None and deciding.is_complete(found, len(found.active) + work.active):
        verdict = COMPLETED
    deadline = deciding.deadline(job, started) if verdict is None else None
    waits = [] if deadline is None else [(deadline - now).total_seconds()]
    waits += [] if work.wait_seconds is None else [work.wait_seconds]
    report = _report(found, verdict, work, now)
    return Plan((*work.actions, *report), min(waits, default=None), verdict.reason if verdict else "")


def failed(job: Object, claims: Claims, failure: Failure, now: datetime) -> Plan:
    """When a pod could not be made or deleted, those that are there are counted all the same."""
    if not isinstance(failure.action, Create | Delete) or claims.patches:
        return NOTHING
    found = counting.tally(job, claims.owned)
    verdict = deciding.verdict(found, _started(job, now), now)
    return NOTHING if verdict is not None else Plan(tuple(_report(found, None, Work(), now)))


# What is done to pods


def _work(found: Tally, verdict: Verdict | None, now: datetime) -> Work:
    if verdict is not None:
        return _removal(found.active, making.delete(found.active))
    if meta.is_deleting(found.job):
        return Work()
    if spec_of(found.job).get("suspend"):
        return _removal(found.active, making.remove(found.active))
    wanted = _wanted(found)
    excess = _excess(found, max(0, len(found.active) - wanted), now)[:BURST]
    if excess:
        return _removal(excess, making.remove(excess))
    missing = wanted - len(found.active) - (found.terminating if replaces_failed_only(found.job) else 0)
    return _creation(found, min(missing, BURST), now) if missing > 0 else Work()


def _removal(pods: Sequence[Object], actions: Sequence[Action]) -> Work:
    return Work(actions, active=-len(pods), ready=-sum(map(is_ready, pods)), terminating=len(pods))


def _wanted(found: Tally) -> int:
    """How many pods shall be active."""
    spec = spec_of(found.job)
    parallelism: int = spec.get("parallelism", 1)
    completions = spec.get("completions")
    if completions is None:
        # A work queue says by its first success that there is no more work: nobody joins from then on.
        return len(found.active) if found.succeeded else parallelism
    wanted: int = min(completions - found.succeeded, parallelism)
    if found.failed_indexes is not None:
        wanted = min(wanted, completions - found.succeeded - len(found.failed_indexes))
    return max(0, wanted)


def _excess(found: Tally, at_least: int, now: datetime) -> list[Object]:
    """The pods that must go: without a place among the indexes, second ones for an index, and those that are too many."""
    if at_least == 0 and (not is_indexed(found.job) or _have_a_place_each(found)):
        return []  # as nearly always, and the order costs most of a look
    superfluous: list[Object] = []
    remaining = deletion_order(found.active, (), now)
    if is_indexed(found.job):
        taken: set[int] = set()
        for pod in reversed(remaining):
            index = indexes.completion_index(pod)
            if index is None or index in taken or not counting.has_place(found.job, pod):
                superfluous.append(pod)
            else:
                taken.add(index)
    gone = set(map(meta.uid, superfluous))
    others = [pod for pod in remaining if meta.uid(pod) not in gone]
    return [*superfluous, *others[: max(0, at_least - len(superfluous))]]


def _have_a_place_each(found: Tally) -> bool:
    taken = {indexes.completion_index(pod) for pod in found.active}
    return len(taken) == len(found.active) and all(counting.has_place(found.job, pod) for pod in found.active)


def _creation(found: Tally, missing: int, now: datetime) -> Work:
    job = found.job
    wait = 0.0 if found.failed_indexes is not None else _wait_seconds(found, now)
    if wait > 0:
        return Work(wait_seconds=wait)
    if not is_indexed(job):
        return Work(making.create(job, missing), active=missing)
    occupied = (
        found.succeeded_indexes | indexes.of_pods(found.active) | (found.failed_indexes or indexes.Indexes())
    )
    if replaces_failed_only(job):
        occupied = occupied | indexes.of_pods(filter(is_terminating, found.pods))
    pending = list(islice(occupied.missing(spec_of(job)["completions"]), missing))
    waits = {index: _wait_for_index(found, index, now) for index in pending}
    ready = [index for index in pending if waits[index] <= 0]
    later = min((wait for wait in waits.values() if wait > 0), default=None)
    return Work(making.create_indexes(job, ready, found.kept), active=len(ready), wait_seconds=later)


def _wait_seconds(found: Tally, now: datetime) -> float:
    """Pods that were deleted because they were too many have lost their finalizer, and did not fail."""
    ended = [pod for pod in found.pods if is_tracked(pod) or not meta.is_deleting(pod)]
    return backoff.wait_seconds(
        [pod for pod in ended if counting.is_succeeded(pod)],
        [pod for pod in ended if counting.is_failed(found.job, pod)],
        now,
    )


def _wait_for_index(found: Tally, index: int, now: datetime) -> float:
    last = found.kept.get(index)
    if last is None:
        return 0.0
    return backoff.wait_after(failures(last) + ignored_failures(last) + 1, backoff.finished_at(last), now)


# What is said


def _started(job: Object, now: datetime) -> datetime | None:
    text = status_of(job).get("startTime")
    if text:
        return meta.parse_time(text)
    return None if spec_of(job).get("suspend") else now


def _report(found: Tally, verdict: Verdict | None, work: Work, now: datetime) -> Iterable[Action]:
    """The status, events that tell of it, and then the finalizers of the pods that it counts."""
    job = found.job
    status = {**status_of(job)}
    if (started := _started(job, now)) is not None:
        status["startTime"] = meta.format_time(started)
    counting.settle(status, found.pods)
    has_failed = verdict is not None and verdict.type == deciding.FAILURE
    counted = counting.count(status, found, is_over=verdict is not None, has_failed=has_failed)
    _write_counts(status, found, work)
    events: list[RecordEvent] = []
    if verdict is None:
        if not meta.is_deleting(job):
            events += _suspension(status, suspend=bool(spec_of(job).get("suspend")), now=now)
    elif not verdict.is_written:
        _set(status, verdict.type, verdict.reason, verdict.message, now)
    elif counted.is_all and not counted.released and _is_settled(status):
        _set(status, verdict.final, verdict.reason, verdict.message, now)
        if verdict.final == COMPLETE:
            status["completionTime"] = meta.format_time(now)
        events += _ending(job, status, verdict)
    if status != status_of(job):
        yield UpdateStatus(JOBS, {**job, "status": status})
    yield from events
    yield from making.release(counted.released)


def _write_counts(status: dict[str, Any], found: Tally, work: Work) -> None:
    active = len(found.active) + work.active
    status.pop("active", None)
    if active:
        status["active"] = active
    status["ready"] = found.ready + work.ready
    status["terminating"] = found.terminating + work.terminating


def _is_settled(status: dict[str, Any]) -> bool:
    """No pod is left that could still change a count."""
    return not status["uncountedTerminatedPods"] and not status["terminating"] and not status.get("active")


def _set(
    status: dict[str, Any], type: str, reason: str, message: str, now: datetime, *, on: bool = True
) -> None:
    condition = {
        "type": type,
        "status": "True" if on else "False",
        "lastProbeTime": meta.format_time(now),
        "lastTransitionTime": meta.format_time(now),
        "reason": reason,
        "message": message,
    }
    others = meta.remove_condition(status.get("conditions"), type)
    status["conditions"] = [*others, condition]


def _suspension(status: dict[str, Any], *, suspend: bool, now: datetime) -> list[RecordEvent]:
    """The condition Suspended. A job that rests has not started, so that its deadline begins anew when it goes on."""
    is_suspended = meta.is_condition_true(status.get("conditions"), "Suspended")
    if suspend == is_suspended:
        return []
    word = "suspended" if suspend else "resumed"
    _set(status, "Suspended", f"Job{word.title()}", f"Job {word}", now, on=suspend)
    status.pop("startTime", None)
    if not suspend:
        status["startTime"] = meta.format_time(now)
    return [RecordEvent(NORMAL, word.title(), f"Job {word}")]


def _ending(job: Object, status: dict[str, Any], verdict: Verdict) -> Iterable[RecordEvent]:
    if verdict.final != COMPLETE:
        yield RecordEvent(WARNING, verdict.reason, verdict.message)
        return
    completions = spec_of(job).get("completions")
    if completions is not None and status.get("succeeded", 0) > completions:
        message = "Too many succeeded pods running after completion count reached"
        yield RecordEvent(WARNING, "TooManySucceededPods", message)
    yield RecordEvent(NORMAL, "Completed", "Job completed")


# Which changes matter


def _concerns(job: Object) -> bool:
    return is_ours(job) and not finished(job)


COUNTED = LABELS | OWNERS | DELETION | FINALIZERS | STATUS


def changes(old: Object, new: Object) -> bool:
    """Whether a change of a pod can change what is decided: of somebody else's pod never, of an own one seldom."""
    if is_of_others(new, JOBS) and is_of_others(old, JOBS):
        return False
    return _counted(old) != _counted(new)


def _counted(pod: Object) -> tuple[object, ...]:
    status = status_of(pod)
    return (
        status.get("phase"),
        meta.is_deleting(pod),
        is_ready(pod),
        is_tracked(pod),
        meta.labels(pod),
        meta.owner_references(pod),
        [each.get("restartCount") for each in status.get("containerStatuses") or ()],
        [each.get("restartCount") for each in status.get("initContainerStatuses") or ()],
        is_finished(pod) and meta.conditions(pod),
    )


CONTROLLER = Controller(
    name="job-controller",
    kind=JOBS,
    observe=observe,
    plan=plan,
    concerns=_concerns,
    failed=failed,
    watches=[Watch(PODS, claimant_keys(JOBS, selector_of, _concerns), changed=changes, parts=COUNTED)],
)


async def run(informers: Informers, *, clock: Clock, client: Client) -> None:
    """Both controllers of jobs, until cancelled."""
    async with asyncio.TaskGroup() as both:
        for controller in (CONTROLLER, ORPHANS):
            both.create_task(Runner(controller, informers, clock=clock, client=client).run())
