"""Looks after a node in need: every ten seconds it observes, and ends a pod when nothing else helps. A chore of the kubelet.

At most one pod a look, and the next look when that one is gone; pods over their own limits on the disk go all at once. Quiet as long as
nothing is short: a few files of the kernel, and the disks of pods that have limits there.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Protocol

from tiphys.client.events import WARNING
from tiphys.kubelet import spec
from tiphys.kubelet.configuration import KubeletConfiguration
from tiphys.kubelet.eviction import limits
from tiphys.kubelet.eviction.pressure import (
    Observations,
    Pressure,
    is_relieved,
    look,
    memory_left,
    observations,
    with_allocatable,
)
from tiphys.kubelet.eviction.thresholds import (
    IMAGEFS_AVAILABLE,
    IMAGEFS_INODES_FREE,
    NODEFS_AVAILABLE,
    NODEFS_INODES_FREE,
    Threshold,
)
from tiphys.kubelet.eviction.victims import Candidate, event_annotations, ranked, sentence
from tiphys.kubelet.runtimes.interface import RuntimeFailure
from tiphys.kubelet.seen import Sentence
from tiphys.kubelet.spec import Object
from tiphys.kubelet.stats.measured import MeasuredPod
from tiphys.kubelet.stats.meter import Meter
from tiphys.kubelet.stats.usage import NodeDisks, NodeUsage
from tiphys.machinery import meta
from tiphys.machinery.clock import Clock, within

log = logging.getLogger(__name__)

MONITORING_SECONDS = 10.0
BREATH_SECONDS = 0.5
"""Between two looks, whatever rings."""
DISK_LOOKS = 6
"""What pods have on disks may be so many looks old: measuring it takes a walk through all of it."""
_NODE_DISK = (NODEFS_AVAILABLE, NODEFS_INODES_FREE)
_IMAGE_DISK = (IMAGEFS_AVAILABLE, IMAGEFS_INODES_FREE)

Reclaim = Callable[[], Awaitable[None]]
"""Removes from the disk what no pod needs."""


class Inhabitants(Protocol):
    """The pods of the node."""

    @property
    def active_pods(self) -> Iterable[Object]: ...

    def measured(self) -> Sequence[MeasuredPod]: ...

    async def throw_out(
        self,
        pods: Iterable[Object],
        sentence: Sentence,
        annotations: Mapping[str, str] | None = None,
    ) -> None: ...


class Alarm(Protocol):
    """Tells that memory is short, between two looks."""

    def set(self, left: Mapping[str, int]) -> None:
        """Rings when so many bytes more are used, by signal; not for what was set before."""

    async def wait(self) -> None: ...

    def close(self) -> None: ...


class Evictor:
    """`record(type, reason, message)`: an event about the node. `count(signal)`: of evictions. `node`: what the node uses, if not what the meter says at once. `alarm`: tells that memory is short, between two looks. `on_change`: MemoryPressure and its like, as far as they are true now."""

    def __init__(
        self,
        inhabitants: Inhabitants,
        meter: Meter,
        configuration: KubeletConfiguration,
        clock: Clock,
        *,
        reclaim: Reclaim,
        record: Callable[[str, str, str], None],
        on_change: Callable[[tuple[str, ...]], None],
        count: Callable[[str], None] = lambda signal: None,
        node: Callable[[], NodeUsage] | None = None,
        monitoring_seconds: float = MONITORING_SECONDS,
        alarm: Alarm | None = None,
    ) -> None:
        self._inhabitants = inhabitants
        self._meter = meter
        self._configuration = configuration
        self._thresholds = with_allocatable(
            configuration.thresholds, is_enforced="pods" in configuration.enforce_node_allocatable
        )
        self._clock = clock
        self._reclaim = reclaim
        self._record = record
        self._on_change = on_change
        self._count = count
        self._node = node or meter.node
        self._monitoring_seconds = monitoring_seconds
        self._alarm = alarm
        self._pressure = Pressure()

    async def run(self) -> None:
        """Until cancelled."""
        try:
            await self._run()
        finally:
            if self._alarm is not None:
                self._alarm.close()

    async def _run(self) -> None:
        while True:
            try:
                has_evicted = await self._synchronize()
            except (OSError, RuntimeFailure) as error:
                log.warning("cannot observe what the node has left: %s", error)
                has_evicted = False
            if not has_evicted:
                await self._wait()

    async def _wait(self) -> None:
        if self._alarm is None:
            await self._clock.sleep(self._monitoring_seconds)
            return
        # A use of memory that swings about the threshold must not keep us looking.
        await self._clock.sleep(min(BREATH_SECONDS, self._monitoring_seconds))
        rest = self._monitoring_seconds - BREATH_SECONDS
        if rest > 0:
            with contextlib.suppress(TimeoutError):
                await within(self._clock, rest, self._alarm.wait())

    async def _synchronize(self) -> bool:
        """Whether a pod had to go."""
        isolates = self._configuration.local_storage_capacity_isolation
        if not self._thresholds and not isolates:
            return False
        disks = await self._meter.node_disks()
        seen = observations(self._node(), disks)
        self._look(seen)
        if self._alarm is not None:
            self._alarm.set(memory_left(self._thresholds, seen))
        has_image_disk = _has_image_disk(disks)
        if isolates and await self._evict_over_limits(has_image_disk=has_image_disk):
            return True
        acting = self._pressure.acting
        if not acting:
            return False
        resource = acting[0].resource
        self._record(WARNING, "EvictionThresholdMet", f"Attempting to reclaim {resource}")
        if await self._is_reclaimed(acting[0], has_image_disk=has_image_disk):
            return False
        return await self._evict_one(acting, seen, has_image_disk=has_image_disk)

    def _look(self, seen: Observations) -> None:
        before, transition = (
            self._pressure,
            self._configuration.eviction_pressure_transition_period_seconds,
        )
        self._pressure = look(before, self._thresholds, seen, self._clock.now(), transition)
        if self._pressure.conditions != before.conditions:
            self._on_change(self._pressure.conditions)

    async def _is_reclaimed(self, threshold: Threshold, *, has_image_disk: bool) -> bool:
        """The disk that images and containers are on can be relieved without a pod's end."""
        reclaimable = _IMAGE_DISK if has_image_disk else (*_IMAGE_DISK, *_NODE_DISK)
        if threshold.signal not in reclaimable:
            return False
        await self._reclaim()
        seen = observations(self._node(), await self._meter.node_disks())
        return is_relieved(self._thresholds, seen)

    async def _evict_one(
        self, acting: Sequence[Threshold], seen: Observations, *, has_image_disk: bool
    ) -> bool:
        candidates = await self._candidates(acting[0])
        for candidate in ranked(candidates, acting[0], has_image_disk=has_image_disk):
            if spec.is_critical(candidate.pod):
                continue
            limit = self._configuration.eviction_max_pod_grace_period_seconds
            why = sentence(candidate, acting, seen, limit)
            log.warning("evicting pod %s: %s", spec.described(candidate.pod), why.message)
            annotations = event_annotations(candidate, acting[0].resource)
            self._count(acting[0].signal)
            await self._inhabitants.throw_out([candidate.pod], why, annotations)
            return True
        log.warning("%s is short, and there is no pod that could go", acting[0].resource)
        return False

    async def _candidates(self, threshold: Threshold) -> list[Candidate]:
        measured = self._inhabitants.measured()
        usage = self._meter.pods(measured)
        is_disk = threshold.signal in (*_NODE_DISK, *_IMAGE_DISK)
        disks = await self._meter.pod_disks(measured, max_age_seconds=0.0) if is_disk else {}
        return [
            Candidate(pod, usage.get(meta.uid(pod)), disks.get(meta.uid(pod)))
            for pod in self._inhabitants.active_pods
        ]

    async def _evict_over_limits(self, *, has_image_disk: bool) -> bool:
        limited = [pod for pod in self._inhabitants.measured() if limits.has_limits(pod.pod)]
        if not limited:
            return False
        age = DISK_LOOKS * self._monitoring_seconds
        disks = await self._meter.pod_disks(limited, max_age_seconds=age)
        going = []
        for measured in limited:
            found = disks.get(measured.uid)
            why = limits.violation(measured.pod, found, has_image_disk=has_image_disk) if found else None
            if why is not None and not spec.is_critical(measured.pod):
                self._count(limits.signal(why))
                going.append(self._inhabitants.throw_out([measured.pod], why))
        await asyncio.gather(*going)
        return bool(going)


def _has_image_disk(disks: NodeDisks) -> bool:
    """Two filesystems of the very same size are taken for one: nobody tells which device the runtime's is."""
    node, images = disks.node, disks.images
    return images is not None and (node.capacity_bytes, node.inodes) != (images.capacity_bytes, images.inodes)
