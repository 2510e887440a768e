"""What is wrong with an event of events.k8s.io: core's rules, and stricter ones of this group's own.

An event says what happened and stays so: only its series goes on (`pkg/apis/core/validation/events.go`).
"""

from __future__ import annotations

from tiphys.api.core.validation import objects
from tiphys.api.events.conversion import to_core
from tiphys.api.resource import Object
from tiphys.api.validation import Errors, immutable
from tiphys.machinery.errors import FieldError, Path

_UNSET = "needs to be unset"
_FIXED = (
    "involvedObject",
    "reason",
    "message",
    "source",
    "firstTimestamp",
    "lastTimestamp",
    "count",
    "eventTime",
    "type",
    "related",
    "action",
    "reportingInstance",
)


def event(new: Object, old: Object | None) -> Errors:
    stored = to_core(new)
    if old is not None:
        return _update(stored, to_core(old))
    errors = objects.event(stored, None)
    if not new.get("eventTime"):
        errors.append(FieldError.required(Path("eventTime")))
    kind = new.get("type") or ""
    if kind not in ("Normal", "Warning"):
        errors.append(FieldError.invalid(Path("type"), "", f"has invalid value: {kind}"))
    for field in ("firstTimestamp", "lastTimestamp", "count", "source"):
        if stored.get(field):
            errors.append(FieldError.invalid(Path(field), "", _UNSET))
    return errors + _series(new.get("series"))


def _series(series: Object | None) -> Errors:
    if series is None:
        return []
    errors: Errors = []
    if (series.get("count") or 0) < 2:
        errors.append(FieldError.invalid(Path("series.count"), "", "should be at least 2"))
    if not series.get("lastObservedTime"):
        errors.append(FieldError.required(Path("series.lastObservedTime")))
    return errors


def _update(new: Object, old: Object) -> Errors:
    errors: Errors = []
    for field in _FIXED:
        errors += immutable(new.get(field), old.get(field), Path(field))
    # The controller's name is that of events.k8s.io, also in upstream's message.
    path = Path("reportingController")
    errors += immutable(new.get("reportingComponent"), old.get("reportingComponent"), path)
    return errors + _series(new.get("series"))
