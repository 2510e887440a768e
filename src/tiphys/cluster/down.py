"""`down`: ends everything that `up` started, and leaves the host as it was. Works from files alone, whatever was killed before."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from tiphys.cluster import layout as places
from tiphys.cluster import processes
from tiphys.cluster.layout import ClusterError, Layout
from tiphys.cluster.status import supervisor_pid
from tiphys.cluster.supervisor import read_running

STOP_SECONDS = 60.0


def down(name: str, home: Path, environment: Mapping[str, str], *, purge: bool) -> bool:
    """Stops the cluster; with `purge` its data go too. False when there was no such cluster."""
    places.check_name(name)
    layout = places.find_layout(home, name)
    if layout is None:
        return False
    stop_processes(layout)
    _unmake_nodes(layout)
    shutil.rmtree(layout.run, ignore_errors=True)
    if purge:
        _purge(layout, home, name, environment)
    return True


def stop_processes(layout: Layout) -> None:
    """The supervisor ends its children; what an earlier, killed supervisor left behind is ended by pid."""
    left = read_running(layout.run)
    pid = supervisor_pid(layout)
    if pid is not None and not processes.end(pid, grace_seconds=STOP_SECONDS):
        raise ClusterError(f"the supervisor (pid {pid}) does not end", f"see {layout.log('supervisor')}")
    for entry in reversed(left):
        if entry["pid"] and processes.is_alive(entry["pid"]) and _is_ours(entry["pid"], layout):
            processes.end(entry["pid"], grace_seconds=10.0)


def _is_ours(pid: int, layout: Layout) -> bool:
    """A pid on file may be somebody else's by now: ours has this cluster's directory on its command line."""
    try:
        return str(layout.data).encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def _unmake_nodes(layout: Layout) -> None:
    if not layout.network.exists() and not (layout.data / "nodes").exists():
        return
    from tiphys.cluster.nodes import stop_nodes

    stop_nodes(layout)


def _purge(layout: Layout, home: Path, name: str, environment: Mapping[str, str]) -> None:
    from tiphys.client import kubeconfig
    from tiphys.cluster.up import context_name

    kubeconfig.remove_from(kubeconfig.default_path(environment), context_name(name))
    for path in (
        layout.pki,
        layout.database.parent,
        layout.logs,
        layout.network,
        layout.data / "nodes",
        layout.data / "images",
    ):
        shutil.rmtree(path, ignore_errors=True)
    for path in (layout.kubeconfig, layout.config):
        path.unlink(missing_ok=True)
    places.forget(home, name)
    for directory in (layout.data, home / "clusters", home):
        try:
            directory.rmdir()  # Only what is empty: the directory may be the user's own.
        except OSError:
            return
