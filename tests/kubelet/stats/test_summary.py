"""The Summary API's fields, of hand-made measurements."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from tiphys.kubelet.runtimes.interface import SandboxStatus
from tiphys.kubelet.stats.measured import MeasuredPod
from tiphys.kubelet.stats.summary import Measurements, summary
from tiphys.kubelet.stats.usage import (
    ContainerUsage,
    CPUUsage,
    FilesystemUsage,
    InterfaceUsage,
    MemoryUsage,
    NetworkUsage,
    NodeDisks,
    NodeUsage,
    PodDisks,
    PodUsage,
    Pressure,
    PressureLine,
    VolumeUsage,
)

NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)
TIME = "2026-11-28T12:00:00Z"
CPU = CPUUsage(NOON, 5_000_000_000)
MEMORY = MemoryUsage(
    NOON,
    1000,
    750,
    300,
    page_faults=7,
    major_page_faults=2,
    limit_bytes=4000,
    swap_bytes=10,
    swap_limit_bytes=50,
)
DISK = FilesystemUsage(NOON, 100, 60, 50, 40, used_bytes=40, inodes_used=10)
NETWORK = NetworkUsage(
    NOON, (InterfaceUsage("eth0", 1, 2, 3, 4, 5, 6, 7, 8), InterfaceUsage("eth1", 9, 0, 0, 0, 9, 0, 0, 0))
)
MAIN = ContainerUsage("main", "c1", NOON, CPU, 250_000_000, MEMORY)
POD = MeasuredPod(
    {"metadata": {"name": "web", "namespace": "default", "uid": "u1"}},
    SandboxStatus("s1", "web", "default", "u1", 0, "Ready", NOON, {}, {}),
    (),
)
NODE = NodeUsage(NOON, CPU, MEMORY, 500_000_000, NETWORK, processes=120, process_limit=4000)
USAGE = PodUsage((MAIN,), CPU, 260_000_000, MEMORY, NETWORK, processes=3)
WHOLE = Measurements(
    "node-1",
    NODE,
    [POD],
    {"u1": USAGE},
    NodeDisks(DISK, DISK, DISK),
    {
        "u1": PodDisks(
            {"main": DISK},
            {"main": DISK},
            (
                VolumeUsage("scratch", "emptyDir", DISK, is_ephemeral=True),
                VolumeUsage("data", "persistentVolumeClaim", DISK, is_ephemeral=False, claim="data-0"),
            ),
            DISK,
        )
    },
)
CPU_FIELDS = {"time": TIME, "usageCoreNanoSeconds": 5_000_000_000}
MEMORY_FIELDS = {
    "time": TIME,
    "availableBytes": 3250,
    "usageBytes": 1000,
    "workingSetBytes": 750,
    "rssBytes": 300,
    "pageFaults": 7,
    "majorPageFaults": 2,
}
SWAP_FIELDS = {"time": TIME, "swapAvailableBytes": 40, "swapUsageBytes": 10}
DISK_FIELDS = {
    "time": TIME,
    "availableBytes": 60,
    "capacityBytes": 100,
    "usedBytes": 40,
    "inodesFree": 40,
    "inodes": 50,
    "inodesUsed": 10,
}
ETH0 = {"name": "eth0", "rxBytes": 1, "rxErrors": 3, "txBytes": 5, "txErrors": 7}
ETH1 = {"name": "eth1", "rxBytes": 9, "rxErrors": 0, "txBytes": 9, "txErrors": 0}
NETWORK_FIELDS = {"time": TIME, **ETH0, "interfaces": [ETH0, ETH1]}


def basic(nano_cores: int) -> dict[str, Any]:
    return {"cpu": {**CPU_FIELDS, "usageNanoCores": nano_cores}, "memory": MEMORY_FIELDS, "swap": SWAP_FIELDS}


def test_the_whole_summary() -> None:
    assert summary(WHOLE) == {
        "node": {
            "nodeName": "node-1",
            "systemContainers": [],
            "startTime": TIME,
            **basic(500_000_000),
            "network": NETWORK_FIELDS,
            "fs": DISK_FIELDS,
            "runtime": {"imageFs": DISK_FIELDS, "containerFs": DISK_FIELDS},
            "rlimit": {"time": TIME, "maxpid": 4000, "curproc": 120},
        },
        "pods": [
            {
                "podRef": {"name": "web", "namespace": "default", "uid": "u1"},
                "startTime": TIME,
                "containers": [
                    {
                        "name": "main",
                        "startTime": TIME,
                        **basic(250_000_000),
                        "rootfs": DISK_FIELDS,
                        "logs": DISK_FIELDS,
                    }
                ],
                **basic(260_000_000),
                "network": NETWORK_FIELDS,
                "process_stats": {"process_count": 3},
                "volume": [
                    {**DISK_FIELDS, "name": "scratch"},
                    {
                        **DISK_FIELDS,
                        "name": "data",
                        "pvcRef": {"name": "data-0", "namespace": "default"},
                    },
                ],
                "ephemeral-storage": DISK_FIELDS,
            }
        ],
    }


def test_only_cpu_and_memory() -> None:
    told = summary(replace(WHOLE, node_disks=None, pod_disks={}))
    assert set(told["node"]) == {"nodeName", "systemContainers", "startTime", "cpu", "memory", "swap"}
    [pod] = told["pods"]
    assert set(pod) == {"podRef", "startTime", "containers", "cpu", "memory", "swap"}
    assert set(pod["containers"][0]) == {"name", "startTime", "cpu", "memory", "swap"}


def test_stalls_where_the_kernel_tells_of_them() -> None:
    stalls = Pressure(PressureLine(1.5, 0.5, 0.1, 700), PressureLine())
    cpu, memory = replace(CPU, pressure=stalls), replace(MEMORY, pressure=stalls)
    node = replace(NODE, cpu=cpu, memory=memory, io_pressure=stalls)
    told = summary(replace(WHOLE, node=node))["node"]
    none = {"total": 0, "avg10": 0.0, "avg60": 0.0, "avg300": 0.0}
    psi = {"some": {"total": 700, "avg10": 1.5, "avg60": 0.5, "avg300": 0.1}, "full": none}
    assert told["cpu"]["psi"] == told["memory"]["psi"] == told["io"]["psi"] == psi


def test_what_is_not_known_is_left_out() -> None:
    usage = PodUsage((ContainerUsage("main", "c1", None),))
    told = summary(replace(WHOLE, usages={"u1": usage}, node_disks=NodeDisks(DISK), pod_disks={}))
    [pod] = told["pods"]
    assert pod["containers"] == [{"name": "main", "startTime": None}]
    assert set(pod) == {"podRef", "startTime", "containers"}
    assert told["node"]["runtime"] == {}


def test_system_containers() -> None:
    kubelet = replace(MAIN, name="kubelet")
    node = replace(NODE, kubelet=kubelet, pods=PodUsage((), CPU, None, MEMORY))
    told = summary(replace(WHOLE, node=node))["node"]["systemContainers"]
    assert [container["name"] for container in told] == ["kubelet", "pods"]
    assert told[1]["memory"] == MEMORY_FIELDS


def test_a_pod_that_could_not_be_measured_is_not_there() -> None:
    assert summary(replace(WHOLE, usages={}))["pods"] == []
