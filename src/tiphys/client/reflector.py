"""Keeps a cache equal to what the API server has: list once, then watch, and start over when the watch cannot go on.

A watch that ends is resumed from the last version seen; 410 Gone means that the server no longer remembers so far back,
and the reflector lists again. Failures are retried with a delay that doubles from 0.8 s to 30 s, with jitter, as
client-go's reflector does. Nothing is polled.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from random import Random

from tiphys.api.resource import Resource
from tiphys.client.cache import Cache, View
from tiphys.client.client import Client, selector_query
from tiphys.client.queue_metrics import WorkQueueMetrics
from tiphys.client.transport import BOOKMARK
from tiphys.machinery import meta
from tiphys.machinery.clock import Clock
from tiphys.machinery.errors import StatusError, is_expired
from tiphys.machinery.gvk import GroupVersionResource
from tiphys.machinery.metrics import Registry

log = logging.getLogger(__name__)

FIRST_DELAY_SECONDS = 0.8
LONGEST_DELAY_SECONDS = 30.0
QUIET_SECONDS = 120.0
"""A watch that lived this long starts the delays from the first one again."""


class Backoff:
    """Delays that double from `first` to `longest`, each lengthened by up to 100 %."""

    def __init__(
        self, random: Random, *, first: float = FIRST_DELAY_SECONDS, longest: float = LONGEST_DELAY_SECONDS
    ) -> None:
        self._random = random
        self._first = first
        self._longest = longest
        self._next = first

    def reset(self) -> None:
        self._next = self._first

    def next_seconds(self) -> float:
        delay = self._next
        self._next = min(delay * 2, self._longest)
        return delay * (1 + self._random.random())


class Reflector:
    """Fills one cache. `run()` ends only by cancellation."""

    def __init__(
        self,
        client: Client,
        resource: Resource,
        *,
        clock: Clock,
        namespace: str | None = None,
        label_selector: str = "",
        field_selector: str = "",
        random: Random | None = None,
    ) -> None:
        self.cache = Cache(resource)
        self._client = client
        self._resource = resource
        self._namespace = namespace
        self._query = selector_query(label_selector, field_selector)
        self._clock = clock
        self._backoff = Backoff(random or Random())
        self._version = ""
        self._synced = asyncio.Event()

    async def wait_synced(self) -> None:
        await self._synced.wait()

    async def run(self) -> None:
        while True:
            started = self._clock.monotonic()
            try:
                if not self._version:
                    await self._list()
                await self._watch()
                failure = None
            except (StatusError, OSError, asyncio.IncompleteReadError, TimeoutError) as error:
                failure = error
            if self._clock.monotonic() - started > QUIET_SECONDS:
                self._backoff.reset()
            await self._recover(failure)

    async def _recover(self, failure: Exception | None) -> None:
        """A clean end is resumed at once, an outdated version lists again, anything else waits first."""
        if is_expired(failure):
            log.info("listing %s again: %s", self._resource.plural, failure)
            self._version = ""
        elif failure is not None:
            delay = self._backoff.next_seconds()
            log.warning("%s: %s; trying again in %.1f s", self._resource.plural, failure, delay)
            await self._clock.sleep(delay)
        else:
            await self._clock.sleep(0)

    async def _list(self) -> None:
        listing = await self._client.transport.list(self._resource, self._namespace, query=self._query)
        self.cache.replace(listing.items, listing.resource_version)
        self._version = listing.resource_version
        self._synced.set()
        self._backoff.reset()

    async def _watch(self) -> None:
        events = self._client.transport.watch(
            self._resource, self._namespace, resource_version=self._version, query=self._query
        )
        try:
            async for event in events:
                if event.type == BOOKMARK:
                    self.cache.advance(meta.resource_version(event.object))
                else:
                    self.cache.apply(event.type, event.object)
                self._version = meta.resource_version(event.object)
        finally:
            await events.aclose()


class Informers:
    """The reflectors of one component, one a kind, started when first asked for; `stop()` ends them all."""

    def __init__(
        self,
        client: Client,
        *,
        clock: Clock,
        on_failure: Callable[[BaseException], None] | None = None,
        metrics: Registry | None = None,
    ) -> None:
        self.client = client
        self.metrics = metrics or Registry()
        """Where components that work on these caches count."""
        self.queue_metrics = WorkQueueMetrics(self.metrics, clock)
        self._clock = clock
        self._on_failure = on_failure
        self._reflectors: dict[GroupVersionResource, Reflector] = {}
        self._tasks: dict[GroupVersionResource, asyncio.Task[None]] = {}
        self._caches: dict[GroupVersionResource, Cache] = {}
        self.view = View(self._caches)

    def cache(self, resource: Resource) -> Cache:
        """The cache of a kind, which starts to be filled now (on the running event loop)."""
        if resource.gvr not in self._reflectors:
            reflector = Reflector(self.client, resource, clock=self._clock)
            self._reflectors[resource.gvr] = reflector
            self._caches[resource.gvr] = reflector.cache
            task = asyncio.get_running_loop().create_task(
                reflector.run(), name=f"reflector {resource.plural}"
            )
            task.add_done_callback(self._ended)
            self._tasks[resource.gvr] = task
        return self._caches[resource.gvr]

    def watched(self, resource: Resource) -> Cache | None:
        """The cache of a kind if there is one already."""
        return self._caches.get(resource.gvr)

    async def drop(self, resource: Resource) -> None:
        """Stops watching a kind (a custom resource whose definition is gone)."""
        self._reflectors.pop(resource.gvr, None)
        self._caches.pop(resource.gvr, None)
        task = self._tasks.pop(resource.gvr, None)
        if task is not None:
            await _cancel([task])

    async def wait_synced(self) -> None:
        """Until every cache asked for so far has been listed once."""
        for reflector in list(self._reflectors.values()):
            await reflector.wait_synced()

    async def stop(self) -> None:
        tasks = list(self._tasks.values())
        self._tasks.clear()
        await _cancel(tasks)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() or task.exception() is None:
            return
        failure = task.exception()
        log.error("%s ended: %r", task.get_name(), failure, exc_info=failure)
        if self._on_failure is not None and failure is not None:
            self._on_failure(failure)


async def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
