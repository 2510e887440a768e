"""The images of one pod's containers: had in the background, with a back-off for each image that cannot be had."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any

from tiphys.client.events import NORMAL, WARNING
from tiphys.kubelet import spec
from tiphys.kubelet.host import Host
from tiphys.kubelet.pulling import ERR_IMAGE_PULL, IMAGE_PULL_BACK_OFF, PullFailure, Wanted
from tiphys.kubelet.runtimes.interface import RuntimeFailure, Unavailable
from tiphys.kubelet.seen import ImageState, Problem
from tiphys.kubelet.spec import Object
from tiphys.machinery.retry import Backoff, ItemBackoff

PULL_BACKOFF = Backoff(base_seconds=10.0, cap_seconds=300.0)
BACK_OFF_SHOWN_AFTER_SECONDS = 2.0
"""A failed pull is ErrImagePull for this long, and then ImagePullBackOff until the next try."""
RUNTIME_RETRY_SECONDS = 1.0

Spawn = Callable[[Coroutine[Any, Any, None]], object]
"""Runs something beside the pod's worker, and wakes it at the end."""


class PodImages:
    """`states`, by container: what is known of the images of those that are about to start."""

    def __init__(self, host: Host, spawn: Spawn) -> None:
        self.states: dict[str, ImageState] = {}
        self._host = host
        self._spawn = spawn
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
            credentials = await self._host.provisions.credentials(pod, image)
            wanted = Wanted(image, container.get("imagePullPolicy") or "IfNotPresent", credentials)
            self.states[name] = ImageState(await self._host.images.ensure(wanted, record))
            self._backoff.forget(image)
        except PullFailure as failure:
            self._note_failure(pod, name, image, failure)
        except Unavailable:
            await self._host.clock.sleep(RUNTIME_RETRY_SECONDS)
            self.states.pop(name, None)
        except RuntimeFailure as error:
            self._note_failure(pod, name, image, PullFailure("ImageInspectError", error.message))

    def _note_failure(self, pod: Object, name: str, image: str, failure: PullFailure) -> None:
        retry_at = self._host.clock.now() + timedelta(seconds=self._backoff.failed(image))
        problem = Problem(failure.reason, failure.message, retry_at)
        self.states[name] = ImageState(problem=problem)
        if failure.reason == ERR_IMAGE_PULL:
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
