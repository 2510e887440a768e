"""Makes sure that an image is on the node, as the container's pull policy wants it; events in upstream's words.

Pulls of the same image for the same reason wait for one another: ten pods of a deployment cause one pull.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from tiphys.client.events import NORMAL, WARNING
from tiphys.kubelet.images.names import InvalidName, parse
from tiphys.kubelet.runtimes.interface import RegistryAuth, Runtime, RuntimeFailure
from tiphys.machinery.clock import Clock
from tiphys.machinery.quoting import format_duration

ERR_IMAGE_PULL = "ErrImagePull"
IMAGE_PULL_BACK_OFF = "ImagePullBackOff"
ERR_IMAGE_NEVER_PULL = "ErrImageNeverPull"
INVALID_IMAGE_NAME = "InvalidImageName"

Record = Callable[[str, str, str], None]
"""(type, reason, message) of an event about the container."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """`policy`: Always, IfNotPresent or Never."""

    image: str
    policy: str
    credentials: tuple[RegistryAuth, ...] = ()


class PullFailure(Exception):
    """`reason` is that of the container's waiting state."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class ImagePuller:
    """Of one node."""

    def __init__(self, runtime: Runtime, clock: Clock) -> None:
        self._runtime = runtime
        self._clock = clock
        self._running: dict[Wanted, asyncio.Task[str]] = {}
        self._one_at_a_time = asyncio.Semaphore(2)

    async def ensure(self, wanted: Wanted, record: Record) -> str:
        """What to run: the image's id. Raises PullFailure, its events already told."""
        try:
            return await self._ensure(wanted, record)
        except PullFailure as failure:
            record(WARNING, "Failed", f"Error: {failure.reason}")
            raise

    async def _ensure(self, wanted: Wanted, record: Record) -> str:
        problem = invalid_name(wanted.image)
        if problem:
            message = f'Failed to apply default image tag "{wanted.image}": {problem}'
            record(WARNING, "InspectFailed", message)
            raise PullFailure(INVALID_IMAGE_NAME, message)
        if wanted.policy != "Always":
            present = await self._runtime.image_status(wanted.image)
            if present is not None:
                text = f'Container image "{wanted.image}" already present on machine and can be accessed by the pod'
                record(NORMAL, "Pulled", text)
                return present.id
            if wanted.policy == "Never":
                message = f'Container image "{wanted.image}" is not present with pull policy of Never'
                record(WARNING, ERR_IMAGE_NEVER_PULL, message)
                raise PullFailure(ERR_IMAGE_NEVER_PULL, message)
        return await self._pull_and_tell(wanted, record)

    async def _pull_and_tell(self, wanted: Wanted, record: Record) -> str:
        record(NORMAL, "Pulling", f'Pulling image "{wanted.image}"')
        asked = self._clock.monotonic()
        try:
            id, seconds = await self._pull(wanted)
        except RuntimeFailure as failure:
            record(WARNING, "Failed", f'Failed to pull image "{wanted.image}": {failure.message}')
            raise PullFailure(ERR_IMAGE_PULL, failure.message) from None
        waited = self._clock.monotonic() - asked
        image = await self._runtime.image_status(id)
        size = image.size_bytes if image else 0
        text = (
            f'Successfully pulled image "{wanted.image}" in {_milliseconds(seconds)} '
            f"({_milliseconds(waited)} including waiting). Image size: {size} bytes."
        )
        record(NORMAL, "Pulled", text)
        return id

    async def _pull(self, wanted: Wanted) -> tuple[str, float]:
        """The id, and how long the pull itself took."""
        task = self._running.get(wanted)
        started = self._clock.monotonic()
        if task is None:
            task = self._running[wanted] = asyncio.get_running_loop().create_task(self._pull_once(wanted))
            task.add_done_callback(lambda _: self._running.pop(wanted, None))
        return await asyncio.shield(task), self._clock.monotonic() - started

    async def _pull_once(self, wanted: Wanted) -> str:
        """With each credential in turn, or without any."""
        async with self._one_at_a_time:
            for auth in wanted.credentials[:-1]:
                try:
                    return await self._runtime.pull_image(wanted.image, auth)
                except RuntimeFailure:
                    continue
            return await self._runtime.pull_image(
                wanted.image, wanted.credentials[-1] if wanted.credentials else None
            )


def _milliseconds(seconds: float) -> str:
    return format_duration(round(seconds, 3))


def invalid_name(image: str) -> str:
    """Why it is no image reference; empty when it is one."""
    try:
        parse(image)
    except InvalidName as error:
        return f'couldn\'t parse image name "{image}": {error}'
    return ""
