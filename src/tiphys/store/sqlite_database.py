"""What the SQLite store asks of its file, as plain blocking calls: no loop, no thread, no decisions.

Three connections to one file, so that nobody waits for another: one writes (used by one caller at a time, from
whichever thread), one reads (on the loop), one copies the write-ahead log back into the file.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import cast

import apsw

from tiphys.store.group_commit import Write
from tiphys.store.interface import Change, Entry, Listing
from tiphys.store.sqlite_file import CREATED, DELETED, UPDATED, Explained, FileLock, connect, open_file

CHECKPOINT_PAGES = 1000
"""Pages in the write-ahead log after which it is copied back: 16 MiB, SQLite's own default in pages."""
CHUNKS = (64, 8, 1)
"""Rows per statement. One step of SQLite, and one release of the interpreter's lock, then carries many rows."""

LIST = """
SELECT cur.key, log.value, cur.rev FROM cur CROSS JOIN log ON log.rev = cur.rev
WHERE cur.key >= ? AND cur.key < ? AND cur.rev <= ? ORDER BY cur.key LIMIT ?"""
COUNT = "SELECT count(*) FROM cur WHERE key >= ? AND key < ? AND rev <= ?"
LATER = "SELECT key, prev FROM log WHERE rev > ? ORDER BY rev"
CHANGES = """
SELECT log.rev, log.key, log.value, log.prev, old.value FROM log LEFT JOIN log AS old ON old.rev = log.prev
WHERE log.rev > ? AND log.rev <= ? ORDER BY log.rev LIMIT ?"""
SLICE = "SELECT max(rev) FROM (SELECT rev FROM log WHERE rev > ? AND rev <= ? ORDER BY rev LIMIT ?)"
SWEEP_SUPERSEDED = """
DELETE FROM log WHERE rev IN (SELECT prev FROM log WHERE rev > ? AND rev <= ? AND prev > 0)"""
SWEEP_TOMBSTONES = f"DELETE FROM log WHERE rev > ? AND rev <= ? AND op = {DELETED}"


def _statements(head: str, row: str, tail: str = "") -> dict[int, str]:
    return {rows: f"{head} {','.join([row] * rows)}{tail}" for rows in CHUNKS}


INSERT_LOG = _statements("INSERT INTO log(rev, op, key, prev, value) VALUES", "(?,?,?,?,?)")
POINT = _statements(
    "INSERT INTO cur(key, rev) VALUES", "(?,?)", " ON CONFLICT(key) DO UPDATE SET rev = excluded.rev"
)
FORGET = _statements("DELETE FROM cur WHERE key IN (", "?", ")")


class Database:
    """The open file. Every method raises StoreError."""

    def __init__(self, path: str, *, clock: Callable[[], float] = time.perf_counter, disk: str = "") -> None:
        self.path = path
        self._clock = clock
        self._log_pages = 0
        self._checkpoint_at = CHECKPOINT_PAGES
        self._lock = FileLock(path)
        try:
            self._open(disk)
        except BaseException:
            self._lock.release()
            raise

    def _open(self, disk: str) -> None:
        self._writer = open_file(self.path, disk)
        self._writing = Explained(self.path, self._writer)
        with self._writing:
            self._reader, self._copier = connect(self.path, disk), connect(self.path, disk)
            self._reading, self._copying = (
                Explained(self.path, self._reader),
                Explained(self.path, self._copier),
            )
            self._copier.pragma("journal_mode")  # until it has read once, it knows no log, and copies nothing
            # In place of SQLite's own checkpoints, which stall a commit.
            self._writer.set_wal_hook(self._logged)
            self.compact_revision: int = self._meta("compact_revision")
            self._swept_revision: int = self._meta("swept_revision")
            newest = self._writer.execute("SELECT max(rev) FROM log").get or 0
            # A deletion that was the newest change is not in the log any more once it has been compacted.
            self.revision: int = max(newest, self.compact_revision)
            keys = cast("Iterator[tuple[str, int]]", self._writer.execute("SELECT key, rev FROM cur"))
            self.revisions: dict[str, int] = dict(keys)

    def _meta(self, name: str) -> int:
        return int(self._writer.execute("SELECT value FROM meta WHERE name = ?", (name,)).get)

    # Writing

    def commit(self, writes: Sequence[Write]) -> float:
        """Make the writes durable, all or none. Returns how many seconds the disk took."""
        with self._writing, _Transaction(self._writer):
            _insert(self._writer, INSERT_LOG, [_row(write) for write in writes])
            last = {write.key: write for write in writes}
            _insert(self._writer, POINT, [(w.key, w.revision) for w in last.values() if w.value is not None])
            _insert(self._writer, FORGET, [(w.key,) for w in last.values() if w.value is None])
            started = self._clock()
            self._writer.execute("COMMIT")
            return self._clock() - started

    def promise_compaction(self, revision: int) -> None:
        """Record, before the first row goes, that history before the revision must not be read any more."""
        with self._writing:
            self._writer.execute("UPDATE meta SET value = ? WHERE name = 'compact_revision'", (revision,))

    def sweep(self, revision: int, rows: int) -> bool:
        """Look at so many rows up to the revision, and delete what only they kept alive. False: nothing is left to do.

        How far it came is part of the same transaction, so that a sweep goes on where a crash ended it.
        """
        with self._writing:
            last = self._writer.execute(SLICE, (self._swept_revision, revision, rows)).get
            if last is None:
                return False
            with _Transaction(self._writer):
                self._writer.execute(SWEEP_SUPERSEDED, (self._swept_revision, last))
                self._writer.execute(SWEEP_TOMBSTONES, (self._swept_revision, last))
                self._writer.execute("UPDATE meta SET value = ? WHERE name = 'swept_revision'", (last,))
                self._writer.execute("COMMIT")
        self._swept_revision = last
        return True

    # The write-ahead log

    @property
    def checkpoint_due(self) -> bool:
        return self._log_pages >= self._checkpoint_at

    def checkpoint(self) -> None:
        """Copy what is in the log now back into the file; commits and reads go on meanwhile.

        The log starts anew only with a commit that finds everything copied, which under a steady load is never: the
        caller repeats the call while nothing is committed, when little is left.
        """
        self._checkpoint_at = self._log_pages + CHECKPOINT_PAGES  # if this one fails, not again at once
        with self._copying:
            self._copier.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)

    def _logged(self, _connection: apsw.Connection, _database: str, pages: int) -> int:
        if pages < self._log_pages:
            self._checkpoint_at = CHECKPOINT_PAGES
        self._log_pages = pages
        return apsw.SQLITE_OK

    # Reading

    def entry(self, key: str, revision: int) -> Entry | None:
        """What the key was set to by the write of that revision; None if it has been compacted away."""
        with self._reading:
            value = self._reader.execute("SELECT value FROM log WHERE rev = ?", (revision,)).get
        return None if value is None else Entry(key, value, revision)

    def list(self, prefix: str, revision: int, start_after: str, limit: int) -> Listing:
        first = start_after + "\0" if start_after >= prefix else prefix
        bounds = (first, prefix_end(prefix))
        with self._reading, self._reader:
            then = self._before(revision)
            moved = [key for key, old in then.items() if old and key >= first and key.startswith(prefix)]
            found = [
                Entry(*row)
                for row in self._reader.execute(LIST, (*bounds, revision, limit + 1 if limit else -1))
            ]
            if moved:
                found += [entry for key in moved if (entry := self.entry(key, then[key]))]
                found.sort(key=_by_key)
            if not limit or len(found) <= limit:
                return Listing(found, revision, 0)
            count = self._reader.execute(COUNT, (*bounds, revision)).get + len(moved)
        return Listing(found[:limit], revision, count - limit)

    def changes(self, after: int, newest: int, limit: int) -> Sequence[Change]:
        with self._reading:
            rows = self._reader.execute(CHANGES, (after, newest, limit or -1))
            return [
                Change(revision, key, value, Entry(key, old, previous) if previous else None)
                for revision, key, value, previous, old in rows
            ]

    def _before(self, revision: int) -> dict[str, int]:
        """For the keys that changed after the revision: which of their revisions was current then (0: none)."""
        then: dict[str, int] = {}
        for key, previous in self._reader.execute(LATER, (revision,)):
            then.setdefault(key, previous)
        return then

    def close(self) -> None:
        """The last connection to close copies the rest of the log back and removes it."""
        try:
            with self._writing:
                for connection in (self._reader, self._copier, self._writer):
                    connection.close()
        finally:
            self._lock.release()


class _Transaction:
    """BEGIN; whatever is not committed inside is taken back, and the error goes on."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")

    def __exit__(self, *_error: object) -> None:
        if self._connection.in_transaction:  # SQLite has rolled back by itself after some errors
            self._connection.execute("ROLLBACK")


def _by_key(entry: Entry) -> str:
    return entry.key


def _row(write: Write) -> tuple[int, int, str, int, bytes | None]:
    op = DELETED if write.value is None else UPDATED if write.previous else CREATED
    return write.revision, op, write.key, write.previous, write.value


def _insert(
    connection: apsw.Connection, statements: dict[int, str], rows: Sequence[tuple[object, ...]]
) -> None:
    for chunk in _chunks(rows):
        connection.execute(statements[len(chunk)], tuple(chain.from_iterable(chunk)))


def _chunks(rows: Sequence[tuple[object, ...]]) -> Iterator[Sequence[tuple[object, ...]]]:
    position = 0
    for size in CHUNKS:
        while len(rows) - position >= size:
            yield rows[position : position + size]
            position += size


def prefix_end(prefix: str) -> str | bytes:
    """The first key in order after all that start with the prefix; in SQLite a blob comes after every text."""
    for position in range(len(prefix) - 1, -1, -1):
        following = ord(prefix[position]) + 1
        if following <= 0x10FFFF:
            # The surrogates are no characters: UTF-8 goes on after them.
            return prefix[:position] + chr(0xE000 if following == 0xD800 else following)
    return b""
