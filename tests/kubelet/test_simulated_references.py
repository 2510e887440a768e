"""Pods of simulated nodes wait for what they refer to, and say so, as on real ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from node_world import NodeWorld

from tiphys.client.resources import CONFIGMAPS, SECRETS
from tiphys.kubelet.simulated_references import referring


@pytest.fixture
async def world() -> AsyncIterator[NodeWorld]:
    world = NodeWorld()
    await world.start()
    yield world
    await world.stop()


def put(world: NodeWorld, resource: Any, **data: str) -> None:
    metadata = {"name": "shared", "namespace": "default"}
    world.api.put(resource, {"apiVersion": "v1", "kind": resource.kind, "metadata": metadata, "data": data})


def create(world: NodeWorld, *volumes: dict[str, Any], **container: Any) -> None:
    mounts = [{"name": volume["name"], "mountPath": f"/{volume['name']}"} for volume in volumes]
    main = {"name": "main", "image": "busybox", "imagePullPolicy": "IfNotPresent", "volumeMounts": mounts}
    world.create({"containers": [{**main, **container}], "volumes": list(volumes)})


def waiting(world: NodeWorld) -> dict[str, Any]:
    [status] = world.pod()["status"]["containerStatuses"]
    found: dict[str, Any] = status["state"].get("waiting") or {}
    return found


async def test_a_volume_waits_for_its_objects(world: NodeWorld) -> None:
    create(
        world,
        {"name": "a", "configMap": {"name": "shared", "items": [{"key": "k", "path": "k"}]}},
        {"name": "b", "projected": {"sources": [{"secret": {"name": "shared"}}]}},
        {"name": "c", "configMap": {"name": "none", "optional": True}},
        {"name": "api", "projected": {"sources": [{"configMap": {"name": "kube-root-ca.crt"}}]}},
    )
    await world.settle(1)
    assert waiting(world) == {"reason": "ContainerCreating"}
    failed = {message for reason, message in world.events() if reason == "FailedMount"}
    assert failed == {
        'MountVolume.SetUp failed for volume "a" : configmap "shared" not found',
        'MountVolume.SetUp failed for volume "b" : secret "shared" not found',
    }
    put(world, SECRETS, k="eA==")
    put(world, CONFIGMAPS, other="x")
    await world.settle(1)
    assert (
        "FailedMount",
        'MountVolume.SetUp failed for volume "a" : configmap references non-existent config key: k',
    ) in (world.events())
    put(world, CONFIGMAPS, k="x")
    await world.settle(1)
    assert world.pod()["status"]["phase"] == "Running"


async def test_an_environment_waits_for_its_objects(world: NodeWorld) -> None:
    reference = {"name": "shared", "key": "k"}
    optional = {"name": "none", "key": "k", "optional": True}
    create(
        world,
        env=[
            {"name": "A", "valueFrom": {"configMapKeyRef": reference}},
            {"name": "B", "valueFrom": {"secretKeyRef": optional}},
        ],
        envFrom=[{"configMapRef": {"name": "shared"}}],
    )
    await world.settle(1)
    assert waiting(world) == {
        "reason": "CreateContainerConfigError",
        "message": 'configmap "shared" not found',
    }
    put(world, CONFIGMAPS, other="x")
    await world.settle(1)
    assert waiting(world)["message"] == "couldn't find key k in ConfigMap default/shared"
    put(world, CONFIGMAPS, k="x")
    await world.settle(1)
    assert world.pod()["status"]["phase"] == "Running"


async def test_nothing_is_watched_for_pods_that_refer_to_nothing(world: NodeWorld) -> None:
    source = {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}}
    volume = {"name": "api", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}, source]}}
    create(world, volume)
    await world.settle(1)
    assert world.pod()["status"]["phase"] == "Running"
    assert list(referring(world.pod())) == []
    assert [task for task in asyncio.all_tasks() if task.get_name().startswith("watch ")] == []
