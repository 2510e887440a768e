"""The evictor at work: when it looks, whom it spares, what it tries before a pod must go."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tiphys.kubelet.configuration import KubeletConfiguration
from tiphys.kubelet.eviction.evictor import Evictor
from tiphys.kubelet.runtimes.interface import SandboxStatus
from tiphys.kubelet.seen import Sentence
from tiphys.kubelet.stats.measured import MeasuredPod
from tiphys.kubelet.stats.usage import (
    CPUUsage,
    FilesystemUsage,
    MemoryUsage,
    NodeDisks,
    NodeUsage,
    PodDisks,
    PodUsage,
    VolumeUsage,
)
from tiphys.machinery import meta
from tiphys.testing.clock import FakeClock

Object = dict[str, Any]
GIB = 1 << 30
HEAD = {"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration"}


def pod(name: str, **spec: Any) -> Object:
    metadata = {"name": name, "namespace": "default", "uid": name}
    return {"metadata": metadata, "spec": {"containers": [{"name": "main"}], **spec}}


class Bell:
    """An alarm that a test rings."""

    def __init__(self) -> None:
        self.left: Mapping[str, int] = {}
        self.looks = 0
        self.is_closed = False
        self._rung = asyncio.Event()

    def set(self, left: Mapping[str, int]) -> None:
        self.left = left
        self.looks += 1
        self._rung.clear()

    def ring(self) -> None:
        self._rung.set()

    async def wait(self) -> None:
        await self._rung.wait()

    def close(self) -> None:
        self.is_closed = True


class World:
    """Node, pods and meter in one. Whoever is thrown out gives back a gibibyte."""

    def __init__(self, *pods: Object, alarm: Bell | None = None, **settings: Any) -> None:
        self.clock = FakeClock()
        self.pods_here = {meta.name(each): each for each in pods}
        self.memory = self.disk = 2 * GIB
        self.volumes: dict[str, int] = {}
        self.reclaims = 0
        self.reclaimable = 0
        self.thrown_out: list[tuple[str, Sentence]] = []
        self.told: list[tuple[str, ...]] = []
        self.conditions: list[tuple[str, ...]] = []
        self.disk_looks = 0
        self.manager = Evictor(
            self,
            self,
            KubeletConfiguration.parse({**HEAD, **settings}),
            self.clock,
            reclaim=self.reclaim,
            record=lambda *event: self.told.append(event),
            on_change=self.conditions.append,
            alarm=alarm,
        )

    async def look(self, seconds: float = 10.0) -> list[str]:
        """Lets that much time pass; who had to go meanwhile."""
        before = len(self.thrown_out)
        task = asyncio.create_task(self.manager.run())
        await self.clock.advance(0)
        await self.clock.advance(seconds)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return [name for name, _ in self.thrown_out[before:]]

    # Inhabitants

    @property
    def active_pods(self) -> list[Object]:
        return list(self.pods_here.values())

    def measured(self) -> list[MeasuredPod]:
        return [MeasuredPod(each, SANDBOX, ()) for each in self.pods_here.values()]

    async def throw_out(
        self, pods: Iterable[Object], sentence: Sentence, annotations: Mapping[str, str] | None = None
    ) -> None:
        for each in pods:
            self.pods_here.pop(meta.name(each))
            self.thrown_out.append((meta.name(each), sentence))
            self.memory += GIB

    async def reclaim(self) -> None:
        self.reclaims += 1
        self.disk += self.reclaimable

    # Meter

    def node(self) -> NodeUsage:
        now = self.clock.now()
        used = 8 * GIB - self.memory
        return NodeUsage(now, CPUUsage(now, 0), MemoryUsage(now, used, used, used, limit_bytes=8 * GIB))

    def pods(self, pods: Iterable[MeasuredPod]) -> dict[str, PodUsage]:
        return {each.uid: PodUsage() for each in pods}

    async def node_disks(self) -> NodeDisks:
        return NodeDisks(FilesystemUsage(self.clock.now(), 10 * GIB, self.disk, 1000, 1000))

    async def pod_disks(
        self, pods: Sequence[MeasuredPod], *, max_age_seconds: float = 60.0
    ) -> dict[str, PodDisks]:
        self.disk_looks += 1
        whole = FilesystemUsage(self.clock.now(), 0, 0, 0, 0)
        return {
            each.uid: PodDisks(
                volumes=(
                    VolumeUsage(
                        "data",
                        "emptyDir",
                        replace(whole, used_bytes=self.volumes.get(each.uid, 0)),
                        is_ephemeral=True,
                    ),
                ),
            )
            for each in pods
        }


CREATED = meta.parse_time("2026-01-01T12:00:00Z")
SANDBOX = SandboxStatus("s0", "p", "default", "u", 0, "Ready", CREATED, {}, {}, ())


async def test_a_quiet_node_measures_no_disks_of_pods() -> None:
    world = World(pod("web"))
    assert await world.look(60) == []
    assert (world.told, world.conditions, world.disk_looks) == ([], [], 0)


async def test_one_pod_after_the_other_until_it_is_enough() -> None:
    world = World(pod("a"), pod("b"), pod("c"), evictionHard={"memory.available": "3500Mi"})
    assert await world.look(0) == ["a", "b"]
    assert world.conditions == [("MemoryPressure",)]
    assert ("Warning", "EvictionThresholdMet", "Attempting to reclaim memory") in world.told
    assert await world.look(60) == []
    await world.look(300)
    assert world.conditions[-1] == ()


async def test_critical_and_static_pods_stay() -> None:
    static = pod("static")
    static["metadata"]["annotations"] = {"kubernetes.io/config.mirror": "x"}
    world = World(pod("critical", priority=2_000_000_000), static, evictionHard={"memory.available": "7Gi"})
    assert await world.look(30) == []
    assert world.conditions == [("MemoryPressure",)]


async def test_images_go_before_pods() -> None:
    world = World(pod("web"), evictionHard={"nodefs.available": "3Gi"})
    world.reclaimable = 2 * GIB
    assert await world.look(0) == []
    assert world.reclaims == 1
    assert world.conditions == [("DiskPressure",)]
    world.disk, world.reclaimable = GIB, 0
    assert await world.look(0) == ["web"]


async def test_a_volume_over_its_limit_ends_its_pod_alone() -> None:
    volumes = [{"name": "data", "emptyDir": {"sizeLimit": "10Mi"}}]
    world = World(pod("full", volumes=volumes), pod("fair", volumes=volumes), pod("free"))
    world.volumes = {"full": 11 << 20, "fair": 10 << 20}
    assert await world.look(0) == ["full"]
    [(_, why)] = world.thrown_out
    assert why.message == 'Usage of EmptyDir volume "data" exceeds the limit "10Mi". '
    assert (why.reason, why.grace_seconds, why.conditions) == ("Evicted", 1.0, ())
    isolated = World(pod("full", volumes=volumes), localStorageCapacityIsolation=False)
    isolated.volumes = {"full": 11 << 20}
    assert await isolated.look(60) == []


async def test_the_kernel_may_tell_of_memory_between_two_looks() -> None:
    bell = Bell()
    world = World(pod("web"), alarm=bell, evictionHard={"memory.available": "1Gi"})
    task = asyncio.create_task(world.manager.run())
    await world.clock.advance(2)
    assert (bell.looks, bell.left) == (1, {"memory.available": GIB})
    world.memory = GIB // 2
    bell.ring()
    await world.clock.advance(0)
    assert [name for name, _ in world.thrown_out] == ["web"]
    # Nothing rings: it looks as often as it does without.
    looks = bell.looks
    await world.clock.advance(30)
    assert bell.looks == looks + 3
    # What rings without end does not keep it busy.
    for _ in range(20):
        bell.ring()
        await world.clock.advance(0.1)
    assert bell.looks - looks <= 3 + 5
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert bell.is_closed
