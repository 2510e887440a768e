"""The kubelet over the real containerd: the whole life of a few pods, with an API in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

import pytest
from real_world import FOREVER, RealWorld

from tiphys.client.resources import CONFIGMAPS, PODS
from tiphys.client.transport import Object
from tiphys.kubelet.files import Files
from tiphys.machinery import meta

if TYPE_CHECKING:
    from conftest import RealNode

pytestmark = pytest.mark.real


@pytest.fixture
async def world(real_node: RealNode) -> AsyncIterator[RealWorld]:
    directory = real_node.directory / "kubelet"
    directory.mkdir(exist_ok=True)
    runtime = real_node.containerd.runtime()
    world = RealWorld(runtime, Files(directory), real_node.cgroup)
    await world.start()
    yield world
    for pod in world.api.objects(PODS):
        await world.delete(meta.name(pod), grace_seconds=1)
    await world.stop()
    await runtime.close()


def is_ready(pod: Object) -> bool:
    return meta.is_condition_true(meta.conditions(pod), "Ready")


def phase(name: str) -> Callable[[Object], bool]:
    return lambda pod: pod["status"]["phase"] == name


def terminated(pod: Object) -> Object:
    found: Object = pod["status"]["containerStatuses"][0]["state"]["terminated"]
    return found


async def test_a_pod_from_its_beginning_to_its_end(world: RealWorld) -> None:
    metadata = {"name": "cfg", "namespace": "default"}
    world.api.put(
        CONFIGMAPS, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"key": "value"}}
    )
    world.create(
        "whole",
        f"echo $KEY $(cat /cfg/key) $(hostname); {FOREVER}",
        {
            "env": [{"name": "KEY", "valueFrom": {"configMapKeyRef": {"name": "cfg", "key": "key"}}}],
            "volumeMounts": [{"name": "cfg", "mountPath": "/cfg"}],
            "readinessProbe": {"exec": {"command": ["true"]}, "periodSeconds": 1},
        },
        volumes=[{"name": "cfg", "configMap": {"name": "cfg"}}],
    )
    pod = await world.until("whole", is_ready)
    assert pod["status"]["podIP"].startswith("10.91.1.")
    assert pod["status"]["containerStatuses"][0]["imageID"].startswith("docker.io/library/busybox@sha256:")
    while "\n" not in await world.log(pod):
        await asyncio.sleep(0.01)
    assert await world.log(pod) == "value value whole\n"
    await world.delete("whole")
    uid = meta.uid(pod)
    assert uid not in {box.uid for box in await world.runtime.list_sandboxes()}
    assert uid not in world.kubelet.host.provisions.leftovers()


async def test_a_job_that_fails_leaves_its_last_words(world: RealWorld) -> None:
    world.create("fails", "echo the end > /dev/termination-log; exit 3", restartPolicy="Never")
    pod = await world.until("fails", phase("Failed"))
    assert (terminated(pod)["exitCode"], terminated(pod)["reason"]) == (3, "Error")
    assert terminated(pod)["message"] == "the end\n"


async def test_memory_that_is_not_there(world: RealWorld) -> None:
    world.create(
        "greedy",
        "tail /dev/zero",
        {"resources": {"limits": {"memory": "16Mi"}, "requests": {"memory": "16Mi"}}},
        restartPolicy="Never",
    )
    pod = await world.until("greedy", phase("Failed"))
    assert (terminated(pod)["exitCode"], terminated(pod)["reason"]) == (137, "OOMKilled")


async def test_a_dead_sandbox_is_replaced_and_a_command_that_is_not_there_is_told(world: RealWorld) -> None:
    world.create("lost", FOREVER)
    world.create("wrong", "", {"command": ["/no/such/file"]}, restartPolicy="Never")
    pod = await world.until("lost", is_ready)
    [sandbox] = [box for box in await world.runtime.list_sandboxes() if box.uid == meta.uid(pod)]
    await world.runtime.stop_sandbox(sandbox.id)
    pod = await world.until(
        "lost", lambda pod: is_ready(pod) and pod["status"]["containerStatuses"][0]["restartCount"] >= 1
    )
    assert pod["status"]["containerStatuses"][0]["lastState"]["terminated"]["exitCode"] != 0
    wrong = await world.until("wrong", phase("Failed"))
    assert (terminated(wrong)["reason"], terminated(wrong)["exitCode"]) == ("StartError", 128)


async def test_an_init_container_a_sidecar_and_a_job(world: RealWorld) -> None:
    image = {"image": "docker.io/library/busybox:latest", "imagePullPolicy": "IfNotPresent"}
    mount = {"volumeMounts": [{"name": "d", "mountPath": "/d"}]}
    world.create(
        "job",
        "cat /d/init && test -e /d/sidecar",
        mount,
        restartPolicy="OnFailure",
        volumes=[{"name": "d", "emptyDir": {}}],
        initContainers=[
            {"name": "init", "command": ["sh", "-c", "echo first > /d/init"], **image, **mount},
            {
                "name": "sidecar",
                "restartPolicy": "Always",
                "command": ["sh", "-c", f"touch /d/sidecar; {FOREVER}"],
                "startupProbe": {"exec": {"command": ["test", "-e", "/d/sidecar"]}, "periodSeconds": 1},
                **image,
                **mount,
            },
        ],
    )
    pod = await world.until("job", phase("Succeeded"))
    assert await world.log(pod) == "first\n"
    init, sidecar = pod["status"]["initContainerStatuses"]
    assert init["state"]["terminated"]["exitCode"] == 0
    assert "terminated" in sidecar["state"]
