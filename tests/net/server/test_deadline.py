"""A deadline that is moved often."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

from tiphys.net.deadline import Deadline


class Timer:
    def __init__(self, at: float, callback: Callable[[], None]) -> None:
        self.at = at
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Clock:
    """A loop as far as a Deadline needs one; time passes when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[Timer] = []

    def time(self) -> float:
        return self.now

    def call_at(self, at: float, callback: Callable[[], None], *args: Any) -> Timer:
        self.timers.append(Timer(at, callback))
        return self.timers[-1]

    def pass_to(self, now: float) -> None:
        while due := [timer for timer in self.timers if timer.at <= now and not timer.cancelled]:
            timer = min(due, key=lambda timer: timer.at)
            self.timers.remove(timer)
            self.now = timer.at
            timer.callback()
        self.now = now


def deadline() -> tuple[Clock, Deadline, list[float]]:
    clock = Clock()
    fired: list[float] = []
    return clock, Deadline(cast(asyncio.AbstractEventLoop, clock), lambda: fired.append(clock.now)), fired


def test_it_fires_once() -> None:
    clock, line, fired = deadline()
    line.set(10)
    clock.pass_to(100)
    assert fired == [10]
    assert not line.is_set


def test_moving_it_later_arms_no_timer() -> None:
    clock, line, fired = deadline()
    for now in range(10):
        clock.pass_to(now)
        line.set(10)
    assert len(clock.timers) == 1
    clock.pass_to(100)
    assert fired == [19]


def test_moving_it_earlier() -> None:
    clock, line, fired = deadline()
    line.set(90)
    line.set(5)
    clock.pass_to(100)
    assert fired == [5]


def test_clearing_and_setting_again() -> None:
    clock, line, fired = deadline()
    line.set(5)
    line.clear()
    clock.pass_to(50)
    assert fired == []
    line.set(5)
    clock.pass_to(100)
    assert fired == [55]


def test_ending_leaves_no_timer() -> None:
    clock, line, fired = deadline()
    line.set(5)
    line.end()
    clock.pass_to(100)
    assert fired == []
    assert all(timer.cancelled for timer in clock.timers)
