"""Audit events for somebody elsewhere: gathered, and sent as an EventList in batches (`--audit-webhook-config-file`, mode `batch`).

A batch goes when it is full or its first event has waited for long enough. It is sent again and again, ever later, up to four times;
what cannot be sent then, and what finds the buffer full, is lost and counted. No request waits for any of it.
https://kubernetes.io/docs/tasks/debug/debug-cluster/audit/#batching
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

from tiphys.apiserver.audit.metrics import AuditMetrics
from tiphys.apiserver.webhooks.client import WebhookError
from tiphys.machinery.clock import Clock, Timer
from tiphys.machinery.frozen import frozen
from tiphys.machinery.retry.backoff import Backoff

log = logging.getLogger(__name__)

Send = Callable[[bytes, float], Awaitable[None]]
"""(body, timeout in seconds). Raises WebhookError."""
TIMEOUT_SECONDS = 30.0
ATTEMPTS = 5
_LONGEST_BACKOFF_SECONDS = 3600.0
FLUSH_SECONDS = 5.0
"""So long may what is left take when the server ends; whoever ended it does not wait for ever."""


@frozen
class Batching:
    """The defaults are upstream's."""

    buffer_size: int = 10_000
    max_size: int = 400
    max_wait_seconds: float = 30.0
    throttle: bool = True
    batches_per_second: float = 10.0
    burst: int = 15
    first_backoff_seconds: float = 10.0


class AuditWebhook:
    def __init__(
        self,
        send: Send,
        end: Callable[[], Awaitable[None]],
        batching: Batching,
        clock: Clock,
        metrics: AuditMetrics,
    ) -> None:
        """`end` closes what `send` has open."""
        self._send, self._end = send, end
        self._batching = batching
        self._clock = clock
        self._metrics = metrics
        self._backoff = Backoff(batching.first_backoff_seconds, _LONGEST_BACKOFF_SECONDS, 1.5, 0.2)
        self._random = Random()
        self._buffer: deque[bytes] = deque()
        self._timer: Timer | None = None
        self._sending: set[asyncio.Task[None]] = set()
        self._next_batch = clock.monotonic()
        """When the next batch might go if batches came evenly."""
        self._closed = False

    def write(self, line: bytes) -> None:
        """One event, as JSON."""
        if self._closed or len(self._buffer) >= self._batching.buffer_size:
            self._metrics.errors.inc("buffered")
            return
        self._buffer.append(line)
        if len(self._buffer) >= self._batching.max_size:
            self._go()
        elif self._timer is None:
            self._timer = self._clock.call_later(self._batching.max_wait_seconds, self._go)

    def _go(self) -> None:
        """Sends what there is, a batch at least; later, when the throttle says so."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        wait = self._throttled_seconds()
        if wait > 0:
            self._timer = self._clock.call_later(wait, self._go)
            return
        batch = [self._buffer.popleft() for _ in range(min(len(self._buffer), self._batching.max_size))]
        if batch:
            self._deliver(batch)
        if len(self._buffer) >= self._batching.max_size:
            self._go()
        elif self._buffer:
            self._timer = self._clock.call_later(self._batching.max_wait_seconds, self._go)

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

    def _deliver(self, batch: list[bytes]) -> None:
        task = asyncio.get_running_loop().create_task(self._try(batch), name="audit events")
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _try(self, batch: list[bytes]) -> None:
        head = b'{"kind":"EventList","apiVersion":"audit.k8s.io/v1","metadata":{},"items":['
        body = head + b",".join(batch) + b"]}"
        try:
            for attempt in range(1, ATTEMPTS + 1):
                try:
                    await self._send(body, TIMEOUT_SECONDS)
                    return
                except WebhookError as error:
                    problem = error
                if attempt < ATTEMPTS:
                    await self._clock.sleep(self._backoff.delay_seconds(attempt, self._random))
            log.error("%d audit events are lost: %s", len(batch), problem)
        except asyncio.CancelledError:
            log.error("%d audit events are lost: the server has ended", len(batch))
            self._metrics.errors.labels("webhook").value += len(batch)
            raise
        self._metrics.errors.labels("webhook").value += len(batch)

    async def close(self) -> None:
        """Sends what is left, and waits for what is on its way, for a while."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        while self._buffer:
            size = min(len(self._buffer), self._batching.max_size)
            self._deliver([self._buffer.popleft() for _ in range(size)])
        if self._sending:
            await self._wait_for(list(self._sending))
        await self._end()

    async def _wait_for(self, tasks: list[asyncio.Task[None]]) -> None:
        """For so long, and no longer."""
        waiting: asyncio.Future[Any] = asyncio.gather(*tasks, return_exceptions=True)
        patience: asyncio.Future[Any] = asyncio.ensure_future(self._clock.sleep(FLUSH_SECONDS))
        await asyncio.wait((waiting, patience), return_when=asyncio.FIRST_COMPLETED)
        for task in (patience, *tasks):
            task.cancel()
        await asyncio.gather(patience, *tasks, return_exceptions=True)
