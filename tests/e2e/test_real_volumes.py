"""Volumes on real containers beyond what the suite asks: claims, images, propagation, deep read-only; and nothing is left of them."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from e2e_cluster import Cluster, wait_for
from weather import component, kill

pytestmark = pytest.mark.real

BUSYBOX = "docker.io/library/busybox:latest"
PATIENCE_SECONDS = 300.0
FOREVER = "trap 'exit 0' TERM; while true; do sleep 1000 & wait $!; done"
Object = dict[str, Any]


class Place:
    """A namespace of the cluster, and its node's disk."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.cluster = cluster
        self.namespace = namespace
        node = f"{cluster.name}-node-1"
        self.pods = cluster.home / "tiphys" / cluster.name / "nodes" / node / "kubelet" / "pods"

    def kubectl(self, *arguments: str, input: str | None = None, check: bool = True) -> str:
        return self.cluster.kubectl("-n", self.namespace, *arguments, input=input, check=check).stdout

    def create(self, *objects: Object) -> None:
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
        self.kubectl("create", "-f", "-", input=text)

    def get(self, kind: str, name: str) -> Object:
        found: Object = json.loads(self.kubectl("get", kind, name, "-o", "json"))
        return found

    def until(self, name: str, is_so: Callable[[Object], Any]) -> Object:
        def look() -> Object | None:
            pod = self.get("pod", name)
            return pod if is_so(pod) else None

        found: Object = wait_for(look, f"{name} is so", seconds=PATIENCE_SECONDS, interval_seconds=0.3)
        return found

    def output(self, name: str) -> str:
        pod = self.until(name, lambda pod: pod["status"]["phase"] in ("Succeeded", "Failed"))
        said = self.kubectl("logs", name, "-c", "main")
        assert pod["status"]["phase"] == "Succeeded", (said, pod["status"])
        return " ".join(said.split())

    def until_event(self, name: str, reason: str) -> str:
        selector = f"involvedObject.name={name},reason={reason}"

        def look() -> str | None:
            found = json.loads(self.kubectl("get", "events", "--field-selector", selector, "-o", "json"))
            return next((str(event["message"]) for event in found["items"]), None)

        message: str = wait_for(look, f"{reason} of {name}", seconds=PATIENCE_SECONDS, interval_seconds=0.3)
        return message

    def bind(self, name: str, **source: Any) -> None:
        """A volume of this name, and a claim that has it: what the binder does."""
        amount, modes = {"storage": "1Gi"}, ["ReadWriteOnce"]
        metadata = {"name": name, "namespace": self.namespace}
        claim = {
            "accessModes": modes,
            "resources": {"requests": amount},
            "volumeName": name,
            "storageClassName": "",
            "volumeMode": source.get("volumeMode", "Filesystem"),
        }
        self.create(
            {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": claim}
        )
        uid = self.get("pvc", name)["metadata"]["uid"]
        node = {"key": "kubernetes.io/hostname", "operator": "Exists"}
        spec = {
            "capacity": amount,
            "accessModes": modes,
            "claimRef": {"kind": "PersistentVolumeClaim", **metadata, "uid": uid},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [node]}]}},
            **source,
        }
        volume = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": spec}
        self.create(volume)
        for kind in ("pv", "pvc"):
            self.kubectl("patch", kind, name, "--subresource=status", "-p", '{"status": {"phase": "Bound"}}')


@pytest.fixture
def place(cluster: Cluster, namespace: str) -> Place:
    return Place(cluster, namespace)


def pod(name: str, script: str, volume: Object, *mounts: Object, **spec: Any) -> Object:
    """Its container sees the volume at /v, or by `mounts`."""
    container = {
        "name": "main",
        "image": BUSYBOX,
        "imagePullPolicy": "IfNotPresent",
        "command": ["sh", "-c", f"exec 2>&1; {script}"],
        "volumeMounts": [{"name": "v", "mountPath": "/v", **mount} for mount in mounts or ({},)],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            "volumes": [{"name": "v", **volume}],
            "containers": [container],
            **spec,
        },
    }


def claim(name: str, **fields: Any) -> Object:
    return {"persistentVolumeClaim": {"claimName": name, **fields}}


def test_claims(place: Place, tmp_path: Path) -> None:
    name = place.namespace
    disk = tmp_path / "disk"
    disk.mkdir()
    (disk / "file").write_text("kept\n")
    place.bind(name, local={"path": str(disk)})
    place.create(
        pod(
            "reads",
            "cat /v/file; ls -ldn /v | cut -c1-10; id -G",
            claim(name),
            securityContext={"fsGroup": 77},
        ),
        pod("may-not", "touch /v/new || cat /v/file", claim(name, readOnly=True)),
        pod("without", "true", claim("none")),
        pod("nfs", "true", {"nfs": {"server": "127.0.0.1", "path": "/x"}}),
    )
    assert place.output("reads") == "kept drwxrwsr-x 0 77"
    assert place.output("may-not") == "touch: /v/new: Read-only file system kept"
    assert (disk.stat().st_gid, disk.stat().st_mode & 0o7777) == (77, 0o2775)
    said = place.until_event("nfs", "FailedMount")
    assert said.startswith('MountVolume.SetUp failed for volume "v" : mount failed: exit status ')
    assert "Mounting arguments: -t nfs 127.0.0.1:/x " in said
    place.kubectl("delete", "pods", "--all")
    assert (disk / "file").read_text() == "kept\n"
    assert not mounted(place, str(disk))


def mounted(place: Place, text: str) -> list[str]:
    """Mounts of the node that speak of it."""
    kubelet = component(place.cluster, "kubelet")
    return [line for line in Path(f"/proc/{kubelet}/mountinfo").read_text().splitlines() if text in line]


@pytest.fixture
def device(tmp_path: Path) -> Iterator[str]:
    """A disk of 32 MiB with nothing on it."""
    disk = tmp_path / "disk.img"
    disk.touch()
    os.truncate(disk, 32 << 20)
    losetup = ["losetup", "--find", "--show", str(disk)]
    made = subprocess.run(losetup, capture_output=True, text=True, check=True).stdout.strip()
    yield made
    subprocess.run(["losetup", "--detach", made], check=True)


def test_a_disk(place: Place, device: str) -> None:
    """As a device of a container; and then, since there is nothing on it, with a file system."""
    raw, formatted = f"{place.namespace}-raw", f"{place.namespace}-formatted"
    place.bind(raw, local={"path": device}, volumeMode="Block")
    place.bind(formatted, local={"path": device})
    writes = pod(
        "writes",
        "test -b /dev/mine && dd if=/dev/zero of=/dev/mine bs=512 count=1 2>/dev/null && echo written",
        claim(raw),
    )
    [container] = writes["spec"]["containers"]
    container["volumeDevices"] = [
        {"name": container.pop("volumeMounts")[0]["name"], "devicePath": "/dev/mine"}
    ]
    place.create(writes, pod("wrong", "true", claim(raw)))
    assert place.output("writes") == "written"
    assert place.until_event("wrong", "FailedMount").endswith(
        "failed to process volumes=[v]: volume v has volumeMode Block, but is specified in volumeMounts"
    )
    place.create(
        pod("uses", "echo kept > /v/file; grep ' /v ' /proc/mounts | cut -d' ' -f3", claim(formatted))
    )
    assert place.output("uses") == "ext4"
    place.create(pod("reads", "cat /v/file", claim(formatted, readOnly=True)))
    assert place.output("reads") == "kept"
    place.kubectl("delete", "pods", "--all")
    assert not mounted(place, device)


def test_images(place: Place) -> None:
    source = {"image": {"reference": BUSYBOX, "pullPolicy": "IfNotPresent"}}
    place.create(
        pod(
            "whole",
            "/v/bin/busybox echo it runs; touch /v/new || true; test -e /v/new || echo nothing new",
            source,
        ),
        pod("part", "/v/busybox echo it runs", source, {"subPath": "bin"}),
        pod("none", "true", {"image": {"reference": "localhost/none:1", "pullPolicy": "Never"}}),
        pod("wrong-part", "true", source, {"subPath": "no/such"}),
    )
    assert place.output("whole") == "it runs touch: /v/new: Read-only file system nothing new"
    assert place.output("part") == "it runs"

    def waiting(pod: Object) -> Object:
        [status] = pod["status"].get("containerStatuses") or [{}]
        found: Object = status.get("state", {}).get("waiting") or {}
        return found

    none = place.until("none", lambda pod: waiting(pod).get("reason") == "ErrImageNeverPull")
    assert waiting(none)["message"] == (
        'error pulling image "localhost/none:1": '
        'Container image "localhost/none:1" is not present with pull policy of Never'
    )
    place.until(
        "wrong-part", lambda pod: "Create" in waiting(pod).get("reason", "").removeprefix("Container")
    )
    place.kubectl("delete", "pods", "--all")
    assert not mounted(place, "kubernetes.io~image")


def test_mounts_of_containers(place: Place) -> None:
    """One container mounts something for the others; one of them must not write even there."""
    mounter = {
        "name": "mounter",
        "image": BUSYBOX,
        "imagePullPolicy": "IfNotPresent",
        "restartPolicy": "Always",
        "securityContext": {"privileged": True},
        "command": ["sh", "-c", f"mkdir /v/sub; mount -t tmpfs tmpfs /v/sub; touch /v/sub/here; {FOREVER}"],
        "startupProbe": {
            "exec": {"command": ["test", "-e", "/v/sub/here"]},
            "periodSeconds": 1,
            "failureThreshold": 99,
        },
        "volumeMounts": [{"name": "v", "mountPath": "/v", "mountPropagation": "Bidirectional"}],
    }
    mounts = (
        {"mountPath": "/seen", "mountPropagation": "HostToContainer"},
        {"mountPath": "/flat", "readOnly": True},
        {"mountPath": "/deep", "readOnly": True, "recursiveReadOnly": "Enabled"},
    )
    script = "ls /seen/sub; touch /flat/sub/new && echo flat; touch /deep/sub/new && echo deep; touch /deep/new; true"
    place.create(pod("main", script, {"emptyDir": {}}, *mounts, initContainers=[mounter]))
    assert place.output("main") == (
        "here flat touch: /deep/sub/new: Read-only file system touch: /deep/new: Read-only file system"
    )
    shown = place.get("pod", "main")["status"]["containerStatuses"][0]["volumeMounts"]
    modes = {mount["mountPath"]: mount.get("recursiveReadOnly") for mount in shown if mount["name"] == "v"}
    assert modes == {"/seen": None, "/flat": "Disabled", "/deep": "Enabled"}
    uid = place.get("pod", "main")["metadata"]["uid"]
    place.kubectl("delete", "pod", "main")
    assert not mounted(place, uid)


def test_nothing_is_left_when_the_kubelet_dies_meanwhile(place: Place) -> None:
    mounts = ({"mountPath": "/whole"}, {"mountPath": "/part", "subPath": "part"})
    place.create(pod("goes", FOREVER, {"emptyDir": {"medium": "Memory"}}, *mounts))
    place.until("goes", lambda pod: pod["status"]["phase"] == "Running")
    uid = place.get("pod", "goes")["metadata"]["uid"]
    assert len(mounted(place, uid)) >= 2
    kill(component(place.cluster, "kubelet"))
    place.kubectl("delete", "pod", "goes", "--force", "--grace-period=0")
    wait_for(lambda: not (place.pods / uid).exists(), "its directory is gone", seconds=PATIENCE_SECONDS)
    wait_for(lambda: not mounted(place, uid), "its mounts are gone", seconds=PATIENCE_SECONDS)


def test_a_change_is_seen_soon(place: Place) -> None:
    place.kubectl("create", "configmap", "cm", "--from-literal=key=0")
    place.create(pod("follows", FOREVER, {"configMap": {"name": "cm"}}))
    place.until("follows", lambda pod: pod["status"]["phase"] == "Running")
    uid = place.get("pod", "follows")["metadata"]["uid"]
    file = place.pods / uid / "volumes/kubernetes.io~configmap/v/key"
    place.kubectl("patch", "configmap", "cm", "-p", '{"data": {"key": "1"}}')
    patched = time.monotonic()
    wait_for(lambda: file.read_text() == "1", "the change is there", interval_seconds=0.01)
    took = time.monotonic() - patched
    assert took < 20.0, "a quiet machine needs a tenth of a second"
    assert os.readlink(file.parent / "..data").startswith("..20")
