"""Named pipes between us and containerd's shim, read and written without blocking the event loop.

asyncio's own pipe transports read ahead into a buffer of their own; here nothing is read before somebody asks for it, so that
a client that does not read holds back the process that writes.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
from contextlib import suppress
from typing import Literal

CHUNK_BYTES = 256 * 1024
CONNECT_SECONDS = 0.001
WIDE_BYTES = 512 * 1024
WIDEN_AFTER_BYTES = 1 << 20
"""A pipe holds 64 KiB. One that carries much is made wider, so that each side finds more to do whenever it looks.

Not every one from the start: all of a user's pipes together may hold 64 MiB, and beyond that new ones hold next to nothing.
"""


class _PipeEnd:
    """A descriptor that can be waited for, by any number of tasks, and closed at any time."""

    def __init__(self, path: str | None, flags: int, readiness: Literal["reader", "writer"]) -> None:
        self._readiness = readiness
        self._waiters: list[asyncio.Future[None]] = []
        self._carried_bytes = 0
        self._descriptor = None if path is None else os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)

    async def _ready(self, descriptor: int) -> None:
        loop = asyncio.get_running_loop()
        # Each task has its own: the cancellation of one must not reach the others.
        waiter: asyncio.Future[None] = loop.create_future()
        if not self._waiters:
            getattr(loop, f"add_{self._readiness}")(descriptor, self._wake, descriptor)
        self._waiters.append(waiter)
        await waiter

    def _carried(self, descriptor: int, size: int) -> None:
        before, self._carried_bytes = self._carried_bytes, self._carried_bytes + size
        if before < WIDEN_AFTER_BYTES <= self._carried_bytes:
            with suppress(OSError):  # there is no more room for wide ones: this one stays as it is
                fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, WIDE_BYTES)

    def _wake(self, descriptor: int) -> None:
        waiters, self._waiters = self._waiters, []
        if waiters:
            getattr(waiters[0].get_loop(), f"remove_{self._readiness}")(descriptor)
        for waiter in waiters:
            if not waiter.done():
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
                self._carried(self._descriptor, len(data))
                return data
            self.close()
        raise StopAsyncIteration


class PipeWriter(_PipeEnd):
    """The writing end, once `connect()` has found a reader. Until then nothing can be written, and after `close()` no more."""

    def __init__(self, path: str) -> None:
        super().__init__(None, os.O_WRONLY, "writer")
        self._path = path
        self._closed = False

    async def connect(self) -> None:
        """Waits until the shim has opened its end, which it does in its own time, or close().

        To write earlier would need a reading end of our own: data then has a reader that never reads it, or, once we give that up too
        soon, none at all.
        """
        while not self._closed:
            try:
                self._descriptor = os.open(self._path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
                return
            except OSError as error:
                if error.errno != errno.ENXIO:
                    self._closed = True
            await asyncio.sleep(CONNECT_SECONDS)

    async def write(self, data: bytes) -> None:
        """Waits for room. What nobody will read is dropped in silence."""
        rest = memoryview(data)
        while rest and self._descriptor is not None:
            try:
                written = os.write(self._descriptor, rest)
                self._carried(self._descriptor, written)
                rest = rest[written:]
            except BlockingIOError:
                await self._ready(self._descriptor)
            except BrokenPipeError:
                self.close()

    def close(self) -> None:
        self._closed = True
        super().close()
