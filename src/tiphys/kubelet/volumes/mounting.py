"""Mounting, by system call: no program is started for it, and none of what is mounted outlives the pod that it is for.

Mounts are made in the mount namespace of this process: the kubelet must live in that of the node, or containers will not see them.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

_libc = ctypes.CDLL(None, use_errno=True)
_MOUNTS = Path("/proc/self/mountinfo")
_MS_RDONLY, _MS_REMOUNT, _MS_BIND, _MS_REC, _MS_PRIVATE = 1, 32, 4096, 16384, 1 << 18
_MNT_DETACH, _UMOUNT_NOFOLLOW = 2, 8
_SYS_MOUNT_SETATTR, _AT_RECURSIVE, _MOUNT_ATTR_RDONLY = 442, 0x8000, 1
_FIRST_WITH_RECURSION = (5, 12)
_FLAGS = {
    "ro": _MS_RDONLY,
    "nosuid": 2,
    "nodev": 4,
    "noexec": 8,
    "bind": _MS_BIND,
    "rbind": _MS_BIND | _MS_REC,
}
_OF_THEIR_OWN = ("tmpfs", "hugetlbfs")
"""File systems that show by their device number, and that no server is needed for to be looked at."""
_ESCAPED = re.compile(r"\\([0-7]{3})")


class Mounter(Protocol):
    """All raise OSError."""

    def mount(self, kind: str, source: str, directory: Path, options: Sequence[str] = ()) -> bool:
        """A file system of this kind (tmpfs, hugetlbfs, overlay, bind), with options as mount(8) takes them.

        What is mounted already stays as it is: False.
        """

    def bind(
        self, file: int, target: Path, *, is_deeply_read_only: bool = False, is_shared: bool = False
    ) -> Path:
        """Mounts an open file or directory at `target`, which is made, instead of what was there; tells where to find it.

        `is_deeply_read_only`: with all that is mounted below it, and that for reading only. `is_shared`: what is mounted below the
        one later shows below the other; else it does not, and cannot double with every mount of a path that holds our own ones.
        """

    def unmount_below(self, directory: Path) -> None:
        """Whatever is mounted there and below, however it came there; nothing of what was mounted is touched elsewhere."""


class SystemMounter:
    """The kernel's; for root."""

    def mount(self, kind: str, source: str, directory: Path, options: Sequence[str] = ()) -> bool:
        if _is_mounted(directory, kind):
            return False
        flags, data = 0, []
        for option in options:
            if option in _FLAGS:
                flags |= _FLAGS[option]
            elif option not in ("", "rw"):
                data.append(option)
        if kind != "tmpfs" or not _mount_unswapped(source, directory, flags, data):
            _mount(source, directory, kind, flags, ",".join(data))
        if flags & _MS_BIND and flags & _MS_RDONLY:
            # A bind mount takes its attributes only when it is there.
            _mount("", directory, "", flags & ~_MS_REC | _MS_REMOUNT, "")
        return True

    def bind(
        self, file: int, target: Path, *, is_deeply_read_only: bool = False, is_shared: bool = False
    ) -> Path:
        self.unmount_below(target)
        _make_mount_point(target, is_directory=os.path.isdir(f"/proc/self/fd/{file}"))
        flags = _MS_BIND | _MS_REC if is_deeply_read_only else _MS_BIND
        _mount(f"/proc/self/fd/{file}", target, "", flags, "")
        if not is_shared:
            _mount("", target, "", _MS_REC | _MS_PRIVATE, "")
        if is_deeply_read_only:
            _set_read_only_below(target)
        return target

    def unmount_below(self, directory: Path) -> None:
        while mounts := mounts_below(directory):
            # It may be the same as another mount of the node (subPath of a hostPath): let it go alone.
            _mount("", mounts[0], "", _MS_REC | _MS_PRIVATE, "")
            result = _libc.umount2(os.fsencode(mounts[0]), _MNT_DETACH | _UMOUNT_NOFOLLOW)
            _check(result, f"cannot unmount {mounts[0]}")


class NoMounter:
    """Where nothing can be mounted, or nobody would see it: memory becomes disk, and what would be mounted is used where it lies."""

    def mount(self, kind: str, source: str, directory: Path, options: Sequence[str] = ()) -> bool:
        return False

    def bind(
        self, file: int, target: Path, *, is_deeply_read_only: bool = False, is_shared: bool = False
    ) -> Path:
        return Path(os.readlink(f"/proc/self/fd/{file}"))

    def unmount_below(self, directory: Path) -> None:
        pass


def _is_mounted(directory: Path, kind: str) -> bool:
    if kind in _OF_THEIR_OWN:
        # The table of a full node's mounts is long, and it is asked for each volume of each pod.
        return os.path.ismount(directory)
    return bool(mounts_below(directory, only_itself=True))


def can_be_deeply_read_only() -> bool:
    """Whether the kernel can make a mount and all below it read-only."""
    version = tuple(int(number) for number in re.findall(r"\d+", platform.release())[:2])
    return version >= _FIRST_WITH_RECURSION


def mounts_below(directory: Path, *, only_itself: bool = False) -> list[Path]:
    """Mount points at and below a directory, the outer ones first. A mount of a file system on itself counts, too.

    The directory itself is not looked at: of a server that is gone it would never come to an end.
    """
    top = os.path.join(os.path.realpath(directory.parent), directory.name)
    found = []
    for line in _MOUNTS.read_text(errors="surrogateescape").splitlines():
        path = line.split(" ", 5)[4]
        if "\\" in path:
            path = _ESCAPED.sub(lambda match: chr(int(match[1], 8)), path)
        if path == top or (not only_itself and path.startswith(f"{top}/")):
            found.append(Path(path))
    return sorted(found, key=lambda path: len(path.parts))


def _make_mount_point(target: Path, *, is_directory: bool) -> None:
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
    if target.is_symlink() or (target.exists() and target.is_dir() != is_directory):
        target.rmdir() if target.is_dir() and not target.is_symlink() else target.unlink()
    if is_directory:
        target.mkdir(exist_ok=True, mode=0o750)
    else:
        target.touch(mode=0o640)


def _mount(source: str, target: Path, kind: str, flags: int, data: str) -> None:
    result = _libc.mount(
        source.encode(), os.fsencode(target), kind.encode() or None, ctypes.c_ulong(flags), data.encode()
    )
    _check(result, f"cannot mount {kind or source} at {target}")


def _mount_unswapped(source: str, target: Path, flags: int, data: list[str]) -> bool:
    """Memory that never goes to a disk: secrets are in it. False where the kernel (before 6.4) does not know how."""
    try:
        _mount(source, target, "tmpfs", flags, ",".join([*data, "noswap"]))
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return False
    return True


def _set_read_only_below(target: Path) -> None:
    attributes = (ctypes.c_uint64 * 4)(_MOUNT_ATTR_RDONLY, 0, 0, 0)
    result = _libc.syscall(
        ctypes.c_long(_SYS_MOUNT_SETATTR),
        ctypes.c_int(-100),
        os.fsencode(target),
        ctypes.c_uint(_AT_RECURSIVE),
        ctypes.byref(attributes),
        ctypes.c_size_t(ctypes.sizeof(attributes)),
    )
    _check(result, f"cannot make {target} read-only")


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno() or errno.EIO
        raise OSError(number, f"{what}: {os.strerror(number)}")
