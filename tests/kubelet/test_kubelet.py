"""The kubelet as a whole, over the simulated runtime: what pods become, and what the API and the reader of events see of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from node_world import NodeWorld

from tiphys.client.resources import PODS
from tiphys.machinery import meta


@pytest.fixture
async def world() -> AsyncIterator[NodeWorld]:
    world = NodeWorld()
    await world.start()
    yield world
    await world.stop()


def conditions(pod: dict[str, Any]) -> dict[str, str]:
    return {condition["type"]: condition["status"] for condition in meta.conditions(pod)}


async def test_a_pod_comes_up(world: NodeWorld) -> None:
    world.create()
    await world.settle()
    pod = world.pod()
    assert pod["status"]["phase"] == "Running"
    assert set(conditions(pod).values()) == {"True"}
    [container] = pod["status"]["containerStatuses"]
    assert container["ready"]
    assert container["started"]
    assert container["restartCount"] == 0
    assert container["image"] == "docker.io/library/busybox:latest"
    assert container["containerID"].startswith("containerd://")
    assert pod["status"]["podIP"].startswith("127.")
    assert pod["status"]["hostIP"] == "127.90.0.11"
    assert world.events() == [
        ("Pulling", 'Pulling image "busybox"'),
        (
            "Pulled",
            'Successfully pulled image "busybox" in 0s (0s including waiting). Image size: 1048576 bytes.',
        ),
        ("Created", "Container created"),
        ("Started", "Container started"),
    ]


async def test_a_deleted_pod_goes_and_leaves_nothing(world: NodeWorld) -> None:
    world.create()
    await world.settle()
    await world.client.delete(PODS, "web", "default")
    await world.settle()
    assert world.pods() == []
    assert await world.runtime.list_sandboxes() == []
    assert world.kubelet.worker("uid-1") is None
    assert ("Killing", "Stopping container main") in world.events()
