from __future__ import annotations

import asyncio
import fcntl
import os
from pathlib import Path

import pytest

from tiphys.kubelet.runtimes.cri.pipes import WIDE_BYTES, PipeReader, PipeWriter


@pytest.fixture
def fifo(tmp_path: Path) -> str:
    os.mkfifo(tmp_path / "fifo")
    return str(tmp_path / "fifo")


async def test_what_is_written_is_read_until_the_writer_closes(fifo: str) -> None:
    reader, writer = PipeReader(fifo), PipeWriter(fifo)
    await writer.connect()
    reading = asyncio.create_task(collect(reader))
    data = os.urandom(1_000_000)  # many times what a pipe holds
    await writer.write(data)
    writer.close()
    assert await reading == data


async def collect(reader: PipeReader) -> bytes:
    return b"".join([chunk async for chunk in reader])


async def test_no_path_is_an_empty_stream() -> None:
    assert await collect(PipeReader(None)) == b""


async def test_a_writer_waits_for_a_reader(fifo: str) -> None:
    writer = PipeWriter(fifo)
    connecting = asyncio.create_task(writer.connect())
    await asyncio.sleep(0)
    assert not connecting.done()
    reader = PipeReader(fifo)
    await connecting
    await writer.write(b"x")
    assert await anext(reader) == b"x"
    writer.close()
    reader.close()


async def test_closing_ends_the_wait_for_a_reader(fifo: str) -> None:
    writer = PipeWriter(fifo)
    connecting = asyncio.create_task(writer.connect())
    await asyncio.sleep(0)
    writer.close()
    await connecting
    await writer.write(b"dropped")


async def test_a_writer_whose_reader_left_drops_the_rest(fifo: str) -> None:
    reader, writer = PipeReader(fifo), PipeWriter(fifo)
    await writer.connect()
    writing = asyncio.create_task(writer.write(b"x" * 1_000_000))
    await asyncio.sleep(0)
    assert not writing.done()
    reader.close()
    await writing
    await writer.write(b"more")
    writer.close()


async def test_closing_wakes_all_who_wait(fifo: str) -> None:
    reader, writer = PipeReader(fifo), PipeWriter(fifo)
    await writer.connect()
    readers = [asyncio.create_task(collect(reader)) for _ in range(2)]
    await asyncio.sleep(0)
    reader.close()
    assert await asyncio.gather(*readers) == [b"", b""]
    writer.close()


async def test_cancelling_one_who_waits_leaves_the_other(fifo: str) -> None:
    reader, writer = PipeReader(fifo), PipeWriter(fifo)
    await writer.connect()
    first, second = (asyncio.create_task(collect(reader)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    await writer.write(b"late")
    writer.close()
    assert await second == b"late"


async def test_a_pipe_that_carries_much_is_made_wider(fifo: str) -> None:
    reader, writer = PipeReader(fifo), PipeWriter(fifo)
    await writer.connect()
    probe = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    before = fcntl.fcntl(probe, fcntl.F_GETPIPE_SZ)
    reading = asyncio.create_task(collect(reader))
    data = os.urandom(3 << 20)
    for start in range(0, len(data), 1000):
        await writer.write(data[start : start + 1000])
    after = fcntl.fcntl(probe, fcntl.F_GETPIPE_SZ)
    writer.close()
    assert await reading == data
    os.close(probe)
    assert before <= after
    assert after >= min(WIDE_BYTES, int(Path("/proc/sys/fs/pipe-max-size").read_text()))
