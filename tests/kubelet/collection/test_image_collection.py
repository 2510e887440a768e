"""Which images go, and when."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from tiphys.kubelet.collection.containers import dead
from tiphys.kubelet.collection.images import ImageCollector
from tiphys.kubelet.configuration import KubeletConfiguration
from tiphys.kubelet.images.registry_cache import Held, RegistryCache
from tiphys.kubelet.runtimes.interface import (
    Container,
    ContainerStatus,
    Image,
    RuntimeFailure,
)
from tiphys.kubelet.seen import SeenContainer
from tiphys.kubelet.stats.usage import FilesystemUsage, NodeDisks
from tiphys.testing.clock import FakeClock

HEAD = {"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration"}
GIB = 1 << 30


class World:
    """A disk of 100 GiB with images of 5 GiB each, and the runtime and the meter that know it."""

    def __init__(self, *names: str, copies: RegistryCache | None = None, **settings: Any) -> None:
        self.clock = FakeClock()
        self.images = [image(name) for name in names]
        self.other_bytes = 0
        self.used: set[str] = set()
        self.stuck: set[str] = set()
        self.told: list[tuple[str, str]] = []
        runtime: Any = self
        self.collector = ImageCollector(
            runtime,
            self,  # type: ignore[arg-type]
            KubeletConfiguration.parse({**HEAD, **settings}),
            self.clock,
            record=lambda type, reason, message: self.told.append((reason, message)),
            pinned=("pause",),
            copies=copies,
            forget=lambda ids, before: self.present.append(list(ids)),
        )
        self.present: list[list[str]] = []

    @property
    def names(self) -> list[str]:
        return [each.id for each in self.images]

    async def advance_and_collect(self, seconds: float) -> str:
        await self.clock.advance(seconds)
        return await self.collector.collect()

    async def list_images(self) -> list[Image]:
        return list(self.images)

    async def list_containers(self) -> list[Container]:
        now = self.clock.now()
        return [
            Container(f"c-{name}", "s0", "main", 0, "Exited", now, name, name, {}, {}) for name in self.used
        ]

    async def remove_image(self, name: str) -> None:
        if name in self.stuck:
            raise RuntimeFailure("in use")
        self.images = [each for each in self.images if each.id != name]

    async def node_disks(self) -> NodeDisks:
        free = 100 * GIB - self.other_bytes - 5 * GIB * len(self.images)
        return NodeDisks(FilesystemUsage(self.clock.now(), 100 * GIB, free, 0, 0))


def image(name: str) -> Image:
    return Image(name, (name,), (), 5 * GIB)


async def test_below_the_high_threshold_nothing_goes() -> None:
    world = World("a", "b")
    world.other_bytes = 74 * GIB
    await world.collector.collect()
    await world.clock.advance(600)
    assert await world.collector.collect() == ""
    assert world.names == ["a", "b"]


async def test_above_it_what_was_used_longest_ago_goes_down_to_the_low_one() -> None:
    world = World("pause", "a", "b", "c", "d")
    world.used = {"a", "d"}
    await world.collector.collect()
    world.used = {"b", "d"}
    await world.advance_and_collect(600)
    world.used = {"d"}
    world.other_bytes = 63 * GIB
    assert await world.advance_and_collect(600) == ""
    # c was never used, a before b; d is, and pause stays; 80 % is reached without b.
    assert world.names == ["pause", "b", "d"]
    assert world.told == []


async def test_young_images_stay_and_that_it_was_not_enough_is_told() -> None:
    world = World()
    await world.collector.collect()
    world.images = [image("a"), image("b")]
    world.other_bytes = 80 * GIB
    problem = (
        "Failed to garbage collect required amount of images. "
        f"Attempted to free {10 * GIB} bytes, but only found 0 bytes eligible to free."
    )
    assert await world.collector.collect() == problem
    assert world.told == [("FreeDiskSpaceFailed", problem)]
    await world.clock.advance(120)
    assert await world.collector.collect() == ""
    assert world.names == []


async def test_images_that_are_too_old_go_whatever_room_there_is() -> None:
    world = World("old", "used", imageMaximumGCAge="1h")
    world.used = {"used"}
    for _ in range(7):
        await world.collector.collect()
        await world.clock.advance(600)
    await world.collector.collect()
    assert world.names == ["used"]


async def test_in_need_all_that_is_unused_goes_but_for_what_the_runtime_holds() -> None:
    world = World("pause", "a", "b", "c")
    world.used, world.stuck = {"a"}, {"b"}
    await world.collector.remove_unused()
    assert world.names == ["pause", "a", "b"]
    world.images.append(image("young"))
    await world.collector.remove_unused()
    assert world.names == ["pause", "a", "b", "young"]


async def test_a_failure_is_told_when_it_happens_in_a_row() -> None:
    world = World("a")
    world.other_bytes = 95 * GIB
    world.used = {"a"}
    task = asyncio.create_task(world.collector.run())
    await world.clock.advance(0)
    assert [reason for reason, _ in world.told] == ["FreeDiskSpaceFailed"]
    await world.clock.advance(300)
    assert [reason for reason, _ in world.told[1:]] == ["FreeDiskSpaceFailed", "ImageGCFailed"]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def life(id: str, name: str, state: str) -> SeenContainer:
    now = FakeClock().now()
    return SeenContainer(
        "s0",
        ContainerStatus(id, name, 0, state, now, None, None, 0, "", "", "busybox", "busybox", "", {}, {}),  # type: ignore[arg-type]
    )


def test_of_a_pod_that_goes_on_earlier_lives_go_and_of_one_at_its_end_all() -> None:
    lives = [life("2", "main", "Running"), life("1", "main", "Exited"), life("x", "side", "Exited")]
    assert dead({"status": {"phase": "Running"}}, lives) == ["1"]
    ended = [life("1", "main", "Exited"), life("x", "side", "Exited")]
    assert dead({"status": {"phase": "Failed"}}, ended) == ["1", "x"]


def copies(directory: Path) -> RegistryCache:
    """With one blob in it."""
    cache = RegistryCache(directory)
    partial = cache.partial("sha256:1")
    partial.write_bytes(b"layer")
    cache.keep("quay.io/team/app", "sha256:1", Held("", is_public=True), partial)
    return cache


async def test_copies_of_what_registries_have_go_first(tmp_path: Path) -> None:
    cache = copies(tmp_path)
    world = World("a", copies=cache)
    await world.collector.collect()
    assert cache.path("sha256:1").exists()
    world.other_bytes = 90 * GIB
    await world.collector.collect()
    assert not cache.path("sha256:1").exists()


async def test_in_need_all_copies_go(tmp_path: Path) -> None:
    cache = copies(tmp_path)
    await World(copies=cache).collector.remove_unused()
    assert not cache.path("sha256:1").exists()


async def test_each_look_tells_which_images_there_are() -> None:
    world = World("a", "b")
    await world.collector.collect()
    assert world.present == [["a", "b"]]
