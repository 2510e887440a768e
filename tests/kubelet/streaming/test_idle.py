"""A streaming connection that nobody uses is ended; one that is used is not."""

from __future__ import annotations

import asyncio
import socket

from tiphys.kubelet.streaming.idle import ended_when_idle
from tiphys.net.http import ByteStream, Response
from tiphys.net.stream import TransportStream
from tiphys.testing.clock import FakeClock

PATIENCE_SECONDS = 60.0
LIMIT_SECONDS = 100.0


async def connected() -> tuple[TransportStream, TransportStream]:
    ends = []
    for end in socket.socketpair():
        end.setblocking(False)
        _, stream = await asyncio.get_running_loop().create_connection(TransportStream, sock=end)
        ends.append(stream)
    return ends[0], ends[1]


async def echo(stream: ByteStream) -> None:
    while data := await stream.read():
        await stream.write(data)


async def test_only_what_is_idle_ends() -> None:
    clock = FakeClock()
    response = ended_when_idle(Response(101, upgrade=echo), clock, LIMIT_SECONDS)
    assert response.upgrade is not None
    client, server = await connected()
    async with asyncio.timeout(PATIENCE_SECONDS):
        running = asyncio.ensure_future(response.upgrade(server))
        for _ in range(5):
            await clock.advance(LIMIT_SECONDS - 1)
            await client.write(b"still here")
            assert await client.read() == b"still here"
        await clock.advance(LIMIT_SECONDS + 1)
        assert await client.read() == b""
        await running
    client.close()


async def test_a_limit_of_nothing_is_none() -> None:
    response = Response(101, upgrade=echo)
    assert ended_when_idle(response, FakeClock(), 0).upgrade is echo
    assert ended_when_idle(Response(404), FakeClock(), LIMIT_SECONDS).upgrade is None
