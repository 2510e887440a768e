"""A deadline that is moved on every request but costs a timer only now and then.

Moving it later leaves the armed timer alone; when that fires early it is armed again for the rest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable


def _nobody() -> None:
    """Has nothing to be told."""


class Deadline:
    """Calls back once when its time comes, unless it was moved or cleared before. One owner: a connection."""

    __slots__ = ("_armed_for", "_at", "_callback", "_loop", "_timer")

    def __init__(self, loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
        self._loop = loop
        self._callback = callback
        self._at: float | None = None
        self._armed_for = 0.0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_set(self) -> bool:
        return self._at is not None

    def set(self, seconds: float) -> None:
        """Move the deadline to `seconds` from now."""
        self._at = at = self._loop.time() + seconds
        if self._timer is None:
            self._arm(at)
        elif at < self._armed_for:
            self._timer.cancel()
            self._arm(at)

    def clear(self) -> None:
        self._at = None

    def end(self) -> None:
        """For good: let the timer go, and the owner, so that it is freed at once and not with the next garbage."""
        self._at = None
        self._callback = _nobody
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self, at: float) -> None:
        self._armed_for = at
        self._timer = self._loop.call_at(at, self._fire)

    def _fire(self) -> None:
        self._timer = None
        if self._at is None:
            return
        # Loops keep their clock in milliseconds: a timer may fire a little early.
        if self._at > self._loop.time() + 0.002:
            self._arm(self._at)
            return
        self._at = None
        self._callback()
