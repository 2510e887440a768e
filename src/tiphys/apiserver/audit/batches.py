"""Audit events gathered, and given on in batches: mode `batch`. No request waits for any of it.

A batch goes when it is full or its first event has waited for long enough; what finds the buffer full is lost and counted.
https://kubernetes.io/docs/tasks/debug/debug-cluster/audit/#batching
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from tiphys.machinery.clock import Clock, Timer
from tiphys.machinery.frozen import frozen


@frozen
class Batching:
    """The defaults are those of the webhook upstream. `max_bytes` 0: as many as it comes to."""

    buffer_size: int = 10_000
    max_size: int = 400
    max_wait_seconds: float = 30.0
    throttle: bool = True
    batches_per_second: float = 10.0
    burst: int = 15
    max_bytes: int = 0


class Receiver(Protocol):
    """Who is given events, each as JSON."""

    def send(self, events: Sequence[bytes]) -> Awaitable[bool] | bool:
        """Whether they arrived: at once, or when they have. What is begun goes on, whether anybody waits for it or not."""

    async def close(self) -> None: ...


class Batches:
    def __init__(
        self, receiver: Receiver, batching: Batching, clock: Clock, lost: Callable[[], None]
    ) -> None:
        self._receiver = receiver
        self._batching = batching
        self._clock = clock
        self._lost = lost
        self._buffer: deque[bytes] = deque()
        self._timer: Timer | None = None
        self._next_batch = clock.monotonic()
        """When the next batch might go if batches came evenly."""
        self._closed = False

    def write(self, event: bytes) -> bool:
        """One event, as JSON."""
        if self._closed or len(self._buffer) >= self._batching.buffer_size:
            self._lost()
            return True
        self._buffer.append(event)
        if len(self._buffer) >= self._batching.max_size:
            self._go()
        elif self._timer is None:
            self._timer = self._clock.call_later(self._batching.max_wait_seconds, self._go)
        return True

    def _go(self) -> None:
        """Sends what there is, a batch at least; later, when the throttle says so."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        wait = self._throttled_seconds()
        if wait > 0:
            self._timer = self._clock.call_later(wait, self._go)
            return
        if self._buffer:
            self._receiver.send(self._batch())
        if len(self._buffer) >= self._batching.max_size:
            self._go()
        elif self._buffer:
            self._timer = self._clock.call_later(self._batching.max_wait_seconds, self._go)

    def _batch(self) -> list[bytes]:
        """The next one: one event at least, and no more than fit."""
        buffer, limit = self._buffer, self._batching.max_bytes
        batch = [buffer.popleft()]
        size = len(batch[0])
        while buffer and len(batch) < self._batching.max_size:
            size += len(buffer[0])
            if limit and size > limit:
                break
            batch.append(buffer.popleft())
        return batch

    def _throttled_seconds(self) -> float:
        """0, and a batch is counted; else how long to wait before one may go."""
        batching = self._batching
        if not batching.throttle or batching.batches_per_second <= 0:
            return 0.0
        gap, now = 1 / batching.batches_per_second, self._clock.monotonic()
        due = max(self._next_batch, now)
        wait = due - now - (batching.burst - 1) * gap
        if wait > 1e-9:
            return wait
        self._next_batch = due + gap
        return 0.0

    async def close(self) -> None:
        """Sends what is left; the receiver knows how long to wait for what is on its way."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        while self._buffer:
            self._receiver.send(self._batch())
        await self._receiver.close()
