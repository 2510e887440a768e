"""How fast bytes go into a pod and out of it through kubectl, the API server and the kubelet; and that they are the same bytes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from bench.cluster import Cluster, Ours
from bench.table import Figure, NotMeasured, Row, once
from tiphys.cluster.images import BUSYBOX_IMAGE

KUBECTL = Path(sys.executable).parent / "kubectl"
BLOCK_BYTES = 1 << 20
BLOCKS = 1024
WAIT = "--timeout=60s"


@once
def _copies(ours: Ours) -> tuple[float, float]:
    """Megabytes a second, in and out. The pod keeps them in memory: the disk is not what is measured."""
    with ours.cluster() as made:
        made.up()
        _pod(made)
        block = os.urandom(BLOCK_BYTES)
        return _upload(made, block), _download(made, block)


def _kubectl(made: Cluster, *arguments: str) -> list[str]:
    return [str(KUBECTL), f"--kubeconfig={made.kubeconfig}", *arguments]


def _pod(made: Cluster) -> None:
    container = {
        "name": "box",
        "image": BUSYBOX_IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": ["sleep", "3600"],
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    }
    volumes = [{"name": "data", "emptyDir": {"medium": "Memory"}}]
    spec = {"containers": [container], "volumes": volumes, "terminationGracePeriodSeconds": 0}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "box"}, "spec": spec}
    for _ in range(100):  # the default service account comes a moment after its namespace
        made_it = subprocess.run(
            _kubectl(made, "create", "-f", "-"),
            input=json.dumps(pod),
            text=True,
            capture_output=True,
            check=False,
        )
        if made_it.returncode == 0:
            break
        time.sleep(0.1)
    subprocess.run(
        _kubectl(made, "wait", "pod/box", "--for=condition=Ready", WAIT), check=True, capture_output=True
    )


def _upload(made: Cluster, block: bytes) -> float:
    command = _kubectl(made, "exec", "-i", "box", "--", "sh", "-c", "cat > /data/blob")
    begun = time.perf_counter()
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        for _ in range(BLOCKS):
            process.stdin.write(block)
    if process.returncode:
        raise NotMeasured("the upload failed")
    return BLOCKS * BLOCK_BYTES / 1e6 / (time.perf_counter() - begun)


def _download(made: Cluster, block: bytes) -> float:
    command = _kubectl(made, "exec", "box", "--", "cat", "/data/blob")
    begun = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=BLOCK_BYTES) as process:
        assert process.stdout is not None
        same = sum(process.stdout.read(BLOCK_BYTES) == block for _ in range(BLOCKS))
        rest = process.stdout.read()
    if same != BLOCKS or rest:
        raise NotMeasured(f"what came back is not what was sent: {same} of {BLOCKS} MiB are the same")
    return BLOCKS * BLOCK_BYTES / 1e6 / (time.perf_counter() - begun)


def into_a_pod(ours: Ours) -> Figure:
    return Figure(_copies(ours)[0])


def out_of_a_pod(ours: Ours) -> Figure:
    return Figure(_copies(ours)[1], "byte for byte")


ROWS = [
    Row("1 GiB into a pod, kubectl exec", "MB/s", into_a_pod, 200.0, "more", needs_containers=True),
    Row("1 GiB out of a pod, kubectl exec", "MB/s", out_of_a_pod, 200.0, "more", needs_containers=True),
]
