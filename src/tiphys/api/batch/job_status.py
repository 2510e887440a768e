"""What nobody may say in the status of a job, whoever manages it. Wording, places and order are upstream's (`ValidateJobStatusUpdate`).

Most rules look only at what a write changes: what was wrong before does not stand in the way of another change.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tiphys.api.batch import index_format
from tiphys.api.resource import Object
from tiphys.api.validation import Errors, non_negative
from tiphys.machinery.errors import FieldError, Path
from tiphys.machinery.fields import OMITTED
from tiphys.machinery.frozen import frozen
from tiphys.machinery.meta import is_condition_true, parse_time

_HERE = Path("status")
_COMPLETE, _FAILED = "Complete", "Failed"
_SUCCESS, _FAILURE = "SuccessCriteriaMet", "FailureTarget"


@frozen
class _Change:
    """A write of a status; `spec` is the same before and after."""

    spec: dict[str, Any]
    new: dict[str, Any]
    old: dict[str, Any]

    def has(self, *conditions: str) -> bool:
        """One of the conditions is true now."""
        return any(is_condition_true(self.new.get("conditions"), type) for type in conditions)

    def had(self, *conditions: str) -> bool:
        return any(is_condition_true(self.old.get("conditions"), type) for type in conditions)

    def turned(self, *conditions: str) -> bool:
        return any(self.has(type) != self.had(type) for type in conditions)

    def changes(self, *fields: str) -> bool:
        return any((self.new.get(field) or None) != (self.old.get(field) or None) for field in fields)


def job_status(new: Object, old: Object | None) -> Errors:
    status = new.get("status") or {}
    errors: Errors = []
    for field in ("active", "succeeded", "failed", "ready", "terminating"):
        errors += non_negative(status.get(field), _HERE.child(field))
    errors += _uncounted(status.get("uncountedTerminatedPods") or {})
    change = _Change(new.get("spec") or {}, status, (old or {}).get("status") or {})
    for rules in (_completion, _end, _indexes, _counts, _contradictions, _way_back):
        errors += rules(change)
    return errors


def _uncounted(lists: dict[str, list[str]]) -> Iterable[FieldError]:
    seen: set[str] = set()
    for field in ("succeeded", "failed"):
        for position, uid in enumerate(lists.get(field) or ()):
            here = _HERE.child("uncountedTerminatedPods", field).index(position)
            if not uid:
                yield FieldError.invalid(here, uid, "must not be empty")
            elif uid in seen:
                yield FieldError.duplicate(here, uid)
            seen.add(uid)


def _conditions(detail: str) -> FieldError:
    return FieldError.invalid(_HERE.child("conditions"), OMITTED, detail)


def _invalid(change: _Change, field: str, detail: str) -> FieldError:
    return FieldError.invalid(_HERE.child(field), change.new.get(field), detail)


def _completion(change: _Change) -> Iterable[FieldError]:
    completed, started = change.new.get("completionTime"), change.new.get("startTime")
    is_complete = change.has(_COMPLETE)
    if is_complete and change.has(_FAILED) and change.turned(_COMPLETE, _FAILED):
        yield _conditions("cannot set Complete=True and Failed=true conditions")
    if is_complete and change.has(_FAILURE) and change.turned(_COMPLETE, _FAILURE):
        yield _conditions("cannot set Complete=True and FailureTarget=true conditions")
    if change.turned(_COMPLETE) or change.changes("completionTime"):
        if completed and not is_complete:
            detail = "cannot set completionTime when there is no Complete=True condition"
            yield _invalid(change, "completionTime", detail)
        if is_complete and not completed:
            yield FieldError.required(
                _HERE.child("completionTime"), "completionTime is required for Complete jobs"
            )
    is_news = started and completed and change.changes("startTime", "completionTime")
    if is_news and parse_time(completed or "") < parse_time(started or ""):
        yield _invalid(change, "completionTime", "completionTime cannot be set before startTime")


def _end(change: _Change) -> Iterable[FieldError]:
    if change.has(_FAILED) and not change.has(_FAILURE) and change.turned(_FAILED, _FAILURE):
        yield _conditions("cannot set Failed=True condition without the FailureTarget=true condition")
    if change.has(_COMPLETE) and not change.has(_SUCCESS) and change.turned(_COMPLETE, _SUCCESS):
        yield _conditions("cannot set Complete=True condition without the SuccessCriteriaMet=true condition")
    if not change.has(_COMPLETE, _FAILED):
        return
    ends = change.turned(_COMPLETE, _FAILED)
    if change.new.get("active") and (ends or change.changes("active")):
        yield _invalid(change, "active", "active>0 is invalid for finished job")
    has_nothing_to_do = bool(change.spec.get("suspend")) and change.spec.get("completions") == 0
    if not change.new.get("startTime") and (ends or change.changes("startTime")) and not has_nothing_to_do:
        yield FieldError.required(_HERE.child("startTime"), "startTime is required for finished job")
    uncounted = change.new.get("uncountedTerminatedPods") or {}
    if any(uncounted.values()) and (ends or change.changes("uncountedTerminatedPods")):
        detail = "uncountedTerminatedPods needs to be empty for finished job"
        yield _invalid(change, "uncountedTerminatedPods", detail)


def _indexes(change: _Change) -> Iterable[FieldError]:
    completed, failed = change.new.get("completedIndexes") or "", change.new.get("failedIndexes")
    completions, limit = change.spec.get("completions"), change.spec.get("backoffLimitPerIndex")
    if change.changes("completedIndexes"):
        yield from _format(change, "completedIndexes", completed)
    if change.changes("failedIndexes") and failed is not None and limit is not None:
        yield from _format(change, "failedIndexes", failed)
    if change.changes("completedIndexes") and completed and change.spec.get("completionMode") != "Indexed":
        detail = "cannot set non-empty completedIndexes when non-indexed completion mode"
        yield _invalid(change, "completedIndexes", detail)
    if failed is None or not change.changes("failedIndexes", "completedIndexes"):
        return
    if limit is None and change.changes("failedIndexes"):
        detail = "cannot set non-null failedIndexes when backoffLimitPerIndex is null"
        yield _invalid(change, "failedIndexes", detail)
    if completions is not None:
        yield from _overlap(change, completed, failed, completions)


def _format(change: _Change, field: str, text: str) -> Iterable[FieldError]:
    if change.spec.get("completions") is None:
        return
    try:
        index_format.runs(text, change.spec["completions"])
    except ValueError as error:
        yield _invalid(change, field, f"error parsing {field}: {error}")


def _overlap(change: _Change, completed: str, failed: str, completions: int) -> Iterable[FieldError]:
    try:
        runs = [index_format.runs(text, completions) for text in (completed, failed)]
    except ValueError:
        return  # told already
    index = index_format.common(*runs)
    if index is not None:
        detail = f"failedIndexes and completedIndexes overlap at index: {index}"
        yield _invalid(change, "failedIndexes", detail)


def _counts(change: _Change) -> Iterable[FieldError]:
    ends = change.turned(_COMPLETE, _FAILED)
    terminating, ready = change.new.get("terminating") or 0, change.new.get("ready")
    if terminating and change.has(_COMPLETE, _FAILED) and (ends or change.changes("terminating")):
        yield _invalid(change, "terminating", "terminating>0 is invalid for finished job")
    if ready is not None and ready > (change.new.get("active") or 0) and change.changes("ready", "active"):
        yield _invalid(change, "ready", "cannot set more ready pods than active")


def _contradictions(change: _Change) -> Iterable[FieldError]:
    if change.has(_SUCCESS) and change.has(_FAILED):
        yield _conditions("cannot set SuccessCriteriaMet=True and Failed=true conditions")
    if change.has(_SUCCESS) and change.has(_FAILURE):
        yield _conditions("cannot set SuccessCriteriaMet=True and FailureTarget=true conditions")
    if change.spec.get("successPolicy") is not None and change.has(_COMPLETE) and not change.has(_SUCCESS):
        detail = "cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True"
        yield _conditions(detail)


def _way_back(change: _Change) -> Iterable[FieldError]:
    """What is said once stays said."""
    spec = change.spec
    for type in (_FAILED, _COMPLETE, _FAILURE):
        if change.had(type) and not change.has(type):
            yield _conditions(f"cannot disable the terminal {type}=True condition")
    shrinks = spec.get("completionMode") == "Indexed" and spec.get("completions") == spec.get("parallelism")
    for field, counts_on in (("failed", True), ("succeeded", not shrinks)):
        if counts_on and (change.new.get(field) or 0) < (change.old.get(field) or 0):
            yield FieldError.invalid(
                _HERE.child(field), change.new.get(field) or 0, f"cannot decrease the {field} counter"
            )
    if (
        change.old.get("completionTime")
        and change.new.get("completionTime")
        and change.changes("completionTime")
    ):
        yield _invalid(change, "completionTime", "completionTime cannot be mutated")
    goes_on = bool(spec.get("suspend")) or change.had("Suspended")
    if change.old.get("startTime") and change.changes("startTime") and not goes_on:
        yield FieldError.required(_HERE.child("startTime"), "startTime cannot be removed for unsuspended job")
    if change.had(_SUCCESS) and not change.has(_SUCCESS):
        yield _conditions("cannot disable the SuccessCriteriaMet=True condition")
    if change.had(_COMPLETE) and not change.had(_SUCCESS) and change.has(_SUCCESS):
        yield _conditions("cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions")
