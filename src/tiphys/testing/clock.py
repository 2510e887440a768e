"""A clock that stands still until a test moves it.

    clock = FakeClock()
    task = asyncio.create_task(something_that_sleeps(clock))
    await clock.advance(30)

`advance` wakes sleepers and makes delayed calls in the order of their times, each one seeing its own time on the
clock, and lets the tasks they wake run before it goes on; whatever these ask for within the span happens too.
"""

import asyncio
import heapq
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count

START = datetime(2026, 1, 1, tzinfo=UTC)
# How often the event loop turns between two moments, so that chains of tasks come to rest.
SETTLE_TURNS = 20


class FakeTimer:
    """A delayed call of a FakeClock."""

    __slots__ = ("callback", "cancelled", "due", "order")

    def __init__(self, due: float, order: int, callback: Callable[[], object]) -> None:
        self.due = due
        self.order = order
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True

    def __lt__(self, other: "FakeTimer") -> bool:
        return (self.due, self.order) < (other.due, other.order)


class FakeClock:
    """A `tiphys.machinery.clock.Clock`. Time of day and monotonic seconds move together."""

    def __init__(self, start: datetime = START) -> None:
        self._start = start
        self._elapsed = 0.0
        self._timers: list[FakeTimer] = []
        self._order = count()

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self._elapsed)

    def monotonic(self) -> float:
        return self._elapsed

    def call_later(self, seconds: float, callback: Callable[[], object]) -> FakeTimer:
        timer = FakeTimer(self._elapsed + max(seconds, 0), next(self._order), callback)
        heapq.heappush(self._timers, timer)
        return timer

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken = asyncio.Event()
        timer = self.call_later(seconds, woken.set)
        try:
            await woken.wait()
        finally:
            timer.cancel()

    @property
    def next_due(self) -> float | None:
        """Seconds until the next sleeper or call, or None when nothing waits."""
        self._drop_cancelled()
        return self._timers[0].due - self._elapsed if self._timers else None

    async def advance(self, seconds: float) -> None:
        """Let `seconds` pass (0: only what is due now)."""
        end = self._elapsed + seconds
        await _settle()
        while (timer := self._pop_due(end)) is not None:
            self._elapsed = max(self._elapsed, timer.due)
            timer.callback()
            await _settle()
        self._elapsed = end

    def _pop_due(self, end: float) -> FakeTimer | None:
        self._drop_cancelled()
        if self._timers and self._timers[0].due <= end:
            return heapq.heappop(self._timers)
        return None

    def _drop_cancelled(self) -> None:
        while self._timers and self._timers[0].cancelled:
            heapq.heappop(self._timers)


async def _settle() -> None:
    for _ in range(SETTLE_TURNS):
        await asyncio.sleep(0)
