"""Sends one pod's status to the API: the newest, only when it differs, one request at a time; tried again while the API is away."""

from __future__ import annotations

import asyncio
import logging

from tiphys.client.client import Client
from tiphys.client.resources import PODS
from tiphys.client.transport import STRATEGIC_MERGE_PATCH
from tiphys.kubelet import spec
from tiphys.kubelet.spec import Object
from tiphys.kubelet.status import Status, status_patch
from tiphys.machinery import meta
from tiphys.machinery.clock import Clock
from tiphys.machinery.errors import StatusError, is_conflict, is_not_found

log = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
LONGEST_RETRY_SECONDS = 10.0


class Reporter:
    """`report` returns at once. The pod that the API showed last tells what it knows already."""

    def __init__(self, client: Client, pod: Object, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._pod = pod
        self._wanted: Status | None = None
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    def saw(self, pod: Object) -> None:
        """A newer pod than ours; an echo of our own write may be older than what we know."""
        if int(meta.resource_version(pod) or 0) >= int(meta.resource_version(self._pod) or 0):
            self._pod = pod

    def report(self, status: Status) -> None:
        if self._closed:
            return
        self._wanted = status
        if self._task is None and status_patch(self._pod, status) is not None:
            self._task = asyncio.get_running_loop().create_task(self._send())

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
        delay = RETRY_SECONDS
        sent: Status | None = None
        try:
            while not self._closed and self._wanted is not None:
                patch = status_patch(self._pod, self._wanted)
                # A server that spells something otherwise than we do is not asked twice.
                if patch is None or patch == sent:
                    return
                try:
                    self.saw(await self._patch(patch))
                    sent = patch
                except (StatusError, OSError, TimeoutError) as error:
                    if is_not_found(error) or is_conflict(error):
                        return  # gone, or another pod by now
                    log.warning("cannot report the status of pod %s: %s", spec.described(self._pod), error)
                    await self._clock.sleep(delay)
                    delay = min(delay * 2, LONGEST_RETRY_SECONDS)
        finally:
            self._task = None

    async def _patch(self, patch: Status) -> Object:
        return await self._client.patch(
            PODS,
            meta.name(self._pod),
            patch,
            meta.namespace(self._pod),
            content_type=STRATEGIC_MERGE_PATCH,
            subresource="status",
        )
