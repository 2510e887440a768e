"""Writes until it is killed, and prints what has been acknowledged: `revision key value`, value - for a deletion.

Run: writing_process.py PATH WRITER FLUSH_ROWS
"""

import asyncio
import os
import random
import sys
from itertools import count

from tiphys.store.interface import Conflict
from tiphys.store.sqlite import SQLiteStore
from tiphys.store.sqlite_pointers import FlushPolicy


async def write_for_ever(store: SQLiteStore, name: str) -> None:
    choice = random.Random(name)
    for number in count():
        key = f"/{choice.randrange(20)}"
        value = None if choice.random() < 0.2 else f"{name}-{os.getpid()}-{number}".ljust(2000, ".").encode()
        try:
            revision = await store.write(key, value)
        except Conflict:
            continue
        os.write(1, f"{revision} {key} {'-' if value is None else value.decode()}\n".encode())


async def compact_for_ever(store: SQLiteStore) -> None:
    while True:
        await asyncio.sleep(0.02)
        await store.compact(max(store.revision - 100, 0))


async def main(path: str, writer: str, flush_rows: str) -> None:
    policy = FlushPolicy(rows=int(flush_rows), slice_keys=3)
    store = SQLiteStore(path, writer=writer, flush=policy)  # type: ignore[arg-type]
    await asyncio.gather(compact_for_ever(store), *(write_for_ever(store, f"writer-{n}") for n in range(8)))


asyncio.run(main(*sys.argv[1:]))
