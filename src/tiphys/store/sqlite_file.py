"""The SQLite file of a store: open it, refuse what is not ours, and put its errors into words.

    cur(key, rev)  ──rev──►  log(rev, op, key, prev, value)  ──prev──►  the same key's row before
    meta(name, value)        compact_revision: history before it is promised to be forgotten
                             swept_revision: how far that has been done
                             pointers_through: which rows of the log `cur` knows of (see sqlite_pointers)

Every value is written once, into the log; `cur` only points, and comes a little later. `prev` makes a state of the past cheap without an index on
log.key, and lets compaction find what to delete. Format facts: https://sqlite.org/wal.html, fileformat.html.
"""

from __future__ import annotations

import errno
import fcntl
import os
from types import TracebackType

import apsw

from tiphys.store.interface import StoreClosed, StoreCorrupt, StoreError, StoreFailed, StoreFull, StoreInUse

APPLICATION_ID = 0x54697068  # "Tiph"
SCHEMA_VERSION = 2
"""1 had no `pointers_through`: its `cur` was never late."""
PAGE_BYTES = 8192
"""Measured with values of 1 and 6.7 KB: a lone writer copies less than with 16 KiB, a big value less than with 4 KiB."""
HEADER_BYTES = 100
BUSY_MILLISECONDS = 500
"""How long to wait for somebody who writes to the file with another tool."""
WAL_KEPT_BYTES = 32 << 20
CHECKED_BYTES = 64 << 20
"""Files up to this size are checked whole when they are opened (about 0.6 ms per MiB)."""

CREATED, UPDATED, DELETED = 1, 2, 3

OBJECTS = f"""
CREATE VIEW objects AS
  WITH late AS (SELECT key, max(rev) AS rev FROM log
                WHERE rev > (SELECT value FROM meta WHERE name = 'pointers_through') GROUP BY key),
       newest AS (SELECT key, rev FROM late UNION ALL SELECT key, rev FROM cur WHERE key NOT IN (SELECT key FROM late))
  SELECT newest.key, newest.rev AS revision, CAST(log.value AS TEXT) AS value
  FROM newest JOIN log ON log.rev = newest.rev WHERE log.op <> {DELETED};
"""
SCHEMA = f"""
CREATE TABLE cur(key TEXT PRIMARY KEY, rev INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE log(rev INTEGER PRIMARY KEY, op INTEGER NOT NULL, key TEXT NOT NULL, prev INTEGER NOT NULL, value BLOB);
CREATE TABLE meta(name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO meta VALUES ('compact_revision', 0), ('swept_revision', 0), ('pointers_through', 0);
{OBJECTS}
CREATE VIEW history AS
  SELECT rev AS revision, CASE op WHEN {CREATED} THEN 'created' WHEN {UPDATED} THEN 'updated' ELSE 'deleted' END AS op,
         key, prev AS previous_revision, CAST(value AS TEXT) AS value FROM log;
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};
"""
FROM_VERSION_1 = f"""
INSERT INTO meta SELECT 'pointers_through', max(
  (SELECT coalesce(max(rev), 0) FROM log), (SELECT value FROM meta WHERE name = 'compact_revision'));
DROP VIEW objects;
{OBJECTS}
PRAGMA user_version = {SCHEMA_VERSION};
"""

# In the order of the log: keys come in any order, and to jump through 100 MB of log for each takes five times as long.
DANGLING = """
SELECT count(*) FROM (SELECT rev FROM cur ORDER BY rev LIMIT -1) AS pointers
LEFT JOIN log ON log.rev = pointers.rev WHERE log.rev IS NULL"""

NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Explained:
    """`with explained:` turns what SQLite raises into a StoreError whose one line names the file and the cure."""

    def __init__(self, path: str, connection: apsw.Connection) -> None:
        self._path = path
        self._connection = connection

    def __enter__(self) -> None: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if isinstance(error, apsw.Error):
            raise explain(error, self._path, self._system_errno(error)) from error

    def _system_errno(self, error: apsw.Error) -> int:
        return self._connection.system_errno if isinstance(error, apsw.IOError) else 0


def explain(error: apsw.Error, path: str, system_errno: int) -> StoreError:
    detail = str(error) or type(error).__name__
    # Quotas, size limits and a shared index that cannot grow are I/O errors to SQLite.
    if isinstance(error, apsw.FullError) or system_errno in NO_SPACE:
        return full(path)
    if isinstance(error, apsw.CorruptError | apsw.NotADBError):
        return corrupt(path, detail)
    if isinstance(error, apsw.ConnectionClosedError):
        return StoreClosed(f"{path} is closed", path=path)
    if isinstance(error, apsw.BusyError | apsw.LockedError):
        return StoreFailed(
            f"{path} is locked by another program: close what has it open for writing", path=path
        )
    return StoreFailed(
        f"{path} cannot be read or written ({detail}): check its disk and its permissions", path=path
    )


def full(path: str) -> StoreFull:
    return StoreFull(
        f"no space left to write {path}: free some on its file system; nothing that was acknowledged is lost",
        path=path,
    )


def corrupt(path: str, detail: str) -> StoreCorrupt:
    return StoreCorrupt(
        f"{path} is not a usable store ({detail}): move it aside together with its -wal and -shm files, "
        "then restore a backup or start empty",
        path=path,
    )


class FileLock:
    """Keeps other processes out, for as long as this one lives: the kernel lets go of it even after a SIGKILL."""

    def __init__(self, path: str) -> None:
        self._descriptor = _open_private(f"{path}.lock", path)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(self._descriptor, 32).decode(errors="replace").strip()
            os.close(self._descriptor)
            who = f"process {holder}" if holder else "another process"
            raise StoreInUse(f"{path} is in use by {who}: stop that one first", path=path) from None
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        # The file stays: to remove it would let two processes lock two files of the same name.
        os.close(self._descriptor)


def _open_private(file: str, path: str) -> int:
    """Secrets are inside: only the owner may read."""
    try:
        return os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StoreFailed(
            f"{path} cannot be opened ({error.strerror}): check its directory and its permissions", path=path
        ) from error


def open_file(path: str, disk: str) -> apsw.Connection:
    """The connection that writes, to a file that is known to be ours; a new file is made if there is none.

    Raises StoreError. Nothing is changed in a file that is refused.
    """
    _refuse_what_sqlite_would_overwrite(path)
    os.close(_open_private(path, path))  # SQLite gives the -wal and -shm files the same mode
    connection = connect(path, disk)
    with Explained(path, connection):
        try:
            version = _recognise(connection, path)
            _configure(connection)
            if version == 0:
                connection.execute(f"BEGIN IMMEDIATE; {SCHEMA} COMMIT")
            else:
                _check(connection, path)
            if version == 1:
                connection.execute(f"BEGIN IMMEDIATE; {FROM_VERSION_1} COMMIT")
        except BaseException:
            connection.close()
            raise
    return connection


def connect(path: str, disk: str) -> apsw.Connection:
    connection = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READWRITE, vfs=disk or None)
    connection.set_busy_timeout(BUSY_MILLISECONDS)
    return connection


def _refuse_what_sqlite_would_overwrite(path: str) -> None:
    """To SQLite a file shorter than its header is an empty one, and the log of an empty file is rubbish."""
    size_bytes = _size_bytes(path)
    if 0 < size_bytes < HEADER_BYTES:
        raise corrupt(path, f"it has only {size_bytes} bytes")
    if size_bytes == 0 and _size_bytes(f"{path}-wal"):
        raise corrupt(path, "it is missing or empty, but its write-ahead log is there")


def _size_bytes(path: str) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0


def _recognise(connection: apsw.Connection, path: str) -> int:
    """The version of its format, 0 if the file is empty; raises StoreCorrupt if it is somebody else's."""
    application_id = connection.pragma("application_id")
    version = int(connection.pragma("user_version"))
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").get
    if application_id == 0 and tables == 0:
        return 0
    if application_id != APPLICATION_ID:
        raise corrupt(path, "it is the SQLite database of another program")
    if not 1 <= version <= SCHEMA_VERSION:
        raise corrupt(path, f"its format is {version}, this version of Tiphys reads up to {SCHEMA_VERSION}")
    return version


def _configure(connection: apsw.Connection) -> None:
    connection.pragma("page_size", PAGE_BYTES)  # of a new file; before WAL, which fixes it
    connection.pragma("journal_mode", "wal")
    connection.pragma("synchronous", "FULL")  # the log is synced by every commit
    connection.pragma("journal_size_limit", WAL_KEPT_BYTES)
    connection.pragma("cache_size", -8192)
    connection.pragma("temp_store", "MEMORY")


def _check(connection: apsw.Connection, path: str) -> None:
    if os.stat(path).st_size <= CHECKED_BYTES:
        verdict = str(connection.execute("PRAGMA quick_check(1)").get)
        if verdict != "ok":
            raise corrupt(path, verdict.splitlines()[-1])
    dangling = connection.execute(DANGLING).get
    if dangling:
        raise corrupt(path, f"the values of {dangling} keys are missing")
