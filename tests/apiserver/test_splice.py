"""Two connections made one: whoever ends first ends both."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from tiphys.apiserver.streams import splice
from tiphys.net.stream import TransportStream

PATIENCE_SECONDS = 60.0


class Pair:
    """A client and a server, each with its own connection to the splice between them."""

    def __init__(self) -> None:
        self.opened: list[TransportStream] = []

    async def start(self) -> None:
        self.client, left = await self._connection()
        self.server, right = await self._connection()
        self.splicing = asyncio.create_task(splice(left, right))

    async def _connection(self) -> tuple[TransportStream, TransportStream]:
        ends = []
        for end in socket.socketpair():
            end.setblocking(False)
            _, stream = await asyncio.get_running_loop().create_connection(TransportStream, sock=end)
            ends.append(stream)
        self.opened += ends
        return ends[0], ends[1]


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    pair = Pair()
    await pair.start()
    yield pair
    pair.splicing.cancel()
    for stream in pair.opened:
        stream.close()
    await asyncio.sleep(0)


async def read_all(stream: TransportStream) -> bytes:
    parts = []
    async with asyncio.timeout(PATIENCE_SECONDS):
        while part := await stream.read():
            parts.append(part)
    return b"".join(parts)


async def test_bytes_go_both_ways(pair: Pair) -> None:
    await pair.client.write(b"question")
    assert await pair.server.read() == b"question"
    await pair.server.write(b"answer")
    assert await pair.client.read() == b"answer"


async def test_a_client_that_goes_is_gone_for_the_server_although_that_says_nothing(pair: Pair) -> None:
    await pair.client.write(b"last words")
    pair.client.close()
    assert await read_all(pair.server) == b"last words"
    async with asyncio.timeout(PATIENCE_SECONDS):
        await pair.splicing


async def test_all_that_the_server_said_arrives_before_its_end(pair: Pair) -> None:
    answer = bytes(range(256)) * 10_000
    reading = asyncio.create_task(read_all(pair.client))
    await pair.server.write(answer)
    pair.server.close()
    assert await reading == answer
    async with asyncio.timeout(PATIENCE_SECONDS):
        await pair.splicing
