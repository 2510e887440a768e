"""What a node has, and what of it pods may ask for."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tiphys.kubelet.configuration import KubeletConfiguration
from tiphys.kubelet.machine import Machine, huge_pages, thermal_paths
from tiphys.kubelet.node import NodeFacts, node_status
from tiphys.kubelet.runtimes.interface import Version

NOW = datetime(2026, 1, 1, tzinfo=UTC)
MACHINE = Machine(
    cpus=4,
    memory_bytes=8 << 30,
    disk_bytes=100 << 30,
    kernel_version="6.1",
    os_image="Linux",
    architecture="x86_64",
    huge_page_bytes={"1Gi": 0, "2Mi": 1 << 30},
)


def status(old: dict[str, Any] | None = None, **settings: Any) -> dict[str, Any]:
    head = {"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration"}
    configuration = KubeletConfiguration.parse({**head, **settings})
    facts = NodeFacts(
        "n1", ("10.0.0.1",), 10250, MACHINE, Version("c", "1", "v1"), configuration=configuration
    )
    return node_status(old or {}, facts, NOW)


def test_by_default_what_eviction_keeps_free_is_not_allocatable() -> None:
    found = status()
    assert found["capacity"] == {
        "cpu": "4",
        "ephemeral-storage": "100Gi",
        "hugepages-1Gi": "0",
        "hugepages-2Mi": "1Gi",
        "memory": "8Gi",
        "pods": "110",
    }
    # 10 % in single precision; 8 GiB less 100 MiB and all huge pages.
    assert found["allocatable"] == {
        **found["capacity"],
        "ephemeral-storage": "96636764000",
        "memory": "7068Mi",
    }


def test_what_is_reserved_is_not_allocatable_either() -> None:
    reserved = status(
        kubeReserved={"cpu": "500m", "memory": "1Gi"},
        systemReserved={"cpu": "250m", "ephemeral-storage": "10Gi", "pid": "1000"},
        evictionHard={},
    )["allocatable"]
    assert (reserved["cpu"], reserved["memory"], reserved["ephemeral-storage"]) == ("3250m", "6Gi", "90Gi")
    assert "pid" not in reserved


def test_soft_thresholds_reserve_nothing_and_nothing_is_negative() -> None:
    grace = {"memory.available": "1m"}
    soft = status(evictionHard={}, evictionSoft={"memory.available": "1Gi"}, evictionSoftGracePeriod=grace)
    assert soft["allocatable"]["memory"] == "7Gi"
    assert status(systemReserved={"cpu": "8"})["allocatable"]["cpu"] == "0"


def test_the_number_of_pods() -> None:
    assert status(maxPods=5)["capacity"]["pods"] == "5"
    assert status(podsPerCore=10)["capacity"]["pods"] == "40"
    assert status(podsPerCore=100)["allocatable"]["pods"] == "110"


def test_without_isolation_of_local_storage_there_is_none_to_ask_for() -> None:
    found = status(localStorageCapacityIsolation=False)
    assert "ephemeral-storage" not in found["capacity"]
    assert "ephemeral-storage" not in found["allocatable"]


def test_extended_resources_of_others_stay() -> None:
    old = {"capacity": {"example.com/dongle": "4", "cpu": "1"}, "allocatable": {"example.com/gone": "2"}}
    found = status(old)
    assert found["capacity"]["example.com/dongle"] == found["allocatable"]["example.com/dongle"] == "4"
    assert found["capacity"]["cpu"] == "4"
    assert "example.com/gone" not in found["allocatable"]


def test_huge_pages_as_the_kernel_lists_them(tmp_path: Path) -> None:
    for kibibytes, pages in ((2048, 3), (1048576, 0)):
        size = tmp_path / f"hugepages-{kibibytes}kB"
        size.mkdir()
        (size / "nr_hugepages").write_text(f"{pages}\n")
    assert huge_pages(tmp_path) == {"1Gi": 0, "2Mi": 6 << 20}


def test_what_tells_how_hot_a_cpu_is(tmp_path: Path) -> None:
    for name in ("cpu0/thermal_throttle", "cpu1/thermal_throttle", "cpu2", "cpufreq/thermal_throttle"):
        (tmp_path / name).mkdir(parents=True)
    assert thermal_paths(tmp_path) == tuple(f"{tmp_path}/cpu{n}/thermal_throttle" for n in (0, 1))
