"""kubectl and real containers: the walks of `kubectl_containers/*.txt`, and ports that are forwarded."""

from __future__ import annotations

import subprocess
import urllib.request
from pathlib import Path

import pytest
from e2e_cluster import KUBECTL, Cluster
from walks import FOLDER, Walker, load

pytestmark = pytest.mark.real
WALKS = sorted(FOLDER.with_name("kubectl_containers").glob("*.txt"))
SERVER = "mkdir /www; echo ahoy > /www/index.html; exec httpd -f -p 8080 -h /www"


@pytest.mark.parametrize("path", WALKS, ids=lambda path: path.stem)
def test_walk(cluster: Cluster, namespace: str, tmp_path: Path, path: Path) -> None:
    Walker(cluster, namespace, tmp_path).walk(load(path))


@pytest.mark.parametrize("kind", ["pod", "service", "deployment"])
def test_port_forward(cluster: Cluster, namespace: str, kind: str) -> None:
    at = ("-n", namespace)
    if kind == "deployment":
        cluster.kubectl("create", "deployment", "web", "--image=busybox", *at, "--", "sh", "-c", SERVER)
        cluster.kubectl("rollout", "status", "deployment/web", "--timeout=300s", *at)
    else:
        cluster.kubectl("run", "web", "--image=busybox", "--port=8080", *at, "--", "sh", "-c", SERVER)
        cluster.kubectl("wait", "pod/web", "--for=condition=Ready", "--timeout=300s", *at)
        cluster.kubectl("expose", "pod", "web", "--port=80", "--target-port=8080", *at)
    port = "80" if kind == "service" else "8080"
    kubeconfig = str(cluster.home / "tiphys" / cluster.name / "kubeconfig")
    with subprocess.Popen(
        [str(KUBECTL), "port-forward", f"{kind}/web", f":{port}", *at],
        stdout=subprocess.PIPE,
        text=True,
        env={**cluster.environment, "KUBECONFIG": kubeconfig},
    ) as forwarder:
        assert forwarder.stdout is not None
        said = forwarder.stdout.readline()
        local = said.split(" -> ")[0].rpartition(":")[2]
        try:
            for _ in range(3):
                with urllib.request.urlopen(f"http://127.0.0.1:{local}/", timeout=60) as answer:
                    assert answer.read() == b"ahoy\n"
        finally:
            forwarder.terminate()
