"""Reads that must not be older than a resourceVersion which the store has not reached yet: they wait for it, a little while."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from tiphys.api.resource import Resource
from tiphys.apiserver.cache import WatchCache
from tiphys.apiserver.cache_metrics import CacheMetrics
from tiphys.machinery import errors
from tiphys.machinery.clock import Clock
from tiphys.store.interface import Change

WAIT_SECONDS = 3.0
"""As long as upstream's watch cache lets a reader wait."""


class Freshness:
    def __init__(self, cache: WatchCache, clock: Clock, metrics: CacheMetrics) -> None:
        self._cache = cache
        self._clock = clock
        self._metrics = metrics

    def is_behind(self, revision: int | None) -> bool:
        return revision is not None and revision > self._cache.revision

    async def reach(self, row: Resource, revision: int) -> None:
        """Returns once the store is at `revision`. Raises 504 when it is not there in time."""
        cache, clock = self._cache, self._clock
        began = clock.monotonic()
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def end() -> None:
            if not over.done():
                over.set_result(None)

        def look(changes: Sequence[Change]) -> None:
            if cache.revision >= revision:
                end()

        # The cache subscribed first, so that it knows of a commit before this does.
        unsubscribe, timer = cache.store.subscribe(look), clock.call_later(WAIT_SECONDS, end)
        try:
            await over
        finally:
            timer.cancel()
            unsubscribe()
            self._metrics.waits(row).observe(clock.monotonic() - began)
        if cache.revision < revision:
            raise errors.resource_version_too_large(revision, cache.revision)
