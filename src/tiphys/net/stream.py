"""A ByteStream over one asyncio transport: what an upgraded connection becomes, and what a dialled one can be.

Reading is bounded: while the reader is behind, the transport is paused, so that the peer's TCP window closes.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from typing import cast

from tiphys.net.http import ByteStream

READ_BUFFER_BYTES = 512 * 1024
RESUME_BELOW_BYTES = 128 * 1024
"""Before the last byte is taken: the peer's next ones come while the reader works on these."""
PIECES_LIMIT = 256
"""However small they are: each has its price."""
JOIN_BELOW_BYTES = 32 * 1024


class TransportStream(ByteStream, asyncio.Protocol):
    """Made first, then given to the loop (`create_connection`) or put on an open transport by `take_over`."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._chunks: deque[bytes | memoryview] = deque()
        self._received_bytes = 0
        self._ended = False
        self._error: Exception | None = None
        self._reader: asyncio.Future[None] | None = None
        self._writers: list[asyncio.Future[None]] = []
        self._reading_paused = False
        self._writing_paused = False
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def take_over(
        self, transport: asyncio.Transport, received: bytes, *, writing_paused: bool = False
    ) -> None:
        """Become the protocol of a transport in use; `received` was read from it already."""
        transport.set_protocol(self)
        self._transport = transport
        self._writing_paused = writing_paused
        if received:
            self._chunks.append(received)
            self._received_bytes += len(received)

    async def read(self, n: int = 65536) -> bytes:
        while not self._chunks:
            if self._error is not None:
                raise ConnectionResetError(str(self._error)) from self._error
            if self._ended:
                return b""
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader
        return self._take(n)

    def _take(self, n: int) -> bytes:
        """Large pieces are given on as they came, without a copy; small ones that came one after the other in one."""
        chunk = self._chunks.popleft()
        if len(chunk) > n:
            view = memoryview(chunk)
            self._chunks.appendleft(view[n:])
            chunk = view[:n]
        elif len(chunk) < JOIN_BELOW_BYTES and self._chunks:
            parts, size = [chunk], len(chunk)
            while self._chunks and size + len(self._chunks[0]) <= n:
                parts.append(self._chunks.popleft())
                size += len(parts[-1])
            chunk = b"".join(parts)
        self._received_bytes -= len(chunk)
        if self._reading_paused and self._received_bytes <= RESUME_BELOW_BYTES:
            self._resume_reading()
        return bytes(chunk)

    def _resume_reading(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._reading_paused = False
            self._transport.resume_reading()

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._transport is None or self._transport.is_closing():
            raise ConnectionResetError("the connection is closed")
        self._transport.write(data)
        if self._writing_paused:
            writable: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._writers.append(writable)
            await writable

    async def write_eof(self) -> None:
        transport = self._transport
        if transport is not None and not transport.is_closing() and transport.can_write_eof():
            with suppress(OSError):  # The peer is gone already: reading tells.
                transport.write_eof()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
        self._end(None)

    def abort(self) -> None:
        """Close at once; what was written and not sent is dropped."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._chunks.append(data)
        self._received_bytes += len(data)
        if (
            (self._received_bytes >= READ_BUFFER_BYTES or len(self._chunks) >= PIECES_LIMIT)
            and not self._reading_paused
            and self._transport is not None
        ):
            self._reading_paused = True
            self._transport.pause_reading()
        self._wake_reader()

    def eof_received(self) -> bool:
        self._end(None)
        # True keeps our side open for writing after a half-close. TLS cannot half-close: asyncio ignores it there.
        return self._transport is not None and self._transport.can_write_eof()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(exc)
        for writable in self._writers:
            if not writable.done():
                writable.set_exception(ConnectionResetError("the connection was lost"))
        self._writers.clear()
        if not self.lost.done():
            self.lost.set_result(None)

    def pause_writing(self) -> None:
        self._writing_paused = True

    def resume_writing(self) -> None:
        self._writing_paused = False
        for writable in self._writers:
            if not writable.done():
                writable.set_result(None)
        self._writers.clear()

    def _end(self, error: Exception | None) -> None:
        if not self._ended:
            self._ended = True
            self._error = error
            self._wake_reader()

    def _wake_reader(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)
