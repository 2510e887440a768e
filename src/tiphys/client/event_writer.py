"""Writes a component's events in the background, in order; what cannot be written is logged and lost."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from tiphys.client.client import Client
from tiphys.client.resources import EVENTS
from tiphys.client.transport import STRATEGIC_MERGE_PATCH, Object
from tiphys.machinery import meta
from tiphys.machinery.errors import StatusError, is_not_found

log = logging.getLogger(__name__)

BUFFERED = 1000
"""Events that wait to be written; more are dropped, as upstream drops them."""


class EventWriter:
    """`write` is called for one event after the other. The task is started by the first one and ended by `stop`."""

    def __init__(self, write: Callable[[Object], Awaitable[None]]) -> None:
        self._write = write
        self._waiting: asyncio.Queue[Object] = asyncio.Queue(BUFFERED)
        self._task: asyncio.Task[None] | None = None

    def put(self, event: Object) -> None:
        if self._waiting.full():
            log.warning("dropped an event about %s: %s", meta.name(event), event["message"])
            return
        self._waiting.put_nowait(event)
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._write_all(), name="event recorder")

    async def flush(self) -> None:
        """Until everything so far is written or given up."""
        await self._waiting.join()

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _write_all(self) -> None:
        while True:
            event = await self._waiting.get()
            try:
                await self._write(event)
            except (StatusError, OSError, TimeoutError) as error:
                if not _is_nobodys_loss(error):
                    log.warning("cannot record %s about %s: %s", event["reason"], meta.name(event), error)
            finally:
                self._waiting.task_done()


def _is_nobodys_loss(error: Exception) -> bool:
    """An event into a namespace that is going or gone."""
    return isinstance(error, StatusError) and (is_not_found(error) or error.code == 403)


async def patch_event(client: Client, event: Object, patch: Object) -> bool:
    """False: the event has expired meanwhile, or was lost, and must be made anew."""
    name, namespace = meta.name(event), meta.namespace(event)
    try:
        await client.patch(EVENTS, name, patch, namespace, content_type=STRATEGIC_MERGE_PATCH)
    except StatusError as error:
        if is_not_found(error):
            return False
        raise
    return True
