"""How fast the store is here: durable writes, reads, opening, import. Run: python bench/store.py [directory]

Medians of a few short rounds, on the disk of the directory (default: a new one under the working directory).
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from statistics import median
from typing import Any

from tiphys.store.sqlite import SQLiteStore
from tiphys.store.sqlite_pointers import FlushPolicy

ROUNDS = 3
ROUND_SECONDS = 0.5
OBJECTS = 5000
UNFLUSHED = 5000
IMPORTS = "import sys,time,asyncio,ssl;t=time.perf_counter();import tiphys.store.sqlite;print(time.perf_counter()-t)"
PREFIX = "/registry/configmaps/default/cm-"


@dataclass(frozen=True)
class Load:
    """Keys of real objects are random (a name, then a UUID or a suffix): each is another page of an ordered table."""

    population: int = 20_000
    writers: int = 32
    value_bytes: int = 1024
    verb: str = "create"
    keys: str = "random"

    def __str__(self) -> str:
        return (
            f"{self.verb} {self.value_bytes / 1024:.1f} KiB, {self.keys} keys, {self.population // 1000}k objects, "
            f"{self.writers} writers"
        )


LOADS = [
    Load(),
    Load(verb="update"),
    Load(writers=1),
    Load(writers=64),
    Load(population=100_000),
    Load(value_bytes=6700),
    Load(keys="sequential"),
    Load(population=5_000, keys="sequential", writers=64),
]


def key(number: int) -> str:
    return f"{PREFIX}{number:08d}"


def value(size_bytes: int) -> bytes:
    return (b'{"data":"' + b"0123456789abcdef" * (size_bytes // 16 + 1))[: size_bytes - 2] + b'"}'


def names(load: Load) -> Iterator[str]:
    """Keys without end, none twice."""
    if load.keys == "sequential":
        return (key(number) for number in count())
    choice = random.Random(1)
    return (f"{PREFIX}{choice.randbytes(8).hex()}" for _ in count())


def report(name: str, value: float, unit: str) -> None:
    print(f"{name:68s} {value:10,.1f} {unit}", flush=True)


async def fill(store: SQLiteStore, keys: Iterable[str], content: bytes) -> None:
    waiting = iter(keys)
    while some := list(islice(waiting, 500)):
        await asyncio.gather(*(store.write(name, content) for name in some))


async def write_rate(
    store: SQLiteStore, load: Load, fresh: Iterator[str], known: list[str]
) -> tuple[float, float, float, float]:
    """Writes per second, CPU µs per write, and p50 and p99 of a write in ms."""
    latencies: list[float] = []
    end = time.perf_counter() + ROUND_SECONDS
    content, create = value(load.value_bytes), load.verb == "create"
    choice = random.Random(2)

    async def writer() -> None:
        while (started := time.perf_counter()) < end:
            name = next(fresh) if create else choice.choice(known)
            await store.write(name, content, expected=0 if create else None)
            latencies.append(time.perf_counter() - started)

    started, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(writer() for _ in range(load.writers)))
    elapsed, cpu = time.perf_counter() - started, time.process_time() - cpu
    latencies.sort()
    p50, p99 = latencies[len(latencies) // 2], latencies[len(latencies) * 99 // 100]
    return len(latencies) / elapsed, cpu / len(latencies) * 1e6, p50 * 1e3, p99 * 1e3


async def bench_writes(directory: Path) -> None:
    for load in LOADS:
        for mode in ("inline", "thread", "adaptive"):
            path = directory / "writes.db"
            store = SQLiteStore(path, writer=mode)
            fresh = names(load)
            known = list(islice(fresh, load.population))
            await fill(store, known, value(load.value_bytes))
            rounds = [await write_rate(store, load, fresh, known) for _ in range(ROUNDS)]
            await store.close()
            path.unlink()
            rate, cpu, p50, p99 = (median(column) for column in zip(*rounds, strict=True))
            print(
                f"{load!s:58s} {mode:9s} {rate:10,.1f} /s   cpu {cpu:5.0f} µs   p50 {p50:6.2f}   p99 {p99:6.2f} ms",
                flush=True,
            )


async def timed(call: Callable[[], Any]) -> float:
    started = time.perf_counter()
    result = call()
    if isinstance(result, Awaitable):
        await result
    return (time.perf_counter() - started) * 1e3


async def bench_reads(directory: Path) -> None:
    path = directory / "reads.db"
    store = SQLiteStore(path)
    for _ in range(2):
        await fill(store, map(key, range(OBJECTS)), value(1024))
    past = store.revision
    await fill(store, map(key, range(OBJECTS)), value(1024))
    lists = [await timed(lambda: store.list("/registry/")) for _ in range(ROUNDS)]
    pages = [await timed(lambda: store.list("/registry/", limit=500)) for _ in range(ROUNDS)]
    pasts = [await timed(lambda: store.list("/registry/", revision=past)) for _ in range(ROUNDS)]
    gets = [await timed(lambda: store.get(key(4321))) for _ in range(500)]
    compact = await timed(lambda: store.compact(store.revision))
    await store.close()
    opens = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        store = SQLiteStore(path)
        opens.append((time.perf_counter() - started) * 1e3)
        await store.close()
    report(f"list all {OBJECTS:,} objects", median(lists), "ms")
    report("list a page of 500", median(pages), "ms")
    report(f"list all, {OBJECTS:,} changes ago", median(pasts), "ms")
    report("get", median(gets) * 1e3, "µs")
    report(f"compact {2 * OBJECTS:,} old rows of {3 * OBJECTS:,}", compact, "ms")
    report(f"open {OBJECTS:,} objects", median(opens), "ms")


async def bench_opening_after_a_kill(directory: Path, population: int) -> None:
    """What a killed process left whose last pointers, more of them than there ever are, were not flushed."""
    path, left = directory / f"killed-{population}.db", directory / "left.db"
    never = FlushPolicy(rows=1 << 30, quiet_rows=1 << 30)
    fresh = names(Load())
    store = SQLiteStore(path)
    await fill(store, islice(fresh, population), value(1024))
    await store.close()
    store = SQLiteStore(path, flush=never)
    await fill(store, islice(fresh, UNFLUSHED), value(1024))
    opens = []
    for _ in range(ROUNDS):
        for suffix in ("", "-wal"):
            shutil.copy(f"{path}{suffix}", f"{left}{suffix}")
        started = time.perf_counter()
        survivor = SQLiteStore(left)
        opens.append((time.perf_counter() - started) * 1e3)
        await survivor.close()
        left.unlink()
    await store.close()
    report(f"open {population:,} objects and {UNFLUSHED:,} unflushed after a kill", median(opens), "ms")


def bench_import() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    times = [
        float(subprocess.check_output([sys.executable, "-c", IMPORTS], env=environment)) * 1e3
        for _ in range(7)
    ]
    report("import tiphys.store.sqlite, over asyncio", median(times), "ms")


def main() -> None:
    with tempfile.TemporaryDirectory(
        dir=sys.argv[1] if len(sys.argv) > 1 else ".", prefix="bench-store-"
    ) as name:
        bench_import()
        asyncio.run(bench_reads(Path(name)))
        for population in (0, 20_000, 100_000):
            asyncio.run(bench_opening_after_a_kill(Path(name), population))
        asyncio.run(bench_writes(Path(name)))


if __name__ == "__main__":
    main()
