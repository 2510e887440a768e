"""Nothing acknowledged is lost: not by SIGKILL, not by a power cut, not by a disk that is full or fails."""

import asyncio
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest
from disks import Disk, FailOnce, Killer, Platter

from tiphys.store.interface import Entry, StoreError, StoreFailed, StoreFull
from tiphys.store.sqlite import SQLiteStore
from tiphys.store.sqlite_pointers import FlushPolicy

HERE = Path(__file__).parent
ROUNDS = 6
NEVER = FlushPolicy(rows=1 << 30, quiet_rows=1 << 30)
EAGER = FlushPolicy(rows=3, slice_keys=2)


@pytest.fixture(params=["inline", "thread"])
def writer(request: pytest.FixtureRequest) -> Any:
    return request.param


# Killed


def killed_writer(
    path: Path, writer: str, flush_rows: int, seconds: float
) -> list[tuple[int, str, bytes | None]]:
    """What a process acknowledged that was killed so long after its first acknowledgement."""
    command = [sys.executable, str(HERE / "writing_process.py"), str(path), writer, str(flush_rows)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout
        first = process.stdout.readline()
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
        lines = [first, *process.stdout]
    assert process.returncode == -signal.SIGKILL
    acknowledged = []
    for line in lines:
        if line.endswith(b"\n"):
            revision, key, value = line.decode().split()
            acknowledged.append((int(revision), key, None if value == "-" else value.encode()))
    return acknowledged


def test_sigkill_at_any_moment_loses_no_acknowledged_write(path: Path) -> None:
    moments = random.Random(20)
    for number in range(ROUNDS):
        writer = "inline" if number % 2 else "thread"
        acknowledged = killed_writer(path, writer, (1, 50, 4096)[number % 3], moments.uniform(0, 0.25))
        assert acknowledged
        asyncio.run(check(path, acknowledged))


async def check(path: Path, acknowledged: list[tuple[int, str, bytes | None]]) -> None:
    store = SQLiteStore(path)
    history = {change.revision: change for change in store.changes(store.compact_revision)}
    assert list(history) == list(range(store.compact_revision + 1, store.revision + 1))
    for revision, key, value in acknowledged:
        if revision > store.compact_revision:
            assert (history[revision].key, history[revision].value) == (key, value)
    for revision, key, value in {key: each for each in acknowledged for key in [each[1]]}.values():
        if revision <= store.compact_revision and not any(change.key == key for change in history.values()):
            assert store.get(key) == (None if value is None else Entry(key, value, revision))
    listing = store.list("")
    await store.compact(store.compact_revision)
    await store.compact(store.revision)
    assert store.list("") == listing
    await store.close()


async def test_a_kill_before_any_write_of_a_flush_a_sweep_and_a_checkpoint_loses_nothing(
    path: Path, writer: Any
) -> None:
    killer = Killer(path.parent, path.parent / "killed")
    disk = Disk(f"killer-{writer}", killer)
    policy = FlushPolicy(rows=1 << 30, quiet_rows=1 << 30, slice_keys=3)
    store = SQLiteStore(path, writer=writer, disk=disk.name, flush=policy)
    for number in range(60):
        await store.write(f"/{number % 11}", None if number // 11 == 3 else str(number).encode() * 99)
    await store.write("/3", None)
    listing = store.list("")
    killer.armed = True
    await store.compact(store.revision - 5)
    await store.compact(store.revision)
    await store.close()
    disk.unregister()
    assert killer.count > 20
    for number in range(killer.count):
        survivor = SQLiteStore(killer.images / str(number) / path.name, flush=policy)
        assert survivor.list("") == listing, number
        for _ in range(2):
            await survivor.compact(survivor.revision)
            assert survivor.list("") == listing, number
        assert await survivor.write("/3", b"again", expected=0) == listing.revision + 1
        await survivor.close()


# Without power


@pytest.mark.parametrize("flush", [NEVER, EAGER], ids=["never", "eager"])
async def test_a_power_cut_loses_no_acknowledged_write(path: Path, writer: Any, flush: FlushPolicy) -> None:
    platter = Platter(path.parent / "platter")
    disk = Disk(f"platter-{writer}", platter)
    store = SQLiteStore(path, writer=writer, disk=disk.name, flush=flush)
    state: dict[str, bytes] = {}
    for number in range(20):
        key, value = f"/{number % 7}", str(number).encode()
        syncs = platter.syncs
        await asyncio.gather(store.write(key, value), store.write("/all", value))
        new_log = number > 0 and number % 4 == 0
        assert platter.syncs - syncs == (2 if new_log else 1), "one sync for all writes of a turn"
        state |= {key: value, "/all": value}
        if number == 12:
            await store.compact(store.revision - 3)
        after_the_cut = shutil.copytree(platter.directory, path.parent / str(number))
        survivor = SQLiteStore(after_the_cut / path.name)
        assert {entry.key: entry.value for entry in survivor.list("").entries} == state
        assert survivor.revision == store.revision
        await survivor.close()
        if number % 4 == 3:
            await store.close()
            store = SQLiteStore(path, writer=writer, disk=disk.name, flush=flush)
    await store.close()
    disk.unregister()


# A disk that fails


@pytest.mark.parametrize(("error", "expected"), [(apsw.FullError, StoreFull), (apsw.IOError, StoreFailed)])
async def test_whichever_operation_the_disk_refuses(
    path: Path, writer: Any, error: type[apsw.Error], expected: type[StoreError]
) -> None:
    fault = FailOnce(error)
    disk = Disk(f"faulty-{writer}-{error.__name__}", fault)
    store = SQLiteStore(path, writer=writer, disk=disk.name)
    state: dict[str, bytes] = {}
    number = 0
    while True:
        number += 1
        fault.arm(number)
        values = {f"/{key}": f"{number}-{key}".encode() * 500 for key in range(5)}
        outcomes = await asyncio.gather(
            *(store.write(key, value) for key, value in values.items()), return_exceptions=True
        )
        if not fault.failed:
            break
        assert {type(outcome) for outcome in outcomes} == {expected}
        assert {entry.key: entry.value for entry in store.list("").entries} == state
        await asyncio.gather(*(store.write(key, value) for key, value in values.items()))
        state |= values
        assert {entry.key: entry.value for entry in store.list("").entries} == state
    fault.disarm()
    assert number > 3, "there were operations to refuse"
    history = [change.revision for change in store.changes(0)]
    await store.close()
    store = SQLiteStore(path)
    assert {entry.key: entry.value for entry in store.list("").entries} == state | values
    assert [change.revision for change in store.changes(0)] == history
    await store.close()
    disk.unregister()


async def test_a_compaction_that_the_disk_refuses_can_be_repeated(path: Path) -> None:
    fault = FailOnce(apsw.FullError)
    disk = Disk("faulty-compaction", fault)
    store = SQLiteStore(path, disk=disk.name)
    await asyncio.gather(*(store.write("/a", str(number).encode()) for number in range(500)))
    refused = 0
    for number in range(1, 40):
        fault.arm(number)
        try:
            await store.compact(490)
        except StoreFull:
            refused += 1
        fault.disarm()
        assert store.changes(490)[9].value == b"499"
        assert await store.write("/b", b"") == 500 + number
    assert refused > 3
    await store.close()
    store = SQLiteStore(path)
    assert [change.revision for change in store.changes(490)][:11] == list(range(491, 502))
    await store.close()
    disk.unregister()


# A disk that is full


@pytest.fixture
def file_size_limit() -> Iterator[int]:
    """No file of this process may grow beyond it; to SQLite that is an I/O error whose errno says: no space."""
    limit, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    yield 1 << 20
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))


async def test_a_limit_on_the_size_of_files_is_a_full_disk(
    path: Path, writer: Any, file_size_limit: int
) -> None:
    store = SQLiteStore(path, writer=writer)
    writes = [store.write(f"/{number}", b"x" * 20_000) for number in range(3)]
    while not any(
        isinstance(outcome, StoreFull) for outcome in await asyncio.gather(*writes, return_exceptions=True)
    ):
        writes = [store.write(f"/{store.revision + number}", b"x" * 20_000) for number in range(3)]
    assert len(store.list("").entries) == store.revision > 10
    await store.close()
    store = SQLiteStore(path)
    assert len(store.list("").entries) == store.revision
    await store.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small file system")
def test_a_full_file_system_and_space_again(tmp_path: Path, writer: Any) -> None:
    """In a mount namespace of its own, so that nothing is left behind whatever happens."""
    command = ["unshare", "--mount", "--propagation", "private", sys.executable]
    done = subprocess.run(
        [*command, str(HERE / "full_disk_process.py"), str(tmp_path), writer], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "ok\n"), done.stderr
