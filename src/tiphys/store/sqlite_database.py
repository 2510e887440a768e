"""What the SQLite store asks of its file, as plain blocking calls: no loop, no thread, no decisions.

Four connections to one file. One writes, one brings the pointers up to date (both used by one caller at a time, from
whichever thread), one reads (on the loop), one copies the write-ahead log back into the file. The second is there
because its transactions need no sync: a power cut takes only back what a replay of the log, which is synced, repeats.
"""

from __future__ import annotations

import json
import time
from bisect import bisect_left
from collections.abc import Callable, Container, Iterator, Sequence
from itertools import chain, islice
from typing import cast

import apsw

from tiphys.store.group_commit import Write
from tiphys.store.interface import Change, Entry, Listing
from tiphys.store.sqlite_file import (
    CREATED,
    DELETED,
    PAGE_BYTES,
    UPDATED,
    Explained,
    FileLock,
    connect,
    open_file,
)
from tiphys.store.sqlite_pointers import GONE, Pointer, Pointers, Slice

CHECKPOINT_PAGES = (16 << 20) // PAGE_BYTES
"""Pages in the write-ahead log after which it is copied back."""
CHUNKS = (64, 8, 1)
"""Rows per statement. One step of SQLite, and one release of the interpreter's lock, then carries many rows."""

LIST = """
SELECT cur.key, log.value, cur.rev FROM cur CROSS JOIN log ON log.rev = cur.rev
WHERE cur.key >= ? AND cur.key < ? AND cur.rev <= ? ORDER BY cur.key"""
COUNT = "SELECT count(*) FROM cur WHERE key >= ? AND key < ? AND rev <= ?"
COUNT_AMONG = "SELECT count(*) FROM cur WHERE key IN (SELECT value FROM json_each(?)) AND rev <= ?"
ENTRIES = (
    "SELECT log.key, log.value, log.rev FROM json_each(?) AS wanted CROSS JOIN log ON log.rev = wanted.value"
)
REPLAY = f"SELECT key, CASE op WHEN {DELETED} THEN {GONE} ELSE rev END FROM log WHERE rev > ? ORDER BY rev"
LATER = "SELECT key, prev FROM log WHERE rev > ? ORDER BY rev"
CHANGES = """
SELECT log.rev, log.key, log.value, log.prev, old.value FROM log LEFT JOIN log AS old ON old.rev = log.prev
WHERE log.rev > ? AND log.rev <= ? ORDER BY log.rev LIMIT ?"""
SLICE = "SELECT max(rev) FROM (SELECT rev FROM log WHERE rev > ? AND rev <= ? ORDER BY rev LIMIT ?)"
SWEEP_SUPERSEDED = """
DELETE FROM log WHERE rev IN (SELECT prev FROM log WHERE rev > ? AND rev <= ? AND prev > 0)"""
SWEEP_TOMBSTONES = f"DELETE FROM log WHERE rev > ? AND rev <= ? AND op = {DELETED}"


Entries = list[Entry]  # by another name, since `Database.list` hides that of the type


def _statements(head: str, row: str, tail: str = "") -> dict[int, str]:
    return {rows: f"{head} {','.join([row] * rows)}{tail}" for rows in CHUNKS}


INSERT_LOG = _statements("INSERT INTO log(rev, op, key, prev, value) VALUES", "(?,?,?,?,?)")
POINT = _statements(
    "INSERT INTO cur(key, rev) VALUES", "(?,?)", " ON CONFLICT(key) DO UPDATE SET rev = excluded.rev"
)
SET_META = "UPDATE meta SET value = ? WHERE name = ?"
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
            self._pointer, self._reader, self._copier = (connect(self.path, disk) for _ in range(3))
            self._pointing, self._reading, self._copying = (
                Explained(self.path, connection) for connection in (self._pointer, self._reader, self._copier)
            )
            self._pointer.pragma("synchronous", "NORMAL")
            self._pointer.set_busy_timeout(0)  # it can come again later; the loop cannot wait
            self._copier.pragma("journal_mode")  # until it has read once, it knows no log, and copies nothing
            # In place of SQLite's own checkpoints, which stall a commit.
            self._writer.set_wal_hook(self._logged)
            self._pointer.set_wal_hook(self._logged)
            self.compact_revision: int = self._meta("compact_revision")
            self._swept_revision: int = self._meta("swept_revision")
            newest = self._writer.execute("SELECT max(rev) FROM log").get or 0
            # A deletion that was the newest change is not in the log any more once it has been compacted.
            self.revision: int = max(newest, self.compact_revision)
            self.pointers = self._read_pointers()

    def _read_pointers(self) -> Pointers:
        keys = cast("Iterator[Pointer]", self._writer.execute("SELECT key, rev FROM cur"))
        pointers = Pointers(dict(keys), self._meta("pointers_through"))
        pointers.replay(cast("Iterator[Pointer]", self._writer.execute(REPLAY, (pointers.through,))))
        return pointers

    def _meta(self, name: str) -> int:
        return int(self._writer.execute("SELECT value FROM meta WHERE name = ?", (name,)).get)

    # Writing

    def commit(self, writes: Sequence[Write]) -> float:
        """Make the writes durable, all or none. Returns how many seconds the disk took."""
        with self._writing, _Transaction(self._writer):
            _insert(self._writer, INSERT_LOG, [_row(write) for write in writes])
            started = self._clock()
            self._writer.execute("COMMIT")
            return self._clock() - started

    def point(self, part: Slice) -> None:
        """Write a slice of late pointers. It is not synced: the next commit's sync does that, or nobody needs it."""
        with self._pointing, _Transaction(self._pointer):
            _insert(self._pointer, POINT, [pointer for pointer in part.pointers if pointer[1] != GONE])
            _insert(self._pointer, FORGET, [(key,) for key, revision in part.pointers if revision == GONE])
            if part.through:
                self._pointer.execute(SET_META, (part.through, "pointers_through"))
            self._pointer.execute("COMMIT")

    def promise_compaction(self, revision: int) -> None:
        """Record, before the first row goes, that history before the revision must not be read any more."""
        with self._writing:
            self._writer.execute(SET_META, (revision, "compact_revision"))

    def sweep(self, revision: int, rows: int) -> bool:
        """Look at so many rows up to the revision, and delete what only they kept alive. False: nothing is left to do.

        How far it came is part of the same transaction, so that a sweep goes on where a crash ended it. Not beyond
        `pointers_through`: a deletion that a replay does not find any more would bring its key back.
        """
        with self._writing:
            last = self._writer.execute(SLICE, (self._swept_revision, revision, rows)).get
            if last is None:
                return False
            with _Transaction(self._writer):
                self._writer.execute(SWEEP_SUPERSEDED, (self._swept_revision, last))
                self._writer.execute(SWEEP_TOMBSTONES, (self._swept_revision, last))
                self._writer.execute(SET_META, (last, "swept_revision"))
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
            instead = self._instead_of_cur(prefix, first, revision)
            found = self._pointed(bounds, revision, instead, limit)
            moved = sorted(key for key, then in instead.items() if then != GONE)
            if moved:
                found += self._entries([instead[key] for key in _first(moved, found, limit)])
                found.sort(key=_by_key)
            if not limit or len(found) <= limit:
                return Listing(found, revision, 0)
            count = self._reader.execute(COUNT, (*bounds, revision)).get + len(moved)
            if instead:
                count -= self._reader.execute(COUNT_AMONG, (json.dumps(list(instead)), revision)).get
        return Listing(found[:limit], revision, count - limit)

    def _instead_of_cur(self, prefix: str, first: str, revision: int) -> dict[str, int]:
        """For keys that `cur` may be wrong about, at that revision: which of theirs was current then, or GONE."""
        instead = self.pointers.late(prefix, first)
        instead |= {
            key: then
            for key, then in self._before(revision).items()
            if key >= first and key.startswith(prefix)
        }
        return instead

    def _pointed(
        self, bounds: tuple[str, str | bytes], revision: int, but: Container[str], limit: int
    ) -> Entries:
        """What `cur` points to, but for some keys; with a limit one more than that, to know that there is more."""
        rows = self._reader.execute(LIST, (*bounds, revision))
        found = (Entry(*row) for row in rows if row[0] not in but)
        entries = [*islice(found, limit + 1 if limit else None)]
        rows.close()
        return entries

    def _entries(self, revisions: Sequence[int]) -> Iterator[Entry]:
        return (Entry(*row) for row in self._reader.execute(ENTRIES, (json.dumps(revisions),)))

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
                for connection in (self._reader, self._copier, self._pointer, self._writer):
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


def _first(keys: list[str], found: list[Entry], limit: int) -> list[str]:
    """Those of the sorted keys that can be on a page together with what was found for it."""
    if not limit:
        return keys
    end = bisect_left(keys, found[limit].key) if len(found) > limit else len(keys)
    return keys[: min(end, limit + 1)]


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
