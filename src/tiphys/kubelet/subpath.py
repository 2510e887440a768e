"""subPath: one file or directory of a volume, mounted in place of the whole; never anything outside the volume.

A container may exchange directories of the volume for symbolic links at any moment. So the path is resolved once, must then lie
inside the volume, and is walked from the volume's root without following any link; what was opened at the end is what is mounted.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping
from pathlib import Path

from tiphys.kubelet.expansion import references
from tiphys.machinery.quoting import quote

_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class BadSubPath(Exception):
    """It leads out of the volume, or cannot be made; the message is fit for the container's status, and tells nothing of the node."""


def wanted_path(mount: Mapping[str, str], environment: Mapping[str, str]) -> str:
    """subPath, or subPathExpr with its variables, which must have values; empty when the whole volume is wanted. Raises BadSubPath."""
    expression = mount.get("subPathExpr")
    path = mount.get("subPath") or ""
    if expression:
        path, missing = references(expression, environment)
        if missing:
            raise BadSubPath(f"missing value for {', '.join(sorted(missing))}")
    if path.startswith("/"):
        raise BadSubPath(f"error SubPath `{path}` must not be an absolute path")
    if ".." in path.split("/"):
        raise BadSubPath(f"unable to provision SubPath `{path}`: must not contain '..'")
    return path


def open_sub_path(volume: Path, path: str, mount_name: str, container: str) -> int:
    """An open file (for its path only) of what is to be mounted; directories that are missing get the mode of the volume's root."""
    where = f"for volumeMount {quote(mount_name)} of container {quote(container)}"
    try:
        is_missing = not (volume / path).exists()
        root = volume.resolve()
        inside = (root / path).resolve().relative_to(root)
    except (OSError, ValueError, RuntimeError) as error:
        raise BadSubPath(f"failed to prepare subPath {where}") from error
    mode = stat.S_IMODE(root.stat().st_mode)
    try:
        return _walk(root, inside.parts, mode if is_missing else None)
    except OSError as error:
        what = "failed to create subPath directory" if is_missing else "failed to prepare subPath"
        raise BadSubPath(f"{what} {where}") from error


def _walk(root: Path, parts: tuple[str, ...], mode: int | None) -> int:
    """`mode`: of directories to be made; None: make none."""
    current = os.open(root, _DIRECTORY)
    try:
        for index, name in enumerate(parts):
            following = _step(current, name, mode, is_last=index == len(parts) - 1)
            os.close(current)
            current = following
    except BaseException:
        os.close(current)
        raise
    return current


def _step(parent: int, name: str, mode: int | None, *, is_last: bool) -> int:
    if mode is not None:
        _make(parent, name, mode)
    found = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    kind = os.fstat(found).st_mode
    if stat.S_ISLNK(kind) or not (is_last or stat.S_ISDIR(kind)):
        os.close(found)
        raise OSError(errno.ELOOP if stat.S_ISLNK(kind) else errno.ENOTDIR, name)
    return found


def _make(parent: int, name: str, mode: int) -> None:
    try:
        os.mkdir(name, mode, dir_fd=parent)
    except FileExistsError:
        return
    # The umask has no say; and should it be another directory by now, it is not followed through a link.
    made = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        os.fchmod(made, mode)
    finally:
        os.close(made)
