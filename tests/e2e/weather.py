"""What a cluster consists of on its host, for tests that kill parts of it; and whether anything is left of it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

from e2e_cluster import Cluster, wait_for


def command_lines() -> Iterator[tuple[int, str]]:
    """(pid, command line) of every process but our own."""
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if int(path.name) != os.getpid():
            yield int(path.name), " ".join(words).strip()


def processes(cluster: Cluster, *words: str) -> list[int]:
    """Pids of the cluster's processes with all these words on their command lines."""
    return sorted(
        pid
        for pid, line in command_lines()
        if str(cluster.home) in line and all(word in line for word in words)
    )


def supervisor(cluster: Cluster) -> list[int]:
    return processes(cluster, "tiphys.cluster.supervisor")


def components(cluster: Cluster, name: str) -> list[int]:
    """The pids of what `status` calls by this name, or by names that begin so."""
    return [int(entry["pid"]) for entry in cluster.status()["components"] if entry["name"].startswith(name)]


def component(cluster: Cluster, name: str) -> int:
    """The first of them."""
    found = components(cluster, name)
    assert found, f"no {name} runs"
    return found[0]


def kill(*pids: int) -> None:
    """KILL, and wait until they are gone."""
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    wait_for(lambda: not any(is_running(pid) for pid in pids), f"{pids} are dead")


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def leftovers(cluster: Cluster) -> list[str]:
    """Processes, mounts in any namespace, control groups and files (but for the user's own kubeconfig)."""
    left = [line for _, line in command_lines() if str(cluster.home) in line]
    for path in Path("/proc").glob("[0-9]*/mountinfo"):
        try:
            if str(cluster.home) in path.read_text():
                left.append(f"mount seen by process {path.parent.name}")
        except OSError:
            continue
    for pattern in (f"tiphys-{cluster.name}-*", f"*/tiphys-{cluster.name}-*"):  # cgroup v2, v1
        left += [str(path) for path in Path("/sys/fs/cgroup").glob(pattern)]
    home = cluster.home / "tiphys"
    return left + [str(path) for path in home.rglob("*")] + ([str(home)] if home.exists() else [])
