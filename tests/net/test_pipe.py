import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiphys.net.pipe import BytePipe


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_bytes_come_out_in_order_and_end() -> None:
    pipe = BytePipe()
    await pipe.write(b"ab")
    await pipe.write(b"cd")
    pipe.close_write()
    assert [await pipe.read(), await pipe.read(), await pipe.read()] == [b"ab", b"cd", b""]


async def test_a_writer_waits_for_a_slow_reader() -> None:
    pipe = BytePipe(limit_bytes=4)
    writing = asyncio.ensure_future(pipe.write(b"12345678"))
    await settle()
    assert not writing.done()
    assert await pipe.read(3) == b"123"
    await settle()
    assert not writing.done()
    assert await pipe.read(3) == b"456"
    await writing
    assert await pipe.read() == b"78"


async def test_a_reader_that_leaves_frees_the_writer() -> None:
    pipe = BytePipe(limit_bytes=1)
    writing = asyncio.ensure_future(pipe.write(b"long"))
    await settle()
    pipe.close_read()
    await writing
    await pipe.write(b"more")
    assert pipe.size_bytes == 0
    assert await pipe.read() == b""


async def test_an_error_comes_after_the_last_byte_and_stays() -> None:
    pipe = BytePipe()
    pipe.feed(b"x")
    pipe.close_write(ConnectionResetError("gone"))
    pipe.close_write()
    assert await pipe.read() == b"x"
    for _ in range(2):
        with pytest.raises(ConnectionResetError, match="gone"):
            await pipe.read()


async def test_a_waiting_reader_is_woken_by_the_end() -> None:
    pipe = BytePipe()
    reading = asyncio.ensure_future(pipe.read())
    await settle()
    pipe.close_write()
    assert await reading == b""


@given(st.lists(st.binary(max_size=50), max_size=20), st.integers(1, 60), st.integers(0, 100))
def test_nothing_is_lost_whatever_the_sizes(chunks: list[bytes], size: int, limit: int) -> None:
    async def scenario() -> bytes:
        pipe = BytePipe(limit_bytes=limit)

        async def produce() -> None:
            for chunk in chunks:
                await pipe.write(chunk)
            pipe.close_write()

        producing = asyncio.ensure_future(produce())
        got = b""
        while piece := await pipe.read(size):
            assert len(piece) <= size
            got += piece
        await producing
        return got

    assert asyncio.run(scenario()) == b"".join(chunks)
