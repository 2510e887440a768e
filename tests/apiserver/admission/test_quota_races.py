"""Quotas are never exceeded and always come to the truth, whatever happens at the same time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from counting import NAMESPACE, PODS, QUOTAS, Counting, counting, pod, quota
from served import Client, running, settle

from tiphys.apiserver.server import APIServer
from tiphys.store.sqlite import SQLiteStore
from tiphys.testing.clock import FakeClock

CONFIGMAPS = f"{NAMESPACE}/configmaps"


@pytest.fixture
async def counts(server: APIServer, clock: FakeClock) -> AsyncIterator[Counting]:
    async with counting(server, clock) as found:
        yield found


async def create_many(client: Client, path: str, count: int, *, prefix: str = "x") -> list[int]:
    names = [f"{prefix}{number}" for number in range(count)]
    bodies = [pod(name) if path == PODS else {"metadata": {"name": name}} for name in names]
    answers = await asyncio.gather(*(client.call("POST", path, body) for body in bodies))
    return [answer.status for answer in answers]


async def present(client: Client, path: str) -> int:
    return len((await client.get(path))["items"])


async def test_parallel_creations_get_what_there_is_and_no_more(counts: Counting) -> None:
    await counts.add("pods", {"pods": "7"})
    await counts.add("more", {"count/pods": "5", "pods": "9"})
    statuses = await create_many(counts.client, PODS, 40)
    assert sorted(statuses) == [201] * 5 + [403] * 35
    assert await present(counts.client, PODS) == 5
    assert await counts.used("pods") == {"pods": "5"}
    assert await counts.used("more") == {"count/pods": "5", "pods": "5"}


async def test_in_a_store_on_a_disk(tmp_path: Path, clock: FakeClock, signing_key: bytes) -> None:
    store = SQLiteStore(tmp_path / "state.db")
    async with running(clock, signing_key, store=store) as server, counting(server, clock) as counts:
        await counts.add("q", {"configmaps": "20"})
        statuses = await create_many(counts.client, CONFIGMAPS, 60)
        assert statuses.count(201) == 20
        assert await counts.used("q") == {"configmaps": "20"}


async def test_what_is_not_written_after_all_is_given_back(counts: Counting) -> None:
    await counts.add("q", {"configmaps": "3"})
    await create_many(counts.client, CONFIGMAPS, 1)
    statuses = await create_many(counts.client, CONFIGMAPS, 1)
    assert statuses == [409]
    await settle()
    assert await counts.used("q") == {"configmaps": "1"}


async def test_a_dry_run_is_judged_and_not_charged(counts: Counting) -> None:
    await counts.add("q", {"configmaps": "1"})
    assert await create_many(counts.client, f"{CONFIGMAPS}?dryRun=All", 3) == [201] * 3
    assert await counts.used("q") == {"configmaps": "0"}
    await create_many(counts.client, CONFIGMAPS, 1)
    assert await create_many(counts.client, f"{CONFIGMAPS}?dryRun=All", 1, prefix="y") == [403]


async def test_a_client_that_goes_leaves_no_charge_behind_for_long(counts: Counting) -> None:
    await counts.add("q", {"configmaps": "9"})
    for number in range(12):
        body = {"metadata": {"name": f"x{number}"}}
        creation = asyncio.create_task(counts.client.call("POST", CONFIGMAPS, body))
        for _ in range(number):
            await asyncio.sleep(0)
        creation.cancel()
        await asyncio.gather(creation, return_exceptions=True)
    await settle()
    there = await present(counts.client, CONFIGMAPS)
    assert int((await counts.used("q"))["configmaps"]) >= there
    await counts.settle(310)
    await counts.settle(310)
    assert await counts.used("q") == {"configmaps": str(there)}


async def test_a_recount_that_missed_an_object_does_not_make_room_for_another(
    counts: Counting, server: APIServer
) -> None:
    """The controller looked before the object was there, and writes what it saw."""
    await counts.add("q", {"configmaps": "2"})
    await create_many(counts.client, CONFIGMAPS, 2)
    found = await counts.client.get(f"{QUOTAS}/q")
    found["status"]["used"] = {"configmaps": "0"}
    answer = await counts.client.put(f"{QUOTAS}/q/status", found)
    assert answer["status"]["used"] == {"configmaps": "2"}
    # By now it is in what everybody sees: who says otherwise means it.
    await counts.client.patch(f"{QUOTAS}/q/status", {"status": {"used": {"configmaps": "1"}}})
    assert await counts.used("q") == {"configmaps": "1"}


@pytest.mark.parametrize("seed", range(6))
async def test_whatever_happens_at_the_same_time(counts: Counting, seed: int) -> None:
    """Creations, deletions and recounts in any order: at no moment is there more than may be."""
    chance, client, limit = random.Random(seed), counts.client, 5
    await counts.add("q", {"configmaps": str(limit)})
    await counts.add("r", {"count/configmaps": str(limit + 1)})
    number = iter(range(10_000))

    async def create() -> None:
        await client.call("POST", CONFIGMAPS, {"metadata": {"name": f"x{next(number)}"}})

    async def delete() -> None:
        items = (await client.get(CONFIGMAPS))["items"]
        if items:
            await client.call("DELETE", f"{CONFIGMAPS}/{chance.choice(items)['metadata']['name']}")

    for _ in range(25):
        works = [chance.choice((create, create, delete))() for _ in range(chance.randrange(1, 9))]
        running_now = [asyncio.create_task(work) for work in works]
        while not all(task.done() for task in running_now):
            await counts.clock.advance(0)
            assert await present(client, CONFIGMAPS) <= limit
        if chance.random() < 0.3:
            await counts.settle(chance.random())
    await counts.settle()
    there = await present(client, CONFIGMAPS)
    assert await counts.used("q") == {"configmaps": str(there)}
    assert await counts.used("r") == {"count/configmaps": str(there)}


async def test_quotas_of_the_same_name_are_told_apart(counts: Counting) -> None:
    await counts.add("q", {"configmaps": "1"})
    await create_many(counts.client, CONFIGMAPS, 1)
    await counts.client.delete(f"{QUOTAS}/q")
    await counts.client.create(QUOTAS, quota("q", {"configmaps": "3"}))
    await counts.settle()
    assert await counts.used("q") == {"configmaps": "1"}
