"""Waiting for a directory to change: inotify by system call, on the event loop."""

from __future__ import annotations

import asyncio
import ctypes
import os
from pathlib import Path

_libc = ctypes.CDLL(None, use_errno=True)
_IN_NONBLOCK = os.O_NONBLOCK
_IN_CLOEXEC = os.O_CLOEXEC
_IN_MODIFY, _IN_MOVED_FROM, _IN_MOVED_TO, _IN_CREATE, _IN_DELETE = 0x2, 0x40, 0x80, 0x100, 0x200
_MASK = _IN_MODIFY | _IN_MOVED_FROM | _IN_MOVED_TO | _IN_CREATE | _IN_DELETE
_EVENT_BYTES = 65536


class DirectoryWatch:
    """Changes of a directory's files from its making on. Without inotify (its instances are few) `changed` just takes its time."""

    def __init__(self, directory: Path) -> None:
        self._event = asyncio.Event()
        self._descriptor = _libc.inotify_init1(_IN_NONBLOCK | _IN_CLOEXEC)
        if self._descriptor >= 0:
            if _libc.inotify_add_watch(self._descriptor, os.fsencode(directory), _MASK) < 0:
                self.close()
                return
            asyncio.get_running_loop().add_reader(self._descriptor, self._read)

    async def changed(self, at_most_seconds: float) -> bool:
        """Until something has changed since the last call, or so long (False)."""
        try:
            async with asyncio.timeout(at_most_seconds):
                await self._event.wait()
        except TimeoutError:
            return False
        finally:
            self._event.clear()
        return True

    def close(self) -> None:
        if self._descriptor >= 0:
            asyncio.get_running_loop().remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1

    def _read(self) -> None:
        try:
            os.read(self._descriptor, _EVENT_BYTES)
        except BlockingIOError:
            return
        self._event.set()
