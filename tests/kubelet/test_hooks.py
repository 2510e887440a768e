"""postStart and preStop: when they run, what they may take, and what comes of a failure."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from node_world import NodeWorld

from tiphys.client.resources import PODS
from tiphys.kubelet.hooks import HookFailure, Hooks
from tiphys.kubelet.runtimes.interface import ExecResult, RuntimeFailure
from tiphys.kubelet.runtimes.simulated import SimulatedRuntime
from tiphys.machinery import meta
from tiphys.machinery.clock import Clock
from tiphys.testing.clock import FakeClock

POD = {"metadata": {"name": "web", "namespace": "default", "uid": "u1"}}


class Telling(SimulatedRuntime):
    """Notes in which order hooks and stops come; "slow" takes a minute."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.told: list[str] = []
        self.refusals = 0

    async def exec_sync(
        self, container_id: str, command: Sequence[str], timeout_seconds: float
    ) -> ExecResult:
        self.told.append(" ".join(command))
        if command[0] == "slow":
            await self._clock.sleep(60)
        return await super().exec_sync(container_id, command, timeout_seconds)

    async def stop_container(self, container_id: str, timeout_seconds: float) -> None:
        self.told.append(f"stop within {timeout_seconds:g} s")
        if self.refusals:
            self.refusals -= 1
            raise RuntimeFailure("not now")
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
    assert told(world) == ["false", "stop within 30 s"]
    state = world.pod()["status"]["containerStatuses"][0]["state"]
    assert state["waiting"] == {
        "reason": "PostStartHookError",
        "message": 'Exec lifecycle hook ([false]) for Container "main" in Pod "web_default(uid-3)" failed'
        " - error: command 'false' exited with 1: , message: \"\"",
    }
    await world.settle(2)
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


def sidecar(name: str, **more: Any) -> dict[str, Any]:
    wanted = {"name": name, "image": "busybox", "imagePullPolicy": "IfNotPresent", "restartPolicy": "Always"}
    return {**wanted, **more}


async def test_a_container_is_being_created_until_its_start_hook_is_through(world: NodeWorld) -> None:
    first = {**with_hooks(postStart={"sleep": {"seconds": 5}})["containers"][0], "name": "first"}
    world.create({"containers": [first, {**first, "name": "second", "lifecycle": {}}]})
    await world.settle(1)
    status = world.pod()["status"]
    assert status["phase"] == "Pending"
    states = {entry["name"]: entry["state"]["waiting"]["reason"] for entry in status["containerStatuses"]}
    assert states == {"first": "ContainerCreating", "second": "ContainerCreating"}
    assert not any(entry["started"] for entry in status["containerStatuses"])
    started = [message for reason, message in world.events() if reason == "Started"]
    assert len(started) == 1, "the second one waits for the first one's hook"
    await world.settle(5)
    assert world.pod()["status"]["phase"] == "Running"


async def test_a_start_hook_that_hangs_keeps_no_pod_from_its_end(world: NodeWorld) -> None:
    world.create(with_hooks(postStart={"sleep": {"seconds": 3600}}))
    await world.settle()
    await world.client.delete(PODS, "web", "default")
    await world.settle()
    assert world.pods() == []
    assert await world.runtime.list_sandboxes() == []


async def test_a_stop_hook_that_hangs_ends_with_the_grace(world: NodeWorld) -> None:
    world.create(with_hooks(preStop={"exec": {"command": ["slow"]}}))
    await world.settle()
    await world.client.delete(PODS, "web", "default")
    await world.settle(29)
    assert told(world) == ["slow"]
    await world.settle(2)
    assert told(world) == ["slow", "stop within 2 s"]
    assert world.pods() == []


async def test_a_tcp_hook_was_never_run(world: NodeWorld) -> None:
    world.create(with_hooks(postStart={"tcpSocket": {"port": 80}}))
    await world.settle()
    waiting = world.pod()["status"]["containerStatuses"][0]["state"]["waiting"]
    assert waiting["message"] == "Cannot run handler: invalid handler"


async def test_sidecars_end_after_the_others_and_the_last_one_first(world: NodeWorld) -> None:
    spec = with_hooks(preStop={"sleep": {"seconds": 3}})
    spec["initContainers"] = [
        sidecar("one", lifecycle={"preStop": {"exec": {"command": ["one"]}}}),
        sidecar("two"),
    ]
    world.create(spec)
    await world.settle()
    await world.client.delete(PODS, "web", "default")
    await world.settle(1)
    assert told(world) == ["one"], "hooks run at once, stops wait for their turn"
    killed = {message for reason, message in world.events() if reason == "Killing"}
    assert killed == {f"Stopping container {name}" for name in ("main", "one", "two")}
    await world.settle(3)
    assert told(world) == ["one", *["stop within 27 s"] * 3]
    assert world.pods() == []


async def test_web_hooks_of_simulated_containers_succeed(world: NodeWorld) -> None:
    world.create(with_hooks(postStart={"httpGet": {"port": 80, "path": "/"}}))
    await world.settle()
    assert world.pod()["status"]["phase"] == "Running"


@pytest.mark.parametrize(
    ("action", "asked"),
    [
        ({"port": 8080, "path": "/x"}, ("http://10.1.0.2:8080", "/x")),
        ({"path": "x?y=1", "scheme": "HTTPS", "port": "web", "host": "own"}, ("https://own:8443", "/x?y=1")),
        ({}, ("http://10.1.0.2:80", "/")),
    ],
)
async def test_what_a_web_hook_asks(action: dict[str, Any], asked: tuple[str, str]) -> None:
    requests = []

    async def get(base: str, target: str, headers: list[tuple[str, str]]) -> None:
        requests.append((base, target, dict(headers)))

    clock = FakeClock()
    container = {"name": "web", "ports": [{"name": "web", "containerPort": 8443}]}
    hook = {"httpGet": {"httpHeaders": [{"name": "user-agent", "value": "me"}], **action}}
    await Hooks(SimulatedRuntime(clock), clock, get).run(hook, POD, container, "id", "10.1.0.2")
    [(base, target, headers)] = requests
    assert (base, target) == asked
    assert headers["user-agent"] == "me"
    assert "User-Agent" not in headers


async def test_a_web_hook_that_nobody_answers() -> None:
    async def get(base: str, target: str, headers: list[tuple[str, str]]) -> None:
        raise ConnectionRefusedError("connection refused")

    clock = FakeClock()
    hook = {"httpGet": {"port": 80, "path": "/stop"}}
    with pytest.raises(HookFailure) as failed:
        await Hooks(SimulatedRuntime(clock), clock, get).run(hook, POD, {"name": "web"}, "id", "10.1.0.2")
    assert str(failed.value) == (
        'HTTP lifecycle hook (/stop) for Container "web" in Pod "web_default(u1)" failed'
        " - error: connection refused"
    )
    hook["httpGet"]["port"] = "nowhere"
    with pytest.raises(HookFailure, match="nowhere"):
        await Hooks(SimulatedRuntime(clock), clock, get).run(hook, POD, {"name": "web"}, "id", "10.1.0.2")


async def test_a_runtime_that_does_not_stop_is_asked_again_without_the_hook(world: NodeWorld) -> None:
    world.create(with_hooks(preStop={"exec": {"command": ["bye"]}}))
    await world.settle()
    assert isinstance(world.runtime, Telling)
    world.runtime.refusals = 2
    await world.client.delete(PODS, "web", "default")
    await world.settle(5)
    assert world.pods() == []
    assert [what for what in told(world) if what == "bye"] == ["bye"]
    assert [reason for reason, _ in world.events()].count("Killing") == 1
