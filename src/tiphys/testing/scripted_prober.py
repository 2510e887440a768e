"""Probes of simulated containers: they answer what the rules of the test say, and nothing is asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress

from tiphys.kubelet.runtimes.interface import ContainerStatus, NotFound
from tiphys.kubelet.runtimes.simulated import SimulatedRuntime
from tiphys.kubelet.seen import Health
from tiphys.kubelet.spec import Object
from tiphys.machinery import meta
from tiphys.machinery.clock import Clock


class ScriptedProber:
    """A `tiphys.kubelet.host.Prober` of one node. `wake(uid)` has a pod looked at again."""

    def __init__(self, runtime: SimulatedRuntime, clock: Clock, wake: Callable[[str], None]) -> None:
        self._runtime = runtime
        self._clock = clock
        self._wake = wake
        self._running: dict[str, dict[str, ContainerStatus]] = {}
        self._awaited: set[str] = set()
        """Containers that become ready by themselves, and whose moment is set."""

    def update(self, pod: Object, running: Mapping[str, ContainerStatus], ips: tuple[str, ...]) -> None:
        self._running[meta.uid(pod)] = dict(running)

    def health(self, uid: str) -> Mapping[str, Health]:
        found = {}
        for id, status in self._running.get(uid, {}).items():
            with suppress(NotFound):
                found[id] = Health(ready=self._is_ready(uid, id, status))
        return found

    def _is_ready(self, uid: str, id: str, status: ContainerStatus) -> bool:
        behaviour = self._runtime.behaviour_of(id)
        if behaviour.ready is False:
            return False
        if not behaviour.ready_after_seconds or status.started_at is None:
            return True
        age = (self._clock.now() - status.started_at).total_seconds()
        left = behaviour.ready_after_seconds - age
        if left > 0 and id not in self._awaited:
            self._awaited.add(id)
            self._clock.call_later(left, lambda: self._become_ready(uid, id))
        return left <= 0

    def _become_ready(self, uid: str, id: str) -> None:
        self._awaited.discard(id)
        self._wake(uid)

    def forget(self, uid: str) -> None:
        self._running.pop(uid, None)
