"""The store on one SQLite file: the default of a cluster, and one that anybody can open with the `sqlite3` tool.

    sqlite3 store.db 'SELECT revision, key, value FROM objects'

A write is acknowledged after its row of the log is synced to disk; the table of pointers follows when there is time. Why it is built so: docs/decisions/0003-store.md.
The caller that opens the store closes it; its threads (a writer for slow disks and for compaction, a copier for the
write-ahead log) start when they are first needed.
"""

from __future__ import annotations

import asyncio
import logging
import os
from asyncio import Future
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from os import PathLike, fspath
from time import perf_counter
from typing import Any, NamedTuple

from tiphys.store.group_commit import Batch, GroupCommitStore
from tiphys.store.interface import Change, Compacted, Entry, FutureRevision, Listing, StoreClosed, StoreError
from tiphys.store.sqlite_database import Database
from tiphys.store.sqlite_pointers import FlushPolicy
from tiphys.store.writer import Mode, Worker, WriterChoice

SWEEP_ROWS = 200
"""Rows of history per slice of a compaction: a write waits 2-3 ms for one at most."""

logger = logging.getLogger(__name__)


class Job(NamedTuple):
    """A blocking call that takes its turn with the commits."""

    call: Callable[[], Any]
    future: Future[Any]
    inline: bool


class SQLiteStore(GroupCommitStore):
    """Opens at once, or raises a StoreError whose message names the file and the cure.

    `writer` fixes where commits run; "adaptive" chooses by the disk's speed. `clock` counts seconds, to measure it.
    `disk` names a VFS of SQLite's in place of the file system, for tests that break it; `flush` is when pointers follow.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        *,
        writer: Mode = "adaptive",
        clock: Callable[[], float] = perf_counter,
        disk: str = "",
        flush: FlushPolicy = FlushPolicy(),
    ) -> None:
        self._database = Database(fspath(path), clock=clock, disk=disk)
        super().__init__(revision=self._database.revision, compact_revision=self._database.compact_revision)
        self._pointers = self._database.pointers
        self._revisions = self._pointers.revisions
        self._choice = WriterChoice(writer)
        self._writer = Worker("store-writer")
        self._copier = Worker("store-checkpoint")
        self._jobs: deque[Job] = deque()
        self._job: Job | None = None
        self._job_was_last = False
        self._checkpoint: asyncio.Task[None] | None = None
        self._policy = flush
        self._flush_at = flush.rows
        self._flush: asyncio.Task[None] | None = None
        self._flushing = asyncio.Lock()
        self._quiet_timer: asyncio.TimerHandle | None = None
        self._last_commit = 0.0
        self._compacting = asyncio.Lock()

    def get(self, key: str) -> Entry | None:
        self._readable(self.revision)
        revision = self._revisions.get(key)
        return None if revision is None else self._database.entry(key, revision)

    def list(self, prefix: str, *, revision: int = 0, start_after: str = "", limit: int = 0) -> Listing:
        return self._database.list(prefix, self._readable(revision or self.revision), start_after, limit)

    def changes(self, after: int, *, limit: int = 0) -> Sequence[Change]:
        return self._database.changes(self._readable(after), self.revision, limit)

    async def compact(self, revision: int) -> None:
        async with self._compacting:
            if self._closed:
                raise self._closed_error()
            if revision > self.revision:
                raise FutureRevision(revision, self.revision)
            if revision > self.compact_revision:
                await self._alone(partial(self._database.promise_compaction, revision))
                self.compact_revision = revision
            if self.compact_revision > self._pointers.through and not await self._flush_pointers():
                return
            while not self._closed and await self._alone(partial(self._sweep, self.compact_revision)):
                await asyncio.sleep(0)

    def size_bytes(self) -> int:
        """Of the database and what was not yet taken over from its journal."""
        files = (self._database.path, f"{self._database.path}-wal")
        return sum(os.stat(file).st_size for file in files if os.path.exists(file))

    async def close(self) -> None:
        if self._closed:
            return
        await self._finish_writes()
        if self._quiet_timer is not None:
            self._quiet_timer.cancel()
        if background := [task for task in (self._checkpoint, self._flush) if task is not None]:
            await asyncio.wait(background)
        await self._flush_later(closing=True)
        self._copier.close()
        closed: Future[None] = asyncio.get_running_loop().create_future()
        self._writer.submit(
            self._database.close, partial(_settle, closed)
        )  # it copies the log back: not on the loop
        try:
            await closed
        finally:
            self._writer.close()

    def _closed_error(self) -> StoreClosed:
        return StoreClosed(f"{self._database.path} is closed", path=self._database.path)

    # Commits

    def _revision_of(self, key: str) -> int:
        return self._revisions.get(key, 0)

    def _commit(self, batch: Batch) -> None:
        if not self._choice.runs_inline(len(batch.writes)):
            self._writer.submit(partial(self._database.commit, batch.writes), partial(self._ended, batch))
            return
        try:
            seconds = self._database.commit(batch.writes)
        except Exception as error:
            self._ended(batch, None, error)
        else:
            self._ended(batch, seconds, None)

    def _ended(self, batch: Batch, seconds: float | None, error: Exception | None) -> None:
        if error is not None or seconds is None:
            self._failed(batch, error or RuntimeError("a commit without an end"))
            return
        self._choice.observe(seconds, len(batch.writes))
        self._pointers.committed(batch.writes)
        self._committed(batch, self._changes_of(batch) if self._subscribers else [])
        self._start_flush_if_due()
        self._start_checkpoint_if_due()

    def _changes_of(self, batch: Batch) -> Sequence[Change]:
        return [
            Change(
                w.revision, w.key, w.value, partial(self._entry_at, w.key, w.previous) if w.previous else None
            )
            for w in batch.writes
        ]

    def _entry_at(self, key: str, revision: int) -> Entry:
        entry = self._database.entry(key, revision)
        if entry is None:
            raise Compacted(self.compact_revision)
        return entry

    # What must not run beside a commit: it takes turns with them

    def _alone(self, call: Callable[[], Any], *, inline: bool = False) -> Future[Any]:
        """Run a blocking call while nothing is committed: in the writer's thread (the loop and the reads go on), or
        inline, if it is short.

        The turn ends with the call, not with who awaits it: to cancel that one does not let a commit in beside it.
        """
        future: Future[Any] = asyncio.get_running_loop().create_future()
        self._jobs.append(Job(call, future, inline))
        self._schedule()
        return future

    def _busy(self) -> bool:
        return self._job is not None or super()._busy()

    def _next(self) -> None:
        if self._jobs and not (self._job_was_last and self._waiting.writes):
            self._job = self._jobs.popleft()
            self._job_was_last = True
            if self._job.inline:
                self._job_ended(*_outcome(self._job.call))
            else:
                self._writer.submit(self._job.call, self._job_ended)
        else:
            self._job_was_last = False
            super()._next()

    def _job_ended(self, result: object, error: Exception | None) -> None:
        job, self._job = self._job, None
        if job is not None:
            _settle(job.future, result, error)
        self._schedule()

    def _sweep(self, revision: int) -> bool:
        return self._database.sweep(revision, SWEEP_ROWS)

    # Pointers

    def _start_flush_if_due(self) -> None:
        if self._closed or self._flush is not None:
            return
        if self._pointers.rows >= self._flush_at:
            self._start_flush()
        elif self._pointers.rows >= self._policy.quiet_rows:
            self._last_commit = asyncio.get_running_loop().time()
            if self._quiet_timer is None:
                self._wait_for_quiet(self._last_commit)

    def _start_flush(self) -> None:
        self._flush = asyncio.get_running_loop().create_task(self._flush_later())

    def _wait_for_quiet(self, since: float) -> None:
        """One timer for all commits: it does not start anew with each of them, but looks when the last one was."""
        loop = asyncio.get_running_loop()
        self._quiet_timer = loop.call_at(since + self._policy.quiet_seconds, self._perhaps_quiet)

    def _perhaps_quiet(self) -> None:
        self._quiet_timer = None
        if self._closed or self._flush is not None or self._pointers.rows < self._policy.quiet_rows:
            return
        if asyncio.get_running_loop().time() >= self._last_commit + self._policy.quiet_seconds:
            self._start_flush()
        else:
            self._wait_for_quiet(self._last_commit)

    async def _flush_later(self, *, closing: bool = False) -> None:
        """Flush; if the file refuses, nothing is lost: the log has it all, and later writes bring the next attempt."""
        try:
            await self._flush_pointers(closing=closing)
        except StoreError as error:
            self._flush_at = self._pointers.rows + self._policy.rows
            logger.warning("the pointers to the newest rows could not be written yet: %s", error)
            return
        finally:
            self._flush = None
        self._start_flush_if_due()  # for what was written meanwhile
        self._start_checkpoint_if_due()

    async def _flush_pointers(self, *, closing: bool = False) -> bool:
        """Bring `cur` to the newest revision, a slice between two commits. False: a close, which does it, came before."""
        async with self._flushing:
            revision = self.revision
            if self._pointers.through == revision:
                return True
            try:
                for part in self._pointers.begin_flush(revision, self._policy.slice_keys):
                    await self._alone(partial(self._database.point, part), inline=self._choice.inline)
                    if self._closed and not closing:
                        self._pointers.flush_failed()
                        return False
            except BaseException:
                self._pointers.flush_failed()
                raise
            self._pointers.flushed(revision)
            self._flush_at = self._policy.rows
            return True

    # Checkpoints

    def _start_checkpoint_if_due(self) -> None:
        if self._database.checkpoint_due and self._checkpoint is None and not self._closed:
            self._checkpoint = asyncio.get_running_loop().create_task(self._run_checkpoint())

    async def _run_checkpoint(self) -> None:
        """Copy most of the log while commits go on; then the rest, which is short, between two commits."""
        try:
            copied: Future[None] = asyncio.get_running_loop().create_future()
            self._copier.submit(self._database.checkpoint, partial(_settle, copied))
            await copied
            if not self._closed:
                await self._alone(self._database.checkpoint)
        except Exception as error:
            # Nothing is lost: the log keeps what could not be copied, and the next attempt copies it.
            logger.warning("the write-ahead log could not be copied back: %s", error)
        finally:
            self._checkpoint = None


def _outcome(call: Callable[[], Any]) -> tuple[object, Exception | None]:
    try:
        return call(), None
    except Exception as error:
        return None, error


def _settle(future: Future[Any], result: object, error: Exception | None) -> None:
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)
