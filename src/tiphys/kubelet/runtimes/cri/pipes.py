"""Named pipes between us and containerd's shim, read and written without blocking the event loop.

asyncio's own pipe transports read ahead into a buffer of their own; here nothing is read before somebody asks for it, so that
a client that does not read holds back the process that writes.
"""

from __future__ import annotations

import asyncio
import os
from typing import Literal

CHUNK_BYTES = 65536


class PipeReader:
    """The reading end: iterate for chunks, until every writer has closed. With path None: an empty stream."""

    def __init__(self, path: str | None) -> None:
        self._descriptor = None if path is None else os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        self._waiter: asyncio.Future[None] | None = None

    def __aiter__(self) -> PipeReader:
        return self

    async def __anext__(self) -> bytes:
        while self._descriptor is not None:
            try:
                data = os.read(self._descriptor, CHUNK_BYTES)
            except BlockingIOError:
                await self._readable(self._descriptor)
                continue
            if data:
                return data
            self.close()
        raise StopAsyncIteration

    async def _readable(self, descriptor: int) -> None:
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        loop.add_reader(descriptor, _resolve, self._waiter)
        try:
            await self._waiter
        finally:
            # close() has removed it already, and the number may be another file's by now.
            if self._descriptor is not None:
                loop.remove_reader(descriptor)

    def close(self) -> None:
        """Ends the iteration, whoever waits in it."""
        descriptor, self._descriptor = self._descriptor, None
        _close(descriptor, self._waiter, "remove_reader")


class PipeWriter:
    """The writing end. The pipe is held open for reading too until `connected()`, so that it can be opened before the shim does."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._descriptor: int | None = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self._waiter: asyncio.Future[None] | None = None

    def connected(self) -> None:
        """The shim has opened its end: give up ours for reading, else a write would never notice that nobody reads any more."""
        placeholder = self._descriptor
        try:
            self._descriptor = os.open(self._path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:  # ENXIO: the process has ended already
            self._descriptor = None
        if placeholder is not None:
            os.close(placeholder)

    async def write(self, data: bytes) -> None:
        """Waits for room. What nobody will read is dropped in silence."""
        rest = memoryview(data)
        while rest and self._descriptor is not None:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except BlockingIOError:
                await self._writable(self._descriptor)
            except BrokenPipeError:
                self.close()

    async def _writable(self, descriptor: int) -> None:
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        loop.add_writer(descriptor, _resolve, self._waiter)
        try:
            await self._waiter
        finally:
            if self._descriptor is not None:
                loop.remove_writer(descriptor)

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        _close(descriptor, self._waiter, "remove_writer")


def _close(
    descriptor: int | None,
    waiter: asyncio.Future[None] | None,
    remove: Literal["remove_reader", "remove_writer"],
) -> None:
    """Forgets the descriptor in the loop, closes it and wakes whoever waited for it."""
    if descriptor is None:
        return
    if waiter is not None:
        getattr(waiter.get_loop(), remove)(descriptor)
        _resolve(waiter)
    os.close(descriptor)


def _resolve(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
