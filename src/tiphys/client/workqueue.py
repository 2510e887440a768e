"""Keys that wait for a worker. Three sets give the guarantees, as in client-go's workqueue:

- `dirty`: keys that must be looked at. Adding a key that is dirty already changes nothing: events fold into one look.
- `processing`: keys that a worker has. A key is never given to two workers.
- `queue`: dirty keys that no worker has, in order.

A key that is added while it is processed becomes dirty, and is queued again when the worker is `done` with it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Generic, TypeVar

from tiphys.client.queue_metrics import QueueMetrics
from tiphys.machinery.clock import Clock, Timer

K = TypeVar("K")

FIRST_DELAY_SECONDS = 0.005
LONGEST_DELAY_SECONDS = 1000.0


class ShutDown(Exception):
    """The queue is closed and empty."""


class WorkQueue(Generic[K]):
    """Used on one event loop only. Failures of a key are delayed 5 ms, 10 ms, 20 ms… up to 1000 s, as upstream's."""

    def __init__(
        self,
        clock: Clock,
        *,
        first_delay_seconds: float = FIRST_DELAY_SECONDS,
        longest_delay_seconds: float = LONGEST_DELAY_SECONDS,
        metrics: QueueMetrics | None = None,
    ) -> None:
        self._clock = clock
        self._metrics = metrics
        self._first_delay = first_delay_seconds
        self._longest_delay = longest_delay_seconds
        self._queue: deque[K] = deque()
        self._dirty: set[K] = set()
        self._processing: set[K] = set()
        self._failures: dict[K, int] = {}
        self._delayed: dict[K, tuple[float, Timer]] = {}
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._closed = False

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def is_idle(self) -> bool:
        """Nothing to do and nothing being done (delayed keys do not count)."""
        return not self._queue and not self._processing

    def add(self, key: K) -> None:
        if self._closed or key in self._dirty:
            return
        self._dirty.add(key)
        if self._metrics is not None:
            self._metrics.added(key)
        if key not in self._processing:
            self._enqueue(key)

    def add_after(self, key: K, seconds: float) -> None:
        """Adds it later. Of several delays of one key the earliest counts."""
        if seconds <= 0:
            self.add(key)
            return
        if self._closed:
            return
        due = self._clock.monotonic() + seconds
        if key in self._delayed:
            earlier, timer = self._delayed[key]
            if earlier <= due:
                return
            timer.cancel()
        self._delayed[key] = (due, self._clock.call_later(seconds, lambda: self._due(key)))

    def add_rate_limited(self, key: K) -> None:
        """Adds it after a delay that doubles with every failure since the last `forget`."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        if self._metrics is not None:
            self._metrics.retried()
        # 2 ** 60 would do for any delay; a larger exponent would only overflow.
        self.add_after(key, min(self._first_delay * 2 ** min(failures, 60), self._longest_delay))

    def forget(self, key: K) -> None:
        """The key went well: its next failure starts with the first delay."""
        self._failures.pop(key, None)

    def failures(self, key: K) -> int:
        return self._failures.get(key, 0)

    async def get(self) -> K:
        """The next key; it belongs to the caller until `done`. Raises ShutDown after `close` when nothing is left."""
        while not self._queue:
            if self._closed:
                raise ShutDown
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                if waiter.done() and not waiter.cancelled():
                    # The wake-up was meant for us, but we are leaving: pass it on.
                    self._wake_one()
                raise
        key = self._queue.popleft()
        self._processing.add(key)
        self._dirty.discard(key)
        if self._metrics is not None:
            self._metrics.taken(key)
        return key

    def done(self, key: K) -> None:
        """The worker is through with it; if it was added meanwhile it is queued again."""
        self._processing.discard(key)
        if self._metrics is not None:
            self._metrics.done(key)
        if key in self._dirty:
            self._enqueue(key)

    def close(self) -> None:
        """Takes no more keys; those in the queue are still given out."""
        self._closed = True
        for _, timer in self._delayed.values():
            timer.cancel()
        self._delayed.clear()
        while self._waiters:
            self._wake_one()

    def _due(self, key: K) -> None:
        self._delayed.pop(key, None)
        self.add(key)

    def _enqueue(self, key: K) -> None:
        self._queue.append(key)
        self._wake_one()

    def _wake_one(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
