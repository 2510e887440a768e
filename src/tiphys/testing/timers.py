"""Delayed calls in the order of their times, for clocks that tests move."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from itertools import count


class Timer:
    """A delayed call: a `tiphys.machinery.clock.Timer`."""

    __slots__ = ("callback", "cancelled", "due", "order")

    def __init__(self, due: float, order: int, callback: Callable[[], object]) -> None:
        self.due = due
        self.order = order
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True

    def __lt__(self, other: Timer) -> bool:
        return (self.due, self.order) < (other.due, other.order)


class Timers:
    """What waits; of two that are due at the same time the older one comes first."""

    def __init__(self) -> None:
        self._heap: list[Timer] = []
        self._order = count()

    def add(self, due: float, callback: Callable[[], object]) -> Timer:
        timer = Timer(due, next(self._order), callback)
        heapq.heappush(self._heap, timer)
        return timer

    @property
    def next_due(self) -> float | None:
        """When the first one is due; None when nothing waits."""
        while self._heap and self._heap[0].cancelled:
            heapq.heappop(self._heap)
        return self._heap[0].due if self._heap else None

    def pop(self, until: float) -> Timer | None:
        """Takes the first one out that is due by then."""
        due = self.next_due
        return heapq.heappop(self._heap) if due is not None and due <= until else None

    def clear(self) -> None:
        self._heap.clear()


async def sleep(call_later: Callable[[float, Callable[[], object]], Timer], seconds: float) -> None:
    """A clock's `sleep`, by its `call_later`."""
    if seconds <= 0:
        await asyncio.sleep(0)
        return
    woken = asyncio.Event()
    timer = call_later(seconds, woken.set)
    try:
        await woken.wait()
    finally:
        timer.cancel()
