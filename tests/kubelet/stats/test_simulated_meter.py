"""What simulated pods use: told by rules, by annotations, or by their requests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from node_world import NodeWorld

from tiphys.kubelet.runtimes.behaviour import Behaviour
from tiphys.kubelet.stats.simulated_meter import (
    CPU_ANNOTATION,
    LEAST_MEMORY_BYTES,
    LEAST_MILLI_CPU,
    MEMORY_ANNOTATION,
    NODE_MEMORY_BYTES,
    NODE_MILLI_CPU,
)
from tiphys.kubelet.stats.usage import ContainerUsage, PodUsage

MILLI = 10**6


@pytest.fixture
async def world() -> AsyncIterator[NodeWorld]:
    world = NodeWorld()
    await world.start()
    yield world
    await world.stop()


def measure(world: NodeWorld) -> PodUsage:
    usages = world.kubelet.host.meter.pods(world.kubelet.measured())
    [usage] = usages.values()
    return usage


def amounts(container: ContainerUsage) -> tuple[int | None, int]:
    assert container.memory is not None
    return container.cpu_nano_cores, container.memory.working_set_bytes


def requesting(**amounts: str) -> dict[str, Any]:
    return {"containers": [{"name": "main", "image": "busybox", "resources": {"requests": amounts}}]}


async def test_half_of_what_is_requested(world: NodeWorld) -> None:
    world.create(requesting(cpu="500m", memory="128Mi"))
    await world.settle(1)
    usage = measure(world)
    assert [amounts(container) for container in usage.containers] == [(250 * MILLI, 64 << 20)]
    assert usage.cpu_nano_cores == 250 * MILLI


async def test_a_little_where_nothing_is_requested(world: NodeWorld) -> None:
    world.create()
    await world.settle(1)
    [container] = measure(world).containers
    assert amounts(container) == (LEAST_MILLI_CPU * MILLI, LEAST_MEMORY_BYTES)


async def test_annotations_win_and_rules_win_over_them(world: NodeWorld) -> None:
    world.create(requesting(cpu="1"), annotations={CPU_ANNOTATION: "300m", MEMORY_ANNOTATION: "nonsense"})
    await world.settle(1)
    [container] = measure(world).containers
    assert amounts(container) == (300 * MILLI, LEAST_MEMORY_BYTES)
    world.behaviours.add(Behaviour(pod="web", cpu="2", memory="1Gi"))
    [container] = measure(world).containers
    assert amounts(container) == (2000 * MILLI, 1 << 30)


async def test_what_was_used_adds_up(world: NodeWorld) -> None:
    world.create(requesting(cpu="200m"))
    await world.settle(1)

    def used() -> int:
        [container] = measure(world).containers
        assert container.cpu is not None
        return container.cpu.usage_nanoseconds

    before = used()
    await world.clock.advance(10)
    assert used() - before == 10 * 100 * MILLI
    world.behaviours.add(Behaviour(cpu="1"))
    await world.clock.advance(10)
    assert used() - before == 10 * 100 * MILLI + 10 * 1000 * MILLI


async def test_a_node_uses_what_its_pods_use_and_something_for_itself(world: NodeWorld) -> None:
    world.create(requesting(cpu="500m", memory="128Mi"))
    await world.settle(1)
    meter = world.kubelet.host.meter
    meter.pods(world.kubelet.measured())
    node = meter.node()
    assert node.cpu_nano_cores == (NODE_MILLI_CPU + 250) * MILLI
    assert node.memory.working_set_bytes == NODE_MEMORY_BYTES + (64 << 20)
    await world.clock.advance(2)
    assert (
        meter.node().cpu.usage_nanoseconds - node.cpu.usage_nanoseconds == 2 * (NODE_MILLI_CPU + 250) * MILLI
    )


async def test_its_disks(world: NodeWorld) -> None:
    world.create()
    await world.settle(1)
    meter = world.kubelet.host.meter
    [disks] = (await meter.pod_disks(world.kubelet.measured())).values()
    assert disks.ephemeral is not None
    assert disks.ephemeral.used_bytes
    assert (await meter.node_disks()).node.capacity_bytes
