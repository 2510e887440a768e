"""Plugins and the kubelet, over real gRPC on unix sockets."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from fake_plugin import FakePlugin

from tiphys.kubelet.devices.keeper import DeviceKeeper, with_devices
from tiphys.kubelet.devices.plugin import MESSAGES
from tiphys.kubelet.devices.pod_resources import PodResources
from tiphys.kubelet.runtimes.cri import wire
from tiphys.kubelet.runtimes.interface import ContainerConfig, Device, RuntimeFailure
from tiphys.machinery import meta
from tiphys.net.grpc_messages import pool_of
from tiphys.testing.clock import FakeClock

TOY = "example.com/toy"
Object = dict[str, Any]


class World:
    def __init__(self, directory: Path) -> None:
        self.directory = directory / "device-plugins"
        self.clock = FakeClock()
        self.active: list[Object] = []
        self.changes = 0
        self.plugin = FakePlugin(self.directory)
        self._agents = directory / "pod-resources" / "kubelet.sock"
        self._tasks: list[asyncio.Task[None]] = []
        self.start()

    def start(self) -> None:
        def changed() -> None:
            self.changes += 1

        self.keeper = DeviceKeeper(
            self.directory,
            self.clock,
            holders=lambda: {meta.uid(pod) for pod in self.active},
            on_change=changed,
        )
        agents = PodResources(self._agents, self.keeper, lambda: self.active)
        self._tasks = [asyncio.create_task(self.keeper.run()), asyncio.create_task(agents.run())]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def until(self, is_so: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not is_so():
                await asyncio.sleep(0.005)

    async def until_amounts(self, there: int, well: int) -> None:
        await self.until(lambda: self.keeper.inventory.amounts().get(TOY) == (there, well))

    async def ask_agents_service(self, method: str, **fields: Any) -> Any:
        channel = wire.open_channel(str(self._agents))
        service = wire.Service(channel, "v1.PodResourcesLister", pool=pool_of(MESSAGES))
        try:
            return await service.call(method, **fields)
        finally:
            await channel.close()


@pytest.fixture
async def world() -> AsyncIterator[World]:
    # A socket's path has room for a hundred letters.
    with tempfile.TemporaryDirectory(prefix="tiphys-") as directory:
        world = World(Path(directory))
        await world.until((world.directory / "kubelet.sock").exists)
        yield world
        await world.plugin.stop()
        await world.stop()


def pod(uid: str, count: str | int = 1, init: int = 0) -> Object:
    def container(name: str, count: str | int) -> Object:
        return {"name": name, "resources": {"limits": {TOY: str(count)}}}

    return {
        "metadata": {"name": uid, "namespace": "default", "uid": uid},
        "spec": {
            "containers": [container("main", count)],
            **({"initContainers": [container("init", init)]} if init else {}),
        },
    }


async def test_devices_come_change_and_go_with_their_plugin(world: World) -> None:
    await world.plugin.start(a=True, b=False)
    await world.until_amounts(2, 1)
    world.plugin.set_health(a=True, b=True, c=True)
    await world.until_amounts(3, 3)
    await world.plugin.stop()
    await world.until_amounts(3, 0)
    assert world.changes >= 3


async def test_who_cannot_register_is_told_why(world: World) -> None:
    old = 'requested API version "v1alpha" is not supported by kubelet. Supported version is "v1beta1"'
    with pytest.raises(RuntimeFailure, match=old):
        await world.plugin.register("v1alpha")
    with pytest.raises(RuntimeFailure, match='the ResourceName "cpu" is invalid'):
        await FakePlugin(world.directory, "cpu").register()


async def test_a_pod_gets_devices_and_the_next_one_what_is_left(world: World) -> None:
    await world.plugin.start(a=True, b=True, c=True)
    await world.until_amounts(3, 3)
    first = pod("u1", 2)
    assert await world.keeper.admit(first) is None
    world.active = [first]
    refused = await world.keeper.admit(pod("u2", 2))
    assert refused is not None
    assert refused.reason == "UnexpectedAdmissionError"
    unavailable = f"requested number of devices unavailable for {TOY}. Requested: 2, Available: 1"
    assert refused.message == f"Allocate failed due to {unavailable}, which is unexpected"
    world.active = []
    assert await world.keeper.admit(pod("u3", 3)) is None
    assert await world.keeper.admit(pod("u4", "0")) is None


async def test_an_init_containers_devices_are_the_main_ones(world: World) -> None:
    await world.plugin.start(a=True)
    await world.until_amounts(1, 1)
    assert await world.keeper.admit(pod("u1", 1, init=1)) is None
    assert world.plugin.allocated == [["a"], ["a"]]


async def test_a_plugin_may_prefer_some_and_prepare_them(world: World) -> None:
    world.plugin = FakePlugin(
        world.directory, get_preferred_allocation_available=True, pre_start_required=True
    )
    await world.plugin.start(a=True, b=True, c=True)
    await world.until_amounts(3, 3)
    wanted = pod("u1", 2)
    assert await world.keeper.admit(wanted) is None
    assert world.plugin.allocated == [["c", "b"]]
    config = ContainerConfig("main", "busybox", env=(("NAME", "its own"),), annotations={"x": "1"})
    config = with_devices(config, await world.keeper.prepare(wanted, wanted["spec"]["containers"][0]))
    assert world.plugin.pre_started == [["c", "b"]]
    assert dict(config.env) == {"TOYS": "c,b", "NAME": "its own"}
    assert config.annotations == {"example.com/toys": "2", "x": "1"}
    assert config.devices == (Device("/dev/c", "/dev/null", "rw"), Device("/dev/b", "/dev/null", "rw"))
    assert [(mount.container_path, mount.read_only) for mount in config.mounts] == [("/toys", True)]


async def test_a_plugin_that_refuses_is_quoted_and_nothing_is_taken(world: World) -> None:
    await world.plugin.start(a=True)
    await world.until_amounts(1, 1)
    world.plugin.refusal = "it is broken"
    refused = await world.keeper.admit(pod("u1"))
    assert refused is not None
    assert refused.message == "Allocate failed due to it is broken, which is unexpected"
    world.plugin.refusal = ""
    assert await world.keeper.admit(pod("u2")) is None


async def test_a_kubelet_that_comes_back_knows_who_has_what_and_plugins_register_again(world: World) -> None:
    await world.plugin.start(a=True, b=True)
    await world.until_amounts(2, 2)
    holder = pod("u1")
    assert await world.keeper.admit(holder) is None
    world.active = [holder]
    await world.plugin.stop()
    await world.stop()
    world.start()
    await world.until(lambda: world.keeper.inventory.is_known(TOY))
    assert world.keeper.offered == {TOY: 1}
    assert world.keeper.health("u1", "main")[0]["resources"] == [{"resourceID": "a", "health": "Unknown"}]
    assert not (world.directory / "example.com-toy.sock").exists()
    await world.until((world.directory / "kubelet.sock").exists)
    await world.plugin.start(a=True, b=True)
    await world.until_amounts(2, 2)
    assert await world.keeper.admit(pod("u2")) is None
    assert world.plugin.allocated[-1] == ["b"]
    assert world.keeper.health("u1", "main") == [
        {"name": TOY, "resources": [{"resourceID": "a", "health": "Healthy"}]}
    ]


async def test_agents_are_told_who_has_what(world: World) -> None:
    await world.plugin.start(a=True, b=True)
    await world.until_amounts(2, 2)
    holder = pod("u1")
    assert await world.keeper.admit(holder) is None
    world.active = [holder]
    [listed] = (await world.ask_agents_service("List")).pod_resources
    assert (listed.name, listed.namespace, [each.name for each in listed.containers]) == (
        "u1",
        "default",
        ["main"],
    )
    [device] = listed.containers[0].devices
    assert (device.resource_name, list(device.device_ids)) == (TOY, ["a"])
    allocatable = (await world.ask_agents_service("GetAllocatableResources")).devices
    assert sorted(id for each in allocatable for id in each.device_ids) == ["a", "b"]
    found = await world.ask_agents_service("Get", pod_name="u1", pod_namespace="default")
    assert found.pod_resources.name == "u1"
    with pytest.raises(RuntimeFailure, match="pod x in namespace default not found"):
        await world.ask_agents_service("Get", pod_name="x", pod_namespace="default")
