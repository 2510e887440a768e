"""Audit events for somebody elsewhere, sent as EventLists (`--audit-webhook-config-file`).

What is refused is sent again and again, ever later, up to four times; what cannot be sent then is lost and counted.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import Any

from tiphys.apiserver.audit.metrics import AuditMetrics
from tiphys.apiserver.webhooks.client import WebhookError
from tiphys.machinery.clock import Clock
from tiphys.machinery.retry.backoff import Backoff

log = logging.getLogger(__name__)

Post = Callable[[bytes, float], Awaitable[None]]
"""(body, timeout in seconds). Raises WebhookError."""
TIMEOUT_SECONDS = 30.0
ATTEMPTS = 5
FIRST_BACKOFF_SECONDS = 10.0
_LONGEST_BACKOFF_SECONDS = 3600.0
FLUSH_SECONDS = 5.0
"""So long may what is left take when the server ends; whoever ended it does not wait for ever."""


class AuditWebhook:
    def __init__(
        self,
        post: Post,
        end: Callable[[], Awaitable[None]],
        clock: Clock,
        metrics: AuditMetrics,
        *,
        first_backoff_seconds: float = FIRST_BACKOFF_SECONDS,
    ) -> None:
        """`end` closes what `post` has open."""
        self._post, self._end = post, end
        self._clock = clock
        self._metrics = metrics
        self._backoff = Backoff(first_backoff_seconds, _LONGEST_BACKOFF_SECONDS, 1.5, 0.2)
        self._random = Random()
        self._sending: set[asyncio.Task[bool]] = set()

    def send(self, events: Sequence[bytes]) -> Awaitable[bool]:
        """Whether they arrived, sooner or later. Who waits no longer does not end it."""
        task = asyncio.get_running_loop().create_task(self._try(events), name="audit events")
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)
        return asyncio.shield(task)

    async def _try(self, events: Sequence[bytes]) -> bool:
        head = b'{"kind":"EventList","apiVersion":"audit.k8s.io/v1","metadata":{},"items":['
        body = head + b",".join(events) + b"]}"
        try:
            for attempt in range(1, ATTEMPTS + 1):
                try:
                    await self._post(body, TIMEOUT_SECONDS)
                    return True
                except WebhookError as error:
                    problem = error
                if attempt < ATTEMPTS:
                    await self._clock.sleep(self._backoff.delay_seconds(attempt, self._random))
            log.error("%d audit events are lost: %s", len(events), problem)
        except asyncio.CancelledError:
            log.error("%d audit events are lost: the server has ended", len(events))
        self._metrics.errors.labels("webhook").value += len(events)
        return False

    async def close(self) -> None:
        """Waits for what is on its way, for a while."""
        if self._sending:
            await self._wait_for(list(self._sending))
        await self._end()

    async def _wait_for(self, tasks: list[asyncio.Task[bool]]) -> None:
        """For so long, and no longer."""
        waiting: asyncio.Future[Any] = asyncio.gather(*tasks, return_exceptions=True)
        patience: asyncio.Future[Any] = asyncio.ensure_future(self._clock.sleep(FLUSH_SECONDS))
        await asyncio.wait((waiting, patience), return_when=asyncio.FIRST_COMPLETED)
        for task in (patience, *tasks):
            task.cancel()
        await asyncio.gather(patience, *tasks, return_exceptions=True)
