"""A bounded pipe of bytes between two tasks of one event loop.

Multiplexed protocols (SPDY streams, WebSocket channels) have one task that reads the connection and one reader for
each stream in it. The pipe sits between: it keeps what the reader has not taken yet, and makes the task that reads
the connection wait when that is too much, so that a slow reader slows the peer down instead of filling memory.

Made and ended by the stream that owns it; it holds no task and no socket.
"""

import asyncio
from collections import deque

__all__ = ["BytePipe"]

LIMIT_BYTES = 256 * 1024


class BytePipe:
    """Bytes go in at one end (`write`, `close_write`) and come out at the other (`read`, `close_read`).

    `limit_bytes` is where writers begin to wait; what one `write` brings is always taken whole.
    """

    __slots__ = (
        "_chunks",
        "_ended",
        "_error",
        "_limit_bytes",
        "_readable",
        "_unwanted",
        "_writable",
        "size_bytes",
    )

    def __init__(self, limit_bytes: int = LIMIT_BYTES) -> None:
        self.size_bytes = 0
        self._limit_bytes = limit_bytes
        self._chunks: deque[bytes | memoryview] = deque()
        self._readable = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._ended = False
        self._unwanted = False
        self._error: Exception | None = None

    async def read(self, n: int = 65536) -> bytes:
        """At most n bytes as soon as there are any; b"" at the end. Raises the writer's error after the last byte."""
        while not self._chunks:
            if self._error is not None:
                raise self._error
            if self._ended or self._unwanted:
                return b""
            self._readable.clear()
            await self._readable.wait()
        return self._take(n)

    def _take(self, n: int) -> bytes:
        chunk = self._chunks.popleft()
        if len(chunk) > n:
            view = memoryview(chunk)
            self._chunks.appendleft(view[n:])
            chunk = view[:n]
        self.size_bytes -= len(chunk)
        if self.size_bytes <= self._limit_bytes:
            self._writable.set()
        return bytes(chunk)

    def feed(self, data: bytes) -> None:
        """Adds data without waiting. Dropped when the reader has gone or the writing end is closed."""
        if not data or self._unwanted or self._ended:
            return
        self._chunks.append(data)
        self.size_bytes += len(data)
        if self.size_bytes > self._limit_bytes:
            self._writable.clear()
        self._readable.set()

    async def write(self, data: bytes) -> None:
        """Adds data, then waits until the reader has caught up to the limit."""
        self.feed(data)
        await self._writable.wait()

    def close_write(self, error: Exception | None = None) -> None:
        """No more bytes come. The reader gets what is there, then the error or the end. Later calls change nothing."""
        if not self._ended:
            self._ended = True
            self._error = error
            self._readable.set()

    def close_read(self) -> None:
        """The reader wants no more: drops what is there and what still comes, and lets the writer go on."""
        self._unwanted = True
        self._chunks.clear()
        self.size_bytes = 0
        self._writable.set()
        self._readable.set()
