"""One open watch: events of one resource, selected, shown, and written to a client for as long as it listens.

A watch is pushed to: the cache calls `deliver` for every change, in order. It begins with the past (events after the
client's resourceVersion) or with the present (an ADDED for everything that is there); what happens while that is being sent
waits its turn. A client that takes too little is cut off; it resumes from its last resourceVersion, as it must anyhow.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from tiphys.apiserver.cache import ADDED, DELETED, MODIFIED, Event
from tiphys.apiserver.records import Record
from tiphys.apiserver.selection import Selection
from tiphys.apiserver.views import View
from tiphys.machinery.clock import Clock, Timer
from tiphys.machinery.metrics import Buckets, Value
from tiphys.net.http import Frame, Sink

BOOKMARK_SECONDS = 60.0
PENDING_LIMIT_BYTES = 16 << 20
_PACE_BYTES = 256 << 10
_INITIAL_EVENTS_END = {"k8s.io/initial-events-end": "true"}


class WatchStream:
    """Writes to one Sink. Made by `registry/reads.py`, ended by the client, a time-out or the server's end."""

    def __init__(
        self, sink: Sink, namespace: str, selection: Selection, view: View, api_version: str, kind: str
    ) -> None:
        self.namespace = namespace
        self._sink = sink
        self._matches = selection.matches
        self._selected = ("selected", selection.canonical)
        """Under which an event keeps the judgement of this selection, for all watches that share it."""
        self._view = view
        self._api_version = api_version
        self._kind = kind
        self._frame_key = (api_version, view.key)
        self._first = True
        self.is_behind: Callable[[], bool] | None = None
        """Whether events are on their way that a bookmark must not overtake; None: never."""
        self.events: Value | None = None
        self.sizes: Buckets | None = None
        """Where events are counted, if somewhere."""
        self.cut_off: Callable[[], None] = _nobody_counts
        self._waiting: deque[Event] | None = deque()
        """Events that arrive while the beginning is still being sent; None from then on."""

    async def begin(
        self, records: Iterable[Record], events: Iterable[Event], *, revision: int, end_mark: bool
    ) -> None:
        """Sends the present or the past, at the client's pace, then whatever has happened meanwhile."""
        for record in records:
            if self._matches is None or self._matches(record):
                await self._paced(self._view.event(ADDED, record, first=self._first))
        for event in events:
            await self._pace()
            self._send(event)
        if end_mark:
            self.bookmark(revision, annotations=_INITIAL_EVENTS_END)
        waiting = self._waiting
        while waiting:
            await self._pace()
            self._send(waiting.popleft())
        self._waiting = None

    def begin_now(self, events: Iterable[Event]) -> None:
        """As `begin` for a watch that starts from a resourceVersion with little behind it: no task is needed."""
        self._waiting = None
        for event in events:
            self._send(event)

    async def _paced(self, data: bytes) -> None:
        await self._pace()
        self._write(data)

    async def _pace(self) -> None:
        sink = self._sink
        while sink.pending_bytes > _PACE_BYTES and not sink.closed:
            await asyncio.sleep(0.002)

    def deliver(self, event: Event) -> None:
        """The cache's call for every change."""
        if self._waiting is not None:
            self._waiting.append(event)
        else:
            self._send(event)

    def _send(self, event: Event) -> None:
        if self._matches is None:
            self._write_shared(event, event.type, event.record)
            return
        kind = event.frames.get(self._selected)
        if kind is None:
            kind = event.frames[self._selected] = self._kind_of(event, self._matches)
        if kind == DELETED and event.type != DELETED:
            self._write_shared(event, DELETED, _last_state(event))
        elif kind:
            self._write_shared(event, kind, event.record)

    @staticmethod
    def _kind_of(event: Event, matches: Callable[[Record], bool]) -> str:
        """What a change is to those who selected: coming into the selection is ADDED, leaving it DELETED, "" is nothing."""
        before = event.previous is not None and matches(event.previous)
        if event.type != DELETED and matches(event.record):
            return MODIFIED if before else ADDED
        return DELETED if before else ""

    def _write_shared(self, event: Event, kind: str, record: Record) -> None:
        """Writes what was made for the first watch that asked for the same."""
        if self._first:
            self._write(self._view.event(kind, record, first=True))
            return
        key = (self._frame_key, kind)
        frame = event.frames.get(key)
        if frame is None:
            frame = event.frames[key] = Frame(self._view.event(kind, record, first=False))
        self._write(frame)

    def _write(self, data: bytes | Frame) -> None:
        self._first = False
        sink = self._sink
        sink.write(data)
        if self.events is not None and self.sizes is not None:
            self.events.value += 1
            self.sizes.observe(len(data.data if isinstance(data, Frame) else data))
        if sink.pending_bytes > PENDING_LIMIT_BYTES and not sink.closed:
            self.cut_off()
            sink.abort()

    def bookmark(self, revision: int, *, annotations: dict[str, str] | None = None) -> None:
        """Tells the client that it has seen everything up to a revision."""
        if annotations is None and (self._waiting is not None or (self.is_behind and self.is_behind())):
            return  # something is still on its way
        metadata: dict[str, Any] = {"resourceVersion": str(revision)}
        if annotations:
            metadata["annotations"] = annotations
        mark = {"kind": self._kind, "apiVersion": self._api_version, "metadata": metadata}
        self._sink.write(self._view.bookmark(mark))

    def error(self, status: dict[str, Any]) -> None:
        """The last thing a watch says when it cannot go on."""
        self._sink.write(self._view.error(status))
        self._sink.close()

    def abort(self) -> None:
        """Cuts the client off, visibly."""
        self._sink.abort()

    def close(self) -> None:
        self._sink.close()


class LaterStream(WatchStream):
    """A watch from a revision that is not there yet: it is silent until the store has gone beyond it, as upstream's and etcd's are."""

    def __init__(self, after: int, *args: Any) -> None:
        super().__init__(*args)
        self._after = after

    def deliver(self, event: Event) -> None:
        if event.revision > self._after:
            super().deliver(event)

    def bookmark(self, revision: int, *, annotations: dict[str, str] | None = None) -> None:
        if revision >= self._after:
            super().bookmark(revision, annotations=annotations)


def _nobody_counts() -> None:
    """A watch that is cut off."""


def _last_state(event: Event) -> Record:
    """An object that has left the selection is reported with its last selected state and the new resourceVersion."""
    assert event.previous is not None
    return event.previous.at(event.revision)


class Bookmarks:
    """Sends a bookmark a minute to every watch that allows them; one timer for all, and none when nobody wants any."""

    def __init__(self, revision: Callable[[], int], clock: Clock) -> None:
        self._revision = revision
        self._clock = clock
        self._streams: dict[WatchStream, None] = {}
        self._timer: Timer | None = None

    def add(self, stream: WatchStream) -> None:
        self._streams[stream] = None
        self._schedule()

    def remove(self, stream: WatchStream) -> None:
        self._streams.pop(stream, None)

    def _schedule(self) -> None:
        if self._timer is None and self._streams:
            self._timer = self._clock.call_later(BOOKMARK_SECONDS, self._tick)

    def _tick(self) -> None:
        self._timer = None
        for stream in tuple(self._streams):
            stream.bookmark(self._revision())
        self._schedule()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
