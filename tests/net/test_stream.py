"""A transport as a ByteStream: order, both kinds of end, and waiting for a slow peer."""

import asyncio
import socket
from collections.abc import Awaitable, Callable

import pytest

from tiphys.net.stream import TransportStream

Connect = Callable[[], Awaitable[tuple[TransportStream, TransportStream]]]


async def read_all(stream: TransportStream) -> bytes:
    parts = []
    while part := await stream.read():
        parts.append(part)
    return b"".join(parts)


async def test_half_close_leaves_the_other_direction_open(connect: Connect) -> None:
    here, there = await connect()
    await here.write(b"question")
    await here.write_eof()
    assert await read_all(there) == b"question"
    await there.write(b"answer")
    there.close()
    assert await read_all(here) == b"answer"


async def test_a_small_read_leaves_the_rest(connect: Connect) -> None:
    here, there = await connect()
    await here.write(bytearray(b"abcdef"))
    here.close()
    assert [await there.read(4), await there.read(4), await there.read(4)] == [b"abcd", b"ef", b""]


async def test_a_writer_waits_until_the_peer_reads(connect: Connect) -> None:
    here, there = await connect()
    size = 8 * 1024 * 1024

    async def produce() -> None:
        for _ in range(size // 65536):
            await here.write(bytes(65536))
        here.close()

    producing = asyncio.ensure_future(produce())
    for _ in range(200):
        await asyncio.sleep(0)
    assert not producing.done()
    assert len(await read_all(there)) == size
    await producing


async def test_writing_to_a_lost_connection_says_so(connect: Connect) -> None:
    here, there = await connect()
    there.close()

    async def write_on() -> None:
        for _ in range(1000):
            await here.write(bytes(65536))
            await asyncio.sleep(0)

    with pytest.raises(ConnectionError):
        await write_on()


async def test_bytes_received_before_the_hand_over_come_first() -> None:
    left, right = socket.socketpair()
    left.setblocking(False)
    transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=left)
    stream = TransportStream()
    stream.take_over(transport, b"early ")
    right.sendall(b"late")
    right.close()
    assert await read_all(stream) == b"early late"
    stream.close()


async def test_small_pieces_that_came_one_after_the_other_are_read_in_one() -> None:
    stream = TransportStream()
    for piece in (b"a", b"bc", b"def"):
        stream.data_received(piece)
    assert await stream.read(5) == b"abc"
    assert await stream.read() == b"def"


async def test_a_peer_that_sends_single_bytes_is_held_back_too(connect: Connect) -> None:
    here, there = await connect()
    for _ in range(10_000):
        there.data_received(b"x")
    # What its socket brings now waits there.
    await here.write(b"y" * 1000)
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(await there.read(1 << 20)) == 10_000
    assert await there.read() == b"y" * 1000
