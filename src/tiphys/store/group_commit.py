"""The half of a store that lives on the event loop: it decides writes, groups them, and tells everybody.

Both stores are built on it; what differs is only how a batch becomes durable (`_commit`) and how the past is read.

    write() ──decide──► waiting batch ──one loop turn──► running batch ──_commit──► _committed ──► subscribers, futures
                 ▲            ▲                                │                └─► _failed ──► futures
                 └─ pending ──┴─── newest write of each key ───┘

A write is decided at once against the pending view (what is committed, overlaid with what is on its way), so that a
commit can never conflict. A refusal that was decided on a write still on its way waits for it: nobody is told of a state
that a crash could take back. If a commit fails, everything that was decided on top of it fails with it; the revisions it
took are not given out again.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from asyncio import Future
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tiphys.store.interface import Change, Compacted, Conflict, Entry, FutureRevision, StoreClosed

Subscriber = Callable[[Sequence[Change]], None]


@dataclass(slots=True, eq=False)
class Write:
    """A write that has been decided and has its revision."""

    key: str
    value: bytes | None
    revision: int
    previous: int
    """The revision of the key's row before this write, 0 if this write creates the key."""
    future: Future[int]


@dataclass(slots=True, eq=False)
class Batch:
    """Writes that become durable together, and the refusals that were decided on them."""

    writes: list[Write] = field(default_factory=list)
    refusals: list[tuple[Future[int], Conflict]] = field(default_factory=list)


class GroupCommitStore(ABC):
    """See the module. Subclasses give `get`, `_revision_of`, `_commit`."""

    def __init__(self, *, revision: int, compact_revision: int) -> None:
        self._bound: asyncio.AbstractEventLoop | None = None
        self.revision = revision
        self.compact_revision = compact_revision
        self._allocated = revision
        self._pending: dict[str, Write] = {}
        self._waiting = Batch()
        self._running: Batch | None = None
        self._scheduled = False
        self._subscribers: dict[object, Subscriber] = {}
        self._closed = False
        self._quiet: list[Future[None]] = []

    @property
    def _loop(self) -> asyncio.AbstractEventLoop:
        """The loop that writes: asyncio asks the kernel, each time, whether it is still the same process."""
        if self._bound is None:
            self._bound = asyncio.get_running_loop()
        return self._bound

    @abstractmethod
    def get(self, key: str) -> Entry | None: ...

    @abstractmethod
    def _revision_of(self, key: str) -> int:
        """The committed revision of a key, 0 if it does not exist. Called for every write: no disk."""

    @abstractmethod
    def _commit(self, batch: Batch) -> None:
        """Make the batch durable; now or later, on the loop, end in `_committed` or `_failed`."""

    def write(self, key: str, value: bytes | None, *, expected: int | None = None) -> Future[int]:
        if not key.isascii():
            key.encode()  # a lone surrogate is the caller's error, not that of the batch it would be in
        future: Future[int] = self._loop.create_future()
        pending = self._pending.get(key)
        if pending is None:
            current = self._revision_of(key)
        else:
            current = 0 if pending.value is None else pending.revision
        if self._closed:
            future.set_exception(self._closed_error())
        elif (expected is None or expected == current) and (current or value is not None):
            self._accept(key, value, current, future)
        elif pending is None:
            self._refuse_now(key, future)
        else:
            self._refuse_later(pending, future)
        return future

    def subscribe(self, callback: Subscriber) -> Callable[[], None]:
        token = object()
        self._subscribers[token] = callback
        return lambda: self._subscribers.pop(token, None) and None

    def _accept(self, key: str, value: bytes | None, current: int, future: Future[int]) -> None:
        self._allocated += 1
        write = Write(key, value, self._allocated, current, future)
        self._pending[key] = write
        self._waiting.writes.append(write)
        self._schedule()

    def _refuse_now(self, key: str, future: Future[int]) -> None:
        try:
            future.set_exception(Conflict(key, self.get(key)))
        except Exception as error:
            future.set_exception(error)

    def _refuse_later(self, pending: Write, future: Future[int]) -> None:
        current = None if pending.value is None else Entry(pending.key, pending.value, pending.revision)
        running = self._running
        on_its_way = running is not None and pending.revision <= running.writes[-1].revision
        batch = running if running is not None and on_its_way else self._waiting
        batch.refusals.append((future, Conflict(pending.key, current)))

    def _schedule(self) -> None:
        """Commit in the next turn of the loop, so that all writes of this turn go together."""
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._scheduled = False
        if not self._busy():
            self._next()

    def _next(self) -> None:
        """The writer is free: give it what waits, or tell those who wait for that."""
        if self._waiting.writes:
            self._running, self._waiting = self._waiting, Batch()
            self._commit(self._running)
        elif self._quiet:
            for waiter in self._quiet:
                waiter.set_result(None)
            self._quiet = []

    def _busy(self) -> bool:
        """Whether the writer has something in hand; whoever ends it calls `_schedule`."""
        return self._running is not None

    def _committed(self, batch: Batch, changes: Sequence[Change]) -> None:
        """The batch is durable, and reads show it: tell the subscribers, then those who wrote."""
        self.revision = batch.writes[-1].revision
        for write in batch.writes:
            if self._pending.get(write.key) is write:
                del self._pending[write.key]
        for callback in tuple(self._subscribers.values()):
            self._tell(callback, changes)
        for write in batch.writes:
            if not write.future.done():
                write.future.set_result(write.revision)
        for future, conflict in batch.refusals:
            if not future.done():
                future.set_exception(conflict)
        self._running = None
        self._schedule()

    def _tell(self, callback: Subscriber, changes: Sequence[Change]) -> None:
        try:
            callback(changes)
        except Exception as error:
            self._loop.call_exception_handler(
                {"message": "a subscriber of the store raised", "exception": error}
            )

    def _failed(self, batch: Batch, error: Exception) -> None:
        """Nothing of the batch was written, so nothing that was decided on top of it may be either."""
        waiting, self._waiting = self._waiting, Batch()
        self._pending.clear()
        futures = [write.future for write in (*batch.writes, *waiting.writes)]
        futures += [future for future, _ in (*batch.refusals, *waiting.refusals)]
        for future in futures:
            if not future.done():
                future.set_exception(error)
        self._running = None
        self._schedule()

    async def _finish_writes(self) -> None:
        """Take no more writes, and wait for those that are on their way."""
        self._closed = True
        waiter: Future[None] = self._loop.create_future()
        self._quiet.append(waiter)
        self._schedule()
        await waiter

    def _closed_error(self) -> StoreClosed:
        return StoreClosed("the store is closed")

    def _readable(self, revision: int) -> int:
        """The revision if history still reaches it."""
        if self._closed:
            raise self._closed_error()
        if revision > self.revision:
            raise FutureRevision(revision, self.revision)
        if revision < self.compact_revision:
            raise Compacted(self.compact_revision)
        return revision
