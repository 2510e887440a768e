"""Control groups as files: made with their limits, removed with what is left below. cgroup v1, v2, and both at once.

Which groups there are and who is in them is `pod_cgroups.py`. Containers' groups lie below the pods' and are the runtime's. An empty
directory that is left over costs kernel memory for ever, so removal goes through every hierarchy.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from pathlib import Path

from tiphys.kubelet.runtimes.interface import Resources

V1_CONTROLLERS = ("cpu", "memory", "pids", "hugetlb")
UNIFIED = "unified"


class Cgroups:
    """`top`: where the hierarchies are mounted; another place than /sys/fs/cgroup in tests, where none is mounted."""

    def __init__(self, top: Path = Path("/sys/fs/cgroup")) -> None:
        self._top = top
        self.is_unified = (top / "cgroup.controllers").exists()
        self._hierarchies = (
            [top] if self.is_unified else [entry for entry in _entries(top) if _is_mounted(entry)]
        )

    def make(self, path: str, resources: Resources, *, pids_limit: int = 0) -> None:
        """Makes the group with its limits, or sets those of one that exists. Raises OSError when it cannot be made."""
        if self.is_unified:
            self._make_unified(self._top / path.strip("/"), resources, pids_limit)
            return
        for controller in V1_CONTROLLERS:
            hierarchy = self._top / controller
            if hierarchy.is_dir():
                directory = hierarchy / path.strip("/")
                directory.mkdir(parents=True, exist_ok=True)
                for name, value in _v1_settings(controller, resources, pids_limit).items():
                    _write(directory / name, value)

    def exists(self, path: str) -> bool:
        """Where its limits are set."""
        tops = [self._top] if self.is_unified else [self._top / controller for controller in V1_CONTROLLERS]
        return all((top / path.strip("/")).is_dir() for top in tops if top.is_dir())

    def _make_unified(self, directory: Path, resources: Resources, pids_limit: int) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        for parent in reversed(directory.relative_to(self._top).parents):
            for controller in ("cpu", "memory", "pids", "hugetlb"):
                _write(self._top / parent / "cgroup.subtree_control", f"+{controller}")
        for name, value in _v2_settings(resources, pids_limit).items():
            _write(directory / name, value)

    def memory(self, path: str) -> Path | None:
        """Where the kernel tells of the memory of a group; None: it tells in other ways (version 2)."""
        return None if self.is_unified else self._top / "memory" / path.strip("/")

    def remove(self, path: str) -> bool:
        """With what is left below. Processes in it are killed: nobody else looks after them; False then, and it takes another call."""
        if not path.strip("/"):
            raise ValueError("refusing to remove the root of the cgroup hierarchies")
        trees = [hierarchy / path.strip("/") for hierarchy in self._hierarchies]
        pids = {pid for tree in trees for pid in _pids(tree)}
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for tree in trees:
            _remove_tree(tree)
        unified = self._top / UNIFIED
        if unified not in self._hierarchies:
            # Where version 2 is not mounted beside version 1, crun takes its mount point for it and leaves plain files there.
            shutil.rmtree(unified / path.strip("/"), ignore_errors=True)
        return not pids

    def pods(self, root: str) -> dict[str, list[str]]:
        """uid → paths of the pods' groups that exist below the node's root."""
        found: dict[str, list[str]] = {}
        for hierarchy in self._hierarchies:
            base = hierarchy / root.strip("/") / "kubepods"
            for directory in [*base.glob("pod*"), *base.glob("*/pod*")]:
                path = f"/{directory.relative_to(hierarchy)}"
                paths = found.setdefault(directory.name.removeprefix("pod"), [])
                if path not in paths:
                    paths.append(path)
        return found


def _entries(top: Path) -> list[Path]:
    try:
        entries = sorted(top.iterdir())
    except OSError:
        return []
    return [entry for entry in entries if entry.is_dir() and not entry.is_symlink()]


def _is_mounted(hierarchy: Path) -> bool:
    """Every group has this file, the first one included."""
    return (hierarchy / "cgroup.procs").exists()


def _v1_settings(controller: str, resources: Resources, pids_limit: int) -> dict[str, str]:
    if controller == "cpu":
        found = {"cpu.shares": str(resources.cpu_shares)}
        if resources.cpu_period_microseconds:
            found["cpu.cfs_period_us"] = str(resources.cpu_period_microseconds)
            found["cpu.cfs_quota_us"] = str(resources.cpu_quota_microseconds or -1)
        return found
    if controller == "memory" and resources.memory_limit_bytes:
        return {"memory.limit_in_bytes": str(resources.memory_limit_bytes)}
    if controller == "pids" and pids_limit:
        return {"pids.max": str(pids_limit)}
    if controller == "hugetlb":
        limits = resources.hugepage_limits_bytes
        return {f"hugetlb.{size}.limit_in_bytes": str(limit) for size, limit in limits.items()}
    return {}


def _v2_settings(resources: Resources, pids_limit: int) -> dict[str, str]:
    found = {
        "cpu.weight": str(weight(resources.cpu_shares)),
        "memory.max": str(resources.memory_limit_bytes or "max"),
        **{f"hugetlb.{size}.max": str(limit) for size, limit in resources.hugepage_limits_bytes.items()},
        **resources.unified,
    }
    if resources.cpu_period_microseconds:
        quota = resources.cpu_quota_microseconds or "max"
        found["cpu.max"] = f"{quota} {resources.cpu_period_microseconds}"
    if pids_limit:
        found["pids.max"] = str(pids_limit)
    return found


def weight(shares: int) -> int:
    """cgroup v2's cpu.weight (1 to 10,000) for v1's shares (2 to 262,144)."""
    return 1 + (max(shares, 2) - 2) * 9999 // 262_142


def _write(file: Path, value: str) -> None:
    # A controller that the machine does not offer, or a value that is the kernel's own business: the pod runs without.
    with contextlib.suppress(OSError):
        file.write_text(value)


def _pids(directory: Path) -> set[int]:
    """Of all processes in the group and below it; those of another process namespace show as 0."""
    found: set[int] = set()
    for path, _, _ in os.walk(directory):
        with contextlib.suppress(OSError):
            found |= {int(pid) for pid in Path(path, "cgroup.procs").read_text().split()}
    return found - {0, 1, os.getpid()}


def _remove_tree(directory: Path) -> None:
    if not directory.is_dir():
        return
    for path, _, _ in os.walk(directory, topdown=False):
        with contextlib.suppress(OSError):
            os.rmdir(path)
