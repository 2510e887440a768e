"""The store alone, beside etcd's."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Iterator
from itertools import islice

import grpc

from bench.cluster import Ours
from bench.store import Load, fill, names, value, write_rate
from bench.table import Beside, Figure, NotMeasured, Row
from bench.upstream import Upstream
from tiphys.store.sqlite import SQLiteStore

LOAD = Load(population=5000)
ROUNDS = 3
SECONDS = 1.0


def writes(ours: Ours) -> Figure:
    """As the API server calls it: in its own process."""
    return asyncio.run(_ours(ours))


async def _ours(ours: Ours) -> Figure:
    path = ours.scratch / "writes.db"
    store = SQLiteStore(path)
    try:
        fresh = names(LOAD)
        known = list(islice(fresh, LOAD.population))
        await fill(store, known, value(LOAD.value_bytes))
        rounds = [await write_rate(store, LOAD, fresh, known) for _ in range(ROUNDS)]
    finally:
        await store.close()
    rate, _, _, p99 = (statistics.median(column) for column in zip(*rounds, strict=True))
    return Figure(rate, f"p99 {p99:.1f} ms")


def etcds_writes(upstream: Upstream) -> Figure:
    """As kube-apiserver calls it: a transaction that creates the key if it is not there, over gRPC, from one process."""
    with upstream.etcd(upstream.scratch / "writes") as etcd:
        return asyncio.run(_etcd(etcd.port))


async def _etcd(port: int) -> Figure:
    fresh, content = names(LOAD), value(LOAD.value_bytes)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_unary("/etcdserverpb.KV/Txn")
        for key in islice(fresh, LOAD.population):
            await _create(call, key, content)
        rounds = [await _etcd_round(call, fresh, content) for _ in range(ROUNDS)]
    rate, p99 = (statistics.median(column) for column in zip(*rounds, strict=True))
    return Figure(rate, f"etcd, p99 {p99:.1f} ms")


async def _etcd_round(
    call: grpc.aio.UnaryUnaryMultiCallable, fresh: Iterator[str], content: bytes
) -> tuple[float, float]:
    """(writes per second, p99 in ms)"""
    latencies: list[float] = []
    begun = time.perf_counter()

    async def writer() -> None:
        while (started := time.perf_counter()) < begun + SECONDS:
            await _create(call, next(fresh), content)
            latencies.append(time.perf_counter() - started)

    await asyncio.gather(*(writer() for _ in range(LOAD.writers)))
    latencies.sort()
    return len(latencies) / (time.perf_counter() - begun), latencies[len(latencies) * 99 // 100] * 1e3


async def _create(call: grpc.aio.UnaryUnaryMultiCallable, key: str, content: bytes) -> None:
    answer = await call(creation(key.encode(), content))
    # TxnResponse: a header, shorter than 128 bytes, and then `succeeded`.
    if answer[2 + answer[1] :][:2] != _field(2, 1):
        raise NotMeasured(f"etcd did not create {key}")


def creation(key: bytes, content: bytes) -> bytes:
    """etcd's TxnRequest: if the key's revision of modification (target 2) equals 0, put it."""
    compare = _field(2, 2) + _field(3, key) + _field(6, 0)
    put = _field(2, _field(1, key) + _field(2, content))
    return _field(1, compare) + _field(2, put)


def _field(number: int, content: int | bytes) -> bytes:
    """One field of a protobuf message."""
    if isinstance(content, int):
        return _varint(number << 3) + _varint(content)
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])


ROWS = [
    Row(
        f"store alone: create {LOAD.value_bytes // 1024} KiB, {LOAD.writers} writers",
        "/s",
        writes,
        better="more",
        beside=Beside(etcds_writes, ("etcd",)),
    )
]
