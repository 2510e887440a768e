"""The clock that stands still until a test moves it."""

import asyncio
from datetime import timedelta

from tiphys.machinery.clock import Clock
from tiphys.testing.clock import START, FakeClock


async def test_time_passes_only_when_told() -> None:
    clock = FakeClock()
    assert clock.now() == START
    await clock.advance(90)
    assert clock.now() - START == timedelta(seconds=90)
    assert clock.monotonic() == 90


async def test_sleepers_wake_in_order_and_see_their_own_time() -> None:
    clock, seen = FakeClock(), list[tuple[str, float]]()

    async def sleeper(name: str, seconds: float, clock: Clock) -> None:
        await clock.sleep(seconds)
        seen.append((name, clock.monotonic()))

    async with asyncio.TaskGroup() as group:
        for name, seconds in (("late", 30.0), ("early", 10.0), ("also early", 10.0), ("now", 0.0)):
            group.create_task(sleeper(name, seconds, clock))
        await clock.advance(9)
        assert seen == [("now", 0.0)]
        await clock.advance(60)
    assert seen == [("now", 0.0), ("early", 10.0), ("also early", 10.0), ("late", 30.0)]
    assert clock.monotonic() == 69


async def test_what_a_woken_task_asks_for_happens_within_the_same_span() -> None:
    clock, ticks = FakeClock(), list[float]()

    async def ticker() -> None:
        for _ in range(3):
            await clock.sleep(1)
            ticks.append(clock.monotonic())

    task = asyncio.create_task(ticker())
    await clock.advance(10)
    await task
    assert ticks == [1, 2, 3]


async def test_calls_can_be_taken_back() -> None:
    clock, calls = FakeClock(), list[str]()
    first = clock.call_later(1, lambda: calls.append("first"))
    clock.call_later(2, lambda: calls.append("second"))
    assert clock.next_due == 1
    first.cancel()
    assert clock.next_due == 2
    await clock.advance(5)
    assert calls == ["second"]
    assert clock.next_due is None


async def test_a_cancelled_sleeper_leaves_nothing_behind() -> None:
    clock = FakeClock()
    task = asyncio.create_task(clock.sleep(5))
    await clock.advance(0)
    assert clock.next_due == 5
    task.cancel()
    await asyncio.wait([task])
    assert clock.next_due is None
