"""The pytest plugin, in runs of pytest of its own."""

import subprocess
import sys
from pathlib import Path

TESTS = r"""
import os, pytest

@pytest.mark.parametrize("number", range(3))
def test_own_namespace(tiphys, number):
    assert tiphys.list("cm") == [] or [c["metadata"]["name"] for c in tiphys.list("cm")] == ["kube-root-ca.crt"]
    tiphys.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}})

def test_cluster(tiphys_cluster):
    assert tiphys_cluster.nodes.names == ["mine"]
    with open(os.environ["SEEN"], "a") as file:
        file.write(f"{tiphys_cluster.server} {tiphys_cluster.directory}\n")

def test_restored(tiphys_restored):
    tiphys_restored.load({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "left"}})

def test_after_restored(tiphys_cluster):
    assert tiphys_cluster.get("cm/left") is None
""".replace("\\\\\\\\", "\\\\")
CONFTEST = """
import pytest

@pytest.fixture(scope="session")
def tiphys_options():
    return {"nodes": ["mine"]}
"""
FAILING = """
import ssl, urllib.error, urllib.request

def test_it(tiphys, tiphys_cluster):
    nobody = tiphys_cluster.user("nobody")
    context = ssl.create_default_context(cafile=str(tiphys_cluster.ca_file))
    url = f"{tiphys_cluster.server}/api/v1/namespaces/{tiphys}/secrets"
    try:
        urllib.request.urlopen(urllib.request.Request(url, headers=nobody.headers), context=context)
    except urllib.error.HTTPError:
        pass
    tiphys.create({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
                   "spec": {"nodeSelector": {"no": "where"}, "containers": [{"name": "c", "image": "i"}]}})
    tiphys.wait_for("pod/p", "PodScheduled=False")
    tiphys.wait_for_all("events", len)
    assert not "as it should be"
"""


def run(folder: Path, *arguments: str, seen: Path | None = None) -> subprocess.CompletedProcess[str]:
    """pytest as somebody else has it: the plugin by its entry point, nothing of ours."""
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:asyncio", *arguments],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder), "SEEN": str(seen or folder / "seen")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)


def test_fixtures_give_a_cluster_and_namespaces(tmp_path: Path) -> None:
    write(tmp_path, test_mine=TESTS, conftest=CONFTEST)
    done = run(tmp_path)
    assert "6 passed" in done.stdout, done.stdout
    (line,) = (tmp_path / "seen").read_text().splitlines()
    assert not Path(line.split()[1]).exists()


def test_workers_of_xdist_have_a_cluster_each(tmp_path: Path) -> None:
    write(
        tmp_path,
        conftest=CONFTEST,
        test_a=TESTS,
        test_b=TESTS,
    )
    done = run(tmp_path, "-n", "2", "--dist", "loadfile")
    assert "12 passed" in done.stdout, done.stdout
    lines = (tmp_path / "seen").read_text().splitlines()
    assert len(set(lines)) == 2
    assert not any(Path(line.split()[1]).exists() for line in lines)


def test_a_failed_test_s_report_tells_events(tmp_path: Path) -> None:
    write(tmp_path, test_failing=FAILING)
    done = run(tmp_path)
    assert "1 failed" in done.stdout, done.stdout
    assert "events of namespace test-it-" in done.stdout
    assert "Pod/p: Warning FailedScheduling" in done.stdout
    assert "403 nobody (Python-urllib" in done.stdout


def test_the_plugin_imports_nothing_while_nobody_asks() -> None:
    code = (
        "import sys, pytest; before = set(sys.modules); import tiphys.testing.pytest_plugin; "
        "print(sorted(set(sys.modules) - before))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert loaded.strip() == "['tiphys', 'tiphys.testing', 'tiphys.testing.pytest_plugin']"
