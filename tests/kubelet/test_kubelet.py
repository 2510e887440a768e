"""The kubelet as a whole, over the simulated runtime: what pods become, and what the API and the reader of events see of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from node_world import NodeWorld

from tiphys.client.resources import LEASES, NODES, PODS
from tiphys.kubelet.host import Unprovided
from tiphys.kubelet.references import References
from tiphys.kubelet.runtimes.interface import (
    ContainerConfig,
    ImageNotFound,
    RegistryAuth,
    RuntimeFailure,
    Sandbox,
    SandboxConfig,
    Unavailable,
)
from tiphys.kubelet.runtimes.simulated import SimulatedRuntime
from tiphys.kubelet.simulated_provisions import SimulatedProvisions
from tiphys.kubelet.simulated_references import SimulatedReferences
from tiphys.kubelet.spec import Object
from tiphys.machinery import meta
from tiphys.machinery.clock import Clock
from tiphys.machinery.errors import service_unavailable


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
    uid = meta.uid(world.create())
    await world.settle()
    assert world.kubelet.worker(uid) is not None
    await world.client.delete(PODS, "web", "default")
    await world.settle()
    assert world.pods() == []
    assert await world.runtime.list_sandboxes() == []
    assert world.kubelet.worker(uid) is None
    assert ("Killing", "Stopping container main") in world.events()


def command(*words: str, **more: Any) -> dict[str, Any]:
    """A spec of one container that runs this."""
    container = {
        "name": "main",
        "image": "busybox",
        "imagePullPolicy": "IfNotPresent",
        "command": list(words),
    }
    return {"containers": [container], **more}


def state(world: NodeWorld, name: str = "web") -> dict[str, Any]:
    found: dict[str, Any] = world.pod(name)["status"]["containerStatuses"][0]["state"]
    return found


def restarts(world: NodeWorld) -> int:
    return int(world.pod()["status"]["containerStatuses"][0]["restartCount"])


async def test_a_crashing_container_waits_longer_each_time(world: NodeWorld) -> None:
    world.create(command("false"))
    await world.settle()
    assert restarts(world) == 1
    waiting = state(world)["waiting"]
    assert waiting["reason"] == "CrashLoopBackOff"
    assert waiting["message"] == "back-off 10s restarting failed container=main pod=web_default(uid-3)"
    for seconds, count in ((9, 1), (2, 2), (17, 2), (4, 3), (36, 3), (5, 4)):
        await world.settle(seconds)
        assert restarts(world) == count, f"after {seconds} more seconds"
    back_offs = [message for reason, message in world.events() if reason == "BackOff"]
    assert set(back_offs) == {"Back-off restarting failed container main in pod web_default(uid-3)"}


async def test_a_pod_that_is_done_stays_done(world: NodeWorld) -> None:
    world.create(command("sleep", "5", restartPolicy="Never"), name="job")
    await world.settle()
    assert world.pod("job")["status"]["phase"] == "Running"
    await world.settle(6)
    status = world.pod("job")["status"]
    assert status["phase"] == "Succeeded"
    assert state(world, "job")["terminated"]["reason"] == "Completed"
    [sandbox] = await world.runtime.list_sandboxes()
    assert sandbox.state == "NotReady"
    requests = len(world.api.requests)
    await world.settle(600)
    assert [path for _, path in world.api.requests[requests:] if "pods" in path] == []


async def test_a_finished_pod_is_deleted_too(world: NodeWorld) -> None:
    world.create(command("true", restartPolicy="Never"))
    await world.settle()
    await world.client.delete(PODS, "web", "default")
    await world.settle()
    assert world.pods() == []
    assert await world.runtime.list_sandboxes() == []


async def test_a_pod_that_was_deleted_by_force_is_ended_all_the_same(world: NodeWorld) -> None:
    world.create()
    await world.settle()
    await world.client.delete(PODS, "web", "default", grace_period_seconds=0)
    await world.settle()
    assert world.pods() == []
    assert await world.runtime.list_sandboxes() == []


async def test_a_new_pod_of_the_same_name_is_another_pod(world: NodeWorld) -> None:
    world.create()
    await world.settle()
    await world.client.delete(PODS, "web", "default", grace_period_seconds=0)
    world.create()
    await world.settle()
    [sandbox] = await world.runtime.list_sandboxes()
    assert sandbox.uid == meta.uid(world.pod())
    assert world.pod()["status"]["phase"] == "Running"


async def test_containers_outlive_the_kubelet(world: NodeWorld) -> None:
    world.create()
    world.create(name="other")
    await world.settle()
    before = state(world), world.pod()["status"]["containerStatuses"][0]["containerID"]
    await world.stop()
    await world.client.delete(PODS, "other", "default", grace_period_seconds=0)
    assert len(await world.runtime.list_sandboxes()) == 2
    await world.start()
    assert (state(world), world.pod()["status"]["containerStatuses"][0]["containerID"]) == before
    # The other one was deleted while nobody looked: nothing of it is left.
    [sandbox] = await world.runtime.list_sandboxes()
    assert sandbox.name == "web"


async def test_a_sandbox_that_dies_is_replaced(world: NodeWorld) -> None:
    world.create()
    await world.settle()
    [sandbox] = await world.runtime.list_sandboxes()
    await world.runtime.stop_sandbox(sandbox.id)
    await world.settle(20)
    newest = (await world.runtime.list_sandboxes())[-1]
    assert (newest.state, newest.attempt) == ("Ready", 1)
    pod = world.pod()
    assert pod["status"]["podIPs"] == [{"ip": (await world.runtime.sandbox_status(newest.id)).ips[0]}]
    assert restarts(world) == 1
    assert pod["status"]["phase"] == "Running"


async def test_a_container_of_another_image_is_replaced(world: NodeWorld) -> None:
    world.create()
    await world.settle()
    container = {**world.pod()["spec"]["containers"][0], "image": "busybox:2"}
    await world.client.patch(PODS, "web", {"spec": {"containers": [container]}}, "default")
    await world.settle(20)
    assert world.pod()["status"]["containerStatuses"][0]["image"] == "docker.io/library/busybox:2"
    assert ("Killing", "Container main definition changed, will be restarted") in world.events()


async def test_statuses_are_sent_once_the_api_takes_them(world: NodeWorld) -> None:
    world.api.refuse(lambda method, path: path.endswith("/status"), service_unavailable("not now"))
    world.create()
    await world.settle()
    assert "containerStatuses" not in world.pod()["status"]
    world.api.accept_all()
    await world.settle(15)
    assert world.pod()["status"]["phase"] == "Running"


async def test_a_deletion_goes_through_once_the_api_takes_it(world: NodeWorld) -> None:
    world.create()
    await world.settle()
    await world.client.delete(PODS, "web", "default")
    world.api.refuse(lambda method, path: method == "DELETE", service_unavailable("not now"))
    await world.settle(5)
    assert len(world.pods()) == 1
    world.api.accept_all()
    await world.settle(5)
    assert world.pods() == []


class Remains(SimulatedProvisions):
    """Something is left of a pod that nobody knows, and does not go at the first try."""

    def __init__(self, world: NodeWorld) -> None:
        references = References(world.client, world.clock, lambda uids: None)
        super().__init__(SimulatedReferences(references))
        self.left = {"old"}
        self.tries = 0

    def leftovers(self) -> set[str]:
        return set(self.left)

    async def clean_up(self, pod: Object, *, logs: bool) -> None:
        self.tries += 1
        if self.tries == 1:
            raise Unprovided("FailedKillPod", "busy")
        assert logs
        self.left.discard(pod["metadata"]["uid"])


async def test_what_is_left_of_a_pod_that_went_while_nobody_was_here(world: NodeWorld) -> None:
    await world.stop()
    world.provisions = remains = Remains(world)
    await world.start()
    assert (remains.tries, remains.left) == (1, {"old"})
    await world.settle(5)
    assert (remains.tries, remains.left) == (2, set())
    assert world.kubelet.worker("old") is None


# When the runtime fails


class Failing(SimulatedRuntime):
    """Fails where and as often as it is told."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.failures: dict[str, list[RuntimeFailure]] = {}

    def _fail(self, what: str) -> None:
        if self.failures.get(what):
            raise self.failures[what].pop(0)

    async def run_sandbox(self, config: SandboxConfig) -> str:
        self._fail("run_sandbox")
        return await super().run_sandbox(config)

    async def pull_image(self, image: str, auth: RegistryAuth | None = None) -> str:
        self._fail("pull_image")
        return await super().pull_image(image, auth)

    async def create_container(self, sandbox_id: str, config: ContainerConfig, sandbox: SandboxConfig) -> str:
        self._fail("create_container")
        return await super().create_container(sandbox_id, config, sandbox)

    async def list_sandboxes(self) -> list[Sandbox]:
        self._fail("list_sandboxes")
        return await super().list_sandboxes()

    async def stop_container(self, container_id: str, timeout_seconds: float) -> None:
        self._fail("stop_container")
        await super().stop_container(container_id, timeout_seconds)


@pytest.fixture
async def failing() -> AsyncIterator[tuple[NodeWorld, Failing]]:
    world = NodeWorld()
    runtime = world.runtime = Failing(world.clock)
    await world.start()
    yield world, runtime
    await world.stop()


async def test_an_image_that_cannot_be_pulled(failing: tuple[NodeWorld, Failing]) -> None:
    world, runtime = failing
    runtime.failures["pull_image"] = [ImageNotFound("no such image")] * 2
    world.create()
    await world.settle()
    assert state(world)["waiting"] == {
        "reason": "ErrImagePull",
        "message": "rpc error: code = NotFound desc = no such image",
    }
    await world.settle(3)
    assert state(world)["waiting"] == {
        "reason": "ImagePullBackOff",
        "message": 'Back-off pulling image "busybox": ErrImagePull: rpc error: code = NotFound desc = no such image',
    }
    await world.settle(8)
    assert len(runtime.failures["pull_image"]) == 0
    await world.settle(15)
    assert world.pod()["status"]["phase"] == "Pending"
    await world.settle(5)
    assert world.pod()["status"]["phase"] == "Running"
    reasons = [reason for reason, _ in world.events()]
    assert {"Pulling", "Failed", "BackOff", "Pulled"} <= set(reasons)
    assert ("Failed", "Error: ImagePullBackOff") in world.events()
    assert (
        "Failed",
        'Failed to pull image "busybox": rpc error: code = NotFound desc = no such image',
    ) in world.events()


async def test_a_sandbox_that_cannot_be_made(failing: tuple[NodeWorld, Failing]) -> None:
    world, runtime = failing
    runtime.failures["run_sandbox"] = [RuntimeFailure("no address left")] * 3
    world.create()
    await world.settle()
    assert state(world)["waiting"]["reason"] == "ContainerCreating"
    assert conditions(world.pod())["PodReadyToStartContainers"] == "False"
    await world.settle(5)
    assert world.pod()["status"]["phase"] == "Running"
    message = "Failed to create pod sandbox: rpc error: code = Unknown desc = no address left"
    assert ("FailedCreatePodSandBox", message) in world.events()


async def test_a_container_that_cannot_be_created(failing: tuple[NodeWorld, Failing]) -> None:
    world, runtime = failing
    runtime.failures["create_container"] = [RuntimeFailure("no room")]
    world.create()
    await world.settle()
    assert state(world)["waiting"] == {"reason": "CreateContainerError", "message": "no room"}
    assert ("Failed", "Error: no room") in world.events()
    await world.settle(5)
    assert world.pod()["status"]["phase"] == "Running"


async def test_a_container_that_does_not_stop_is_stopped_again(failing: tuple[NodeWorld, Failing]) -> None:
    world, runtime = failing
    world.create()
    await world.settle()
    runtime.failures["stop_container"] = [Unavailable("restarting")] * 2
    await world.client.delete(PODS, "web", "default")
    await world.settle(10)
    assert world.pods() == []


async def test_a_runtime_that_is_not_up_yet_is_waited_for() -> None:
    world = NodeWorld()
    runtime = world.runtime = Failing(world.clock)
    runtime.failures["list_sandboxes"] = [Unavailable("starting")] * 3
    await world.start()
    world.create()
    await world.settle(5)
    assert world.pod()["status"]["phase"] == "Running"
    await world.stop()


# The node


async def test_the_node_registers(world: NodeWorld) -> None:
    node = world.node()
    assert meta.name(node) == "node-1"
    assert meta.labels(node)["kubernetes.io/hostname"] == "node-1"
    assert conditions(node) == {
        "MemoryPressure": "False",
        "DiskPressure": "False",
        "PIDPressure": "False",
        "Ready": "True",
    }
    assert node["status"]["nodeInfo"]["kubeletVersion"] == "v1.36.2"
    assert node["status"]["nodeInfo"]["containerRuntimeVersion"] == "containerd://1.6.20"
    assert node["status"]["daemonEndpoints"] == {"kubeletEndpoint": {"Port": 10250}}
    [lease] = world.api.objects(LEASES)
    assert lease["spec"]["holderIdentity"] == "node-1"
    assert lease["metadata"]["ownerReferences"][0]["uid"] == meta.uid(node)


async def test_the_node_shows_that_it_lives(world: NodeWorld) -> None:
    before = world.api.objects(LEASES)[0]["spec"]["renewTime"], conditions_at(world.node())
    await world.settle(100)
    assert world.api.objects(LEASES)[0]["spec"]["renewTime"] > before[0]
    assert conditions_at(world.node()) == before[1]
    await world.settle(300)
    assert conditions_at(world.node()) > before[1]


async def test_a_node_that_was_deleted_registers_again(world: NodeWorld) -> None:
    """It misses its lease, which goes with the node: at the next sign of life, not at the next report."""
    old = meta.uid(world.node())
    await world.client.delete(NODES, "node-1")
    await world.client.delete(LEASES, "node-1", "kube-node-lease")
    await world.settle(32)
    assert meta.uid(world.node()) != old
    [lease] = world.api.objects(LEASES)
    assert lease["metadata"]["ownerReferences"][0]["uid"] == meta.uid(world.node())


async def test_a_node_that_was_given_up_while_it_stood_still_says_how_it_is(world: NodeWorld) -> None:
    """Stopped, or cut off, for longer than the control plane waits: not five minutes later, but with its next sign of life."""
    world.api.refuse(lambda method, path: "/leases/" in path, ConnectionRefusedError())
    await world.settle(60)
    await world.client.patch(
        NODES,
        "node-1",
        {"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}},
        subresource="status",
    )
    world.api.accept_all()
    await world.settle(8)
    assert conditions(world.node())["Ready"] == "True"


def conditions_at(node: dict[str, Any]) -> str:
    return str(meta.conditions(node)[0]["lastHeartbeatTime"])


async def test_a_node_that_exists_gets_its_labels_and_keeps_those_of_others() -> None:
    world = NodeWorld()
    world.api.put(
        NODES,
        {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": "node-1", "labels": {"zone": "a"}},
            "spec": {},
        },
    )
    await world.start()
    assert meta.labels(world.node())["zone"] == "a"
    assert meta.labels(world.node())["kubernetes.io/os"] == "linux"
    assert conditions(world.node())["Ready"] == "True"
    await world.stop()


async def test_an_idle_node_asks_for_nothing(world: NodeWorld) -> None:
    world.create()
    await world.settle()
    requests = len(world.api.requests)
    await world.settle(29)
    assert {path for _, path in world.api.requests[requests:]} <= {
        "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/node-1"
    }


async def test_pods_of_other_nodes_are_none_of_ours(world: NodeWorld) -> None:
    world.create({"nodeName": "node-2"})
    await world.settle()
    assert world.pod()["status"] == {"phase": "Pending"}
    assert await world.runtime.list_sandboxes() == []
