"""A real container's usage, from the kernel's files."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

import pytest

from tiphys.kubelet.files import Files
from tiphys.kubelet.machine import simulated_machine
from tiphys.kubelet.resources import cgroup_path
from tiphys.kubelet.runtimes.cri.runtime import ContainerdRuntime
from tiphys.kubelet.runtimes.interface import ContainerConfig, Resources
from tiphys.kubelet.stats.disk_usage import DiskMeter
from tiphys.kubelet.stats.measured import MeasuredPod
from tiphys.kubelet.stats.meter import NodeMeter
from tiphys.kubelet.stats.usage import ContainerUsage, PodUsage
from tiphys.machinery.clock import SystemClock

if TYPE_CHECKING:
    from conftest import RealNode

pytestmark = pytest.mark.real

PATIENCE_SECONDS = 60.0
BUSY = "head -c 30000000 /dev/zero > /dev/shm/file; while :; do :; done"
POD = {"metadata": {"uid": "uid-measured", "name": "m"}, "spec": {"containers": [{"name": "main"}]}}


@pytest.fixture
async def runtime(real_node: RealNode) -> AsyncIterator[ContainerdRuntime]:
    client = real_node.containerd.runtime()
    yield client
    await client.close()


@pytest.fixture
async def pod(real_node: RealNode, runtime: ContainerdRuntime) -> AsyncIterator[MeasuredPod]:
    """It burns a tenth of a core and holds 30 MB."""
    path = cgroup_path(real_node.cgroup, POD, "uid-measured")
    config = real_node.sandbox_config(cgroup_parent=path)
    sandbox_id = await runtime.run_sandbox(config)
    id = await runtime.create_container(
        sandbox_id,
        ContainerConfig(
            "main",
            "docker.io/library/busybox:latest",
            command=("sh", "-c", BUSY),
            log_path="main/0.log",
            resources=Resources(cpu_quota_microseconds=10_000, memory_limit_bytes=256 << 20),
        ),
        config,
    )
    await runtime.start_container(id)
    try:
        status = await runtime.container_status(id)
        yield MeasuredPod(POD, await runtime.sandbox_status(sandbox_id), (status,))
    finally:
        await runtime.remove_sandbox(sandbox_id)


async def test_processor_memory_processes_network_and_disk(
    real_node: RealNode, runtime: ContainerdRuntime, pod: MeasuredPod
) -> None:
    clock = SystemClock()
    directory = real_node.directory / "kubelet"
    directory.mkdir(exist_ok=True)
    meter = NodeMeter(
        real_node.cgroup, DiskMeter(Files(directory), runtime, clock), clock, machine=simulated_machine()
    )

    async def until(is_so: Callable[[PodUsage, ContainerUsage], bool]) -> tuple[PodUsage, ContainerUsage]:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                usage = meter.pods([pod])["uid-measured"]
                if is_so(usage, usage.containers[0]):
                    return usage, usage.containers[0]
                await asyncio.sleep(0.05)

    usage, main = await until(
        lambda _, main: (
            # A tenth; more in a moment in which we were kept waiting between the clock and the kernel's figure.
            0 < (main.cpu_nano_cores or 0) < 300_000_000
            and main.memory is not None
            and main.memory.usage_bytes > 30_000_000
        )
    )
    assert main.cpu is not None
    assert main.memory is not None
    assert usage.cpu is not None
    assert usage.memory is not None
    assert main.cpu.usage_nanoseconds <= usage.cpu.usage_nanoseconds
    assert main.memory.working_set_bytes <= main.memory.usage_bytes <= usage.memory.usage_bytes
    assert main.memory.limit_bytes == 256 << 20
    assert main.memory.page_faults > 0
    assert usage.processes is not None
    assert usage.processes >= 2
    assert usage.network is not None
    assert [interface.name for interface in usage.network.interfaces] == ["eth0"]

    node = meter.node()
    assert node.pods.cpu is not None
    assert usage.cpu.usage_nanoseconds <= node.pods.cpu.usage_nanoseconds <= node.cpu.usage_nanoseconds
    assert 0 < node.memory.working_set_bytes < (node.memory.limit_bytes or 0)
    assert node.kubelet is not None

    disks = (await meter.pod_disks([pod]))["uid-measured"]
    assert disks.root_filesystems["main"].capacity_bytes > 0
    assert (disks.logs["main"].used_bytes or 0) > 0
    assert disks.ephemeral is not None
    assert (await meter.node_disks()).images is not None
