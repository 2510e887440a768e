"""From requests and limits to shares, quotas, scores and cgroups."""

from __future__ import annotations

import shutil
import signal
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tiphys.kubelet.cgroups import Cgroups, weight
from tiphys.kubelet.configuration import KubeletConfiguration
from tiphys.kubelet.pod_cgroups import BurstableCPU, PodCgroups
from tiphys.kubelet.resources import (
    Enforcement,
    cgroup_path,
    container_resources,
    cpu_quota_microseconds,
    cpu_shares,
    huge_page_size,
    oom_score_adj,
    pod_resources,
)
from tiphys.kubelet.runtimes.interface import Resources
from tiphys.machinery.quantity import parse

MEMORY = 8 << 30
NODE = Enforcement(MEMORY)


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
    found = container_resources(pod(GUARANTEED), GUARANTEED, NODE)
    assert (found.cpu_shares, found.cpu_quota_microseconds, found.cpu_period_microseconds) == (
        512,
        50_000,
        100_000,
    )
    assert found.memory_limit_bytes == 1 << 30


def test_a_limit_alone_is_a_request_too() -> None:
    only_limit = container(limits={"cpu": "2"})
    assert container_resources(pod(only_limit), only_limit, NODE).cpu_shares == 2048


@pytest.mark.parametrize(
    ("owner", "of", "score"),
    [
        (pod(GUARANTEED), GUARANTEED, -997),
        (pod(container()), container(), 1000),
        (pod(BURSTABLE), BURSTABLE, 500),
        (pod(container(requests={"cpu": "1"})), container(requests={"cpu": "1"}), 999),
        (pod(container(requests={"memory": "16Gi"})), container(requests={"memory": "16Gi"}), 3),
        (pod(container(), priority=2_000_000_000), container(), 1000),
        (
            pod(container(), priority=2_000_001_000, priorityClassName="system-node-critical"),
            container(),
            -997,
        ),
    ],
)
def test_how_soon_the_kernel_kills_it(owner: Any, of: Any, score: int) -> None:
    assert oom_score_adj(owner, of, MEMORY) == score


def test_a_pod_is_limited_only_where_all_its_containers_are() -> None:
    limited = pod_resources(pod(GUARANTEED, {**GUARANTEED, "name": "b"}), NODE)
    assert (limited.memory_limit_bytes, limited.cpu_quota_microseconds) == (2 << 30, 100_000)
    open_ended = pod_resources(pod(GUARANTEED, container("b")), NODE)
    assert (open_ended.memory_limit_bytes, open_ended.cpu_quota_microseconds) == (0, 0)
    assert open_ended.cpu_shares == 512


def test_limits_of_the_pod_as_a_whole_are_limits_of_its_group_and_of_each_container() -> None:
    whole = {"requests": {"cpu": "1", "memory": "2Gi"}, "limits": {"cpu": "2", "memory": "4Gi"}}
    own = container("b", limits={"memory": "1Gi"}, requests={"memory": "1Gi"})
    owner = pod(container("a"), own, resources=whole)
    found = pod_resources(owner, NODE)
    assert (found.memory_limit_bytes, found.cpu_quota_microseconds, found.cpu_shares) == (
        4 << 30,
        200_000,
        1024,
    )
    assert container_resources(owner, container("a"), NODE).memory_limit_bytes == 4 << 30
    assert container_resources(owner, container("a"), NODE).cpu_quota_microseconds == 200_000
    assert container_resources(owner, own, NODE).memory_limit_bytes == 1 << 30


def test_memory_that_no_container_of_the_pod_requested_is_everybodys() -> None:
    owner = pod(
        container("a", requests={"memory": "1Gi"}), container("b"), resources={"requests": {"memory": "3Gi"}}
    )
    assert oom_score_adj(owner, owner["spec"]["containers"][0], MEMORY) == 750
    assert oom_score_adj(owner, owner["spec"]["containers"][1], MEMORY) == 875


def test_a_sidecar_is_not_killed_before_those_that_it_serves() -> None:
    sidecar = {**container("s", requests={"memory": "1Gi"}), "restartPolicy": "Always"}
    owner = pod(container("a", requests={"memory": "4Gi"}), initContainers=[sidecar])
    assert oom_score_adj(owner, sidecar, MEMORY) == 500


def test_a_best_effort_pod_weighs_next_to_nothing_whatever_its_overhead() -> None:
    assert pod_resources(pod(container(), overhead={"cpu": "1"}), NODE).cpu_shares == 2


def test_no_quota_where_the_node_enforces_none() -> None:
    free = container_resources(pod(GUARANTEED), GUARANTEED, replace(NODE, cpu_cfs_quota=False))
    assert (free.cpu_quota_microseconds, free.cpu_period_microseconds, free.cpu_shares) == (0, 0, 512)


def test_version_2_ends_a_container_as_a_whole_and_gives_it_no_swap() -> None:
    found = container_resources(pod(GUARANTEED), GUARANTEED, replace(NODE, is_unified=True))
    assert found.unified == {"memory.oom.group": "1"}
    assert found.memory_swap_limit_bytes == found.memory_limit_bytes == 1 << 30
    assert container_resources(pod(container()), container(), replace(NODE, is_unified=True)).unified == {}


def test_huge_pages_are_limited_by_their_size() -> None:
    node = replace(NODE, huge_page_sizes=("1GB", "2MB"))
    greedy = container(limits={"hugepages-2Mi": "4Mi", "memory": "1Gi"})
    assert container_resources(pod(greedy), greedy, node).hugepage_limits_bytes == {"1GB": 0, "2MB": 4 << 20}
    assert pod_resources(pod(greedy), node).hugepage_limits_bytes == {"1GB": 0, "2MB": 4 << 20}
    assert [huge_page_size(size) for size in (2 << 20, 1 << 30, 64 << 10)] == ["2MB", "1GB", "64KB"]


def test_the_tree_of_groups_follows_what_is_requested(tmp_path: Path) -> None:
    for name in ("cpu", "memory", "pids"):
        mount_hierarchy(tmp_path, name)
    pods = [{**pod(BURSTABLE), "metadata": {"uid": "u0"}}]
    groups = PodCgroups(Cgroups(tmp_path), "/t", replace(NODE, pids_limit=64), lambda: pods)
    configuration = KubeletConfiguration.parse(
        {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "kubeReserved": {"cpu": "500m", "memory": "1Gi", "pid": "1000"},
        }
    )
    told: list[tuple[str, ...]] = []
    amounts = {"cpu": parse("2"), "memory": parse("8Gi"), "pid": parse("32768")}
    groups.enforce_allocatable(amounts, configuration, lambda *event: told.append(event))
    assert told == [("Normal", "NodeAllocatableEnforced", "Updated Node Allocatable limit across pods")]
    assert (tmp_path / "cpu/t/kubepods/cpu.shares").read_text() == "1536"
    assert (tmp_path / "memory/t/kubepods/memory.limit_in_bytes").read_text() == str(7 << 30)
    assert (tmp_path / "pids/t/kubepods/pids.max").read_text() == "31768"
    assert groups.make(pod(BURSTABLE)) == "/t/kubepods/burstable/podu1"
    assert (tmp_path / "cpu/t/kubepods/burstable/cpu.shares").read_text() == "204"
    assert (tmp_path / "cpu/t/kubepods/besteffort/cpu.shares").read_text() == "2"
    assert (tmp_path / "pids/t/kubepods/burstable/podu1/pids.max").read_text() == "64"
    assert groups.uids() == {"u1"}

    shares = tmp_path / "cpu/t/kubepods/burstable/podu1/cpu.shares"
    shares.write_text("of somebody else")
    groups.make(pod(BURSTABLE))
    assert shares.read_text() == "of somebody else", "it is as it was made: nothing is written"
    shutil.rmtree(shares.parent)
    groups.make(pod(BURSTABLE))
    assert shares.read_text() == "102", "it was gone"
    groups.make(pod(container(requests={"cpu": "200m"})))
    assert shares.read_text() == "204", "it is to be another one"


def test_pods_that_have_finished_weigh_nothing() -> None:
    burstable = BurstableCPU()
    assert burstable.milli([pod(BURSTABLE), pod(GUARANTEED), pod(container())]) == 100
    assert burstable.milli([{**pod(BURSTABLE), "status": {"phase": "Failed"}}]) == 0


def test_what_a_version_of_a_pod_weighs_is_remembered_and_a_later_one_looked_at() -> None:
    burstable = BurstableCPU()
    first = {**pod(BURSTABLE), "metadata": {"uid": "u1", "resourceVersion": "1"}}
    assert burstable.milli([first]) == 100
    assert burstable.milli([{**pod(container()), "metadata": first["metadata"]}]) == 100
    over = {**first, "status": {"phase": "Failed"}, "metadata": {"uid": "u1", "resourceVersion": "2"}}
    assert burstable.milli([over]) == 0
    assert burstable.milli([]) == 0


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
    groups.make("/t/kubepods/besteffort/podu1", LIMITS, pids_limit=100)
    assert (tmp_path / "cpu/t/kubepods/besteffort/podu1/cpu.cfs_quota_us").read_text() == "50000"
    assert (tmp_path / "pids/t/kubepods/besteffort/podu1/pids.max").read_text() == "100"
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
    groups.make("/t/kubepods/podu1", replace(LIMITS, hugepage_limits_bytes={"2MB": 4 << 20}), pids_limit=100)
    directory = tmp_path / "t/kubepods/podu1"
    assert (directory / "cpu.max").read_text() == "50000 100000"
    assert (directory / "memory.max").read_text() == str(1 << 30)
    assert (directory / "cpu.weight").read_text() == "20"
    assert (directory / "pids.max").read_text() == "100"
    assert (directory / "hugetlb.2MB.max").read_text() == str(4 << 20)
    assert (tmp_path / "t/cgroup.subtree_control").read_text() == "+hugetlb"
    assert not (directory / "cgroup.subtree_control").exists()


def test_what_still_runs_in_a_group_is_killed_before_it_is_removed(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpu")
    group = tmp_path / "t/kubepods/podu1/container"
    group.mkdir(parents=True)
    with subprocess.Popen(["sleep", "1000"]) as stray:
        # 0: of another process namespace. 1: whatever a file says, never that.
        (group / "cgroup.procs").write_text(f"0\n1\n{stray.pid}\n")
        groups = Cgroups(tmp_path)
        assert groups.remove("/t/kubepods/podu1") is False
        assert stray.wait(60) == -signal.SIGKILL
    (group / "cgroup.procs").unlink()  # the kernel's file goes with its directory
    assert groups.remove("/t/kubepods/podu1") is True
    assert not (tmp_path / "t/kubepods/podu1").exists()


def test_the_root_of_all_groups_is_never_removed(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="root"):
        Cgroups(tmp_path).remove("/")


@pytest.mark.parametrize(("shares", "found"), [(2, 1), (1024, 39), (262144, 10000), (0, 1)])
def test_weight_of_shares(shares: int, found: int) -> None:
    assert weight(shares) == found
