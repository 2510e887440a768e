"""`tiphys image`: archives of both kinds into the node, what is there, and away again; and a containerd that dies."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest
from e2e_cluster import Cluster, wait_for
from weather import component, kill

from tiphys.cluster.images import host_busybox
from tiphys.kubelet.images.build import ImageSource, write_archive

pytestmark = pytest.mark.real


def oci_archive(path: Path, name: str) -> Path:
    busybox = host_busybox()
    write_archive(path, [ImageSource((name,), busybox.layers, busybox.config)])
    return path


def docker_archive(path: Path, tag: str) -> Path:
    """As `docker save` wrote it before it wrote OCI layouts."""
    layer = host_busybox().layers[0].tar()
    digest = hashlib.sha256(layer).hexdigest()
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Cmd": ["sh"], "Env": ["FROM=docker"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [tag], "Layers": [f"{digest}/layer.tar"]}]
    with tarfile.open(path, "w") as tar:
        for name, content in (
            (f"{digest}/layer.tar", layer),
            ("config.json", json.dumps(config).encode()),
            ("manifest.json", json.dumps(manifest).encode()),
        ):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return path


def listed(cluster: Cluster) -> list[str]:
    lines = cluster.tiphys("image", "ls", "--name", cluster.name).stdout.splitlines()
    return [line.split("\t")[1] for line in lines]


@pytest.mark.parametrize("make", [oci_archive, docker_archive])
def test_an_archive_becomes_an_image_that_pods_run(
    cluster: Cluster, namespace: str, tmp_path: Path, make: object
) -> None:
    name = "registry.example/argo/ship:v1"
    archive = make(tmp_path / "ship.tar", name)  # type: ignore[operator]
    named = ("--name", cluster.name)
    told = cluster.tiphys("image", "import", str(archive), *named).stderr
    assert f"imported {name} (sha256:" in told
    assert name in listed(cluster)
    at = ("-n", namespace)
    # It is pulled, from the node's own registry: nothing else has a registry of that name.
    cluster.kubectl(
        "run", "ship", f"--image={name}", "--image-pull-policy=Always", *at, "--", "sleep", "3600"
    )
    cluster.kubectl("wait", "pod/ship", "--for=condition=Ready", "--timeout=300s", *at)
    assert f"removed {name}" in cluster.tiphys("image", "rm", name, *named).stderr
    assert name not in listed(cluster)


def complaint(cluster: Cluster, *arguments: str) -> str:
    """One line."""
    result = cluster.tiphys("image", *arguments, "--name", cluster.name, check=False)
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1, result.stderr
    return result.stderr


def test_what_is_no_archive_or_no_image_is_told_in_one_line(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello\n")
    assert "nowhere.tar: no such file" in complaint(cluster, "import", str(tmp_path / "nowhere.tar"))
    assert "text: not a tar archive of images" in complaint(cluster, "import", str(tmp_path / "text"))
    assert "no node has the image nothing:1 (see: tiphys image ls)" in complaint(cluster, "rm", "nothing:1")
    assert "invalid reference format" in complaint(cluster, "rm", "UPPER::")


def test_a_containerd_that_dies_costs_no_pod_and_no_node(cluster: Cluster, namespace: str) -> None:
    at = ("-n", namespace)
    cluster.kubectl("run", "box", "--image=busybox", *at, "--", "sleep", "3600")
    cluster.kubectl("wait", "pod/box", "--for=condition=Ready", "--timeout=300s", *at)
    node = cluster.get("nodes")["items"][0]["metadata"]
    pid = component(cluster, "containerd")
    kill(pid)
    # Another one is there soon; until then, who asks is told.
    wait_for(
        lambda: cluster.tiphys("image", "ls", "--name", cluster.name, check=False).returncode == 0,
        "containerd is back",
    )
    assert component(cluster, "containerd") != pid
    wait_for(
        lambda: cluster.kubectl("exec", "box", *at, "--", "true", check=False).returncode == 0,
        "commands run in the pod",
    )
    status = cluster.get("pod", "box", *at)["status"]
    assert status["containerStatuses"][0]["restartCount"] == 0
    cluster.kubectl("run", "next", "--image=busybox", *at, "--", "sleep", "3600")
    cluster.kubectl("wait", "pod/next", "--for=condition=Ready", "--timeout=300s", *at)
    events = cluster.get("events", "--field-selector", f"involvedObject.name={node['name']}")["items"]
    assert not [event for event in events if event["reason"] == "NodeNotReady"]
