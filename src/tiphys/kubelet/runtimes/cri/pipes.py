"""Named pipes between us and containerd's shim, read and written without blocking the event loop.

asyncio's own pipe transports read ahead into a buffer of their own; here nothing is read before somebody asks for it, so that
a client that does not read holds back the process that writes.
"""

from __future__ import annotations

import asyncio
import os
from typing import Literal

CHUNK_BYTES = 65536


class _PipeEnd:
    """A descriptor that can be waited for, by any number of tasks, and closed at any time."""

    def __init__(self, path: str | None, flags: int, readiness: Literal["reader", "writer"]) -> None:
        self._readiness = readiness
        self._waiter: asyncio.Future[None] | None = None
        self._descriptor = None if path is None else os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)

    async def _ready(self, descriptor: int) -> None:
        if self._waiter is None:
            self._waiter = asyncio.get_running_loop().create_future()
            getattr(self._waiter.get_loop(), f"add_{self._readiness}")(descriptor, self._wake, descriptor)
        # Not awaited itself: the cancellation of one task must not reach the others.
        await asyncio.wait([self._waiter])

    def _wake(self, descriptor: int) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            getattr(waiter.get_loop(), f"remove_{self._readiness}")(descriptor)
            waiter.set_result(None)

    def close(self) -> None:
        """Wakes whoever waits. Harmless when repeated."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            self._wake(descriptor)
            os.close(descriptor)


class PipeReader(_PipeEnd):
    """The reading end: iterate for chunks, until every writer has closed. With path None: an empty stream."""

    def __init__(self, path: str | None) -> None:
        super().__init__(path, os.O_RDONLY, "reader")

    def __aiter__(self) -> PipeReader:
        return self

    async def __anext__(self) -> bytes:
        while self._descriptor is not None:
            try:
                data = os.read(self._descriptor, CHUNK_BYTES)
            except BlockingIOError:
                await self._ready(self._descriptor)
                continue
            if data:
                return data
            self.close()
        raise StopAsyncIteration


class PipeWriter(_PipeEnd):
    """The writing end. The pipe is held open for reading too until `connected()`, so that it can be opened before the shim does."""

    def __init__(self, path: str) -> None:
        super().__init__(path, os.O_RDWR, "writer")
        self._path = path

    def connected(self) -> None:
        """The shim has opened its end: give up ours for reading, else a write would never notice that nobody reads any more."""
        placeholder = self._descriptor
        if placeholder is None:  # closed meanwhile
            return
        try:
            self._descriptor = os.open(self._path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:  # the process has ended already, and its directory is gone
            self._descriptor = None
        os.close(placeholder)

    async def write(self, data: bytes) -> None:
        """Waits for room. What nobody will read is dropped in silence."""
        rest = memoryview(data)
        while rest and self._descriptor is not None:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except BlockingIOError:
                await self._ready(self._descriptor)
            except BrokenPipeError:
                self.close()
