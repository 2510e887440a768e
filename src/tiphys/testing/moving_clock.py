"""The time of a test cluster: it runs along with the machine's, faster, or not at all, and a test can move it ahead.

    clock = MovingClock(speed=0)             # stands still but for `advance`
    await clock.advance(3600)                # an hour, with everything that is due in it, in order

Unlike `FakeClock`, which unit tests of single parts use, it can run by itself, and `advance` waits between two moments until
the cluster has come to rest, which it knows by a mark (the store's revision) that stays the same.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from tiphys.testing.timers import Timer, Timers, sleep

REST_TURNS = 40
"""How often the event loop turns without a write before the cluster counts as being at rest."""
LONGEST_WORK_TURNS = 20_000
"""A client that writes without a pause must not hold the time for ever."""


class MovingClock:
    """A `tiphys.machinery.clock.Clock`. `speed`: seconds of the cluster in one of the machine; 0 stands still."""

    def __init__(
        self,
        *,
        speed: float = 1.0,
        start: datetime | None = None,
        machine: Callable[[], float] = time.monotonic,
    ) -> None:
        self.progress: Callable[[], object] = lambda: None
        """A mark that changes while the cluster works."""
        self._machine = machine
        self._start = start or datetime.now(UTC)
        self._elapsed = 0.0
        self._anchor = machine()
        self._speed = speed
        self._timers = Timers()
        self._armed: tuple[float, asyncio.TimerHandle] | None = None
        self._is_advancing = False

    # Clock

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        if self._is_advancing or not self._speed:
            return self._elapsed
        return self._elapsed + (self._machine() - self._anchor) * self._speed

    def call_later(self, seconds: float, callback: Callable[[], object]) -> Timer:
        timer = self._timers.add(self.monotonic() + max(seconds, 0), callback)
        self._arm()
        return timer

    async def sleep(self, seconds: float) -> None:
        await sleep(self.call_later, seconds)

    # What tests do to it

    @property
    def speed(self) -> float:
        return self._speed

    @speed.setter
    def speed(self, speed: float) -> None:
        self._hold()
        self._speed = speed
        self._arm()

    async def advance(self, seconds: float) -> None:
        """Lets `seconds` pass at once: what is due within happens in order, each at its own time, and then what follows from it."""
        self._hold()
        end = self._elapsed + seconds
        self._is_advancing = True
        try:
            await self.rest()
            while (timer := self._timers.pop(end)) is not None:
                self._elapsed = max(self._elapsed, timer.due)
                timer.callback()
                await self.rest()
            self._elapsed = max(self._elapsed, end)
        finally:
            self._is_advancing = False
            self._anchor = self._machine()
            self._arm()

    async def step(self, longest_seconds: float) -> float:
        """Advances to the next moment at which something is due, at most so far; how many seconds that were."""
        due = self._timers.next_due
        seconds = longest_seconds if due is None else max(0.0, min(due - self.monotonic(), longest_seconds))
        await self.advance(seconds)
        return seconds

    async def rest(self) -> None:
        """Waits until nothing is written any more at this moment. What other processes are about to ask is not known here."""
        quiet, seen = 0, self.progress()
        for _ in range(LONGEST_WORK_TURNS):
            if quiet == REST_TURNS:
                return
            await asyncio.sleep(0)
            mark = self.progress()
            quiet = quiet + 1 if mark == seen else 0
            seen = mark

    def close(self) -> None:
        """No call is made any more."""
        if self._armed is not None:
            self._armed[1].cancel()
            self._armed = None
        self._timers.clear()

    # Keeping

    def _hold(self) -> None:
        self._elapsed = self.monotonic()
        self._anchor = self._machine()

    def _arm(self) -> None:
        """One timer of the event loop, for the first of ours."""
        due = self._timers.next_due
        if self._is_advancing or not self._speed or due is None:
            return
        if self._armed is not None:
            if self._armed[0] <= due:
                return
            self._armed[1].cancel()
        delay = max(0.0, (due - self.monotonic()) / self._speed)
        self._armed = (due, asyncio.get_running_loop().call_later(delay, self._fire))

    def _fire(self) -> None:
        self._armed = None
        if self._is_advancing:
            return
        while (timer := self._timers.pop(self.monotonic())) is not None:
            timer.callback()
        self._arm()
