"""postStart and preStop: when they run, what they may take, and what comes of a failure."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from node_world import NodeWorld

from tiphys.client.resources import PODS
from tiphys.kubelet.runtimes.interface import ExecResult
from tiphys.kubelet.runtimes.simulated import SimulatedRuntime
from tiphys.machinery import meta
from tiphys.machinery.clock import Clock


class Telling(SimulatedRuntime):
    """Notes in which order hooks and stops come; "slow" takes a minute."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.told: list[str] = []

    async def exec_sync(
        self, container_id: str, command: Sequence[str], timeout_seconds: float
    ) -> ExecResult:
        self.told.append(" ".join(command))
        if command[0] == "slow":
            await self._clock.sleep(60)
        return await super().exec_sync(container_id, command, timeout_seconds)

    async def stop_container(self, container_id: str, timeout_seconds: float) -> None:
        self.told.append(f"stop within {timeout_seconds:g} s")
        await super().stop_container(container_id, timeout_seconds)


@pytest.fixture
async def world() -> AsyncIterator[NodeWorld]:
    world = NodeWorld()
    world.runtime = Telling(world.clock)
    await world.start()
    yield world
    await world.stop()


def told(world: NodeWorld) -> list[str]:
    assert isinstance(world.runtime, Telling)
    return world.runtime.told


def with_hooks(**lifecycle: Any) -> dict[str, Any]:
    container = {
        "name": "main",
        "image": "busybox",
        "imagePullPolicy": "IfNotPresent",
        "lifecycle": lifecycle,
    }
    return {"containers": [container]}


async def test_a_hook_after_the_start(world: NodeWorld) -> None:
    world.create(with_hooks(postStart={"exec": {"command": ["touch", "/x"]}}))
    await world.settle()
    assert told(world) == ["touch /x"]
    assert world.pod()["status"]["phase"] == "Running"


async def test_a_container_whose_start_hook_fails_is_ended(world: NodeWorld) -> None:
    world.create(with_hooks(postStart={"exec": {"command": ["false"]}}))
    await world.settle()
    assert told(world)[:2] == ["false", "stop within 30 s"]
    assert world.pod()["status"]["containerStatuses"][0]["restartCount"] >= 1
    assert ("FailedPostStartHook", "PostStartHook failed") in world.events()


async def test_a_hook_before_the_stop_takes_its_time_from_the_grace(world: NodeWorld) -> None:
    world.create(with_hooks(preStop={"sleep": {"seconds": 10}}))
    await world.settle()
    await world.client.delete(PODS, "web", "default")
    await world.settle(5)
    assert told(world) == []
    assert meta.is_deleting(world.pod())
    await world.settle(10)
    assert told(world) == ["stop within 20 s"]
    assert world.pods() == []


async def test_a_stop_hook_that_fails_stops_nothing_but_itself(world: NodeWorld) -> None:
    world.create(with_hooks(preStop={"exec": {"command": ["false"]}}))
    await world.settle()
    await world.client.delete(PODS, "web", "default")
    await world.settle()
    assert told(world)[0] == "false"
    assert world.pods() == []
    assert ("FailedPreStopHook", "PreStopHook failed") in world.events()
