"""When a schedule is due: the next moment after another one, and the last one that has passed.

A schedule is told by the clock on the wall of its time zone. A time that this clock leaps over in spring does not come that day, and
one that it shows twice in autumn comes twice, as with github.com/robfig/cron/v3, which upstream uses.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta, tzinfo

from tiphys.api.batch.schedule import Schedule
from tiphys.machinery.frozen import frozen

_YEARS = 5
"""A schedule that is not due for so long never is: the 31st of February."""
_MANY = 100
_SECOND = timedelta(seconds=1)
_NEVER = "time difference between two schedules is less than 1 second"


@frozen
class Passed:
    """`last`: the last moment that was due, None when none was. `many`: more than a hundred were."""

    last: datetime | None = None
    many: bool = False


@frozen
class Timetable:
    schedule: Schedule
    zone: tzinfo

    def after(self, moment: datetime) -> datetime | None:
        """The next time that it is due; None: never."""
        if self.schedule.interval is not None:
            return moment.replace(microsecond=0) + self.schedule.interval
        local = moment.astimezone(self.zone)
        for day in self._days(local.date(), 1):
            hours = range(max(0, local.hour - 3) if day == local.date() else 0, 24)
            found = next((due for due in self._moments(day, hours) if due > moment), None)
            if found is not None:
                return found
        return None

    def passed(self, since: datetime, now: datetime) -> Passed:
        """What was due after `since` and up to now. ValueError when it never is."""
        first = self.after(since)
        second = None if first is None else self.after(first)
        if first is None or second is None or second - first < _SECOND:
            raise ValueError(_NEVER)
        if now < second:
            return Passed(first if first <= now else None)
        # About as many as fit, if they come as the first two do: upstream counts so.
        distance = second - first
        missed = (now - first) // distance + 1
        if self.schedule.interval is not None:
            return Passed(first + (missed - 1) * distance, missed > _MANY)
        return Passed(self._up_to(now), missed > _MANY)

    def _up_to(self, moment: datetime) -> datetime | None:
        local = moment.astimezone(self.zone)
        for day in self._days(local.date(), -1):
            hours = range(23, -1, -1)
            found = next((due for due in self._moments(day, hours) if due <= moment), None)
            if found is not None:
                return found
        return None

    def _days(self, first: date, step: int) -> Iterator[date]:
        schedule, day = self.schedule, first
        while abs(day.year - first.year) <= _YEARS and date.min < day < date.max:
            if day.month in schedule.months and self._is_day(day):
                yield day
            day += timedelta(days=step)

    def _is_day(self, day: date) -> bool:
        schedule = self.schedule
        fits = day.day in schedule.days, day.isoweekday() % 7 in schedule.weekdays
        return all(fits) if schedule.any_day or schedule.any_weekday else any(fits)

    def _moments(self, day: date, hours: range) -> Iterator[datetime]:
        """Of one day, forwards or backwards as the hours go. In an hour that is shown twice, all of the first time come first."""
        backwards = hours.step < 0
        for hour in hours:
            if hour in self.schedule.hours:
                walls = [
                    datetime.combine(day, time(hour, minute), self.zone) for minute in self.schedule.minutes
                ]
                yield from sorted((moment for wall in walls for moment in _shown(wall)), reverse=backwards)


def _shown(wall: datetime) -> list[datetime]:
    """When the clock on the wall shows this: once, not at all, or twice."""
    moments = {wall.replace(fold=fold).astimezone(UTC) for fold in (0, 1)}
    zone = wall.tzinfo
    return [
        moment
        for moment in moments
        if moment.astimezone(zone).replace(tzinfo=None) == wall.replace(tzinfo=None)
    ]
