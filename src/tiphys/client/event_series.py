"""Events of the newer form (events.k8s.io), as the scheduler tells them: with an action, to the microsecond, repeated ones as a series.

What is told again of the same state of an object, whatever the words, is written at most twice: as a series of two, and then when the series
has ended or half an hour has passed. Numbers are those of client-go's `tools/events`. The object is written as core/v1, which is how
both groups keep it: the result is the same, and one kind is enough for who reads events in a test.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from tiphys.client.client import Client
from tiphys.client.event_writer import EventWriter, patch_event
from tiphys.client.events import make_event
from tiphys.client.resources import EVENTS
from tiphys.client.transport import Object
from tiphys.machinery import meta
from tiphys.machinery.clock import Clock

FINISH = timedelta(minutes=6)
REFRESH = timedelta(minutes=30)
NOTE_BYTES = 1024


def make_reported_event(
    regarding: Object, type: str, reason: str, note: str, *, action: str, controller: str, now: datetime
) -> Object:
    """A core/v1 Event that says who reports it, and has none of the older form's fields."""
    event = make_event(regarding, type, reason, shortened(note), component=controller, now=now)
    del event["count"]
    # Our clock counts microseconds: what is below them keeps two components apart that tell of one object at one moment.
    stem, _, number = event["metadata"]["name"].rpartition(".")
    name = f"{stem}.{int(number, 16) + sum(controller.encode()) % 1000:x}"
    return {
        **event,
        "metadata": {**event["metadata"], "name": name},
        "source": {},
        "firstTimestamp": None,
        "lastTimestamp": None,
        "eventTime": meta.format_micro_time(now),
        "action": action,
        "reportingInstance": f"{controller}-{os.uname().nodename}",
    }


def shortened(note: str) -> str:
    """Longer ones would be refused."""
    data = note.encode()
    if len(data) <= NOTE_BYTES:
        return note
    return data[: NOTE_BYTES - 4].decode(errors="ignore") + " ..."


@dataclass(slots=True)
class _Kept:
    event: Object
    observed: datetime
    refreshed: datetime


@dataclass(slots=True)
class SeriesCorrelator:
    """What was told lately; no I/O. `now` comes with every call."""

    _kept: dict[tuple[Any, ...], _Kept] = field(default_factory=dict)

    def observe(self, event: Object, now: datetime) -> Object | None:
        """What to write: a new event, one that has become a series, or None: that it goes on is written later."""
        key = _key(event)
        kept = self._kept.get(key)
        if kept is None:
            self._kept[key] = _Kept(event, now, now)
            return event
        is_new_series = "series" not in kept.event
        count = 2 if is_new_series else kept.event["series"]["count"] + 1
        kept.event = {
            **kept.event,
            "series": {"count": count, "lastObservedTime": meta.format_micro_time(now)},
        }
        kept.observed = now
        return kept.event if is_new_series else None

    def due(self, now: datetime) -> list[Object]:
        """Series to write: those that have ended, which are forgotten, and those that go on for long."""
        found = []
        for key, kept in list(self._kept.items()):
            is_over = now - kept.observed > FINISH
            if is_over:
                del self._kept[key]
            if "series" in kept.event and (is_over or now - kept.refreshed >= REFRESH):
                kept.refreshed = now
                found.append(kept.event)
        return found


def _key(event: Object) -> tuple[Any, ...]:
    """The version of the object is part of it: a changed object starts anew."""
    return (event["type"], event["action"], event["reason"], *sorted(event["involvedObject"].items()))


class SeriesRecorder:
    """Records events of one component. `record` returns at once; a task writes them in order."""

    def __init__(self, client: Client, controller: str, *, clock: Clock) -> None:
        self._client = client
        self._controller = controller
        self._clock = clock
        self._correlator = SeriesCorrelator()
        self._writer = EventWriter(self._write)
        self._finishing: asyncio.Task[None] | None = None

    def record(self, regarding: Object, type: str, reason: str, note: str, *, action: str) -> None:
        """`regarding`: an object with apiVersion, kind and metadata. `type`: Normal or Warning."""
        now = self._clock.now()
        event = make_reported_event(
            regarding, type, reason, note, action=action, controller=self._controller, now=now
        )
        written = self._correlator.observe(event, now)
        if written is not None:
            self._put(written)

    def _put(self, event: Object) -> None:
        self._writer.put(event)
        if self._finishing is None:
            self._finishing = asyncio.get_running_loop().create_task(self._finish_for_ever())

    async def flush(self) -> None:
        """Until everything recorded so far is written or given up."""
        await self._writer.flush()

    async def stop(self) -> None:
        await self._writer.stop()
        if self._finishing is not None:
            self._finishing.cancel()
            await asyncio.gather(self._finishing, return_exceptions=True)
            self._finishing = None

    async def _finish_for_ever(self) -> None:
        while True:
            await self._clock.sleep(FINISH.total_seconds())
            for event in self._correlator.due(self._clock.now()):
                self._put(event)

    async def _write(self, event: Object) -> None:
        """A series is a patch of its first event."""
        series = event.get("series")
        if series is None or not await patch_event(self._client, event, {"series": series}):
            await self._client.create(EVENTS, event)
