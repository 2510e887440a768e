"""The three sets: what a queue of keys promises its workers."""

import asyncio

import pytest

from tiphys.client.workqueue import ShutDown, WorkQueue
from tiphys.testing.clock import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def queue(clock: FakeClock) -> WorkQueue[str]:
    return WorkQueue(clock)


async def test_events_of_one_key_fold_into_one_look(queue: WorkQueue[str]) -> None:
    for _ in range(3):
        queue.add("a")
    queue.add("b")
    assert [await queue.get(), await queue.get()] == ["a", "b"]
    assert len(queue) == 0


async def test_a_key_is_never_given_to_two_workers(queue: WorkQueue[str]) -> None:
    queue.add("a")
    await queue.get()
    queue.add("a")
    assert len(queue) == 0
    queue.done("a")
    assert await queue.get() == "a"


async def test_done_without_news_leaves_the_queue_empty(queue: WorkQueue[str]) -> None:
    queue.add("a")
    queue.done(await queue.get())
    assert len(queue) == 0
    assert queue.is_idle


async def test_a_worker_waits_for_a_key(queue: WorkQueue[str]) -> None:
    worker = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.add("a")
    assert await worker == "a"


async def test_a_wake_up_is_passed_on_by_a_worker_that_leaves(queue: WorkQueue[str]) -> None:
    leaving, staying = asyncio.create_task(queue.get()), asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.add("a")
    leaving.cancel()
    assert await staying == "a"


async def test_of_several_delays_the_earliest_counts(queue: WorkQueue[str], clock: FakeClock) -> None:
    queue.add_after("a", 10)
    queue.add_after("a", 3)
    queue.add_after("a", 20)
    await clock.advance(3)
    assert len(queue) == 1
    queue.done(await queue.get())
    await clock.advance(60)
    assert len(queue) == 0


async def test_failures_double_the_delay_and_forget_resets_it(
    queue: WorkQueue[str], clock: FakeClock
) -> None:
    delays = []
    for _ in range(4):
        queue.add_rate_limited("a")
        delays.append(clock.next_due)
        await clock.advance(1)
        queue.done(await queue.get())
    assert delays == pytest.approx([0.005, 0.01, 0.02, 0.04])
    queue.forget("a")
    queue.add_rate_limited("a")
    assert clock.next_due == pytest.approx(0.005)


async def test_the_longest_delay_is_kept_however_often_it_fails(
    queue: WorkQueue[str], clock: FakeClock
) -> None:
    for _ in range(200):
        queue.add_rate_limited("a")
        due = clock.next_due
        await clock.advance(1000)
        queue.done(await queue.get())
    assert due == 1000


async def test_a_closed_queue_gives_out_what_it_has_and_then_says_so(
    queue: WorkQueue[str], clock: FakeClock
) -> None:
    queue.add("a")
    queue.add_after("b", 1)
    queue.close()
    await clock.advance(5)
    queue.add("c")
    assert await queue.get() == "a"
    with pytest.raises(ShutDown):
        await queue.get()


async def test_closing_wakes_every_worker(queue: WorkQueue[str]) -> None:
    workers = [asyncio.create_task(queue.get()) for _ in range(3)]
    await asyncio.sleep(0)
    queue.close()
    results = await asyncio.gather(*workers, return_exceptions=True)
    assert all(isinstance(result, ShutDown) for result in results)
