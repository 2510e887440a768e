"""One command at a time: `up` and `down` of one cluster take turns, and so do those that choose ports and addresses.

A lock is a file that the kernel unlocks when its holder ends, however that happens. It is removed with its cluster; so whoever
has waited for it looks whether it is still the file that the others see.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path


def exclusive(path: Path, on_wait: Callable[[str], None] | None = None) -> AbstractContextManager[None]:
    """Holds the lock, waiting for it if it must; `on_wait` is told once who has it: a pid, or "".

    Ctrl-C may come at any moment: whoever then cleans up takes locks, too, and would wait for himself if one were left.
    """
    return _Exclusive(path, on_wait)


class _Exclusive(AbstractContextManager[None]):
    def __init__(self, path: Path, on_wait: Callable[[str], None] | None) -> None:
        self._path = path
        self._on_wait = on_wait
        self._held: list[int] = []
        """Open files, known here before they are locked."""

    def __enter__(self) -> None:
        try:
            descriptor = self._take()
            try:
                os.ftruncate(descriptor, 0)
                os.write(descriptor, str(os.getpid()).encode())
            except OSError:  # a full disk: who waits will not be told for whom
                pass
        except BaseException:
            self._release()
            raise

    def __exit__(self, *failure: object) -> None:
        self._release()

    def _release(self) -> None:
        while self._held:
            os.close(self._held.pop())

    def _take(self) -> int:
        while True:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._held.append(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            except FileNotFoundError:  # the directory was just removed with its last cluster
                continue
            _lock(self._held[0], self._on_wait)
            if _is_current(self._held[0], self._path):
                return self._held[0]
            self._on_wait = None
            self._release()


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
