"""What a node gives away together, and how the runtime learns where containers may run."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import pytest
from machines import container, machine, pod, write_system

from tiphys.kubelet.admission import Refused
from tiphys.kubelet.allocation_metrics import ManagerMetrics
from tiphys.kubelet.configuration import KubeletConfiguration
from tiphys.kubelet.devices.keeper import DeviceKeeper
from tiphys.kubelet.devices.plugin import MESSAGES
from tiphys.kubelet.devices.pod_resources import PodResources
from tiphys.kubelet.managers import checkpoint, cpusets
from tiphys.kubelet.managers.checkpoint import CannotStart
from tiphys.kubelet.managers.hints import Hint, Hints, Nodes
from tiphys.kubelet.managers.pinning import Pinning
from tiphys.kubelet.managers.setup import ResourceManagers
from tiphys.kubelet.runtimes.cri import wire
from tiphys.kubelet.runtimes.interface import ContainerConfig, Resources, RuntimeFailure, SandboxConfig
from tiphys.kubelet.runtimes.simulated import SimulatedRuntime
from tiphys.kubelet.seen import SeenContainer
from tiphys.machinery.clock import Clock
from tiphys.machinery.metrics import Registry
from tiphys.machinery.quantity import parse
from tiphys.net.grpc_messages import pool_of
from tiphys.testing.clock import FakeClock

Object = dict[str, Any]
BOTH = frozenset({0, 1})


class Cards:
    """One device at NUMA node 1, which every pod called `card…` wants."""

    def __init__(self) -> None:
        self.holder = ""
        self.kept: list[set[str]] = []
        self.near: list[Nodes | None] = []
        self.offered: Mapping[str, int] = {}

    def hints(self, pod: Object, container: Object) -> Hints:
        wants = pod["metadata"]["uid"].startswith("card")
        return {"example.com/card": [Hint(frozenset({1}), True), Hint(BOTH, False)]} if wants else {}

    def pod_hints(self, pod: Object) -> Hints:
        return self.hints(pod, {})

    async def allocate(self, pod: Object, container: Object, nodes: Nodes | None) -> None:
        self.near.append(nodes)
        if self.hints(pod, container):
            if self.holder:
                raise Refused.unexpectedly("no card")
            self.holder = pod["metadata"]["uid"]

    def keep_only(self, uids: Collection[str]) -> None:
        self.kept.append(set(uids))
        if self.holder not in uids:
            self.holder = ""


class Node:
    def __init__(self, directory: Path, **settings: Any) -> None:
        system = directory / "system"
        if not system.exists():
            write_system(system, machine(nodes=2, cores=2))
        self.cards = Cards()
        self.registry = Registry()
        self.holders: set[str] | None = set()
        document = {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "cpuManagerPolicy": "static",
            "systemReserved": {"cpu": "500m"},
            **settings,
        }
        self.managers = ResourceManagers(
            KubeletConfiguration.parse(document),
            directory,
            {"memory": parse("2Gi")},
            self.cards,
            lambda: self.holders,
            metrics=ManagerMetrics(self.registry),
            system=system,
        )
        assert self.managers.cpus is not None
        self.cpus = self.managers.cpus.static

    async def admit(self, wanted: Object) -> str:
        """The reason why not, or the CPUs of its first container."""
        refused = await self.managers.allocator.admit(wanted)
        if refused is not None:
            return refused.reason
        uid = wanted["metadata"]["uid"]
        if self.holders is not None:
            self.holders.add(uid)
        return cpusets.text(self.cpus.of(uid, wanted["spec"]["containers"][0]["name"]))


def one(uid: str, cpu: str) -> Object:
    return pod(uid, container("c", cpu))


async def test_cpus_are_given_without_asking_where_what_else_there_is_lies(tmp_path: Path) -> None:
    node = Node(tmp_path)
    assert await node.admit(one("card", "2")) == "1,5"
    assert node.cards.near == [None]
    assert node.cpus.reserved == {0}


async def test_all_that_a_container_has_comes_from_one_node_if_that_is_the_policy(tmp_path: Path) -> None:
    node = Node(tmp_path, topologyManagerPolicy="single-numa-node")
    assert await node.admit(one("card", "2")) == "2,6"
    assert await node.admit(one("wide", "4")) == "TopologyAffinityError"
    assert await node.admit(one("narrow", "2")) == "1,5"
    assert await node.admit(one("shares", "500m")) == "0,3-4,7"


async def test_memory_comes_from_where_the_cpus_are(tmp_path: Path) -> None:
    node = Node(
        tmp_path,
        topologyManagerPolicy="restricted",
        memoryManagerPolicy="Static",
        reservedMemory=[{"numaNode": n, "limits": {"memory": "1Gi"}} for n in (0, 1)],
    )
    first = pod("first", container("c", "1", "5Gi"))
    assert await node.admit(first) == "4"
    assert await node.admit(pod("second", container("c", "2", "5Gi"))) == "2,6"
    # Where there are CPUs there is no memory, nor the other way round.
    assert await node.admit(pod("third", container("c", "1", "3Gi"))) == "TopologyAffinityError"
    found = node.managers.applied(first, first["spec"]["containers"][0], Resources())
    assert (found.cpuset_cpus, found.cpuset_mems) == ("4", "0")
    shares = one("shares", "500m")
    assert await node.admit(shares) == "0-1,3,5,7"
    assert node.managers.applied(shares, shares["spec"]["containers"][0], Resources()).cpuset_mems == "0"


async def test_what_is_given_away_is_counted(tmp_path: Path) -> None:
    node = Node(tmp_path, topologyManagerPolicy="single-numa-node")
    await node.admit(one("card", "2"))
    await node.admit(one("wide", "4"))
    await node.admit(one("shares", "500m"))
    lines = node.registry.render().decode().splitlines()
    for told in (
        "kubelet_cpu_manager_pinning_requests_total 1",
        "kubelet_cpu_manager_pinning_errors_total 0",
        "kubelet_cpu_manager_shared_pool_size_millicores 6000",
        "kubelet_cpu_manager_exclusive_cpu_allocation_count 2",
        "kubelet_topology_manager_admission_requests_total 3",
        "kubelet_topology_manager_admission_errors_total 1",
        "kubelet_topology_manager_admission_duration_ms_count 3",
    ):
        assert told in lines


async def test_a_best_effort_takes_what_there_is(tmp_path: Path) -> None:
    node = Node(tmp_path, topologyManagerPolicy="best-effort")
    assert await node.admit(one("wide", "6")) == "1-3,5-7"


async def test_a_pod_may_be_placed_as_a_whole(tmp_path: Path) -> None:
    two = pod("two", container("c", "2"), container("d", "2"))
    apart = Node(tmp_path / "container", topologyManagerPolicy="single-numa-node")
    assert await apart.admit(one("before", "1")) == "4"
    assert await apart.admit(two) == "1,5"
    assert cpusets.text(apart.cpus.of("two", "d")) == "2,6"
    together = Node(tmp_path / "pod", topologyManagerPolicy="single-numa-node", topologyManagerScope="pod")
    assert await together.admit(one("before", "1")) == "4"
    assert await together.admit(two) == "2,6"
    assert cpusets.text(together.cpus.of("two", "d")) == "3,7"
    assert await together.admit(pod("three", container("c", "1"), container("d", "2"))) == (
        "TopologyAffinityError"
    )


async def test_who_is_refused_gives_back_what_he_had_got(tmp_path: Path) -> None:
    node = Node(tmp_path)
    assert await node.admit(pod("greedy", container("c", "6"), container("d", "6"))) == (
        "UnexpectedAdmissionError"
    )
    assert cpusets.text(node.cpus.shared) == "0-7"
    assert await node.admit(one("modest", "6")) == "1-3,5-7"


async def test_nobody_loses_anything_before_all_pods_are_known(tmp_path: Path) -> None:
    before = Node(tmp_path)
    await before.admit(one("old", "2"))
    node = Node(tmp_path)
    node.holders = None
    assert await node.admit(one("new", "2")) == "2,6"
    assert await node.admit(one("third", "4")) == "UnexpectedAdmissionError"
    assert set(node.cpus.assigned) == {"old", "new"}
    node.holders = {"new"}
    assert await node.admit(one("fourth", "2")) == "3,7"
    assert set(node.cpus.assigned) == {"new", "fourth"}


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"reservedSystemCPUs": "0,9"}, "reserved-cpus: 0,9 is not a subset of online-cpus: 0-7"),
        (
            {"systemReserved": {"cpu": "9"}},
            "new static policy error: [cpumanager] unable to reserve the required amount of CPUs "
            "(size of  did not equal 9)",
        ),
    ],
)
def test_what_the_machine_has_not_cannot_be_reserved(tmp_path: Path, settings: Object, problem: str) -> None:
    with pytest.raises(CannotStart) as refused:
        Node(tmp_path, **settings)
    assert str(refused.value) == problem


def test_the_policy_of_a_node_does_not_change_while_it_has_pods(tmp_path: Path) -> None:
    checkpoint.read_cpus(tmp_path / checkpoint.CPU_STATE, "none")
    with pytest.raises(CannotStart, match='"static" differs from state checkpoint policy "none"'):
        Node(tmp_path)


# Where containers may run


class Noting(SimulatedRuntime):
    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.told: list[tuple[str, str]] = []
        self.refuses = False

    async def update_resources(self, container_id: str, resources: Resources) -> None:
        if self.refuses:
            raise RuntimeFailure("no")
        self.told.append((container_id, resources.cpuset_cpus))


class Resident:
    def __init__(self, uid: str, *running: SeenContainer) -> None:
        self.uid = uid
        self.running = running


async def test_containers_that_share_are_told_when_others_get_cpus_of_their_own(tmp_path: Path) -> None:
    clock, node = FakeClock(), Node(tmp_path)
    runtime = Noting(clock)
    assert node.managers.cpus is not None
    pinning = Pinning(node.managers.cpus, runtime, clock, period_seconds=10.0)
    shares, own = one("shares", "500m"), one("own", "2")
    await node.admit(shares)
    resident = await running(runtime, "shares", "c")
    id = resident.running[0].status.id
    task = asyncio.create_task(pinning.run(lambda: [resident], lambda: node.holders))

    async def until_told(*cpus: str) -> None:
        await clock.advance(0)
        assert runtime.told == [(id, each) for each in cpus]

    try:
        await until_told("0-7")
        assert await node.admit(own) == "1,5"
        await until_told("0-7", "0,2-4,6-7")
        # The other has gone: it is seen at the next look.
        assert node.holders is not None
        node.holders.discard("own")
        await clock.advance(10.0)
        await until_told("0-7", "0,2-4,6-7", "0-7")
        # A runtime that could not is told again.
        runtime.refuses = True
        await node.admit(own)
        await clock.advance(0)
        runtime.refuses = False
        await clock.advance(10.0)
        await until_told("0-7", "0,2-4,6-7", "0-7", "0,2-4,6-7")
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_container_is_made_where_it_may_run_and_its_own_cpus_need_no_quota(tmp_path: Path) -> None:
    node = Node(tmp_path)
    own, shares = one("own", "2"), one("shares", "500m")
    await node.admit(own)
    assert node.managers.cpus is not None
    managers = node.managers
    quota = Resources(cpu_quota_microseconds=5000, cpu_period_microseconds=100_000, cpu_shares=2)
    found = managers.applied(own, own["spec"]["containers"][0], quota)
    assert (found.cpuset_cpus, found.cpu_quota_microseconds, found.cpu_shares) == ("1,5", 0, 2)
    found = managers.applied(shares, shares["spec"]["containers"][0], quota)
    assert (found.cpuset_cpus, found.cpu_quota_microseconds) == ("0,2-4,6-7", 5000)
    assert managers.has_own_cpus("own")
    assert not managers.has_own_cpus("shares")


async def running(runtime: SimulatedRuntime, uid: str, name: str) -> Resident:
    config = SandboxConfig(uid, "default", uid)
    sandbox = await runtime.run_sandbox(config)
    await runtime.pull_image("busybox", None)
    id = await runtime.create_container(sandbox, ContainerConfig(name, "busybox"), config)
    await runtime.start_container(id)
    return Resident(uid, SeenContainer(sandbox, await runtime.container_status(id)))


# Agents that watch


async def test_agents_are_told_whose_cpus_and_memory_are_where() -> None:
    # A socket's path has room for a hundred letters.
    with tempfile.TemporaryDirectory(prefix="tiphys-") as directory:
        node = Node(
            Path(directory),
            memoryManagerPolicy="Static",
            reservedMemory=[{"numaNode": n, "limits": {"memory": "1Gi"}} for n in (0, 1)],
        )
        own = pod("own", container("c", "2", "5Gi"))
        assert await node.admit(own) == "1,5"
        clock = FakeClock()
        keeper = DeviceKeeper(Path(directory), clock, holders=lambda: None, on_change=lambda: None)
        socket = Path(directory, "agents", "kubelet.sock")
        task = asyncio.create_task(PodResources(socket, keeper, lambda: [own], node.managers).run())
        async with asyncio.timeout(30):
            while not socket.exists():
                await asyncio.sleep(0.01)
        channel = wire.open_channel(str(socket))
        service = wire.Service(channel, "v1.PodResourcesLister", pool=pool_of(MESSAGES))
        [[listed]] = [each.containers for each in (await service.call("List")).pod_resources]
        assert list(listed.cpu_ids) == [1, 5]
        assert [(each.memory_type, each.size, nodes_of(each)) for each in listed.memory] == [
            ("memory", 5 << 30, [0])
        ]
        allocatable = await service.call("GetAllocatableResources")
        assert list(allocatable.cpu_ids) == [1, 2, 3, 4, 5, 6, 7]
        assert [(each.memory_type, each.size >> 20, nodes_of(each)) for each in allocatable.memory] == [
            (kind, size, [number])
            for number in (0, 1)
            for kind, size in (("hugepages-2Mi", 8), ("memory", 7 << 10))
        ]
        await channel.close()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def nodes_of(memory: Any) -> list[int]:
    return [node.ID for node in memory.topology.nodes]
