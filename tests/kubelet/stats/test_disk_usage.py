"""What lies on disks: of a pod's directories, measured at most once a minute."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tiphys.kubelet.files import Files
from tiphys.kubelet.runtimes.interface import ContainerConfig, RuntimeFailure, SandboxConfig
from tiphys.kubelet.runtimes.simulated import IMAGE_BYTES, LAYER_BYTES, SimulatedRuntime
from tiphys.kubelet.stats.disk_usage import FORGOTTEN_SECONDS, DiskMeter, filesystem, tree
from tiphys.kubelet.stats.measured import MeasuredPod
from tiphys.testing.clock import FakeClock

NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)
BLOCK = 4096


@dataclass
class Node:
    clock: FakeClock
    files: Files
    runtime: SimulatedRuntime
    meter: DiskMeter = field(init=False)

    def __post_init__(self) -> None:
        self.meter = DiskMeter(self.files, self.runtime, self.clock)

    async def pod(self, *volumes: dict[str, Any]) -> MeasuredPod:
        sandbox = SandboxConfig("web", "default", "u1", log_directory=str(self.files.logs / "default_web_u1"))
        sandbox_id = await self.runtime.run_sandbox(sandbox)
        await self.runtime.pull_image("busybox")
        config = ContainerConfig("main", "busybox", log_path="main/0.log")
        id = await self.runtime.create_container(sandbox_id, config, sandbox)
        await self.runtime.start_container(id)
        self.runtime.append_log(id, "x" * 5000)
        pod = {"metadata": {"uid": "u1", "name": "web"}, "spec": {"volumes": list(volumes)}}
        status = await self.runtime.container_status(id)
        return MeasuredPod(pod, await self.runtime.sandbox_status(sandbox_id), (status,))


@pytest.fixture
def node(tmp_path: Path) -> Node:
    clock = FakeClock()
    return Node(clock, Files(tmp_path), SimulatedRuntime(clock))


def test_a_tree_counts_blocks_and_each_inode_once(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "file").write_bytes(b"x" * (3 * BLOCK))
    empty, _ = tree(tmp_path / "below")
    os.link(tmp_path / "below" / "file", tmp_path / "again")
    (tmp_path / "link").symlink_to("/")
    used, inodes = tree(tmp_path)
    assert inodes == 4
    assert empty >= 3 * BLOCK
    assert used < 2 * empty + 3 * BLOCK


def test_what_is_not_there_is_nothing(tmp_path: Path) -> None:
    assert tree(tmp_path / "gone") == (0, 0)


def test_a_filesystem_is_whole(tmp_path: Path) -> None:
    found = filesystem(tmp_path, NOON)
    assert found.used_bytes is not None
    assert 0 < found.used_bytes < found.capacity_bytes
    assert found.available_bytes <= found.capacity_bytes - found.used_bytes


async def test_a_pods_layers_logs_and_volumes(node: Node) -> None:
    pod = await node.pod(
        {"name": "scratch", "emptyDir": {}},
        {"name": "memory", "emptyDir": {"medium": "Memory"}},
        {"name": "settings", "configMap": {"name": "settings"}},
        {"name": "data", "persistentVolumeClaim": {"claimName": "data-0"}},
        {"name": "host", "hostPath": {"path": "/"}},
        {"name": "late", "emptyDir": {}},
    )
    for kind, name in [
        ("emptyDir", "scratch"),
        ("emptyDir", "memory"),
        ("configMap", "settings"),
        ("persistentVolumeClaim", "data"),
    ]:
        directory = node.files.volume("u1", kind, name)
        directory.mkdir(parents=True)
        (directory / "file").write_bytes(b"x" * (10 * BLOCK))
    disks = (await node.meter.pods([pod]))["u1"]
    volumes = {volume.name: volume for volume in disks.volumes}
    assert disks.root_filesystems["main"].used_bytes == LAYER_BYTES
    assert (disks.logs["main"].used_bytes or 0) >= 5000
    assert list(volumes) == ["scratch", "memory", "settings", "data"]
    assert all((volume.usage.used_bytes or 0) >= 10 * BLOCK for volume in disks.volumes)
    assert volumes["data"].claim == "data-0"
    assert [name for name, volume in volumes.items() if volume.is_ephemeral] == ["scratch", "settings"]
    parts = [disks.root_filesystems["main"], disks.logs["main"]]
    parts += [volumes[name].usage for name in ("scratch", "settings")]
    assert disks.ephemeral is not None
    assert disks.ephemeral.used_bytes == sum(part.used_bytes or 0 for part in parts)


async def test_a_claim_is_the_filesystem_that_it_is_mounted_from(node: Node, tmp_path: Path) -> None:
    claims = {"data": tmp_path}
    meter = DiskMeter(node.files, node.runtime, node.clock, lambda pod: claims)
    volume = {"name": "data", "persistentVolumeClaim": {"claimName": "mine"}}
    other = {"name": "other", "persistentVolumeClaim": {"claimName": "of the node"}}
    disks = (await meter.pods([await node.pod(volume, other)]))["u1"]
    [usage] = disks.volumes
    assert (usage.name, usage.claim, usage.is_ephemeral) == ("data", "mine", False)
    assert usage.usage.capacity_bytes == filesystem(tmp_path, NOON).capacity_bytes


async def test_it_is_measured_again_after_a_minute_or_for_other_containers(node: Node) -> None:
    pod = await node.pod({"name": "scratch", "emptyDir": {}})
    directory = node.files.volume("u1", "emptyDir", "scratch")
    directory.mkdir(parents=True)

    async def used(pod: MeasuredPod, **options: float) -> int:
        volumes = (await node.meter.pods([pod], **options))["u1"].volumes
        return volumes[0].usage.used_bytes or 0

    before = await used(pod)
    (directory / "file").write_bytes(b"x" * (10 * BLOCK))
    await node.clock.advance(59)
    assert await used(pod) == before
    assert await used(MeasuredPod(pod.pod, pod.sandbox, ())) > before
    (directory / "file").unlink()
    await node.clock.advance(10)
    assert await used(pod, max_age_seconds=10) == before


async def test_a_question_about_others_does_not_make_it_forget(node: Node) -> None:
    pod = await node.pod()
    first = (await node.meter.pods([pod]))["u1"]
    assert await node.meter.pods([]) == {}
    assert (await node.meter.pods([pod]))["u1"] is first
    await node.clock.advance(FORGOTTEN_SECONDS)
    await node.meter.pods([])
    assert (await node.meter.pods([pod], max_age_seconds=10 * FORGOTTEN_SECONDS))["u1"] is not first


async def test_the_nodes_own_disks(node: Node) -> None:
    await node.runtime.pull_image("busybox")
    disks = await node.meter.node()
    assert disks.node.capacity_bytes > 0
    assert disks.images is not None
    assert disks.images.used_bytes == IMAGE_BYTES
    assert disks.containers == disks.images


async def test_a_runtime_that_does_not_answer_leaves_the_rest(tmp_path: Path) -> None:
    class Silent(SimulatedRuntime):
        async def image_fs_info(self) -> Any:
            raise RuntimeFailure("not now")

        async def writable_layers(self) -> Any:
            raise RuntimeFailure("not now")

    clock = FakeClock()
    node = Node(clock, Files(tmp_path), Silent(clock))
    pod = await node.pod()
    assert (await node.meter.node()).images is None
    disks = (await node.meter.pods([pod]))["u1"]
    assert disks.root_filesystems == {}
    assert list(disks.logs) == ["main"]
