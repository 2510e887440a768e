"""How fast the store is here: durable writes, reads, opening, import. Run: python bench/store.py [directory]

Medians of a few short rounds, on the disk of the directory (default: a new one under the working directory).
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median
from typing import Any

from tiphys.store.sqlite import SQLiteStore

ROUNDS = 5
ROUND_SECONDS = 0.5
OBJECTS = 5000
VALUE = (b'{"data":"' + b"0123456789abcdef" * 64)[:1022] + b'"}'
IMPORTS = "import sys,time,asyncio,ssl;t=time.perf_counter();import tiphys.store.sqlite;print(time.perf_counter()-t)"


def key(number: int) -> str:
    return f"/registry/configmaps/default/cm-{number:08d}"


def report(name: str, value: float, unit: str) -> None:
    print(f"{name:58s} {value:10,.1f} {unit}", flush=True)


async def fill(store: SQLiteStore) -> None:
    await asyncio.gather(*(store.write(key(number), VALUE) for number in range(OBJECTS)))


async def write_rate(store: SQLiteStore, writers: int, *, update: bool) -> tuple[float, float, float, float]:
    """Writes per second, CPU µs per write, and p50 and p99 of a write in ms."""
    latencies: list[float] = []
    end = time.perf_counter() + ROUND_SECONDS

    async def writer(number: int) -> None:
        made = 0
        while (started := time.perf_counter()) < end:
            name = key((made * writers + number) % OBJECTS) if update else f"{key(store.revision)}-{number}"
            await store.write(name, VALUE, expected=None if update else 0)
            latencies.append(time.perf_counter() - started)
            made += 1

    started, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(writer(number) for number in range(writers)))
    elapsed, cpu = time.perf_counter() - started, time.process_time() - cpu
    latencies.sort()
    p50, p99 = latencies[len(latencies) // 2], latencies[len(latencies) * 99 // 100]
    return len(latencies) / elapsed, cpu / len(latencies) * 1e6, p50 * 1e3, p99 * 1e3


async def bench_writes(directory: Path) -> None:
    results: dict[tuple[str, int, bool], list[tuple[float, float, float, float]]] = {}
    for round_number in range(ROUNDS):
        for mode in ("adaptive", "inline", "thread"):
            store = SQLiteStore(directory / f"{mode}-{round_number}.db", writer=mode)  # type: ignore[arg-type]
            await fill(store)
            for writers in (1, 8, 64):
                for update in (False, True):
                    measured = await write_rate(store, writers, update=update)
                    results.setdefault((mode, writers, update), []).append(measured)
            await store.close()
    for (mode, writers, update), rounds in results.items():
        rate, cpu, p50, p99 = (median(column) for column in zip(*rounds, strict=True))
        verb = "update" if update else "create"
        name = f"{verb} 1 KiB, durable, {writers} writers, {mode}"
        print(
            f"{name:58s} {rate:10,.1f} /s   cpu {cpu:5.0f} µs   p50 {p50:6.2f}   p99 {p99:6.2f} ms",
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
    await fill(store)
    await fill(store)
    past = store.revision
    await fill(store)
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
        asyncio.run(bench_writes(Path(name)))


if __name__ == "__main__":
    main()
