"""Time as a parameter: nothing in Tiphys asks the machine what time it is except through a Clock.

`SystemClock` is given out by the composition root; tests give `tiphys.testing.clock.FakeClock`.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar

Result = TypeVar("Result")


class Timer(Protocol):
    """A call that is waiting for its time."""

    def cancel(self) -> None:
        """Take the call back; harmless once it was made."""


class Clock(Protocol):
    def now(self) -> datetime:
        """The time of day, aware, in UTC."""

    def monotonic(self) -> float:
        """Seconds since some fixed moment; never goes back."""

    async def sleep(self, seconds: float) -> None:
        """Wait; 0 or less lets the other tasks run once."""

    def call_later(self, seconds: float, callback: Callable[[], object]) -> Timer:
        """Call `callback()` on the running event loop after `seconds`."""


class SystemClock:
    """The machine's own time and the running event loop's timers."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    monotonic = staticmethod(
        time.monotonic
    )  # itself, and no function around it: it is asked many times a request

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(seconds, 0))

    def call_later(self, seconds: float, callback: Callable[[], object]) -> Timer:
        return asyncio.get_running_loop().call_later(seconds, callback)


async def within(clock: Clock, seconds: float, work: Coroutine[Any, Any, Result]) -> Result:
    """What `work` gives; after so many seconds by this clock it is cancelled: TimeoutError. `asyncio.timeout` knows the machine's time only."""
    task = asyncio.ensure_future(work)
    is_late = False

    def expire() -> None:
        nonlocal is_late
        is_late = True
        task.cancel()

    timer = clock.call_later(seconds, expire)
    try:
        return await task
    except asyncio.CancelledError:
        if is_late:
            raise TimeoutError from None
        raise
    finally:
        timer.cancel()
        task.cancel()
