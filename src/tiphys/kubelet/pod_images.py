"""The images of one pod's containers: had in the background, with a back-off for each image that cannot be had."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any

from tiphys.client.events import NORMAL, WARNING
from tiphys.kubelet import spec
from tiphys.kubelet.host import Host
from tiphys.kubelet.images.keyring import Credentials
from tiphys.kubelet.pod_metrics import PodMetrics
from tiphys.kubelet.pulling import IMAGE_PULL_BACK_OFF, PULL_FAILURES, PullFailure, Record, Wanted
from tiphys.kubelet.runtimes.interface import RuntimeFailure
from tiphys.kubelet.seen import ImageState, Problem
from tiphys.kubelet.spec import Object
from tiphys.kubelet.volumes.used import image_volumes
from tiphys.machinery.quoting import quote
from tiphys.machinery.retry import Backoff, ItemBackoff

log = logging.getLogger(__name__)

PULL_BACKOFF = Backoff(base_seconds=10.0, cap_seconds=300.0)
BACK_OFF_SHOWN_AFTER_SECONDS = 2.0
"""A failed pull is ErrImagePull for this long, and then ImagePullBackOff until the next try."""
RUNTIME_RETRY_SECONDS = 1.0

Spawn = Callable[[Coroutine[Any, Any, None]], object]
"""Runs something beside the pod's worker, and wakes it at the end."""


class PodImages:
    """`states`, by container: what is known of the images of those that are about to start."""

    def __init__(self, host: Host, spawn: Spawn, metrics: PodMetrics) -> None:
        self.states: dict[str, ImageState] = {}
        self._host = host
        self._spawn = spawn
        self._metrics = metrics
        self._backoff: ItemBackoff[str] = ItemBackoff(PULL_BACKOFF)

    def pull(self, pod: Object, name: str) -> None:
        """Makes sure of the image of one container, in the background."""
        before = self.states.get(name) or ImageState()
        self.states[name] = ImageState(problem=before.problem, is_pulling=True)
        self._spawn(self._ensure(pod, name))

    def forget(self, name: str) -> None:
        """The container was started: the next time its policy counts again."""
        self.states.pop(name, None)

    async def _ensure(self, pod: Object, name: str) -> None:
        container = spec.find_container(pod, name)
        assert container is not None
        image = container.get("image", "")

        def record(type: str, reason: str, message: str) -> None:
            self._host.record(pod, type, reason, message, name)

        try:
            for volume in image_volumes(pod, container):
                await self._ensure_volume(pod, volume["image"])
            policy = container.get("imagePullPolicy")
            self.states[name] = ImageState(await self._ensure_image(pod, image, policy, record))
            self._backoff.forget(image)
        except PullFailure as failure:
            self._note_failure(pod, name, image, failure)
        except RuntimeFailure as error:
            log.info("image %s: the runtime does not answer: %s", image, error.message)
            await self._host.clock.sleep(RUNTIME_RETRY_SECONDS)
            self.states.pop(name, None)

    async def _ensure_image(self, pod: Object, image: str, policy: str | None, record: Record) -> str:
        credentials = await self._host.provisions.credentials(pod, image)
        if credentials.missing:
            self._host.record(pod, WARNING, "FailedToRetrieveImagePullSecret", missing(credentials))
        wanted = Wanted(image, policy or "IfNotPresent", credentials)
        is_pulling = False

        def note(type: str, reason: str, message: str) -> None:
            nonlocal is_pulling
            if reason == "Pulling":
                is_pulling = True
                self._metrics.pull_began()
            record(type, reason, message)

        try:
            return await self._host.images.ensure(
                wanted, note, lambda: self._host.provisions.provided_credentials(pod, image)
            )
        finally:
            if is_pulling:
                self._metrics.pull_ended()

    async def _ensure_volume(self, pod: Object, source: Object) -> None:
        """The image of a volume; it is the pod's, not the container's."""
        image = source.get("reference") or ""

        def record(type: str, reason: str, message: str) -> None:
            self._host.record(pod, type, reason, message)

        try:
            await self._ensure_image(pod, image, source.get("pullPolicy"), record)
        except PullFailure as failure:
            text = f"error pulling image {quote(image)}: {failure.message}"
            raise PullFailure(failure.reason, text) from failure

    def _note_failure(self, pod: Object, name: str, image: str, failure: PullFailure) -> None:
        was_asked_for = failure.reason in PULL_FAILURES
        delay = self._backoff.failed(image) if was_asked_for else PULL_BACKOFF.base_seconds
        problem = Problem(failure.reason, failure.message, self._host.clock.now() + timedelta(seconds=delay))
        self.states[name] = ImageState(problem=problem)
        if was_asked_for:
            self._spawn(self._show_back_off(pod, name, image, problem))

    async def _show_back_off(self, pod: Object, name: str, image: str, problem: Problem) -> None:
        await self._host.clock.sleep(BACK_OFF_SHOWN_AFTER_SECONDS)
        state = self.states.get(name)
        if state is None or state.problem is not problem or state.is_pulling:
            return
        text = f'Back-off pulling image "{image}"'
        self._host.record(pod, NORMAL, "BackOff", text, name)
        self._host.record(pod, WARNING, "Failed", f"Error: {IMAGE_PULL_BACK_OFF}", name)
        shown = Problem(IMAGE_PULL_BACK_OFF, f"{text}: {problem.reason}: {problem.message}", problem.retry_at)
        self.states[name] = ImageState(problem=shown)


def missing(credentials: Credentials) -> str:
    """Of the event that tells which secrets could not be had."""
    names = ", ".join(credentials.missing)
    return (
        f"Unable to retrieve some image pull secrets ({names}); attempting to pull the image may not succeed."
    )
