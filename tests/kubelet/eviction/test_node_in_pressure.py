"""A whole node in need, over the simulated runtime: minutes of it in a moment."""

from __future__ import annotations

from typing import Any

from node_world import NodeWorld

from tiphys.kubelet.configuration import KubeletConfiguration
from tiphys.kubelet.stats.simulated_meter import MEMORY_ANNOTATION
from tiphys.machinery import meta

# The simulated machine has 256 GiB, of which its own needs take one.
SETTINGS = {
    "apiVersion": "kubelet.config.k8s.io/v1beta1",
    "kind": "KubeletConfiguration",
    "evictionHard": {"memory.available": "200Gi"},
    "evictionPressureTransitionPeriod": "1m",
}


def condition(world: NodeWorld) -> tuple[str, str]:
    found = meta.find_condition(meta.conditions(world.node()), "MemoryPressure")
    assert found is not None
    return found["status"], found["reason"]


def status(world: NodeWorld, name: str) -> dict[str, Any]:
    return dict(world.pod(name)["status"])


async def test_a_node_gets_into_need_and_out_of_it_again() -> None:
    world = NodeWorld(configuration=KubeletConfiguration.parse(SETTINGS))
    await world.start()
    world.create(name="little", annotations={MEMORY_ANNOTATION: "1Gi"})
    await world.settle(15)
    assert condition(world) == ("False", "KubeletHasSufficientMemory")
    world.create(name="much", annotations={MEMORY_ANNOTATION: "60Gi"})
    await world.settle(1)
    assert status(world, "much")["phase"] == "Running"
    for _ in range(12):
        await world.settle(1)
    assert condition(world) == ("True", "KubeletHasInsufficientMemory")
    assert status(world, "much")["reason"] == "Evicted"
    assert "available: 194Gi. " in status(world, "much")["message"]
    assert status(world, "little")["phase"] == "Running"
    assert ("EvictionThresholdMet", "Attempting to reclaim memory") in world.events()
    world.create(name="late")
    await world.settle(1)
    assert status(world, "late")["message"] == (
        "Pod was rejected: The node had condition: [MemoryPressure]. "
    )
    await world.settle(70)
    await world.settle(10)
    assert condition(world) == ("False", "KubeletHasSufficientMemory")
    world.create(name="later")
    await world.settle(1)
    assert status(world, "later")["phase"] == "Running"
    await world.stop()
