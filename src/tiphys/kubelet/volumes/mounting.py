"""Mounting memory file systems, by system call: no program is started for it."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import Protocol

_libc = ctypes.CDLL(None, use_errno=True)
_MNT_DETACH = 2
_NOSUID_NODEV = 2 | 4


class Mounter(Protocol):
    def mount_tmpfs(self, directory: Path, size_bytes: int = 0) -> None:
        """Nothing when it is mounted already. size_bytes 0: half of the memory. Raises OSError."""

    def unmount(self, directory: Path) -> None:
        """Nothing when it is not mounted. Raises OSError."""


class SystemMounter:
    """The kernel's; for root."""

    def mount_tmpfs(self, directory: Path, size_bytes: int = 0) -> None:
        if os.path.ismount(directory):
            return
        options = f"size={size_bytes}".encode() if size_bytes else b""
        _check(
            _libc.mount(b"tmpfs", os.fsencode(directory), b"tmpfs", _NOSUID_NODEV, options),
            f"cannot mount tmpfs at {directory}",
        )

    def unmount(self, directory: Path) -> None:
        while os.path.ismount(directory):
            _check(_libc.umount2(os.fsencode(directory), _MNT_DETACH), f"cannot unmount {directory}")


class NoMounter:
    """Where memory is not to be had, the disk must do."""

    def mount_tmpfs(self, directory: Path, size_bytes: int = 0) -> None:
        pass

    def unmount(self, directory: Path) -> None:
        pass


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
