"""A clock that stands still until a test moves it.

    clock = FakeClock()
    task = asyncio.create_task(something_that_sleeps(clock))
    await clock.advance(30)

`advance` wakes sleepers and makes delayed calls in the order of their times, each one seeing its own time on the
clock, and lets the tasks they wake run before it goes on; whatever these ask for within the span happens too.
"""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from tiphys.testing.timers import Timer, Timers, sleep

START = datetime(2026, 1, 1, tzinfo=UTC)
# How often the event loop turns between two moments, so that chains of tasks come to rest.
SETTLE_TURNS = 20


class FakeClock:
    """A `tiphys.machinery.clock.Clock`. Time of day and monotonic seconds move together."""

    def __init__(self, start: datetime = START) -> None:
        self._start = start
        self._elapsed = 0.0
        self._timers = Timers()

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self._elapsed)

    def monotonic(self) -> float:
        return self._elapsed

    def call_later(self, seconds: float, callback: Callable[[], object]) -> Timer:
        return self._timers.add(self._elapsed + max(seconds, 0), callback)

    async def sleep(self, seconds: float) -> None:
        await sleep(self.call_later, seconds)

    @property
    def next_due(self) -> float | None:
        """Seconds until the next sleeper or call, or None when nothing waits."""
        due = self._timers.next_due
        return None if due is None else due - self._elapsed

    async def advance(self, seconds: float) -> None:
        """Let `seconds` pass (0: only what is due now)."""
        end = self._elapsed + seconds
        await _settle()
        while (timer := self._timers.pop(end)) is not None:
            self._elapsed = max(self._elapsed, timer.due)
            timer.callback()
            await _settle()
        self._elapsed = end


async def _settle() -> None:
    for _ in range(SETTLE_TURNS):
        await asyncio.sleep(0)
