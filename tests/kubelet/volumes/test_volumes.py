"""Volumes on a disk: what is in them, who may read it, and how it changes under the eyes of a reader."""

from __future__ import annotations

import base64
import os
import socket
import stat
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from volume_node import NOW, Node, pod

from tiphys.kubelet.files import Files
from tiphys.kubelet.volumes.pod_volumes import prepare_volumes, remove_volumes
from tiphys.kubelet.volumes.writer import File, write_atomically

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="gives files to others")


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(Files(tmp_path / "kubelet"))


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def tree(directory: Path) -> dict[str, bytes]:
    """What a container sees by the names it was promised."""
    return {
        entry.name: entry.read_bytes()
        for entry in directory.iterdir()
        if not entry.name.startswith("..") and entry.is_file()
    }


# Kinds


async def test_an_empty_dir_keeps_what_is_in_it(node: Node) -> None:
    given = pod({"emptyDir": {}})
    path = await node.prepare(given)
    assert mode(path) == 0o777
    (path / "file").write_text("kept")
    assert (await node.prepare(given) / "file").read_text() == "kept"
    assert node.mounter.mounted == {}


async def test_an_empty_dir_in_memory(node: Node) -> None:
    path = await node.prepare(pod({"emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}))
    assert node.mounter.mounted == {path: ("tmpfs", "tmpfs", ["size=1048576"])}


async def test_a_volume_without_a_kind_is_an_empty_dir(node: Node) -> None:
    assert (await node.prepare(pod({}))).is_dir()


async def test_a_config_map(node: Node) -> None:
    node.objects["configmap", "cfg"] = {"data": {"a": "1", "b": "2"}, "binaryData": {"c": "AAE="}}
    path = await node.prepare(pod({"configMap": {"name": "cfg", "defaultMode": 0o640}}))
    assert tree(path) == {"a": b"1", "b": b"2", "c": b"\x00\x01"}
    assert mode(path / "a") == 0o640
    assert node.mounter.mounted == {}


async def test_chosen_keys_at_chosen_paths(node: Node) -> None:
    node.objects["configmap", "cfg"] = {"data": {"a": "1", "b": "2"}}
    items = [{"key": "a", "path": "deep/in/a.txt", "mode": 0o400}]
    path = await node.prepare(pod({"configMap": {"name": "cfg", "items": items}}))
    assert (path / "deep/in/a.txt").read_text() == "1"
    assert mode(path / "deep/in/a.txt") == 0o400
    assert not (path / "b").exists()


async def test_a_secret_is_in_memory_only(node: Node) -> None:
    node.objects["secret", "sec"] = {"kind": "Secret", "data": {"password": "aHVudGVyMg=="}}
    path = await node.prepare(pod({"secret": {"secretName": "sec", "defaultMode": 0o400}}))
    assert tree(path) == {"password": b"hunter2"}
    assert mode(path / "password") == 0o400
    assert path in node.mounter.mounted


async def test_the_downward_api(node: Node) -> None:
    items = [
        {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}},
        {"path": "cpu", "resourceFieldRef": {"containerName": "c", "resource": "limits.cpu"}, "mode": 0o600},
    ]
    path = await node.prepare(pod({"downwardAPI": {"items": items}}))
    assert tree(path) == {"labels": b'app="web"', "cpu": b"4"}
    assert mode(path / "cpu") == 0o600


async def test_a_projection_of_everything(node: Node) -> None:
    node.objects["configmap", "ca"] = {"data": {"ca.crt": "CERT"}}
    node.objects["secret", "sec"] = {"kind": "Secret", "data": {"p": "eA=="}}
    sources = [
        {"serviceAccountToken": {"path": "token", "audience": "them"}},
        {"configMap": {"name": "ca", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"secret": {"name": "sec"}},
        {"downwardAPI": {"items": [{"path": "ns", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
    ]
    outcome = await prepare_volumes(pod({"projected": {"sources": sources}}), node.files, node.services)
    [volume] = outcome.volumes.values()
    assert volume.read_only
    assert tree(volume.path) == {"token": b"token for them", "ca.crt": b"CERT", "p": b"x", "ns": b"default"}
    assert volume.refresh_after_seconds == 2880.0
    assert mode(volume.path / "token") == 0o644


@needs_root
async def test_a_token_is_for_the_user_that_all_containers_share(node: Node) -> None:
    source = {"projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}
    path = await node.prepare(pod(source, securityContext={"runAsUser": 1000}))
    assert ((path / "token").stat().st_uid, mode(path / "token")) == (1000, 0o600)
    shared = pod(source)
    shared["spec"]["containers"] += [{"name": "other", "securityContext": {"runAsUser": 1}}]
    shared["metadata"]["uid"] = "u2"
    path = await node.prepare(shared)
    assert ((path / "token").stat().st_uid, mode(path / "token")) == (0, 0o644)


@needs_root
async def test_volumes_belong_to_the_pods_group(node: Node) -> None:
    node.objects["secret", "sec"] = {"kind": "Secret", "data": {"p": "eA=="}}
    given = pod({"secret": {"secretName": "sec", "defaultMode": 0o400}}, securityContext={"fsGroup": 2000})
    path = await node.prepare(given)
    assert ((path / "p").stat().st_gid, mode(path / "p")) == (2000, 0o440)
    assert mode(path) & stat.S_ISGID
    # Its own group bits do not make it another file the next time.
    version = os.readlink(path / "..data")
    node.now += timedelta(seconds=1)
    await node.prepare(given)
    assert os.readlink(path / "..data") == version


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"configMap": {"name": "nope"}}, 'configmap "nope" not found'),
        ({"secret": {"secretName": "nope"}}, 'secret "nope" not found'),
        (
            {"configMap": {"name": "cfg", "items": [{"key": "z", "path": "z"}]}},
            "configmap references non-existent config key: z",
        ),
        (
            {"secret": {"secretName": "sec", "items": [{"key": "z", "path": "z"}]}},
            "references non-existent secret key: z",
        ),
        (
            {"projected": {"sources": [{"secret": {"name": "nope"}}]}},
            'secret "nope" not found',
        ),
        (
            {"projected": {"sources": [{"secret": {"name": "nope"}}, {"configMap": {"name": "no"}}]}},
            '[secret "nope" not found, configmap "no" not found]',
        ),
        (
            {"downwardAPI": {"items": [{"path": "x", "fieldRef": {"fieldPath": "spec.nope"}}]}},
            "unsupported fieldPath: spec.nope",
        ),
        (
            {"gitRepo": {"repository": "x"}},
            "git-repo volume plugin has been disabled; if necessary, it may be re-enabled by enabling the "
            "feature-gate `GitRepoVolumeDriver`",
        ),
        (
            {"csi": {"driver": "d.example"}},
            "kubernetes.io/csi: mounter.SetUpAt failed to get CSI client: "
            "driver name d.example not found in the list of registered CSI drivers",
        ),
        (
            {"emptyDir": {"medium": "HugePages"}},
            "medium HugePages: hugePages storage requested, but there is no resource request for huge pages",
        ),
    ],
)
async def test_what_cannot_be_had_is_named(node: Node, source: dict[str, Any], message: str) -> None:
    node.objects["configmap", "cfg"] = {"data": {"a": "1"}}
    node.objects["secret", "sec"] = {"kind": "Secret", "data": {}}
    assert await node.problem(pod(source)) == f'MountVolume.SetUp failed for volume "v" : {message}'


async def test_a_kind_that_has_no_plugin_any_more(node: Node) -> None:
    assert await node.problem(pod({"glusterfs": {"path": "x"}})) == (
        "Unable to attach or mount volumes: unmounted volumes=[v], unattached volumes=[], "
        'failed to process volumes=[v]: failed to get Plugin from volumeSpec for volume "v" '
        "err=no volume plugin matched"
    )


async def test_every_volume_that_fails_is_told_and_the_others_are_there(node: Node) -> None:
    given = pod({"emptyDir": {}})
    for name in ("a", "b"):
        given["spec"]["volumes"].append({"name": name, "configMap": {"name": name}})
        given["spec"]["containers"][0]["volumeMounts"].append({"name": name, "mountPath": f"/{name}"})
    given["spec"]["volumes"].append({"name": "unused", "configMap": {"name": "nope"}})
    outcome = await prepare_volumes(given, node.files, node.services)
    assert list(outcome.volumes) == ["v"]
    assert [problem.volume for problem in outcome.problems] == ["a", "b"]


@pytest.mark.parametrize(
    "source",
    [
        {"configMap": {"name": "nope", "optional": True}},
        {"secret": {"secretName": "nope", "optional": True}},
        {"configMap": {"name": "cfg", "optional": True, "items": [{"key": "z", "path": "z"}]}},
    ],
)
async def test_what_is_optional_may_be_missing(node: Node, source: dict[str, Any]) -> None:
    node.objects["configmap", "cfg"] = {"data": {"a": "1"}}
    assert tree(await node.prepare(pod(source))) == {}


# Memory


async def test_memory_is_no_more_than_the_pod_may_use(node: Node) -> None:
    node.allocatable["memory"] = "4Gi"
    given = pod({"emptyDir": {"medium": "Memory", "sizeLimit": "3Gi"}})
    limited = [{**given["spec"]["containers"][0], "resources": {"limits": {"memory": "1Gi"}}}]
    path = await node.prepare(given)
    assert node.mounter.mounted.pop(path)[2] == [f"size={3 << 30}"]
    await node.prepare(pod({"emptyDir": {"medium": "Memory"}}))
    assert node.mounter.mounted.pop(path)[2] == [f"size={4 << 30}"]
    await node.prepare(pod({"emptyDir": {"medium": "Memory"}}, containers=limited))
    assert node.mounter.mounted.pop(path)[2] == [f"size={1 << 30}"]


@needs_root
async def test_memory_is_given_to_the_group_again_after_a_restart_of_the_machine(node: Node) -> None:
    given = pod({"emptyDir": {"medium": "Memory"}}, securityContext={"fsGroup": 2000})
    path = await node.prepare(given)
    assert path.stat().st_gid == 2000
    for change in (lambda: None, node.mounter.mounted.clear):
        change()
        os.chown(path, 0, 0)
        await node.prepare(given)
    assert path.stat().st_gid == 2000


async def test_huge_pages_of_the_size_that_containers_ask_for(node: Node) -> None:
    given = pod({"emptyDir": {"medium": "HugePages-2Mi"}})
    requests = {"hugepages-2Mi": "4Mi", "hugepages-1Gi": "1Gi"}
    given["spec"]["containers"][0]["resources"] = {"requests": requests}
    path = await node.prepare(given)
    assert node.mounter.mounted[path] == ("hugetlbfs", "nodev", ["pagesize=2097152"])
    given["spec"]["volumes"] = [{"name": "v", "emptyDir": {"medium": "HugePages"}}]
    assert "can't be used if container requests multiple huge page sizes" in await node.problem(given)


# Trust bundles

CERTIFICATE = "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----"


def bundle(name: str, signer: str, label: str, *certificates: str) -> dict[str, Any]:
    text = "\nexplanation\n".join(CERTIFICATE.format(content) for content in certificates)
    return {
        "metadata": {"name": name, "labels": {"l": label}},
        "spec": {"signerName": signer, "trustBundle": text},
    }


@pytest.mark.parametrize(
    ("wanted", "contents"),
    [
        ({"name": "one"}, ["AAAA", "CCCC"]),
        ({"signerName": "s/1", "labelSelector": {}}, ["AAAA", "BBBB", "CCCC"]),
        ({"signerName": "s/1", "labelSelector": {"matchLabels": {"l": "b"}}}, ["AAAA", "BBBB"]),
        ({"signerName": "s/1", "optional": True}, []),
        ({"name": "none", "optional": True}, []),
    ],
)
async def test_certificates_of_authorities(node: Node, wanted: dict[str, Any], contents: list[str]) -> None:
    node.lookups.trust_bundles = [
        bundle("one", "s/1", "a", "CCCC", "AAAA"),
        bundle("two", "s/1", "b", "AAAA", "BBBB"),
        bundle("three", "s/2", "b", "DDDD"),
    ]
    path = await node.prepare(pod(projection({**wanted, "path": "ca.pem"})))
    expected = "".join(f"{CERTIFICATE.format(content)}\n" for content in contents)
    assert (path / "ca.pem").read_text() == expected


def projection(bundle: dict[str, Any]) -> dict[str, Any]:
    return {"projected": {"sources": [{"clusterTrustBundle": bundle}]}}


async def test_certificates_are_written_in_one_form(node: Node) -> None:
    long = base64.b64encode(bytes(96)).decode()
    crumpled = bundle("one", "s/1", "a", f"{long[:7]}\r\n{long[7:]}", long)
    node.lookups.trust_bundles = [crumpled]
    path = await node.prepare(pod(projection({"name": "one", "path": "ca.pem"})))
    assert (path / "ca.pem").read_text() == CERTIFICATE.format(f"{long[:64]}\n{long[64:]}") + "\n"


async def test_certificates_that_are_not_there(node: Node) -> None:
    said = await node.problem(pod(projection({"name": "none", "path": "ca.pem"})))
    assert said.endswith(': clustertrustbundle.certificates.k8s.io "none" not found')
    said = await node.problem(pod(projection({"signerName": "s/1", "path": "ca.pem"})))
    assert said.endswith(": combination of signerName and labelSelector matched zero ClusterTrustBundles")


# hostPath


@pytest.mark.parametrize("kind", ["", "Directory", "DirectoryOrCreate"])
async def test_a_directory_of_the_node(node: Node, tmp_path: Path, kind: str) -> None:
    (tmp_path / "there").mkdir()
    source = {"hostPath": {"path": str(tmp_path / "there"), "type": kind}}
    assert await node.prepare(pod(source, securityContext={"fsGroup": 2000})) == tmp_path / "there"
    assert (tmp_path / "there").stat().st_gid == os.getgid()


async def test_sockets_and_devices_of_the_node(node: Node, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        for path, kind in (
            (tmp_path / "s", "Socket"),
            (Path("/dev/null"), "CharDevice"),
            (Path("/etc/hosts"), "File"),
        ):
            assert await node.prepare(pod({"hostPath": {"path": str(path), "type": kind}})) == path


async def test_what_is_missing_is_made_if_that_is_asked_for(node: Node, tmp_path: Path) -> None:
    directory, file = tmp_path / "a/b", tmp_path / "a/d"
    await node.prepare(pod({"hostPath": {"path": str(directory), "type": "DirectoryOrCreate"}}))
    await node.prepare(pod({"hostPath": {"path": str(file), "type": "FileOrCreate"}}))
    assert directory.is_dir()
    assert file.is_file()
    missing = tmp_path / "no/file"
    said = await node.problem(pod({"hostPath": {"path": str(missing), "type": "FileOrCreate"}}))
    assert said.endswith(f"open {missing}: no such file or directory")


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("Directory", "directory"),
        ("File", "file"),
        ("Socket", "socket file"),
        ("BlockDevice", "block device"),
    ],
)
async def test_a_path_of_another_kind_is_refused(node: Node, tmp_path: Path, kind: str, name: str) -> None:
    path = tmp_path / "none"
    said = await node.problem(pod({"hostPath": {"path": str(path), "type": kind}}))
    assert said.endswith(f": hostPath type check failed: {path} is not a {name}")


# The end


async def test_removal_unmounts_first_and_leaves_the_nodes_own_alone(node: Node, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    given = pod({"emptyDir": {"medium": "Memory"}})
    given["spec"]["volumes"].append({"name": "h", "hostPath": {"path": str(own)}})
    given["spec"]["containers"][0]["volumeMounts"].append({"name": "h", "mountPath": "/h"})
    assert set((await prepare_volumes(given, node.files, node.services)).volumes) == {"v", "h"}
    remove_volumes("u1", node.files, node.mounter)
    assert node.mounter.mounted == {}
    assert not (node.files.pod("u1") / "volumes").exists()
    assert own.exists()
    remove_volumes("u1", node.files, node.mounter)


# The writer


def write(volume: Path, seconds: int, **files: str) -> bool:
    payload = {name: File(text.encode(), 0o644) for name, text in files.items()}
    return write_atomically(volume, payload, NOW + timedelta(seconds=seconds))


def test_a_new_version_replaces_the_old_one_at_once(tmp_path: Path) -> None:
    assert write(tmp_path, 0, a="1", b="2")
    before = os.readlink(tmp_path / "..data")
    opened = (tmp_path / "a").resolve()
    assert write(tmp_path, 1, a="3", c="4")
    assert tree(tmp_path) == {"a": b"3", "c": b"4"}
    assert not (tmp_path / before).exists()
    assert not opened.exists()
    assert os.readlink(tmp_path / "a") == "..data/a"


def test_a_version_at_the_same_moment_is_another_one_and_half_written_ones_go(tmp_path: Path) -> None:
    assert write(tmp_path, 0, a="1")
    opened = (tmp_path / "a").open()
    (tmp_path / "..2025_12_31_00_00_00.000000000").mkdir()
    assert write(tmp_path, 0, a="2")
    assert opened.read() == "1", "who reads the old one reads it to its end"
    opened.close()
    assert tree(tmp_path) == {"a": b"2"}
    assert len([entry for entry in tmp_path.iterdir() if entry.name.startswith("..2")]) == 1


def test_nothing_is_written_when_nothing_changed(tmp_path: Path) -> None:
    assert write(tmp_path, 0, a="1")
    before = os.readlink(tmp_path / "..data")
    assert not write(tmp_path, 1, a="1")
    assert os.readlink(tmp_path / "..data") == before


def test_a_mode_that_changed_is_a_change(tmp_path: Path) -> None:
    assert write_atomically(tmp_path, {"a": File(b"1", 0o400)}, NOW)
    assert write_atomically(tmp_path, {"a": File(b"1", 0o644)}, NOW + timedelta(seconds=1))


NAMES = st.sampled_from(["a", "b", "dir/c", "dir/d", "other/e"])


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(versions=st.lists(st.dictionaries(NAMES, st.binary(max_size=3), max_size=4), min_size=1, max_size=4))
def test_a_volume_holds_what_was_written_last(
    tmp_path_factory: pytest.TempPathFactory, versions: list[dict[str, bytes]]
) -> None:
    volume = tmp_path_factory.mktemp("volume")
    for number, files in enumerate(versions):
        payload = {name: File(data, 0o644) for name, data in files.items()}
        write_atomically(volume, payload, NOW + timedelta(seconds=number))
    for name, data in versions[-1].items():
        assert (volume / name).read_bytes() == data
    visible = {entry.name for entry in volume.iterdir() if not entry.name.startswith("..")}
    assert visible == {name.partition("/")[0] for name in versions[-1]}
    assert len([entry for entry in volume.iterdir() if entry.name.startswith("..2")]) == 1
