"""What only the SQLite store has: a file, its format, its log, and the thread."""

import asyncio
import os
import shutil
import sqlite3
import stat
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import pytest

from tiphys.store.interface import (
    Compacted,
    Conflict,
    Entry,
    StoreCorrupt,
    StoreError,
    StoreFailed,
    StoreInUse,
)
from tiphys.store.sqlite import SWEEP_ROWS, SQLiteStore
from tiphys.store.sqlite_database import CHECKPOINT_PAGES, prefix_end
from tiphys.store.sqlite_file import PAGE_BYTES
from tiphys.store.writer import COMMITS_INLINE


def query(path: Path, sql: str) -> list[tuple[Any, ...]]:
    """As another connection sees it: through the same library, since two in one process break each other's locks."""
    with closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)) as connection:
        return connection.execute(sql).fetchall()


async def fill(path: Path, count: int = 300) -> None:
    store = SQLiteStore(path)
    await asyncio.gather(*(store.write(f"/{number}", b"x" * 1000) for number in range(count)))
    await store.close()


def refusal(path: Path, kind: type[StoreError]) -> str:
    with pytest.raises(kind) as raised:
        SQLiteStore(path)
    assert raised.value.path == str(path)
    message = str(raised.value)
    assert "\n" not in message
    assert message.startswith(f"{path} ")
    return message


# What stays


async def test_everything_is_there_after_reopening(path: Path) -> None:
    store = SQLiteStore(path)
    await asyncio.gather(store.write("/a", b"1"), store.write("/b", b"2"), store.write("/a", b"3"))
    await store.write("/b", None)
    changes = list(store.changes(0))
    await store.close()
    store = SQLiteStore(str(path))
    assert store.revision == 4
    assert store.list("").entries == [Entry("/a", b"3", 3)]
    assert list(store.changes(0)) == changes
    with pytest.raises(Conflict):
        await store.write("/a", b"", expected=0)
    assert await store.write("/a", b"", expected=3) == 5
    await store.close()


async def test_a_compacted_deletion_that_was_the_newest_change_does_not_free_its_revision(path: Path) -> None:
    store = SQLiteStore(path)
    await store.write("/a", b"1")
    await store.write("/a", None)
    await store.compact(2)
    await store.close()
    store = SQLiteStore(path)
    assert (store.revision, store.compact_revision) == (2, 2)
    assert await store.write("/a", b"new") == 3
    await store.close()


async def test_compaction_leaves_exactly_the_rows_that_history_needs(path: Path) -> None:
    store = SQLiteStore(path)
    for number in range(3 * SWEEP_ROWS):
        store.write(f"/{number % 10}", b"x")
    await store.write("/0", None)
    newest = store.revision
    await store.write("/1", b"y")
    await store.compact(newest)
    await store.close()
    assert query(path, "SELECT count(*) FROM log") == [(9 + 1,)]
    assert query(path, "SELECT name, value FROM meta ORDER BY name") == [
        ("compact_revision", newest),
        ("pointers_through", newest + 1),
        ("swept_revision", newest),
    ]


async def test_a_compaction_that_a_close_cut_short_is_finished_by_the_next(path: Path) -> None:
    store = SQLiteStore(path)
    await asyncio.gather(*(store.write("/a", b"x") for _ in range(4 * SWEEP_ROWS)))
    compaction = asyncio.ensure_future(store.compact(4 * SWEEP_ROWS - 1))
    while not store.compact_revision:
        await asyncio.sleep(0)
    await store.close()
    await compaction
    swept = query(path, "SELECT value FROM meta WHERE name = 'swept_revision'")[0][0]
    assert swept < 4 * SWEEP_ROWS - 1
    store = SQLiteStore(path)
    with pytest.raises(Compacted):
        store.changes(0)
    await store.compact(store.compact_revision)
    await store.close()
    assert query(path, "SELECT rev FROM log") == [(4 * SWEEP_ROWS - 1,), (4 * SWEEP_ROWS,)]


async def test_a_cancelled_compaction_does_not_let_a_commit_in_beside_its_slice(path: Path) -> None:
    store = SQLiteStore(path, writer="inline")
    await asyncio.gather(*(store.write("/a", b"x") for _ in range(4 * SWEEP_ROWS)))
    for _ in range(20):
        compaction = asyncio.ensure_future(store.compact(store.revision))
        await asyncio.sleep(0)
        written = store.write("/a", b"y")
        await asyncio.sleep(0)
        compaction.cancel()
        await written
    await store.compact(store.revision)
    assert [entry.key for entry in store.list("").entries] == ["/a"]
    await store.close()


async def test_a_kept_change_whose_past_was_compacted_says_so(path: Path) -> None:
    store = SQLiteStore(path)
    kept: list[Any] = []
    await store.write("/a", b"1")
    store.subscribe(kept.extend)
    await store.write("/a", b"2")
    await store.compact(2)
    with pytest.raises(Compacted):
        _ = kept[0].previous
    await store.close()


async def test_anybody_can_look_while_the_store_is_open(path: Path) -> None:
    store = SQLiteStore(path)
    await store.write("/a", b'{"kind":"Pod"}')
    await store.write("/b", b"2")
    await store.write("/b", None)
    assert query(path, "SELECT key, revision, value FROM objects") == [("/a", 1, '{"kind":"Pod"}')]
    assert query(path, "SELECT revision, op, key, previous_revision FROM history") == [
        (1, "created", "/a", 0),
        (2, "created", "/b", 0),
        (3, "deleted", "/b", 2),
    ]
    assert query(path, "PRAGMA page_size") == [(PAGE_BYTES,)]
    await store.close()


async def test_only_the_owner_may_read_it(path: Path) -> None:
    store = SQLiteStore(path)
    await store.write("/secret", b"1")
    for name in os.listdir(path.parent):
        assert stat.S_IMODE((path.parent / name).stat().st_mode) == 0o600, name
    await store.close()
    assert sorted(os.listdir(path.parent)) == ["store.db", "store.db.lock"], "the log was copied back"


# The log


@pytest.mark.parametrize("writer", ["inline", "thread"])
async def test_the_write_ahead_log_does_not_grow_under_a_load_that_never_pauses(
    path: Path, writer: Any
) -> None:
    store = SQLiteStore(path, writer=writer)
    value = b"x" * 12_000
    written = 0

    async def load(number: int) -> None:
        nonlocal written
        while written < 4 * CHECKPOINT_PAGES:  # each fills two pages
            written += 1
            await store.write(f"/{number}", value)

    await asyncio.gather(*(load(number) for number in range(64)))
    log_pages = path.with_name("store.db-wal").stat().st_size / PAGE_BYTES
    await store.close()
    assert log_pages < 4 * CHECKPOINT_PAGES, "8 times as many pages were written"


async def test_a_reader_that_never_ends_does_not_stop_the_writes(path: Path) -> None:
    await fill(path)
    store = SQLiteStore(path)
    with closing(apsw.Connection(str(path))) as reader:
        rows = reader.execute("SELECT * FROM log, log AS again")
        next(rows)
        await asyncio.gather(
            *(store.write(f"/{number % 9}", b"x" * 12_000) for number in range(CHECKPOINT_PAGES))
        )
        await store.compact(store.revision)
    assert await store.write("/a", b"") == 300 + CHECKPOINT_PAGES + 1
    await store.close()


# The thread


class SlowingClock:
    """Each reading is `step` seconds after the one before: a commit takes one step."""

    def __init__(self) -> None:
        self.now, self.step = 0.0, 0.0001
        self.threads: list[str] = []

    def __call__(self) -> float:
        self.now += self.step
        self.threads.append(threading.current_thread().name)
        return self.now


async def test_commits_move_to_the_thread_when_the_disk_is_slow_and_back(path: Path) -> None:
    clock = SlowingClock()
    store = SQLiteStore(path, clock=clock)

    async def commit_where(commits: int) -> str:
        for _ in range(commits):
            await store.write("/a", b"")
        return clock.threads[-1]

    loop_thread = threading.current_thread().name
    assert await commit_where(3 * COMMITS_INLINE) == loop_thread
    clock.step = 0.020
    assert await commit_where(COMMITS_INLINE + 1) == "store-writer"
    clock.step = 0.0001
    assert await commit_where(200) == loop_thread
    await store.close()
    assert "store-writer" not in [thread.name for thread in threading.enumerate()]


async def test_a_value_of_the_wrong_type_fails_its_batch_and_no_more(path: Path) -> None:
    store = SQLiteStore(path)
    outcomes = await asyncio.gather(
        store.write("/a", b"1"),
        store.write("/b", object()),
        return_exceptions=True,  # type: ignore[arg-type]
    )
    assert [type(outcome) for outcome in outcomes] == [TypeError, TypeError]
    assert await store.write("/a", b"2", expected=0) == 3
    assert [entry.value for entry in store.list("").entries] == [b"2"]
    await store.close()


# What is refused


async def test_a_second_opener_is_refused_and_the_first_goes_on(path: Path) -> None:
    store = SQLiteStore(path)
    assert refusal(path, StoreInUse) == f"{path} is in use by process {os.getpid()}: stop that one first"
    assert await store.write("/a", b"1") == 1
    await store.close()
    await SQLiteStore(path).close()


@pytest.mark.parametrize(
    "content", [b"x", b"hello, world\n" * 1000, b"\0" * 4096], ids=["byte", "text", "zeros"]
)
def test_a_file_that_is_no_database_is_refused_and_left_alone(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    assert "move it aside together with its -wal and -shm files" in refusal(path, StoreCorrupt)
    assert path.read_bytes() == content
    path.unlink()
    asyncio.run(SQLiteStore(path).close())


def test_the_database_of_another_program_is_refused_and_left_alone(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE notes(text)")
    content = path.read_bytes()
    assert "the SQLite database of another program" in refusal(path, StoreCorrupt)
    assert path.read_bytes() == content


async def test_a_newer_format_is_refused(path: Path) -> None:
    await fill(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")
    assert "its format is 99" in refusal(path, StoreCorrupt)


async def test_a_damaged_page_is_found_when_the_file_is_opened(path: Path) -> None:
    await fill(path)
    with open(path, "r+b") as file:
        file.seek(path.stat().st_size // PAGE_BYTES // 2 * PAGE_BYTES)
        file.write(b"\xff" * PAGE_BYTES)
    refusal(path, StoreCorrupt)


async def test_damage_while_the_store_is_open_is_told_to_the_reader(path: Path) -> None:
    await fill(path)
    store = SQLiteStore(path)
    with open(path, "r+b") as file:
        for page in range(path.stat().st_size // PAGE_BYTES // 2, path.stat().st_size // PAGE_BYTES):
            file.seek(page * PAGE_BYTES)
            file.write(b"\xff" * PAGE_BYTES)
    with pytest.raises(StoreCorrupt, match=r"store\.db is not a usable store"):
        store.list("")
    await store.close()


async def test_a_truncated_file_is_found_when_it_is_opened(path: Path) -> None:
    await fill(path)
    os.truncate(path, path.stat().st_size - 4 * PAGE_BYTES)
    refusal(path, StoreCorrupt)


async def test_a_key_whose_value_is_gone_is_found_when_the_file_is_opened(path: Path) -> None:
    await fill(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("DELETE FROM log WHERE rev IN (7, 8)")
    assert "the values of 2 keys are missing" in refusal(path, StoreCorrupt)


@pytest.mark.parametrize("empty", [True, False], ids=["empty", "missing"])
async def test_a_log_without_its_database_is_not_thrown_away(path: Path, empty: bool) -> None:
    store = SQLiteStore(path)
    await store.write("/a", b"1")
    orphan = path.with_name("orphan.db")
    if empty:
        orphan.touch()
    shutil.copy(f"{path}-wal", f"{orphan}-wal")
    await store.close()
    assert "its write-ahead log is there" in refusal(orphan, StoreCorrupt)
    assert Path(f"{orphan}-wal").stat().st_size > 0


async def test_an_unfinished_creation_is_no_obstacle(path: Path) -> None:
    path.touch()
    store = SQLiteStore(path)
    assert await store.write("/a", b"1") == 1
    await store.close()


def test_a_missing_directory_is_named(path: Path) -> None:
    assert "No such file or directory" in refusal(path.parent / "missing" / "store.db", StoreFailed)


def test_a_directory_is_no_file(path: Path) -> None:
    path.mkdir()
    refusal(path, StoreFailed)


async def test_somebody_who_locks_the_file_costs_an_error_and_no_more(path: Path) -> None:
    store = SQLiteStore(path, writer="thread")
    with closing(apsw.Connection(str(path))) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreFailed, match="locked by another program"):
            await store.write("/a", b"1")
        other.execute("ROLLBACK")
    assert await store.write("/a", b"1", expected=0) == 2
    await store.close()


@pytest.mark.parametrize(
    ("prefix", "end"),
    [("/a", "/b"), ("", b""), ("\U0010ffff", b""), ("a\U0010ffff", "b"), ("\ud7ff", "\ue000")],
)
def test_the_end_of_a_prefix(prefix: str, end: str | bytes) -> None:
    assert prefix_end(prefix) == end
