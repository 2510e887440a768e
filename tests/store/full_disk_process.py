"""Fills a small file system with a store, makes space, goes on, and looks whether everything is there.

Run as root in a mount namespace of its own: full_disk_process.py DIRECTORY WRITER
"""

import asyncio
import subprocess
import sys
from pathlib import Path

from tiphys.store.interface import StoreFull
from tiphys.store.sqlite import SQLiteStore
from tiphys.store.sqlite_pointers import FlushPolicy

SIZE_BYTES = 2 << 20


async def main(directory: Path, writer: str) -> None:
    (directory / "ballast").write_bytes(b"x" * (SIZE_BYTES // 2))
    path = directory / "store.db"
    store = SQLiteStore(path, writer=writer, flush=FlushPolicy(rows=20, slice_keys=8))  # type: ignore[arg-type]
    written = 0
    while True:
        outcomes = await asyncio.gather(
            *(store.write(f"/{written + number}", b"x" * 2000) for number in range(8)), return_exceptions=True
        )
        if any(isinstance(outcome, BaseException) for outcome in outcomes):
            break
        written += 8
    assert {type(outcome) for outcome in outcomes} == {StoreFull}, outcomes
    assert str(path) in str(outcomes[0]), outcomes
    assert written > 100, written
    assert len(store.list("").entries) == written
    (directory / "ballast").unlink()
    after = await store.write("/after", b"x")
    assert after > store.changes(0)[-2].revision
    await store.compact(after)
    await store.close()
    store = SQLiteStore(path)
    assert len(store.list("").entries) == written + 1
    await store.close()
    print("ok")


subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE_BYTES}", "tmpfs", sys.argv[1]], check=True)
asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
