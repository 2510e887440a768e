"""Every command of kubectl against a cluster: the walks of `kubectl/*.txt`, and what needs more than a table.

The walks run on simulated nodes; what is about containers is in test_kubectl_containers.py.
"""

from __future__ import annotations

import json
import socket
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from e2e_cluster import KUBECTL, Cluster, wait_for
from walks import FOLDER, Walker, commands, load

WALKS = sorted(FOLDER.glob("*.txt"))


@pytest.fixture
def walker(hollow: Cluster, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Walker]:
    name = request.node.name.split("[")[-1].strip("]").replace("_", "-")
    hollow.kubectl("create", "namespace", name)
    wait_for(
        lambda: hollow.kubectl("get", "serviceaccount", "default", "-n", name, check=False).returncode == 0,
        "the default service account",
    )
    yield Walker(hollow, name, tmp_path)
    hollow.kubectl("delete", "namespace", name, "--wait=false")


@pytest.mark.parametrize("path", WALKS, ids=lambda path: path.stem)
def test_walk(walker: Walker, path: Path) -> None:
    walker.walk(load(path))


CONTAINERS = sorted(FOLDER.with_name("kubectl_containers").glob("*.txt"))
ELSEWHERE = {"port-forward", "proxy"}
"""They serve, and do not end by themselves: below, and in test_kubectl_containers.py."""


def subcommands(*above: str) -> list[str]:
    result = subprocess.run(
        [str(KUBECTL), "__complete", *above, ""],
        capture_output=True,
        text=True,
        check=True,
        env={"HOME": "/"},
    )
    lines = [line.split("\t") for line in result.stdout.splitlines()]
    return [line[0] for line in lines if len(line) == 2]


@pytest.fixture
def served(hollow: Cluster, tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Begins a command that serves, and gives the line that it says so with."""
    running: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> str:
        kubeconfig = str(hollow.home / "tiphys" / hollow.name / "kubeconfig")
        process = subprocess.Popen(
            [str(KUBECTL), *arguments],
            stdout=subprocess.PIPE,
            text=True,
            env={**hollow.environment, "KUBECONFIG": kubeconfig},
        )
        running.append(process)
        assert process.stdout is not None
        return process.stdout.readline().strip()

    yield start
    for process in running:
        process.terminate()
        process.communicate(timeout=60)


@pytest.mark.conformance("Kubectl client Proxy server should support proxy with --port 0")
def test_proxy_with_a_port_of_its_choice(served: Callable[..., str]) -> None:
    said = served("proxy", "--port=0", "--disable-filter=true")
    port = int(said.rpartition(":")[2])
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/") as answer:
        assert json.load(answer)["versions"] == ["v1"]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/namespaces?watch=1") as answer:
        assert json.loads(answer.readline())["type"] == "ADDED"


@pytest.mark.conformance("Kubectl client Proxy server should support --unix-socket=/path")
def test_proxy_on_a_unix_socket(served: Callable[..., str], tmp_path: Path) -> None:
    path = tmp_path / "proxy.sock"
    assert served("proxy", f"--unix-socket={path}", "--disable-filter=true").endswith(str(path))
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        connection.sendall(b"GET /api/ HTTP/1.0\r\nHost: localhost\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert b" 200 OK" in answer.splitlines()[0]
    assert b'"versions":' in answer


GROUPS = (
    "create",
    "set",
    "rollout",
    "config",
    "auth",
    "certificate",
    "apply",
    "cluster-info",
    "top",
    "plugin",
)


def test_no_command_is_left_out() -> None:
    walked = {tuple(words) for path in [*WALKS, *CONTAINERS] for words in commands(load(path))}
    wanted = {(command,) for command in subcommands()} - {(command,) for command in ELSEWHERE}
    for group in GROUPS:
        wanted |= {(group, command) for command in subcommands(group)}
    for kind in ("secret", "service"):
        wanted |= {("create", kind, command) for command in subcommands("create", kind)}
    assert len(wanted) > 90
    missing = [command for command in wanted if not any(words[: len(command)] == command for words in walked)]
    assert sorted(missing) == []
