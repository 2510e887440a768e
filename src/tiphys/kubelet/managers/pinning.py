"""Keeps running containers on the CPUs that are theirs, for the shared ones become fewer and more. A chore of the kubelet."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Protocol

from tiphys.kubelet.admission import Refused
from tiphys.kubelet.allocation_metrics import ManagerMetrics
from tiphys.kubelet.managers import checkpoint, cpusets
from tiphys.kubelet.managers.cpus import StaticCPUs, texts
from tiphys.kubelet.managers.hints import Hints, Nodes
from tiphys.kubelet.runtimes.interface import Resources, Runtime, RuntimeFailure
from tiphys.kubelet.seen import SeenContainer
from tiphys.kubelet.spec import Object
from tiphys.machinery.clock import Clock
from tiphys.machinery.metrics import Registry

log = logging.getLogger(__name__)


class CPUManager:
    """The static policy as a provider of the allocator; what it gives is on disk at once. `on_change` is called when the shared CPUs are others."""

    def __init__(self, static: StaticCPUs, path: Path, metrics: ManagerMetrics | None = None) -> None:
        self.static = static
        self._path = path
        self.on_change: Callable[[], None] = lambda: None
        self._metrics = metrics or ManagerMetrics(Registry())
        shared, entries = checkpoint.read_cpus(path, "static")
        try:
            assigned = {
                uid: {name: cpusets.parse(cpus) for name, cpus in containers.items()}
                for uid, containers in entries.items()
            }
            static.restore(cpusets.parse(shared), assigned)
        except ValueError as error:
            raise checkpoint.refusal(path, checkpoint.CPU, f"could not parse: {error}") from None
        except checkpoint.BadState as error:
            raise checkpoint.CannotStart(f"start cpu manager error: {error}") from None
        self._write()

    def _write(self) -> None:
        static = self.static
        checkpoint.write_cpus(self._path, "static", cpusets.text(static.shared), texts(static.assigned))
        own = frozenset().union(*(cpus for of in static.assigned.values() for cpus in of.values()))
        self._metrics.pools(len(static.shared), len(own))

    def hints(self, pod: Object, container: Object) -> Hints:
        return self.static.hints(pod, container)

    def pod_hints(self, pod: Object) -> Hints:
        return self.static.pod_hints(pod)

    async def allocate(self, pod: Object, container: Object, nodes: Nodes | None) -> None:
        try:
            is_new = self.static.allocate(pod, container, nodes)
        except Refused:
            self._metrics.pinned(failed=True)
            raise
        if is_new:
            self._metrics.pinned(failed=False)
            self._write()
            self.on_change()

    def keep_only(self, uids: Collection[str]) -> None:
        if self.static.keep_only(uids):
            self._write()
            self.on_change()


class Resident(Protocol):
    """A pod's worker."""

    @property
    def uid(self) -> str: ...

    @property
    def running(self) -> Iterable[SeenContainer]: ...


class Pinning:
    def __init__(self, cpus: CPUManager, runtime: Runtime, clock: Clock, period_seconds: float) -> None:
        self._cpus = cpus
        self._runtime = runtime
        self._clock = clock
        self._period_seconds = period_seconds
        self._set: dict[str, str] = {}
        """By container id: where it may run, as the runtime was told."""
        self._changed = asyncio.Event()
        cpus.on_change = self._changed.set

    async def run(
        self, residents: Callable[[], Iterable[Resident]], holders: Callable[[], Collection[str] | None]
    ) -> None:
        """Until cancelled."""
        while True:
            self._changed.clear()
            uids = holders()
            if uids is not None:
                self._cpus.keep_only(uids)
                self._changed.clear()
            await self.look(residents())
            waiting = asyncio.ensure_future(self._changed.wait())
            sleeping = asyncio.ensure_future(self._clock.sleep(self._period_seconds))
            try:
                await asyncio.wait((waiting, sleeping), return_when=asyncio.FIRST_COMPLETED)
            finally:
                waiting.cancel()
                sleeping.cancel()

    async def look(self, residents: Iterable[Resident]) -> None:
        """Tells the runtime of every running container that may run elsewhere than it was told."""
        wanted = {
            life.status.id: cpusets.text(self._cpus.static.of(resident.uid, life.status.name))
            for resident in list(residents)
            for life in resident.running
        }
        self._set = {id: cpus for id, cpus in self._set.items() if id in wanted}
        for id, cpus in wanted.items():
            if self._set.get(id) == cpus:
                continue
            try:
                await self._runtime.update_resources(id, Resources(cpuset_cpus=cpus))
            except RuntimeFailure as error:
                log.info("cannot set the CPUs of container %s: %s", id, error.message)
            else:
                self._set[id] = cpus
