"""A node with containers, measured in trees of files of our own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tiphys.kubelet.files import Files
from tiphys.kubelet.machine import simulated_machine
from tiphys.kubelet.runtimes.interface import ContainerStatus, SandboxStatus
from tiphys.kubelet.runtimes.simulated import SimulatedRuntime
from tiphys.kubelet.stats.cgroup_usage import CgroupUsage
from tiphys.kubelet.stats.disk_usage import DiskMeter
from tiphys.kubelet.stats.machine_usage import MachineUsage
from tiphys.kubelet.stats.measured import MeasuredPod
from tiphys.kubelet.stats.meter import NodeMeter
from tiphys.testing.clock import START, FakeClock

ROOT = "tiphys/node-1"
POD = f"{ROOT}/kubepods/besteffort/podu1"
NET_DEV = "eth0: 70 7 0 0 0 0 0 0 80 8 0 0 0 0 0 0\n"


def put(top: Path, **files: str) -> None:
    for name, text in files.items():
        file = top / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


class Node:
    def __init__(self, directory: Path) -> None:
        self.cgroups, proc = directory / "cgroups", directory / "proc"
        put(
            proc,
            **{
                "stat": "cpu 1 1 1 1 1 1 1 1\nbtime 5\n",
                "meminfo": "MemTotal: 9 kB\n",
                "41/net/dev": NET_DEV,
            },
        )
        for group in (f"{ROOT}/kubepods", POD, f"{POD}/s1", f"{POD}/c1"):
            self.use(group, cpu_seconds=1, memory=100)
        put(
            self.cgroups,
            **{f"memory/{POD}/s1/cgroup.procs": "41\n", f"memory/{POD}/c1/cgroup.procs": "42\n43\n"},
        )
        self.clock = FakeClock()
        disks = DiskMeter(Files(directory), SimulatedRuntime(self.clock), self.clock)
        self.meter = NodeMeter(
            f"/{ROOT}",
            disks,
            self.clock,
            machine=simulated_machine(),
            sandbox_image="pause:1",
            cgroups=CgroupUsage(self.cgroups),
            proc=MachineUsage(proc),
        )
        status = ContainerStatus(
            "c1", "main", 0, "Running", START, START, None, 0, "", "", "busybox", "", "", {}, {}
        )
        sandbox = SandboxStatus("s1", "web", "default", "u1", 0, "Ready", START, {}, {})
        pod = {
            "metadata": {"name": "web", "namespace": "default", "uid": "u1"},
            "spec": {"containers": [{"name": "main"}]},
        }
        self.pods = [MeasuredPod(pod, sandbox, (status,))]

    def use(self, group: str, *, cpu_seconds: float, memory: int) -> None:
        put(
            self.cgroups,
            **{
                f"cpuacct/{group}/cpuacct.usage": str(round(cpu_seconds * 1e9)),
                f"memory/{group}/memory.usage_in_bytes": str(memory),
                f"memory/{group}/memory.stat": "total_inactive_file 10\n",
            },
        )


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


async def test_what_a_pod_uses(node: Node) -> None:
    await node.clock.advance(10)
    usage = node.meter.pods(node.pods)["u1"]
    [main] = usage.containers
    assert main.memory is not None
    assert main.memory.working_set_bytes == 90
    assert main.cpu_nano_cores == usage.cpu_nano_cores == 100_000_000
    assert usage.processes == 3
    assert usage.network is not None
    assert usage.network.interfaces[0].received_bytes == 70
    node.use(f"{POD}/c1", cpu_seconds=6, memory=200)
    await node.clock.advance(10)
    [main] = node.meter.pods(node.pods)["u1"].containers
    assert main.cpu_nano_cores == 500_000_000


async def test_a_group_that_is_gone_leaves_the_rest(node: Node) -> None:
    for file in (node.cgroups / "cpuacct" / POD / "c1").iterdir():
        file.unlink()
    [main] = node.meter.pods(node.pods)["u1"].containers
    assert main.cpu is None
    assert main.memory is not None


async def test_groups_are_told_as_if_the_machine_were_the_nodes(node: Node) -> None:
    found = {group.path: group for group in node.meter.groups(node.pods)}
    pod = "/kubepods/besteffort/podu1"
    assert list(found) == [
        "/",
        "/kubepods",
        "/kubepods/besteffort",
        "/kubepods/burstable",
        pod,
        f"{pod}/s1",
        f"{pod}/c1",
    ]
    sandbox, main = found[f"{pod}/s1"], found[f"{pod}/c1"]
    assert (sandbox.container, sandbox.id, sandbox.image, sandbox.pod) == ("", "s1", "pause:1", "web")
    assert (main.container, main.id, main.image, main.namespace) == ("main", "c1", "busybox", "default")
    assert sandbox.network is not None
    assert main.network is None
    assert main.processes == 2
    assert found["/kubepods/burstable"].cpu is None


async def test_what_all_pods_use_is_part_of_the_nodes(node: Node) -> None:
    usage = node.meter.node()
    assert usage.pods.cpu is not None
    assert usage.pods.cpu.usage_nanoseconds == 10**9
    assert usage.started_at.timestamp() == 5
