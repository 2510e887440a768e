"""Sends one pod's status to the API: the newest, only when it differs, one request at a time.

While the API is away it is tried again, soon at first. What the API refuses (it has no such value, an admission webhook does not
like it, we may not) is tried again when the pod or its status is another one by now, and else as seldom as upstream does.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from tiphys.client.client import Client
from tiphys.client.resources import PODS
from tiphys.client.transport import STRATEGIC_MERGE_PATCH
from tiphys.kubelet import spec
from tiphys.kubelet.spec import Object
from tiphys.kubelet.status import Status, status_patch
from tiphys.machinery import meta
from tiphys.machinery.clock import Clock
from tiphys.machinery.errors import StatusError, is_conflict, is_not_found, is_too_many_requests

log = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
LONGEST_RETRY_SECONDS = 10.0
REFUSED_SECONDS = 10.0
"""Upstream's status manager looks every ten seconds for what it could not send."""


class Reporter:
    """`report` returns at once. The pod that the API showed last tells what it knows already."""

    def __init__(
        self, client: Client, pod: Object, clock: Clock, sent: Callable[[float], None] = lambda seconds: None
    ) -> None:
        """`sent` is told how many seconds a status waited until the API had it."""
        self._client = client
        self._clock = clock
        self._pod = pod
        self._sent = sent
        self._wanted: Status | None = None
        self._asked: Status | None = None
        """The newest patch that was sent; the API may have refused it."""
        self._is_other = asyncio.Event()
        """By now the pod, or what is to be sent, is another one than when that was asked."""
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    def saw(self, pod: Object) -> None:
        """A newer pod than ours; an echo of our own write may be older than what we know."""
        newness = int(meta.resource_version(pod) or 0) - int(meta.resource_version(self._pod) or 0)
        if newness >= 0:
            self._pod = pod
        if newness > 0:
            self._is_other.set()  # whatever made the API refuse may be gone with it

    def report(self, status: Status) -> None:
        if self._closed:
            return
        self._wanted = status
        patch = status_patch(self._pod, status)
        if self._task is None and patch is not None:
            self._task = asyncio.get_running_loop().create_task(self._send())
        elif patch != self._asked:
            self._is_other.set()

    async def flush(self) -> None:
        """Until what was reported is sent, or given up."""
        if self._task is not None:
            await asyncio.shield(self._task)

    def close(self) -> None:
        """The pod is gone, or we are."""
        self._closed = True
        if self._task is not None:
            self._task.cancel()

    async def _send(self) -> None:
        delay, began = RETRY_SECONDS, self._clock.monotonic()
        sent: Status | None = None
        told: tuple[Status, str] | None = None
        try:
            while not self._closed and self._wanted is not None:
                patch = status_patch(self._pod, self._wanted)
                # A server that spells something otherwise than we do is not asked twice.
                if patch is None or patch == sent:
                    return
                self._is_other.clear()
                self._asked = patch
                try:
                    self.saw(await self._patch(patch))
                    sent = patch
                    self._sent(self._clock.monotonic() - began)
                    began = self._clock.monotonic()
                except (StatusError, OSError, TimeoutError) as error:
                    if is_not_found(error) or is_conflict(error):
                        return  # gone, or another pod by now
                    problem = (patch, str(error))
                    if told != problem:
                        log.error("cannot report the status of pod %s: %s", spec.described(self._pod), error)
                    told = problem
                    if _is_refusal(error):
                        await self._until_other()
                    else:
                        await self._clock.sleep(delay)
                        delay = min(delay * 2, LONGEST_RETRY_SECONDS)
        finally:
            self._task = None

    async def _until_other(self) -> None:
        """Until something else is to be sent than what was refused, or for long."""
        timer = self._clock.call_later(REFUSED_SECONDS, self._is_other.set)
        try:
            await self._is_other.wait()
        finally:
            timer.cancel()

    async def _patch(self, patch: Status) -> Object:
        return await self._client.patch(
            PODS,
            meta.name(self._pod),
            patch,
            meta.namespace(self._pod),
            content_type=STRATEGIC_MERGE_PATCH,
            subresource="status",
        )


def _is_refusal(error: Exception) -> bool:
    """The API looked at it and does not want it; asked again, it will say the same."""
    return isinstance(error, StatusError) and 400 <= error.code < 500 and not is_too_many_requests(error)
