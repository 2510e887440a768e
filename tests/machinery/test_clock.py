"""The machine's own clock."""

import asyncio
from datetime import UTC, datetime, timedelta

from tiphys.machinery.clock import Clock, SystemClock


async def test_the_system_clock_tells_utc_and_never_goes_back() -> None:
    clock: Clock = SystemClock()
    assert clock.now().tzinfo is UTC
    assert abs(clock.now() - datetime.now(UTC)) < timedelta(seconds=5)
    assert clock.monotonic() <= clock.monotonic()
    await clock.sleep(0)
    await clock.sleep(-1)


async def test_the_system_clock_calls_later_unless_cancelled() -> None:
    clock, called = SystemClock(), asyncio.Event()
    calls: list[str] = []
    clock.call_later(0, lambda: calls.append("cancelled")).cancel()
    clock.call_later(0, called.set)
    await called.wait()
    assert calls == []
