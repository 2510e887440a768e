"""The volumes of one pod, as its worker cares for them: made before its containers, and brought up to date under their eyes.

Once they are there, containers may start although a volume cannot be brought up to date just now (its ConfigMap was deleted).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from tiphys.client.events import WARNING
from tiphys.kubelet.host import Host, Unprovided
from tiphys.kubelet.seen import Problem
from tiphys.kubelet.spec import Object
from tiphys.machinery.clock import Timer
from tiphys.machinery.retry import Backoff, ItemBackoff

RETRY = Backoff(base_seconds=0.5, cap_seconds=30.0)
_VOLUMES = "volumes"


class VolumeCare:
    """`wake`: look at the pod, something is to be done about its volumes."""

    def __init__(self, host: Host, wake: Callable[[], None]) -> None:
        self.are_ready = False
        self.problem: Problem | None = None
        self._host = host
        self._wake = wake
        self._backoff: ItemBackoff[str] = ItemBackoff(RETRY)
        self._timer: Timer | None = None
        self._wanted = 1
        self._made = 0
        """How often they should have been made, and were: what changes while they are being made is not lost."""

    @property
    def are_stale(self) -> bool:
        return self._made != self._wanted

    def outdate(self) -> None:
        """Something in them is another thing now: a token grown old, a label of the pod, an object that it refers to."""
        self._wanted += 1
        self.problem = None

    async def prepare(self, pod: Object) -> None:
        wanted = self._wanted
        try:
            refresh_after_seconds = await self._host.provisions.prepare_volumes(pod)
        except Unprovided as error:
            for reason, message in error.all:
                self._host.record(pod, WARNING, reason, message)
            delay = timedelta(seconds=self._backoff.failed(_VOLUMES))
            self.problem = Problem(error.reason, error.message, self._host.clock.now() + delay)
            return
        self.problem = None
        self.are_ready = True
        self._made = wanted
        self._backoff.forget(_VOLUMES)
        if refresh_after_seconds is not None:
            self.close()
            self._timer = self._host.clock.call_later(refresh_after_seconds, self._refresh)

    def _refresh(self) -> None:
        self.outdate()
        self._wake()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
