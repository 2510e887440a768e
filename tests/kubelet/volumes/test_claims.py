"""Volumes by claim: which PersistentVolume it is, what it is made of, and what is told when it cannot be had."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest
from volume_node import Node, pod

from tiphys.kubelet.files import Files
from tiphys.kubelet.volumes.pod_volumes import prepare_volumes

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="makes devices")
CLAIMED = {"persistentVolumeClaim": {"claimName": "data"}}


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(Files(tmp_path.resolve() / "kubelet"))


def bind(node: Node, source: dict[str, Any], name: str = "data", **claim: Any) -> None:
    """A claim, bound to a volume made of `source`."""
    metadata = {"name": name, "namespace": "default", "uid": "c1", **claim.pop("metadata", {})}
    node.objects["persistentvolumeclaim", name] = {
        "metadata": metadata,
        "spec": {"volumeName": "pv-1"},
        "status": {"phase": "Bound"},
        **claim,
    }
    node.objects["persistentvolume", "pv-1"] = {
        "metadata": {"name": "pv-1"},
        "spec": {"claimRef": {"uid": "c1"}, **source},
    }


async def test_a_path_of_the_node(node: Node, tmp_path: Path) -> None:
    bind(node, {"hostPath": {"path": str(tmp_path / "data"), "type": "DirectoryOrCreate"}})
    assert await node.prepare(pod(CLAIMED)) == tmp_path / "data"
    assert (tmp_path / "data").is_dir()


async def test_a_local_disk_is_mounted_for_the_pod(node: Node, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    bind(node, {"local": {"path": str(tmp_path / "disk")}, "mountOptions": ["noexec"]})
    path = await node.prepare(pod(CLAIMED))
    assert path == node.files.pod("u1") / "volumes/kubernetes.io~local-volume/pv-1"
    assert node.mounter.mounted == {path: ("bind", str(tmp_path / "disk"), ["bind", "noexec"])}


async def test_a_claim_for_reading_only(node: Node, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    bind(node, {"local": {"path": str(tmp_path / "disk")}})
    source = {"persistentVolumeClaim": {"claimName": "data", "readOnly": True}}
    outcome = await prepare_volumes(pod(source), node.files, node.services)
    assert outcome.volumes["v"].read_only
    assert [options for _, _, options in node.mounter.mounted.values()] == [["bind", "ro"]]


async def test_an_ephemeral_volume_is_the_claim_of_its_pod(node: Node, tmp_path: Path) -> None:
    owner = {"uid": "u1", "controller": True, "kind": "Pod", "name": "web"}
    bind(node, {"hostPath": {"path": str(tmp_path)}}, "web-v", metadata={"ownerReferences": [owner]})
    assert await node.prepare(pod({"ephemeral": {"volumeClaimTemplate": {}}})) == tmp_path


def nodes(label: str) -> dict[str, Any]:
    expression = {"key": "zone", "operator": "In", "values": [label]}
    return {"nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}}}


async def test_a_volume_of_other_nodes_is_not_mounted(node: Node, tmp_path: Path) -> None:
    source = {"hostPath": {"path": str(tmp_path)}}
    bind(node, {**source, **nodes("here")})
    assert await node.prepare(pod(CLAIMED)) == tmp_path
    node.labels = {"zone": "here"}
    assert await node.prepare(pod(CLAIMED)) == tmp_path
    node.labels = {"zone": "there"}
    assert await node.problem(pod(CLAIMED)) == (
        'MountVolume.NodeAffinity check failed for volume "pv-1" : no matching NodeSelectorTerms'
    )
    bind(node, {**source, "nodeAffinity": {}})
    assert await node.prepare(pod(CLAIMED)) == tmp_path


async def test_a_device_of_other_nodes_is_not_mapped(node: Node) -> None:
    bind(node, {"local": {"path": "/dev/null"}, "volumeMode": "Block", **nodes("here")})
    node.labels = {}
    wanted = pod(
        CLAIMED, containers=[{"name": "c", "volumeDevices": [{"name": "v", "devicePath": "/dev/x"}]}]
    )
    outcome = await prepare_volumes(wanted, node.files, node.services)
    [problem] = outcome.problems
    assert (problem.reason, problem.message) == (
        "FailedMapVolume",
        'MapVolume.NodeAffinity check failed for volume "pv-1" : no matching NodeSelectorTerms',
    )


NOT_BOUND = "error processing PVC default/data: "


@pytest.mark.parametrize(
    ("claim", "source", "message"),
    [
        ({"status": {"phase": "Pending"}}, {}, f"{NOT_BOUND}PVC is not bound"),
        ({"spec": {}}, {}, f"{NOT_BOUND}PVC has empty pvc.Spec.VolumeName"),
        (
            {"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}},
            {},
            f"{NOT_BOUND}PVC is being deleted",
        ),
        (
            {"spec": {"volumeName": "gone"}},
            {},
            f'{NOT_BOUND}failed to fetch PV gone from API server: persistentvolumes "gone" not found',
        ),
        (
            {},
            {"claimRef": None},
            f"{NOT_BOUND}found PV object pv-1 but it has a nil pv.Spec.ClaimRef "
            "indicating it is not yet bound to the claim",
        ),
        (
            {},
            {"claimRef": {"uid": "c2"}},
            f"{NOT_BOUND}found PV object pv-1 but its pv.Spec.ClaimRef.UID c2 does not point to claim.UID c1",
        ),
        (
            {},
            {"local": {"path": "/"}, "volumeMode": "Block"},
            "volume v has volumeMode Block, but is specified in volumeMounts",
        ),
        (
            {},
            {"rbd": {"image": "x"}},
            'failed to get Plugin from volumeSpec for volume "pv-1" err=no volume plugin matched',
        ),
    ],
)
async def test_a_claim_that_cannot_be_used(
    node: Node, claim: dict[str, Any], source: dict[str, Any], message: str
) -> None:
    bind(node, source, **claim)
    assert await node.problem(pod(CLAIMED)) == (
        f"Unable to attach or mount volumes: unmounted volumes=[v], unattached volumes=[], "
        f"failed to process volumes=[v]: {message}"
    )


async def test_a_claim_that_is_not_there(node: Node) -> None:
    said = await node.problem(pod(CLAIMED))
    assert said.endswith(
        f'{NOT_BOUND}failed to fetch PVC from API server: persistentvolumeclaims "data" not found'
    )


async def test_a_claim_of_somebody_else_is_not_the_ephemeral_volume(node: Node) -> None:
    bind(node, {}, "web-v")
    said = await node.problem(pod({"ephemeral": {"volumeClaimTemplate": {}}}))
    assert said.endswith("=[v]: PVC default/web-v was not created for pod default/web (pod is not owner)")


@pytest.mark.parametrize(
    ("source", "driver"),
    [
        ({"csi": {"driver": "d.example", "volumeHandle": "1"}}, "d.example"),
        ({"awsElasticBlockStore": {"volumeID": "1"}}, "ebs.csi.aws.com"),
    ],
)
async def test_a_driver_that_is_not_here(node: Node, source: dict[str, Any], driver: str) -> None:
    bind(node, source)
    assert await node.problem(pod(CLAIMED)) == (
        'MountVolume.MountDevice failed for volume "pv-1" : kubernetes.io/csi: attacher.MountDevice failed to '
        f"create newCsiDriverClient: driver name {driver} not found in the list of registered CSI drivers"
    )


async def test_a_local_disk_that_is_not_there(node: Node) -> None:
    bind(node, {"local": {"path": "/no/such/disk"}})
    assert await node.problem(pod(CLAIMED)) == (
        'MountVolume.NewMounter initialization failed for volume "pv-1" : path "/no/such/disk" does not exist'
    )


async def test_options_of_a_mount_that_is_none(node: Node) -> None:
    bind(node, {"hostPath": {"path": "/"}, "mountOptions": ["ro"]})
    assert await node.problem(pod(CLAIMED)) == (
        'MountVolume.MountOptionSupport check failed for volume "pv-1" : '
        "Mount options are not supported for this volume type"
    )


async def test_a_volume_for_one_pod_at_a_time(node: Node, tmp_path: Path) -> None:
    bind(node, {"hostPath": {"path": str(tmp_path)}, "accessModes": ["ReadWriteOncePod"]})
    node.used = {"pv-1"}
    assert await node.problem(pod(CLAIMED)) == (
        'MountVolume.SetUp failed for volume "pv-1" : '
        "volume uses the ReadWriteOncePod access mode and is already in use by another pod"
    )
    node.used = set()
    assert await node.prepare(pod(CLAIMED)) == tmp_path


# Devices


async def test_a_block_device(node: Node, tmp_path: Path) -> None:
    bind(node, {"local": {"path": str(tmp_path)}, "volumeMode": "Block"})
    given = pod(CLAIMED, containers=[{"name": "c", "volumeDevices": [{"name": "v", "devicePath": "/dev/x"}]}])
    outcome = await prepare_volumes(given, node.files, node.services)
    [problem] = outcome.problems
    assert (problem.reason, problem.message) == (
        "FailedMapVolume",
        f'MapVolume.SetUpDevice failed for volume "pv-1" : path "{tmp_path}" is not a block device',
    )


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    os.mknod(tmp_path / "disk", 0o600 | stat.S_IFBLK, os.makedev(7, 200))
    return tmp_path / "disk"


@needs_root
async def test_a_disk_as_a_device(node: Node, disk: Path) -> None:
    bind(node, {"local": {"path": str(disk)}, "volumeMode": "Block"})
    given = pod(CLAIMED, containers=[{"name": "c", "volumeDevices": [{"name": "v", "devicePath": "/dev/x"}]}])
    assert await node.prepare(given) == disk


@needs_root
@pytest.mark.parametrize(
    ("content", "formats"), [(2, [["mkfs.xfs", "DISK"]]), (0, [])], ids=["empty", "formatted"]
)
async def test_a_disk_with_a_file_system(
    node: Node, disk: Path, content: int, formats: list[list[str]]
) -> None:
    node.codes["blkid"] = content
    bind(node, {"local": {"path": str(disk), "fsType": "xfs"}, "mountOptions": ["noatime"]})
    path = await node.prepare(pod(CLAIMED))
    commands = [[str(disk) if word == "DISK" else word for word in command] for command in formats]
    mount = ["mount", "-t", "xfs", "-o", "noatime", str(disk), str(path)]
    assert node.commands == [["blkid", "-p", str(disk)], *commands, mount]


@needs_root
async def test_a_disk_that_cannot_be_mounted(node: Node, disk: Path) -> None:
    node.codes["mount"] = 32
    bind(node, {"local": {"path": str(disk)}})
    said = await node.problem(pod(CLAIMED))
    assert said.startswith(
        f'MountVolume.MountDevice failed for volume "pv-1" : local: failed to mount device {disk} at '
    )
    assert "(fstype: ext4), error mount -t ext4 -o defaults" in said


# NFS


async def test_nfs_is_mounted_by_the_nodes_program(node: Node) -> None:
    bind(node, {"nfs": {"server": "10.0.0.9", "path": "/x"}, "mountOptions": ["vers=4.1", "soft"]})
    path = await node.prepare(pod(CLAIMED))
    assert node.commands == [["mount", "-t", "nfs", "-o", "vers=4.1,soft", "10.0.0.9:/x", str(path)]]


async def test_nfs_that_cannot_be_mounted(node: Node) -> None:
    node.codes["mount"], node.says = 32, "mount: bad option"
    said = await node.problem(pod({"nfs": {"server": "fd00::9", "path": "/x", "readOnly": True}}))
    path = node.files.pod("u1") / "volumes/kubernetes.io~nfs/v"
    assert said == (
        'MountVolume.SetUp failed for volume "v" : mount failed: exit status 32\nMounting command: mount\n'
        f"Mounting arguments: -t nfs -o ro [fd00::9]:/x {path}\nOutput: mount: bad option\n"
    )
    assert not path.exists()
