"""Whether a cron job is due, and what there is to say when it is not."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

from tiphys.api.batch import schedule as schedules
from tiphys.client.transport import Object
from tiphys.controllers.actions import NORMAL, WARNING, RecordEvent
from tiphys.controllers.jobs.timetable import Timetable
from tiphys.controllers.pods import spec_of
from tiphys.machinery import meta
from tiphys.machinery.frozen import frozen
from tiphys.machinery.quoting import quote

_LATE_SECONDS = 0.1
"""Looked at so much after a moment is due: clocks differ."""
_UNSUPPORTED = (
    "CRON_TZ or TZ used in schedule {} is not officially supported, see "
    "https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details"
)
_TOO_MANY = "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew"
_ALREADY_ACTIVE = "Not starting job because prior execution is running and concurrency policy is Forbid"


@frozen
class Due:
    """`moment`: the one for which a job is to be made now. `next_seconds`: when to look again."""

    moment: datetime | None = None
    events: tuple[RecordEvent, ...] = ()
    next_seconds: float | None = None


class Unusable(Exception):
    """Nothing can be due before somebody changes the cron job: the reason and the message of the event."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def due(cron_job: Object, status: dict[str, Any], rescheduled: datetime | None, now: datetime) -> Due:
    """`status`: what is known by now. `rescheduled`: since when the schedule is this one, if it was another one."""
    spec = spec_of(cron_job)
    if meta.is_deleting(cron_job):
        return Due()
    remarks: tuple[RecordEvent, ...] = ()
    try:
        zone = _zone(spec)
        if spec.get("suspend"):
            return Due()
        if "TZ" in spec["schedule"]:
            message = _UNSUPPORTED.format(quote(spec["schedule"]))
            remarks = (RecordEvent(WARNING, "UnsupportedSchedule", message),)
        return _by_table(
            cron_job, status, _table(spec["schedule"], zone), rescheduled, now=now, remarks=remarks
        )
    except Unusable as error:
        return Due(events=(*remarks, RecordEvent(WARNING, error.reason, str(error))))


def _zone(spec: Object) -> tzinfo:
    name = spec.get("timeZone")
    if name is None:
        return UTC
    try:
        return _zone_info(name)
    except (ValueError, OSError, KeyError):
        raise Unusable(
            "UnknownTimeZone", f"invalid timeZone: {quote(name)}: unknown time zone {name}"
        ) from None


def _zone_info(name: str) -> tzinfo:
    from zoneinfo import ZoneInfo  # costs more to import than a cron job is worth at start-up

    return ZoneInfo(name)


def in_zone(moment: datetime, name: str | None) -> str:
    """RFC 3339 by the clock of a time zone, as Go writes it."""
    text = moment.astimezone(UTC if name is None else _zone_info(name)).isoformat(timespec="seconds")
    return text.removesuffix("+00:00") + "Z" if text.endswith("+00:00") else text


def _table(text: str, zone: tzinfo) -> Timetable:
    try:
        schedule = schedules.parse(text)
        if schedule.time_zone:
            zone = _zone_info(schedule.time_zone)
    except (ValueError, OSError, KeyError) as error:
        what = str(error) if isinstance(error, ValueError) else "provided bad location"
        raise Unusable("UnparseableSchedule", f"unparseable schedule: {quote(text)} : {what}") from None
    return Timetable(schedule, zone)


def _by_table(
    cron_job: Object,
    status: dict[str, Any],
    table: Timetable,
    rescheduled: datetime | None,
    *,
    now: datetime,
    remarks: Sequence[RecordEvent],
) -> Due:
    spec = spec_of(cron_job)
    last = status.get("lastScheduleTime")
    since = (meta.parse_time(last) if last else meta.creation_time(cron_job)) or now
    if rescheduled is not None:
        since = max(since, rescheduled)
    deadline = spec.get("startingDeadlineSeconds")
    earliest = since if deadline is None else max(since, now - timedelta(seconds=deadline))
    try:
        passed, all_passed = table.passed(earliest, now), table.passed(since, now)
    except ValueError as error:
        raise Unusable("InvalidSchedule", f"invalid schedule: {spec['schedule']} : {error}") from None
    events = [*remarks]
    if passed.many:
        events.append(RecordEvent(WARNING, "TooManyMissedTimes", _TOO_MANY))
    moment = passed.last
    if moment is not None and deadline is not None and moment + timedelta(seconds=deadline) < now:
        told = moment.astimezone(UTC).strftime("%a, %d %b %Y %H:%M:%S +0000")
        events.append(RecordEvent(WARNING, "MissSchedule", f"Missed scheduled time to start a job: {told}"))
        moment = None
    if moment is not None and spec.get("concurrencyPolicy") == "Forbid" and status.get("active"):
        events.append(RecordEvent(NORMAL, "JobAlreadyActive", _ALREADY_ACTIVE))
        moment = None
    following = table.after(all_passed.last or since)
    if following is not None and following <= now:
        following = table.after(now)
    wait = None if following is None else (following - now).total_seconds() + _LATE_SECONDS
    return Due(moment, tuple(events), wait)
