"""From requests and limits to shares, quotas, scores and cgroups."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tiphys.kubelet.cgroups import Cgroups, weight
from tiphys.kubelet.resources import (
    cgroup_path,
    container_resources,
    cpu_quota_microseconds,
    cpu_shares,
    oom_score_adj,
    pod_resources,
)
from tiphys.kubelet.runtimes.interface import Resources

MEMORY = 8 << 30


def container(name: str = "a", **resources: Any) -> dict[str, Any]:
    return {"name": name, "resources": resources}


def pod(*containers: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {"metadata": {"uid": "u1"}, "spec": {"containers": list(containers), **spec}}


GUARANTEED = container(requests={"cpu": "500m", "memory": "1Gi"}, limits={"cpu": "500m", "memory": "1Gi"})
BURSTABLE = container(requests={"cpu": "100m", "memory": "4Gi"})


@pytest.mark.parametrize(("milli", "shares"), [(0, 2), (1, 2), (100, 102), (1000, 1024), (10**7, 262144)])
def test_cpu_shares(milli: int, shares: int) -> None:
    assert cpu_shares(milli) == shares


@pytest.mark.parametrize(("milli", "quota"), [(0, 0), (1, 1000), (100, 10_000), (2500, 250_000)])
def test_cpu_quota(milli: int, quota: int) -> None:
    assert cpu_quota_microseconds(milli) == quota


def test_a_containers_limits() -> None:
    found = container_resources(pod(GUARANTEED), GUARANTEED, MEMORY)
    assert (found.cpu_shares, found.cpu_quota_microseconds, found.cpu_period_microseconds) == (
        512,
        50_000,
        100_000,
    )
    assert found.memory_limit_bytes == 1 << 30


def test_a_limit_alone_is_a_request_too() -> None:
    only_limit = container(limits={"cpu": "2"})
    assert container_resources(pod(only_limit), only_limit, MEMORY).cpu_shares == 2048


@pytest.mark.parametrize(
    ("owner", "of", "score"),
    [
        (pod(GUARANTEED), GUARANTEED, -997),
        (pod(container()), container(), 1000),
        (pod(BURSTABLE), BURSTABLE, 500),
        (pod(container(requests={"cpu": "1"})), container(requests={"cpu": "1"}), 999),
        (pod(container(requests={"memory": "16Gi"})), container(requests={"memory": "16Gi"}), 3),
        (pod(container(), priority=2_000_000_000), container(), -997),
    ],
)
def test_how_soon_the_kernel_kills_it(owner: Any, of: Any, score: int) -> None:
    assert oom_score_adj(owner, of, MEMORY) == score


def test_a_pod_is_limited_only_where_all_its_containers_are() -> None:
    limited = pod_resources(pod(GUARANTEED, {**GUARANTEED, "name": "b"}))
    assert (limited.memory_limit_bytes, limited.cpu_quota_microseconds) == (2 << 30, 100_000)
    open_ended = pod_resources(pod(GUARANTEED, container("b")))
    assert (open_ended.memory_limit_bytes, open_ended.cpu_quota_microseconds) == (0, 0)
    assert open_ended.cpu_shares == 512


@pytest.mark.parametrize(
    ("of", "path"),
    [
        (GUARANTEED, "/t/n/kubepods/podu1"),
        (BURSTABLE, "/t/n/kubepods/burstable/podu1"),
        (container(), "/t/n/kubepods/besteffort/podu1"),
    ],
)
def test_where_a_pods_cgroup_is(of: Any, path: str) -> None:
    assert cgroup_path("/t/n", pod(of), "u1") == path


LIMITS = Resources(
    cpu_period_microseconds=100_000,
    cpu_quota_microseconds=50_000,
    cpu_shares=512,
    memory_limit_bytes=1 << 30,
)


def mount_hierarchy(top: Path, name: str) -> None:
    """A stand-in for the kernel's: files in it stay."""
    (top / name).mkdir()
    (top / name / "cgroup.procs").touch()


def test_what_is_left_where_no_hierarchy_is_mounted(tmp_path: Path) -> None:
    """crun leaves plain files at the mount point of version 2 when that is not there."""
    mount_hierarchy(tmp_path, "cpu")
    left = tmp_path / "unified/t/kubepods/podu1/container"
    left.mkdir(parents=True)
    (left / "cgroup.procs").touch()
    groups = Cgroups(tmp_path)
    assert groups.pods("/t") == {}
    groups.remove("/t/kubepods/podu1")
    assert not (tmp_path / "unified/t/kubepods/podu1").exists()


def test_groups_of_version_1_are_made_and_removed_in_every_hierarchy(tmp_path: Path) -> None:
    for name in ("cpu", "memory", "pids", "freezer"):
        mount_hierarchy(tmp_path, name)
    groups = Cgroups(tmp_path)
    groups.make("/t/kubepods/besteffort/podu1", LIMITS)
    assert (tmp_path / "cpu/t/kubepods/besteffort/podu1/cpu.cfs_quota_us").read_text() == "50000"
    assert (tmp_path / "cpu/t/kubepods/besteffort/cpu.shares").read_text() == "2"
    assert (tmp_path / "memory/t/kubepods/besteffort/podu1/memory.limit_in_bytes").read_text() == str(1 << 30)
    assert not (tmp_path / "freezer/t").exists()
    # The runtime makes its own groups in hierarchies that we leave alone.
    (tmp_path / "freezer/t/kubepods/besteffort/podu1/container").mkdir(parents=True)
    assert groups.pods("/t") == {"u1": ["/t/kubepods/besteffort/podu1"]}
    for file in tmp_path.rglob("t/**/*.*"):
        if file.is_file():
            file.unlink()  # the kernel's files go with their directory
    groups.remove("/t/kubepods/besteffort/podu1")
    assert groups.pods("/t") == {}


def test_a_group_without_limits_of_version_1(tmp_path: Path) -> None:
    mount_hierarchy(tmp_path, "cpu")
    Cgroups(tmp_path).make("/t/podu1", Resources(cpu_period_microseconds=100_000, cpu_shares=2))
    assert (tmp_path / "cpu/t/podu1/cpu.cfs_quota_us").read_text() == "-1"


def test_groups_of_version_2(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpu memory pids")
    groups = Cgroups(tmp_path)
    groups.make("/t/kubepods/podu1", LIMITS)
    directory = tmp_path / "t/kubepods/podu1"
    assert (directory / "cpu.max").read_text() == "50000 100000"
    assert (directory / "memory.max").read_text() == str(1 << 30)
    assert (directory / "cpu.weight").read_text() == "20"
    assert (tmp_path / "t/cgroup.subtree_control").read_text() == "+cpu +memory +pids"
    assert not (directory / "cgroup.subtree_control").exists()


def test_the_root_of_all_groups_is_never_removed(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="root"):
        Cgroups(tmp_path).remove("/")


@pytest.mark.parametrize(("shares", "found"), [(2, 1), (1024, 39), (262144, 10000), (0, 1)])
def test_weight_of_shares(shares: int, found: int) -> None:
    assert weight(shares) == found
