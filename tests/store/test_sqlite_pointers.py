"""The pointers that come late: what is decided in memory, when they are written, and what a reader sees meanwhile."""

import asyncio
import logging
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import pytest
from disks import Disk, FailOnce

from tiphys.store.group_commit import Write
from tiphys.store.interface import Entry, StoreFull
from tiphys.store.sqlite import SQLiteStore
from tiphys.store.sqlite_pointers import GONE, FlushPolicy, Pointers, Slice

NEVER = FlushPolicy(rows=1 << 30, quiet_rows=1 << 30)

VERSION_1 = """
PRAGMA page_size = 16384;
PRAGMA journal_mode = wal;
CREATE TABLE cur(key TEXT PRIMARY KEY, rev INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE log(rev INTEGER PRIMARY KEY, op INTEGER NOT NULL, key TEXT NOT NULL, prev INTEGER NOT NULL, value BLOB);
CREATE TABLE meta(name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO meta VALUES ('compact_revision', 0), ('swept_revision', 0);
CREATE VIEW objects AS
  SELECT cur.key, cur.rev AS revision, CAST(log.value AS TEXT) AS value FROM cur JOIN log ON log.rev = cur.rev;
CREATE VIEW history AS SELECT rev AS revision, key FROM log;
PRAGMA application_id = 1416196200;
PRAGMA user_version = 1;
"""


def writes(*pairs: tuple[str, int]) -> list[Write]:
    """Negative: a deletion at that revision."""
    future: Any = None
    return [Write(key, b"" if revision > 0 else None, abs(revision), 0, future) for key, revision in pairs]


def query(path: Path, sql: str) -> list[tuple[Any, ...]]:
    with closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)) as connection:
        return connection.execute(sql).fetchall()


def through(path: Path) -> int:
    return int(query(path, "SELECT value FROM meta WHERE name = 'pointers_through'")[0][0])


async def turns(count: int = 50) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


# In memory


def test_a_flush_writes_each_key_once_in_order_and_says_through_where_at_its_end() -> None:
    pointers = Pointers({}, 0)
    pointers.committed(writes(("/c", 1), ("/a", 2), ("/b", 3), ("/c", 4), ("/a", -5)))
    assert pointers.begin_flush(5, 2) == [
        Slice([("/a", GONE), ("/b", 3)], 0),
        Slice([("/c", 4)], 5),
    ]
    assert pointers.rows == 5
    pointers.flushed(5)
    assert (pointers.through, pointers.rows, pointers.late("", "")) == (5, 0, {})
    assert pointers.revisions == {"/b": 3, "/c": 4}


def test_a_key_that_came_and_went_is_flushed_as_gone_since_a_flush_cut_short_may_have_written_it() -> None:
    pointers = Pointers({}, 0)
    pointers.committed(writes(("/a", 1), ("/a", -2)))
    assert pointers.begin_flush(2, 10) == [Slice([("/a", GONE)], 2)]


def test_what_is_written_during_a_flush_is_late_after_it() -> None:
    pointers = Pointers({}, 0)
    pointers.committed(writes(("/a", 1), ("/b", 2)))
    pointers.begin_flush(2, 10)
    pointers.committed(writes(("/a", 3)))
    assert pointers.late("", "") == {"/a": 3, "/b": 2}
    pointers.flushed(2)
    assert (pointers.late("", ""), pointers.rows) == ({"/a": 3}, 1)


def test_a_failed_flush_is_late_as_before_and_newer_writes_win() -> None:
    pointers = Pointers({}, 0)
    pointers.committed(writes(("/a", 1), ("/b", 2)))
    pointers.begin_flush(2, 1)
    pointers.committed(writes(("/a", -3)))
    pointers.flush_failed()
    assert (pointers.through, pointers.rows) == (0, 3)
    assert pointers.begin_flush(3, 10) == [Slice([("/a", GONE), ("/b", 2)], 3)]


def test_late_keys_of_a_prefix_from_a_first_one_on() -> None:
    pointers = Pointers({}, 0)
    pointers.committed(writes(("/a/1", 1), ("/a/2", 2), ("/b/1", 3)))
    assert pointers.late("/a/", "/a/2") == {"/a/2": 2}


def test_opening_lays_the_log_over_what_cur_says() -> None:
    pointers = Pointers({"/a": 1, "/b": 2}, 2)
    pointers.replay([("/a", 3), ("/b", GONE), ("/c", GONE), ("/d", 6)])
    assert (pointers.revisions, pointers.rows) == ({"/a": 3, "/d": 6}, 4)


# When they are written


async def test_enough_writes_start_a_flush_and_a_close_writes_the_rest(path: Path) -> None:
    store = SQLiteStore(path, writer="inline", flush=FlushPolicy(rows=10, quiet_rows=1 << 30, slice_keys=2))
    for number in range(9):
        await store.write(f"/{number}", b"")
    await turns()
    assert through(path) == 0
    await store.write("/9", b"")
    await turns()
    assert through(path) == 10
    await store.write("/last", b"")
    await turns()
    assert through(path) == 10
    await store.close()
    assert through(path) == 11
    assert query(path, "SELECT count(*) FROM cur") == [(11,)]


async def test_a_store_that_falls_quiet_flushes_unless_it_is_not_worth_it(path: Path) -> None:
    policy = FlushPolicy(rows=1 << 30, quiet_rows=3, quiet_seconds=0)
    store = SQLiteStore(path, writer="inline", flush=policy)
    await asyncio.gather(store.write("/a", b""), store.write("/b", b""))
    await turns()
    assert through(path) == 0
    await store.write("/c", b"")
    await turns()
    assert through(path) == 3
    await store.close()


async def test_a_compaction_flushes_first_so_that_no_deletion_is_forgotten(path: Path) -> None:
    store = SQLiteStore(path, flush=NEVER)
    await store.write("/a", b"1")
    await store.compact(1)
    assert through(path) == 1
    await store.write("/a", None)
    await store.compact(2)
    assert through(path) == 2
    assert query(path, "SELECT * FROM cur") == query(path, "SELECT * FROM log") == []
    await store.close()


async def test_a_close_during_the_flush_of_a_compaction_ends_both(path: Path) -> None:
    store = SQLiteStore(path, flush=FlushPolicy(rows=1 << 30, slice_keys=1))
    await asyncio.gather(*(store.write(f"/{number % 40}", b"") for number in range(80)))
    compaction = asyncio.ensure_future(store.compact(70))
    while not store.compact_revision:
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    await store.close()
    await compaction
    assert through(path) == 80
    assert query(path, "SELECT count(*), sum(rev) FROM cur") == [(40, sum(range(41, 81)))]


async def test_a_compaction_that_is_cancelled_in_its_flush_leaves_the_store_whole(path: Path) -> None:
    store = SQLiteStore(path, flush=FlushPolicy(rows=1 << 30, slice_keys=1))
    for round_number in range(12):
        await asyncio.gather(*(store.write(f"/{number}", b"") for number in range(8)))
        compaction = asyncio.ensure_future(store.compact(store.revision))
        while store.compact_revision < store.revision:
            await asyncio.sleep(0)
        await turns(round_number)
        compaction.cancel()
        await asyncio.wait([compaction])
        assert len(store.list("").entries) == 8
    await store.compact(store.revision)
    assert query(path, "SELECT rev FROM cur ORDER BY rev") == query(path, "SELECT rev FROM log ORDER BY rev")
    await store.close()


# What is seen meanwhile


async def test_the_objects_that_a_tool_sees_are_never_late(path: Path) -> None:
    store = SQLiteStore(path, flush=NEVER)
    await asyncio.gather(*(store.write(f"/{number}", b"old") for number in range(4)))
    await store.compact(4)
    await asyncio.gather(store.write("/1", b"new"), store.write("/2", None), store.write("/4", b"new"))
    assert through(path) == 4
    assert query(path, "SELECT * FROM objects ORDER BY key") == [
        ("/0", 1, "old"),
        ("/1", 5, "new"),
        ("/3", 4, "old"),
        ("/4", 7, "new"),
    ]
    await store.close()


async def test_pages_and_what_remains_count_late_keys_once(path: Path) -> None:
    store = SQLiteStore(path, flush=NEVER)
    await asyncio.gather(*(store.write(f"/{number}", b"old") for number in range(0, 10, 2)))
    await store.compact(store.revision)
    late = [store.write("/2", None), store.write("/4", b"new"), store.write("/5", b"new")]
    await asyncio.gather(*late)
    page = store.list("/", limit=2)
    assert ([entry.key for entry in page.entries], page.remaining) == (["/0", "/4"], 3)
    page = store.list("/", start_after="/4", limit=2)
    assert ([entry.key for entry in page.entries], page.remaining) == (["/5", "/6"], 1)
    page = store.list("/", revision=5, limit=2)
    assert (page.entries, page.remaining) == ([Entry("/0", b"old", 1), Entry("/2", b"old", 2)], 3)
    await store.close()


# A disk that refuses them


@pytest.mark.parametrize("writer", ["inline", "thread"])
async def test_a_flush_that_fails_fails_no_write_and_comes_again(
    path: Path, writer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    fault = FailOnce(apsw.FullError)
    disk = Disk(f"faulty-flush-{writer}", fault)
    policy = FlushPolicy(rows=4, quiet_rows=1 << 30, slice_keys=2)
    store = SQLiteStore(path, writer=writer, disk=disk.name, flush=policy)
    refused, number = 0, 0
    while True:
        number += 1
        at = store.revision
        await asyncio.gather(*(store.write(f"/{key}", str(number).encode()) for key in range(4)))
        fault.arm(number)  # the flush is under way, and nothing else
        while through(path) < at + 4 and not fault.failed:
            await asyncio.sleep(0)
        fault.disarm()
        if not fault.failed:
            break
        refused += 1
        assert {entry.value for entry in store.list("").entries} == {str(number).encode()}
        while through(path) <= at:
            await store.write("/0", str(number).encode())
    assert refused > 3
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * refused
    listing = store.list("")
    await store.close()
    disk.unregister()
    store = SQLiteStore(path)
    assert store.list("") == listing
    await store.close()


async def test_a_store_whose_last_flush_fails_closes_and_opens_with_everything(path: Path) -> None:
    fault = FailOnce(apsw.FullError)
    disk = Disk("faulty-close", fault)
    store = SQLiteStore(path, disk=disk.name, flush=NEVER)
    await asyncio.gather(store.write("/a", b"1"), store.write("/b", b"2"), store.write("/c", b"3"))
    await store.write("/b", None)
    fault.arm(1)
    await store.close()
    assert fault.failed
    assert through(path) == 0
    disk.unregister()
    store = SQLiteStore(path)
    assert store.list("").entries == [Entry("/a", b"1", 1), Entry("/c", b"3", 3)]
    await store.close()
    assert through(path) == 4


async def test_a_compaction_whose_flush_fails_says_so_and_deletes_nothing(path: Path) -> None:
    fault = FailOnce(apsw.FullError)
    disk = Disk("faulty-compacting-flush", fault)
    store = SQLiteStore(path, disk=disk.name, flush=NEVER)
    await store.write("/a", b"1")
    await store.compact(1)
    await store.write("/a", None)
    for number in range(1, 10):
        fault.arm(number)
        with pytest.raises(StoreFull):
            await store.compact(2)
        if store.compact_revision == 2:
            break
    assert through(path) == 1
    assert query(path, "SELECT rev FROM log") == [(1,), (2,)]
    await store.compact(2)
    assert query(path, "SELECT rev FROM log") == []
    await store.close()
    disk.unregister()


async def test_somebody_who_locks_the_file_only_delays_a_flush(path: Path) -> None:
    store = SQLiteStore(path, writer="inline", flush=FlushPolicy(rows=2, quiet_rows=1 << 30))
    await store.write("/a", b"")
    store.write("/b", b"")
    await asyncio.sleep(0)
    with closing(apsw.Connection(str(path))) as other:
        other.execute("BEGIN IMMEDIATE")
        await turns()
        other.execute("ROLLBACK")
    assert through(path) == 0
    await store.write("/c", b"")
    await store.write("/d", b"")
    await turns()
    assert through(path) == 4
    await store.close()


# Older files


def make_version_1(path: Path, *statements: str) -> None:
    with closing(apsw.Connection(str(path))) as connection:
        connection.execute(VERSION_1 + ";".join(statements)).fetchall()


async def test_a_file_of_the_first_format_opens_and_is_brought_up_to_date(path: Path) -> None:
    make_version_1(
        path,
        "INSERT INTO log VALUES (1, 1, '/a', 0, x'31'), (2, 1, '/b', 0, x'32'), (3, 2, '/a', 1, x'33'), (4, 3, '/b', 2, NULL)",
        "INSERT INTO cur VALUES ('/a', 3)",
    )
    store = SQLiteStore(path, flush=NEVER)
    assert store.list("").entries == [Entry("/a", b"3", 3)]
    assert store.list("", revision=2).entries == [Entry("/a", b"1", 1), Entry("/b", b"2", 2)]
    assert through(path) == 4
    assert await store.write("/b", b"5", expected=0) == 5
    assert query(path, "SELECT * FROM objects ORDER BY key") == [("/a", 3, "3"), ("/b", 5, "5")]
    await store.compact(5)
    await store.close()
    assert query(path, "PRAGMA user_version") == [(2,)]
    store = SQLiteStore(path)
    assert store.list("").entries == [Entry("/a", b"3", 3), Entry("/b", b"5", 5)]
    await store.close()


async def test_a_first_format_whose_newest_change_is_a_compacted_deletion(path: Path) -> None:
    make_version_1(path, "UPDATE meta SET value = 7")
    store = SQLiteStore(path)
    assert (store.revision, store.compact_revision, through(path)) == (7, 7, 7)
    assert await store.write("/a", b"") == 8
    await store.close()
