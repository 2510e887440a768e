"""What the tests of the wire share: two connected streams."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from tiphys.net.stream import TransportStream

Connect = Callable[[], Awaitable[tuple[TransportStream, TransportStream]]]


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Call it for both ends of a new connection, each a ByteStream over a real socket."""
    opened: list[TransportStream] = []

    async def stream_of(sock: socket.socket) -> TransportStream:
        sock.setblocking(False)
        _, stream = await asyncio.get_running_loop().create_connection(TransportStream, sock=sock)
        opened.append(stream)
        return stream

    async def connect_both() -> tuple[TransportStream, TransportStream]:
        left, right = socket.socketpair()
        return await stream_of(left), await stream_of(right)

    yield connect_both
    for stream in opened:
        stream.close()
    await asyncio.sleep(0)
