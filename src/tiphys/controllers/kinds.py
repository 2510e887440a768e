"""Which kinds there are, as the server says: at the start, and again whenever a CustomResourceDefinition changes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from tiphys.api.resource import Resource
from tiphys.api.scheme import Scheme
from tiphys.client.client import Client
from tiphys.client.discovery import DiscoveryFailed, preferred_resources
from tiphys.client.reflector import Informers
from tiphys.client.resources import CUSTOMRESOURCEDEFINITIONS
from tiphys.machinery.clock import Clock
from tiphys.machinery.errors import StatusError
from tiphys.machinery.frozen import frozen

log = logging.getLogger(__name__)

SETTLE_SECONDS = 0.5
"""Several definitions often come together: one look at all of them."""
RETRY_SECONDS = 30.0
FAILURES = (StatusError, OSError, TimeoutError)


@frozen
class Found:
    """One look. `rows` None: the server did not answer; not `is_complete`: nor did it, or some groups did not."""

    rows: Sequence[Resource] | None
    is_complete: bool


class Kinds:
    """`run()` ends only by cancellation."""

    def __init__(self, controller: str, client: Client, scheme: Scheme, clock: Clock) -> None:
        self._controller = controller
        self._client = client
        self._scheme = scheme
        self._clock = clock
        self._look_again = asyncio.Event()

    def watch(self, informers: Informers) -> Callable[[], None]:
        """From now on definitions are looked at; the result ends that."""
        definitions = informers.cache(CUSTOMRESOURCEDEFINITIONS)
        return definitions.add_handler(lambda type, old, new: self._look_again.set())

    async def run(self, follow: Callable[[Found], Awaitable[None]]) -> None:
        """Calls `follow` after every look."""
        while True:
            self._look_again.clear()
            found = await self._discover()
            await follow(found)
            if found.is_complete:
                await self._look_again.wait()
                await self._clock.sleep(SETTLE_SECONDS)
            else:
                await self._clock.sleep(RETRY_SECONDS)

    async def _discover(self) -> Found:
        try:
            return Found(await preferred_resources(self._client, self._scheme), True)
        except DiscoveryFailed as error:
            log.warning("%s: %s", self._controller, error)
            return Found(error.found, False)
        except FAILURES as error:
            log.warning("%s: cannot discover kinds: %s", self._controller, error)
            return Found(None, False)
