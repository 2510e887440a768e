"""Static pods on a real node, as kubectl sees them: manifests in the node's directory, their mirrors, and what one may do to those."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from e2e_cluster import Cluster, wait_for
from weather import component, components, kill

pytestmark = pytest.mark.real

MANIFEST = """
apiVersion: v1
kind: Pod
metadata: {name: still, labels: {app: still}}
spec:
  priorityClassName: system-node-critical
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: busybox
    imagePullPolicy: IfNotPresent
    command: [sh, -c, "echo %s; trap 'exit 0' TERM; while true; do sleep 1000 & wait $!; done"]
"""


class Manifests:
    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.node = cluster.get("nodes")["items"][0]["metadata"]["name"]
        self.directory = (
            next((cluster.home / "tiphys" / cluster.name).rglob(f"nodes/{self.node}")) / "manifests"
        )
        self.pod = f"still-{self.node}"

    def write(self, word: str) -> None:
        Path(self.directory, "still.yaml").write_text(MANIFEST % word)

    def get(self) -> Any:
        result = self.cluster.kubectl("get", "pod", self.pod, "-o", "json", check=False)
        return json.loads(result.stdout) if result.returncode == 0 else None

    def until(self, is_so: Callable[[Any], bool], what: str) -> Any:
        return wait_for(lambda: (pod := self.get()) and is_so(pod) and pod, what)

    def log(self) -> str:
        return self.cluster.kubectl("logs", self.pod, check=False).stdout


@pytest.fixture
def manifests(cluster: Cluster) -> Iterator[Manifests]:
    found = Manifests(cluster)
    yield found
    for path in found.directory.iterdir():
        path.unlink()
    wait_for(lambda: found.get() is None, "the mirror is gone with its manifest")


def is_ready(pod: Any) -> bool:
    return any(
        condition["type"] == "Ready" and condition["status"] == "True"
        for condition in pod["status"].get("conditions", ())
    )


def test_a_static_pod_as_kubectl_sees_it(cluster: Cluster, manifests: Manifests) -> None:
    manifests.write("one")
    first = manifests.until(is_ready, "the static pod is ready")
    annotations = first["metadata"]["annotations"]
    assert annotations["kubernetes.io/config.source"] == "file"
    assert annotations["kubernetes.io/config.hash"] == annotations["kubernetes.io/config.mirror"]
    assert first["spec"]["priority"] == 2000001000
    assert first["metadata"]["ownerReferences"][0]["kind"] == "Node"
    wait_for(lambda: manifests.log() == "one\n", "its log")
    assert cluster.kubectl("exec", manifests.pod, "--", "hostname").stdout == f"{manifests.pod}\n"
    described = cluster.kubectl("describe", "pod", manifests.pod).stdout
    assert "Controlled By:  Node/" in described
    assert "Container started" in described

    # It cannot be changed, and deleting it deletes only what one sees of it.
    cluster.kubectl("delete", "pod", manifests.pod)
    again = manifests.until(is_ready, "the mirror is there again")
    assert again["metadata"]["uid"] != first["metadata"]["uid"]
    statuses = [pod["status"]["containerStatuses"][0]["containerID"] for pod in (first, again)]
    assert statuses[0] == statuses[1]

    manifests.write("two")
    changed = manifests.until(
        lambda pod: is_ready(pod) and pod["metadata"]["annotations"]["kubernetes.io/config.hash"]
        != annotations["kubernetes.io/config.hash"],
        "the pod of the changed manifest is ready",
    )  # fmt: skip
    assert changed["status"]["containerStatuses"][0]["restartCount"] == 0
    wait_for(lambda: manifests.log() == "two\n", "the log of the changed pod")


def test_a_manifest_that_is_none_is_told_about_the_node(cluster: Cluster, manifests: Manifests) -> None:
    Path(manifests.directory, "bad.yaml").write_text("kind: Pod\napiVersion: v1\nmetadata: {}\n")

    def told() -> bool:
        events = cluster.get("events", "--field-selector", "reason=InvalidStaticPod")["items"]
        return any(
            "bad.yaml: invalid pod: name is needed for the pod" in event["message"] for event in events
        )

    wait_for(told, "the event about the manifest")


def test_a_kubelet_that_dies_leaves_its_static_pod_and_finds_it_again(
    cluster: Cluster, manifests: Manifests
) -> None:
    manifests.write("lasting")
    before = manifests.until(is_ready, "the static pod is ready")
    kubelet = component(cluster, "kubelet")
    kill(kubelet)
    wait_for(lambda: set(components(cluster, "kubelet")) - {kubelet}, "another kubelet")
    wait_for(lambda: manifests.log() == "lasting\n", "the new kubelet serves the log")
    after = manifests.get()
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["status"]["containerStatuses"] == before["status"]["containerStatuses"]


def test_it_runs_while_the_api_server_does_not_answer_even_a_kubelet_that_starts(
    cluster: Cluster, manifests: Manifests
) -> None:
    marks = manifests.directory.parent / "marks"
    marks.mkdir()
    marked = MANIFEST.replace("[sh, -c,", "[sh, -c, 'touch /marks/$(hostname); exec \"$@\"', -, sh, -c,").replace(
        "    image: busybox\n",
        "    image: busybox\n    volumeMounts: [{name: marks, mountPath: /marks}]\n",
    ) + f"  volumes: [{{name: marks, hostPath: {{path: {marks}}}}}]\n"  # fmt: skip
    control_plane, kubelet = component(cluster, "control-plane"), component(cluster, "kubelet")
    os.kill(control_plane, signal.SIGSTOP)
    try:
        kill(kubelet)
        Path(manifests.directory, "still.yaml").write_text(marked % "alone")
        wait_for(lambda: list(marks.iterdir()), "the pod runs, and nobody but its node knows")
    finally:
        os.kill(control_plane, signal.SIGCONT)
    assert manifests.until(is_ready, "the mirror shows it")["status"]["phase"] == "Running"
    shutil.rmtree(marks)
