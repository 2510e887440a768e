"""The clock of a test cluster: runs, stands still, jumps; what is due happens in order."""

import asyncio

import pytest

from tiphys.testing.moving_clock import MovingClock


class Machine:
    """The machine's time, moved by hand."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


async def test_time_stands_still_at_speed_0_until_it_is_advanced() -> None:
    machine = Machine()
    clock = MovingClock(speed=0, machine=machine)
    machine.seconds += 50
    assert clock.monotonic() == 0
    await clock.advance(30)
    assert clock.monotonic() == 30


async def test_time_runs_with_the_machine_s_and_jumps_ahead_of_it() -> None:
    machine = Machine()
    clock = MovingClock(speed=2, machine=machine)
    machine.seconds += 5
    assert clock.monotonic() == 10
    await clock.advance(100)
    machine.seconds += 1
    assert clock.monotonic() == 112


async def test_what_is_due_happens_in_order_and_sees_its_own_time() -> None:
    clock = MovingClock(speed=0)
    seen: list[tuple[str, float]] = []
    clock.call_later(20, lambda: seen.append(("later", clock.monotonic())))
    clock.call_later(10, lambda: seen.append(("first", clock.monotonic())))
    clock.call_later(15, lambda: seen.append(("never", 0))).cancel()

    async def sleeper() -> None:
        await clock.sleep(10)
        seen.append(("slept", clock.monotonic()))
        await clock.sleep(5)
        seen.append(("slept again", clock.monotonic()))

    task = asyncio.create_task(sleeper())
    await clock.advance(60)
    assert seen == [("first", 10), ("slept", 10), ("slept again", 15), ("later", 20)]
    await task


async def test_a_step_goes_to_the_next_moment_at_which_something_is_due() -> None:
    clock = MovingClock(speed=0)
    clock.call_later(7, lambda: None)
    assert await clock.step(100) == 7
    assert await clock.step(100) == 100


async def test_a_running_clock_makes_its_calls_by_itself() -> None:
    clock = MovingClock(speed=1000)
    done = asyncio.Event()
    clock.call_later(60, lambda: None)
    clock.call_later(30, done.set)
    await asyncio.wait_for(done.wait(), 60)
    assert 30 <= clock.monotonic() < 60_000


async def test_a_stopped_clock_can_be_set_going() -> None:
    clock = MovingClock(speed=0)
    done = asyncio.Event()
    clock.call_later(30, done.set)
    clock.speed = 1000
    await asyncio.wait_for(done.wait(), 60)


async def test_advancing_waits_until_what_was_woken_has_come_to_rest() -> None:
    clock = MovingClock(speed=0)
    written = 0

    def progress() -> int:
        return written

    async def chain() -> None:
        nonlocal written
        await clock.sleep(1)
        for _ in range(30):
            for _ in range(10):
                await asyncio.sleep(0)
            written += 1

    clock.progress = progress
    task = asyncio.create_task(chain())
    await clock.advance(1)
    assert written == 30
    await task


@pytest.mark.parametrize("seconds", [0, -1])
async def test_a_sleep_of_nothing_lets_others_run(seconds: float) -> None:
    await MovingClock(speed=0).sleep(seconds)
