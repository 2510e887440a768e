"""Every pod of a job counts once, whatever happens in between.

A finished pod keeps its finalizer until its uid stands in `status.uncountedTerminatedPods` (or its index in `completedIndexes`). Then
the finalizer goes; and when a pod in that list has none any more, it moves into `succeeded` or `failed`. Each step is a write of its
own that the next one needs to see, so that a controller that is killed between any two of them goes on where it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tiphys.client.transport import Object
from tiphys.controllers.jobs import backoff, indexes, policies
from tiphys.controllers.jobs.indexes import Indexes, completion_index
from tiphys.controllers.jobs.making import failures, ignored_failures, is_tracked
from tiphys.controllers.pods import is_active, is_ready, is_terminating, spec_of, status_of
from tiphys.machinery import meta
from tiphys.machinery.frozen import frozen

LARGEST_LIST = 500
"""So many pods are counted in one step: the list is part of the job."""


@frozen
class Tally:
    """A job's pods, and what they amount to together with what the status has counted."""

    job: Object
    pods: Sequence[Object]
    active: tuple[Object, ...]
    ready: int
    terminating: int
    succeeded: int
    failed: int
    succeeded_indexes: Indexes
    failed_indexes: Indexes | None
    """None: indexes have no limit of their own."""
    kept: Mapping[int, Object]
    """By index, the failed pod that stays until there is another one that inherits its failures."""


def tally(job: Object, pods: Sequence[Object]) -> Tally:
    status = status_of(job)
    uncounted = status.get("uncountedTerminatedPods") or {}
    new = [pod for pod in pods if is_tracked(pod) and has_place(job, pod)]
    succeeded_before, failed_before = (set(uncounted.get(field) or ()) for field in ("succeeded", "failed"))
    new_failed = [
        pod
        for pod in new
        if is_failed(job, pod) and meta.uid(pod) not in failed_before and policies.judge(job, pod).counts
    ]
    new_succeeded = sum(is_succeeded(pod) and meta.uid(pod) not in succeeded_before for pod in new)
    active = tuple(filter(is_active, pods))
    done, lost = _succeeded_indexes(job, new), _failed_indexes(job, new)
    return Tally(
        job=job,
        pods=pods,
        active=active,
        ready=sum(map(is_ready, active)),
        terminating=sum(map(is_terminating, pods)),
        succeeded=len(done)
        if is_indexed(job)
        else status.get("succeeded", 0) + new_succeeded + len(succeeded_before),
        failed=status.get("failed", 0) + len(new_failed) + len(failed_before),
        succeeded_indexes=done,
        failed_indexes=lost,
        kept={} if lost is None else _kept(job, new, done | lost | indexes.of_pods(active)),
    )


def is_indexed(job: Object) -> bool:
    return spec_of(job).get("completionMode") == "Indexed"


def replaces_failed_only(job: Object) -> bool:
    """A pod that is ending still has its place: there is no other one before it has failed."""
    spec = spec_of(job)
    return spec.get("podReplacementPolicy") == "Failed" or spec.get("podFailurePolicy") is not None


def is_succeeded(pod: Object) -> bool:
    return status_of(pod).get("phase") == "Succeeded"


def is_failed(job: Object, pod: Object) -> bool:
    """A pod that is being deleted has failed, unless the job waits until it really has."""
    phase = status_of(pod).get("phase")
    if phase == "Failed":
        return True
    return meta.is_deleting(pod) and phase != "Succeeded" and not replaces_failed_only(job)


def has_place(job: Object, pod: Object) -> bool:
    """In an indexed job only indexes that it has now count."""
    if not is_indexed(job):
        return True
    index = completion_index(pod)
    return index is not None and index < spec_of(job)["completions"]


def _succeeded_indexes(job: Object, new: Iterable[Object]) -> Indexes:
    if not is_indexed(job):
        return Indexes()
    before = indexes.parse(status_of(job).get("completedIndexes", ""), spec_of(job)["completions"])
    return before | indexes.of_pods(filter(is_succeeded, new))


def _failed_indexes(job: Object, new: Iterable[Object]) -> Indexes | None:
    if not is_indexed(job) or spec_of(job).get("backoffLimitPerIndex") is None:
        return None
    before = indexes.parse(status_of(job).get("failedIndexes") or "", spec_of(job)["completions"])
    return before | indexes.of_pods(pod for pod in new if _ends_its_index(job, pod))


def _ends_its_index(job: Object, pod: Object) -> bool:
    if not is_failed(job, pod):
        return False
    judgement = policies.judge(job, pod)
    if judgement.action == "FailIndex":
        return True
    return judgement.counts and failures(pod) >= spec_of(job)["backoffLimitPerIndex"]


def _kept(job: Object, new: Iterable[Object], settled: Indexes) -> dict[int, Object]:
    def rank(pod: Object) -> Any:
        return failures(pod) + ignored_failures(pod), backoff.finished_at(pod)

    kept: dict[int, Object] = {}
    for pod in new:
        index = completion_index(pod)
        if index is None or index in settled or not is_failed(job, pod):
            continue
        if index not in kept or rank(kept[index]) <= rank(pod):
            kept[index] = pod
    return kept


# What the status says


def settle(status: dict[str, Any], pods: Iterable[Object]) -> None:
    """Moves pods whose finalizer is gone from the list into the counters."""
    tracked = {meta.uid(pod) for pod in pods if is_tracked(pod)}
    uncounted = status.get("uncountedTerminatedPods") or {}
    remaining: dict[str, list[str]] = {}
    for field in ("succeeded", "failed"):
        before = uncounted.get(field) or []
        kept = [uid for uid in before if uid in tracked]
        if kept:
            remaining[field] = kept
        if len(kept) < len(before):
            status[field] = status.get(field, 0) + len(before) - len(kept)
    status["uncountedTerminatedPods"] = remaining


@frozen
class Counted:
    """`released`: pods that stand in the status now, or need not. `is_all`: there were not too many for one step."""

    released: tuple[Object, ...]
    is_all: bool


def count(status: dict[str, Any], found: Tally, *, is_over: bool, has_failed: bool) -> Counted:
    """Writes finished pods into the status. In a job that is over (or goes away) no pod stays; in one that has failed all others have, too."""
    released: list[Object] = []
    lists: dict[str, list[str]] = {
        field: [*(status["uncountedTerminatedPods"].get(field) or ())] for field in ("succeeded", "failed")
    }
    is_all = True
    new_indexes = 0
    before = indexes.parse(status.get("completedIndexes", ""), 2**31)
    for pod in filter(is_tracked, found.pods):
        if not (is_over or meta.is_deleting(found.job) or is_succeeded(pod) or _may_go(found, pod)):
            continue
        released.append(pod)
        new_indexes += _enter(lists, found.job, pod, before=before, has_failed=has_failed)
        if new_indexes + sum(map(len, lists.values())) >= LARGEST_LIST:
            is_all = False
            break
    status["uncountedTerminatedPods"] = {field: uids for field, uids in lists.items() if uids}
    _write_indexes(status, found)
    return Counted(tuple(released), is_all)


def _may_go(found: Tally, pod: Object) -> bool:
    if not is_failed(found.job, pod):
        return False
    index = completion_index(pod)
    kept = None if index is None else found.kept.get(index)
    return kept is None or meta.uid(kept) != meta.uid(pod)


def _enter(
    lists: dict[str, list[str]], job: Object, pod: Object, *, before: Indexes, has_failed: bool
) -> bool:
    """Whether it is an index that is told by nothing but `completedIndexes`."""
    uid = meta.uid(pod)
    if is_succeeded(pod) and uid not in lists["failed"]:
        if is_indexed(job):
            index = completion_index(pod)
            return index is not None and has_place(job, pod) and index not in before
        if uid not in lists["succeeded"]:
            lists["succeeded"].append(uid)
        return False
    counts = has_place(job, pod) and policies.judge(job, pod).counts
    if (is_failed(job, pod) or has_failed) and counts and uid not in lists["failed"]:
        lists["failed"].append(uid)
    return False


def _write_indexes(status: dict[str, Any], found: Tally) -> None:
    if not is_indexed(found.job):
        return
    for field, value in (
        ("succeeded", len(found.succeeded_indexes)),
        ("completedIndexes", str(found.succeeded_indexes)),
    ):
        if value:
            status[field] = value
        else:
            status.pop(field, None)
    if found.failed_indexes is not None:
        status["failedIndexes"] = str(found.failed_indexes)
    else:
        status.pop("failedIndexes", None)
