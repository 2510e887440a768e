"""What a node can leave behind on its host after all its processes are dead: cgroups, mounts and mount points."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable
from pathlib import Path

from tiphys.cluster.processes import pids, wait_until

CGROUPS = Path("/sys/fs/cgroup")
EMPTYING_SECONDS = 5.0
MADE_ATTRIBUTE = "trusted.tiphys.made"


def mount_points(mountinfo: str) -> list[tuple[str, str]]:
    """(mount point, file system type) of each line of a /proc/<pid>/mountinfo, in order."""
    points = []
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        points.append((_unescape(left.split()[4]), right.split()[0]))
    return points


def _unescape(path: str) -> str:
    """The kernel writes a space, tab, newline or backslash in a path as an octal number."""
    for octal in ("\\040", "\\011", "\\012", "\\134"):
        path = path.replace(octal, chr(int(octal[1:], 8)))
    return path


def cgroup_hierarchies(mountinfo: str | None = None) -> list[Path]:
    """Where this host's cgroup trees are mounted: one for v2, one a controller for v1, both for a hybrid."""
    text = Path("/proc/self/mountinfo").read_text() if mountinfo is None else mountinfo
    points = [Path(point) for point, kind in mount_points(text) if kind in ("cgroup", "cgroup2")]
    return [point for point in dict.fromkeys(points) if point == CGROUPS or CGROUPS in point.parents]


def remove_cgroups(path: str) -> list[Path]:
    """Removes the group of this path, with all below it and the parents that it leaves empty; those that would not go.

    path: "/tiphys-default/node-1". Its processes must be dead; the kernel takes a moment to see it.
    """
    if not path.strip("/"):
        raise ValueError("refusing to remove the root of the cgroup hierarchies")
    hierarchies = cgroup_hierarchies()
    roots = [hierarchy / path.strip("/") for hierarchy in hierarchies]
    wait_until(lambda: not any(_remove_tree(root) for root in roots), EMPTYING_SECONDS)
    for hierarchy, root in zip(hierarchies, roots, strict=True):
        _remove_empty_parents(root, hierarchy)
    return [root for root in roots if root.exists()]


def _remove_empty_parents(path: Path, top: Path) -> None:
    for parent in path.parents:
        if parent == top:
            return
        try:
            parent.rmdir()
        except OSError:
            return


def _remove_tree(root: Path) -> bool:
    """Removes what it can, the deepest first; True when something is left."""
    for directory, _, _ in os.walk(root, topdown=False):
        try:
            os.rmdir(directory)
        except OSError:
            pass
    return root.exists()


def unmount_below(directory: Path) -> None:
    """Unmounts what is mounted at or below the directory in this mount namespace, the deepest first."""
    points = [point for point, _ in mount_points(Path("/proc/self/mountinfo").read_text())]
    for point in reversed(points):
        if Path(point) == directory or directory in Path(point).parents:
            subprocess.run(["umount", "--lazy", point], check=True, capture_output=True)


def make_mount_points(paths: Iterable[str]) -> None:
    """Makes what is missing of these directories, and marks what it made, so that the last who uses one can remove it."""
    for path in paths:
        for missing in reversed([level for level in (Path(path), *Path(path).parents) if not level.exists()]):
            missing.mkdir(exist_ok=True)
            try:
                os.setxattr(missing, MADE_ATTRIBUTE, b"1")
            except OSError:  # this file system has no such attributes: an empty directory will stay
                pass


def remove_mount_points(paths: Iterable[str]) -> None:
    """Removes those directories that were made to mount on, unless somebody has put something there.

    Something may be another mount namespace's mount, which removing the directory would tear away.
    """
    for path in paths:
        if _is_mount_point_anywhere(path):
            continue
        for level in (Path(path), *Path(path).parents):
            try:
                os.getxattr(level, MADE_ATTRIBUTE)
                level.rmdir()
            except OSError:
                break


def _is_mount_point_anywhere(path: str) -> bool:
    seen: set[str] = set()
    for pid in pids():
        try:
            namespace = os.readlink(f"/proc/{pid}/ns/mnt")
            if namespace in seen:
                continue
            seen.add(namespace)
            mountinfo = Path(f"/proc/{pid}/mountinfo").read_text()
        except OSError:
            continue
        if any(point == path for point, _ in mount_points(mountinfo)):
            return True
    return False
