"""One command at a time: `up` and `down` of one cluster take turns, and so do those that choose ports and addresses.

A lock is a file that the kernel unlocks when its holder ends, however that happens. It is removed with its cluster; so whoever
has waited for it looks whether it is still the file that the others see.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def exclusive(path: Path, on_wait: Callable[[str], None] | None = None) -> Iterator[None]:
    """Holds the lock, waiting for it if it must; `on_wait` is told once who has it: a pid, or ""."""
    descriptor = _take(path, on_wait)
    try:
        os.ftruncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())
    except OSError:  # a full disk: who waits will not be told for whom
        pass
    try:
        yield
    finally:
        os.close(descriptor)


def _take(path: Path, on_wait: Callable[[str], None] | None) -> int:
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:  # the directory was just removed with its last cluster
            continue
        try:
            _lock(descriptor, on_wait)
            if _is_current(descriptor, path):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        on_wait = None
        os.close(descriptor)


def _lock(descriptor: int, on_wait: Callable[[str], None] | None) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        if on_wait is not None:
            on_wait(os.pread(descriptor, 32, 0).decode(errors="replace"))
        fcntl.flock(descriptor, fcntl.LOCK_EX)


def _is_current(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False
