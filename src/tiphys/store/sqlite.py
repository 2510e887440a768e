"""The store on one SQLite file: the default of a cluster, and one that anybody can open with the `sqlite3` tool.

    sqlite3 store.db 'SELECT revision, key, value FROM objects'

A write is acknowledged after its transaction is synced to disk. Why it is built so: docs/decisions/0003-store.md.
The caller that opens the store closes it; its threads (a writer for slow disks and for compaction, a copier for the
write-ahead log) start when they are first needed.
"""

from __future__ import annotations

import asyncio
import logging
from asyncio import Future
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from os import PathLike, fspath
from time import perf_counter
from typing import Any

from tiphys.store.group_commit import Batch, GroupCommitStore
from tiphys.store.interface import Change, Compacted, Entry, FutureRevision, Listing, StoreClosed
from tiphys.store.sqlite_database import Database
from tiphys.store.writer import Mode, Worker, WriterChoice

SWEEP_ROWS = 200
"""Rows of history per slice of a compaction: a write waits 2-3 ms for one at most."""

logger = logging.getLogger(__name__)


class SQLiteStore(GroupCommitStore):
    """Opens at once, or raises a StoreError whose message names the file and the cure.

    `writer` fixes where commits run; "adaptive" chooses by the disk's speed. `clock` counts seconds, to measure it.
    `disk` names a VFS of SQLite's in place of the file system, for tests that break it.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        *,
        writer: Mode = "adaptive",
        clock: Callable[[], float] = perf_counter,
        disk: str = "",
    ) -> None:
        self._database = Database(fspath(path), clock=clock, disk=disk)
        super().__init__(revision=self._database.revision, compact_revision=self._database.compact_revision)
        self._revisions = self._database.revisions
        self._choice = WriterChoice(writer)
        self._writer = Worker("store-writer")
        self._copier = Worker("store-checkpoint")
        self._jobs: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._job: Future[Any] | None = None
        self._job_was_last = False
        self._checkpoint: asyncio.Task[None] | None = None
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
            while not self._closed and await self._alone(partial(self._sweep, self.compact_revision)):
                await asyncio.sleep(0)

    async def close(self) -> None:
        if self._closed:
            return
        await self._finish_writes()
        if self._checkpoint is not None:
            await asyncio.wait([self._checkpoint])
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
        for write in batch.writes:
            if write.value is None:
                del self._revisions[write.key]
            else:
                self._revisions[write.key] = write.revision
        self._committed(batch, self._changes_of(batch) if self._subscribers else [])
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

    def _alone(self, call: Callable[[], Any]) -> Future[Any]:
        """Run a blocking call in the writer's thread while nothing is committed; the loop and the reads go on.

        The turn ends with the call, not with who awaits it: to cancel that one does not let a commit in beside it.
        """
        future: Future[Any] = asyncio.get_running_loop().create_future()
        self._jobs.append((call, future))
        self._schedule()
        return future

    def _busy(self) -> bool:
        return self._job is not None or super()._busy()

    def _next(self) -> None:
        if self._jobs and not (self._job_was_last and self._waiting.writes):
            call, self._job = self._jobs.popleft()
            self._writer.submit(call, self._job_ended)
            self._job_was_last = True
        else:
            self._job_was_last = False
            super()._next()

    def _job_ended(self, result: object, error: Exception | None) -> None:
        job, self._job = self._job, None
        if job is not None:
            _settle(job, result, error)
        self._schedule()

    def _sweep(self, revision: int) -> bool:
        return self._database.sweep(revision, SWEEP_ROWS)

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


def _settle(future: Future[Any], result: object, error: Exception | None) -> None:
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)
