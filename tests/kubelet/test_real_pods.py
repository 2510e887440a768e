"""The kubelet over the real containerd: the whole life of a few pods, with an API in memory."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from node_world import NODE, StrategicAPI

from tiphys.client.client import Client
from tiphys.client.events import EventRecorder
from tiphys.client.reflector import Reflector
from tiphys.client.resources import CONFIGMAPS, PODS, find
from tiphys.client.transport import Object
from tiphys.kubelet.assembly import NodeParts, assemble
from tiphys.kubelet.cgroups import Cgroups
from tiphys.kubelet.files import Files
from tiphys.kubelet.kubelet import Dispatcher, Kubelet
from tiphys.kubelet.logs import LogOptions, LogReader
from tiphys.kubelet.runtimes.interface import Runtime
from tiphys.kubelet.server import log_source
from tiphys.kubelet.volumes.mounting import NoMounter
from tiphys.machinery import meta
from tiphys.machinery.clock import SystemClock

if TYPE_CHECKING:
    from conftest import RealNode

pytestmark = pytest.mark.real

SERVICES = find("core", "v1", "services")
PATIENCE_SECONDS = 30.0
FOREVER = "trap 'exit 0' TERM; while true; do sleep 1000 & wait $!; done"


class RealWorld:
    """A kubelet outside of the node that it is the kubelet of: so no mounts, which the node would not see."""

    def __init__(self, runtime: Runtime, files: Files, cgroup: str) -> None:
        self.clock = SystemClock()
        self.api = StrategicAPI(clock=self.clock)
        self.client = Client(self.api)
        self.runtime = runtime
        self.files = files
        self._cgroup = cgroup
        self.kubelet: Kubelet = None  # type: ignore[assignment]
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        pods, services = (Reflector(self.client, resource, clock=self.clock) for resource in (PODS, SERVICES))
        self._tasks = [asyncio.create_task(reflector.run()) for reflector in (pods, services)]
        await pods.wait_synced()
        await services.wait_synced()
        self.kubelet = assemble(
            NodeParts(NODE, ("10.90.0.11",), 10250, self._cgroup, self.files),
            self.client,
            self.runtime,
            pods.cache,
            services=services.cache,
            recorder=EventRecorder(self.client, "kubelet", clock=self.clock, host=NODE),
            clock=self.clock,
            cgroups=Cgroups(),
            mounter=NoMounter(),
        )
        dispatcher = Dispatcher()
        dispatcher.add(self.kubelet)
        pods.cache.add_handler(dispatcher.changed)
        self._tasks.append(asyncio.create_task(self.kubelet.run()))

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def create(self, name: str, script: str, container: Object | None = None, **spec: Any) -> None:
        wanted = {
            "name": "main",
            "image": "docker.io/library/busybox:latest",
            "imagePullPolicy": "IfNotPresent",
            "command": ["sh", "-c", script],
            "terminationMessagePath": "/dev/termination-log",
            "terminationMessagePolicy": "File",
            **(container or {}),
        }
        self.api.put(
            PODS,
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": name, "namespace": "default", "uid": str(uuid.uuid4())},
                "spec": {
                    "nodeName": NODE,
                    "containers": [wanted],
                    "terminationGracePeriodSeconds": 5,
                    **spec,
                },
                "status": {"phase": "Pending"},
            },
        )

    def find(self, name: str) -> Object | None:
        return next((pod for pod in self.api.objects(PODS) if meta.name(pod) == name), None)

    async def until(self, name: str, is_so: Callable[[Object], bool]) -> Object:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                pod = self.find(name)
                if pod is not None and is_so(pod):
                    return pod
                await asyncio.sleep(0.01)

    async def delete(self, name: str, grace_seconds: int | None = None) -> None:
        """Until nothing is left of it, here and there."""
        pod = self.find(name)
        assert pod is not None
        await self.client.delete(PODS, name, "default", grace_period_seconds=grace_seconds)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while self.find(name) is not None or self.kubelet.worker(meta.uid(pod)) is not None:
                await asyncio.sleep(0.01)

    async def log(self, pod: Object) -> str:
        life = log_source(self.kubelet, pod, "main", previous=False)

        async def is_over() -> bool:
            return True

        pieces = LogReader(Path(life.status.log_path), LogOptions(), is_over)()
        return b"".join([piece async for piece in pieces]).decode()


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
