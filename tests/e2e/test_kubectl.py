"""Every command of kubectl against a cluster: the walks of `kubectl/*.txt`, and what needs more than a table.

The walks run on simulated nodes; what is about containers is in test_kubectl_containers.py.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
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


ELSEWHERE = {
    # Real containers: test_kubectl_containers.py.
    "attach", "cp", "debug", "exec", "port-forward",
    # Below: they serve, and do not end by themselves.
    "proxy",
    # They print what they know themselves.
    "help", "options",
}  # fmt: skip


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
    walked = {tuple(words) for path in WALKS for words in commands(load(path))}
    wanted = {(command,) for command in subcommands()} - {(command,) for command in ELSEWHERE}
    for group in GROUPS:
        wanted |= {(group, command) for command in subcommands(group)}
    for kind in ("secret", "service"):
        wanted |= {("create", kind, command) for command in subcommands("create", kind)}
    assert len(wanted) > 90
    missing = [command for command in wanted if not any(words[: len(command)] == command for words in walked)]
    assert sorted(missing) == []
