"""`down`: ends everything that `up` started, and leaves the host as it was. Works from files alone, whatever was killed before."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from tiphys.cluster import layout as places
from tiphys.cluster import processes
from tiphys.cluster.layout import ClusterError, Layout
from tiphys.cluster.locks import exclusive
from tiphys.cluster.status import component_pids, supervisor_pid

STOP_SECONDS = 60.0
STRAY_SECONDS = 10.0


def down(
    name: str, home: Path, environment: Mapping[str, str], tell: Callable[[str], None], *, purge: bool
) -> bool:
    """Stops the cluster; with `purge` its data go too. False when there was no such cluster."""
    places.check_name(name)
    unfinished = Layout(home / name)
    known = places.find_layout(home, name) is not None or unfinished.data.is_dir()
    if not known and not places.cluster_lock(home, name).exists():
        return False
    with exclusive(
        places.cluster_lock(home, name),
        lambda _: tell(f"another command works on cluster {name!r}: waiting for it"),
    ):
        layout = places.find_layout(home, name)
        if layout is not None:
            stop_processes(layout)
            _unmake_nodes(layout)
            shutil.rmtree(layout.run, ignore_errors=True)
            if purge:
                _purge(layout, home, name, environment, tell)
        elif purge and unfinished.data.is_dir():
            # An `up` that was interrupted before it had written down where its data are.
            _purge(unfinished, home, name, environment, tell)
        forget_lock(home, name)
    return layout is not None


def forget_lock(home: Path, name: str) -> None:
    """By its holder: removes the lock of a cluster that does not exist, and the home when there is nothing else in it."""
    if places.find_layout(home, name) is not None:
        return
    places.cluster_lock(home, name).unlink(missing_ok=True)
    lock = places.clusters_lock(home)
    with exclusive(lock):
        if os.listdir(lock.parent) == [lock.name]:
            lock.unlink()
    _remove_if_empty(lock.parent, home)


def stop_processes(layout: Layout) -> None:
    """The supervisor ends its children; what an earlier, killed supervisor left behind is ended too. Containers run on."""
    pid = supervisor_pid(layout)
    if pid is not None and not processes.end(pid, grace_seconds=STOP_SECONDS):
        raise ClusterError(f"the supervisor (pid {pid}) does not end", f"see {layout.log('supervisor')}")
    for stray in component_pids(layout):
        if not processes.end(stray, grace_seconds=STRAY_SECONDS):
            raise ClusterError(f"process {stray} does not end", "end it, then try again")
    (layout.run / "running.json").unlink(missing_ok=True)


def _unmake_nodes(layout: Layout) -> None:
    if not layout.network.exists() and not (layout.data / "nodes").exists():
        return
    from tiphys.cluster.nodes import stop_nodes

    stop_nodes(layout)


def _purge(
    layout: Layout, home: Path, name: str, environment: Mapping[str, str], tell: Callable[[str], None]
) -> None:
    from tiphys.cluster.contexts import forget_context

    if (problem := forget_context(name, environment)) is not None:
        tell(f"your kubeconfig still has the context: {problem}")
    directories = ("pki", "store", "logs", "run", "network", "nodes", "images")
    problems: list[str] = []
    for directory in directories:
        shutil.rmtree(layout.data / directory, onerror=lambda _, path, error: _note(problems, path, error[1]))
    if problems:
        # The files that lead here stay, so that the command can be run again.
        raise ClusterError(f"cannot remove {problems[0]}", "run down --purge again")
    for path in (layout.kubeconfig, layout.config, layout.config.with_name(".cluster.json.part")):
        path.unlink(missing_ok=True)
    places.forget(home, name)
    _remove_if_empty(layout.data)


def _note(problems: list[str], path: str, error: BaseException) -> None:
    if not isinstance(error, FileNotFoundError):
        problems.append(f"{path}: {getattr(error, 'strerror', None) or error}")


def _remove_if_empty(*directories: Path) -> None:
    """Each may be the user's own, with other things in it."""
    for directory in directories:
        try:
            directory.rmdir()
        except OSError:
            return
