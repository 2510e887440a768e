"""Calls of ours, answered by Google's gRPC server; and by servers that are none."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from grpc_peers import Peer

from tiphys.net.grpc import Code, GRPCError, Terms, Unframer, framed, timeout_value
from tiphys.net.grpc_blocking import BlockingChannel
from tiphys.net.grpc_channel import Channel

PATIENCE_SECONDS = 60
LIMIT_BYTES = 16 << 20


@pytest.fixture
async def peer(tmp_path: Path) -> AsyncIterator[Peer]:
    made = Peer(tmp_path / "s")
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def channel(tmp_path: Path) -> AsyncIterator[Channel]:
    made = Channel(str(tmp_path / "s"), Terms(receive_limit_bytes=LIMIT_BYTES))
    yield made
    await made.close()


async def refusal(channel: Channel, method: str, request: bytes = b"", **options: float) -> GRPCError:
    with pytest.raises(GRPCError) as caught:
        await channel.unary(f"/test.Peer/{method}", request, timeout_seconds=options.get("timeout_seconds"))
    return caught.value


async def test_a_call_and_its_metadata(peer: Peer, channel: Channel) -> None:
    metadata = (("containerd-namespace", "k8s.io"),)
    answer = await channel.unary("/test.Peer/Echo", b"hello", metadata=metadata, timeout_seconds=100)
    assert answer == b"hello"
    assert peer.metadata["containerd-namespace"] == "k8s.io"
    assert peer.metadata["user-agent"] == "grpc-tiphys/1"
    assert peer.time_left is not None
    assert 0 < peer.time_left < 101
    assert await channel.unary("/test.Peer/Echo", b"") == b""
    assert peer.time_left is None


async def test_many_calls_at_once_share_a_connection(peer: Peer, channel: Channel) -> None:
    requests = [str(number).encode() * number for number in range(500)]
    answers = await asyncio.gather(*(channel.unary("/test.Peer/Echo", request) for request in requests))
    assert answers == requests


async def test_messages_up_to_the_limit(peer: Peer, channel: Channel) -> None:
    whole = os.urandom(LIMIT_BYTES)
    assert await channel.unary("/test.Peer/Echo", whole) == whole
    error = await refusal(channel, "Echo", whole + b"x")
    assert error.code == Code.RESOURCE_EXHAUSTED
    assert error.details == f"grpc: received message larger than max ({LIMIT_BYTES + 1} vs. {LIMIT_BYTES})"
    assert await channel.unary("/test.Peer/Echo", b"and on it goes") == b"and on it goes"


async def test_a_servers_refusal(peer: Peer, channel: Channel) -> None:
    error = await refusal(channel, "Fail", "nicht jetzt: 100 % müde\n".encode())
    assert (error.code, error.details) == (Code.FAILED_PRECONDITION, "nicht jetzt: 100 % müde\n")
    assert str(error) == "rpc error: code = FailedPrecondition desc = nicht jetzt: 100 % müde\n"
    assert (await refusal(channel, "Nothing")).code == Code.UNIMPLEMENTED


async def test_a_deadline_ends_a_call_on_both_sides(peer: Peer, channel: Channel) -> None:
    error = await refusal(channel, "Hang", timeout_seconds=0.2)
    assert (error.code, error.details) == (Code.DEADLINE_EXCEEDED, "context deadline exceeded")
    async with asyncio.timeout(PATIENCE_SECONDS):
        if peer.hanging.is_set():  # else the call was over before it came there
            await peer.cancelled.wait()
    assert await channel.unary("/test.Peer/Echo", b"x") == b"x"


async def test_a_cancelled_caller_cancels_the_call(peer: Peer, channel: Channel) -> None:
    task = asyncio.create_task(channel.unary("/test.Peer/Hang", b""))
    async with asyncio.timeout(PATIENCE_SECONDS):
        await peer.hanging.wait()
        task.cancel()
        await peer.cancelled.wait()
    assert task.cancelled()
    assert await channel.unary("/test.Peer/Echo", b"x") == b"x"


async def test_a_stream_of_answers(peer: Peer, channel: Channel) -> None:
    found = [message async for message in channel.stream("/test.Peer/Count", b"300 0")]
    assert found == [str(number).encode() for number in range(300)]
    with pytest.raises(GRPCError) as caught:
        async for _ in channel.stream("/test.Peer/Count", b"0 0"):
            pass
    assert (caught.value.code, caught.value.details) == (Code.NOT_FOUND, "nothing to count")


async def test_who_reads_slowly_slows_the_server(peer: Peer, channel: Channel) -> None:
    """64 MiB are not taken in at once; and a message longer than the window comes through."""
    answers = channel.stream("/test.Peer/Count", b"16 4194304")
    assert (await anext(answers)).rstrip() == b"0"
    # Another call on the same connection is not held up; after a hundred, the server has sent what it may.
    for _ in range(100):
        await channel.unary("/test.Peer/Echo", b"x")
    assert peer.counted < 16
    assert [int(message) async for message in answers] == list(range(1, 16))


async def test_a_stream_that_nobody_reads_on_is_cancelled(peer: Peer, channel: Channel) -> None:
    for _ in range(70):  # more than fit into the connection's window
        async for message in (answers := channel.stream("/test.Peer/Count", b"2 1048576")):
            assert message.rstrip() == b"0"
            break
        await answers.aclose()  # type: ignore[attr-defined]
    assert await channel.unary("/test.Peer/Echo", b"x") == b"x"


async def test_a_call_that_goes_both_ways(peer: Peer, channel: Channel) -> None:
    async with channel.open("/test.Peer/Talk") as call:
        for word in (b"one", b"two"):
            call.write(word)
            assert await call.read() == word.upper()
        call.write(b"three", end=True)
        assert await call.read() == b"THREE"
        assert await call.read() is None


async def test_a_server_that_dies_and_comes_back(peer: Peer, channel: Channel) -> None:
    hanging = asyncio.create_task(refusal(channel, "Hang"))
    async with asyncio.timeout(PATIENCE_SECONDS):
        await peer.hanging.wait()
        await peer.stop()
        assert (await hanging).code in (Code.UNAVAILABLE, Code.CANCELLED)
        await peer.start()
    assert await channel.unary("/test.Peer/Echo", b"again") == b"again"


async def test_nobody_listens(channel: Channel, tmp_path: Path) -> None:
    error = await refusal(channel, "Echo")
    why = f"transport: Error while dialing: dial unix {tmp_path / 's'}: connect: no such file or directory"
    assert (error.code, error.details) == (Code.UNAVAILABLE, f'connection error: desc = "{why}"')


async def test_a_server_that_hangs_up_in_the_middle(channel: Channel, tmp_path: Path) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(b"\0\0\0\4\0\0\0\0\0")  # an empty SETTINGS frame: the call goes out
        await reader.readuntil(b"\0\0\0\0\5hello")
        writer.close()

    async with await asyncio.start_unix_server(serve, tmp_path / "s"):
        error = await refusal(channel, "Echo", b"hello")
    assert error.code == Code.UNAVAILABLE
    assert error.details.startswith("error reading from server: ")


async def test_a_server_of_something_else(channel: Channel, tmp_path: Path) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await reader.read()
        writer.close()

    async with await asyncio.start_unix_server(serve, tmp_path / "s"):
        assert (await refusal(channel, "Echo")).code == Code.UNAVAILABLE


async def test_a_server_that_says_nothing(channel: Channel, tmp_path: Path) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_unix_server(serve, tmp_path / "s"):
        error = await refusal(channel, "Echo", timeout_seconds=0.2)
        assert error.code == Code.DEADLINE_EXCEEDED
        await channel.close()


async def test_calls_after_close(peer: Peer, channel: Channel) -> None:
    await channel.unary("/test.Peer/Echo", b"")
    await channel.close()
    assert (await refusal(channel, "Echo")).details == "grpc: the client connection is closing"


async def test_a_thread_that_waits(peer: Peer, tmp_path: Path) -> None:
    channel = BlockingChannel(str(tmp_path / "s"), Terms(receive_limit_bytes=LIMIT_BYTES))

    async def ask(method: str, request: bytes, seconds: float = PATIENCE_SECONDS) -> bytes:
        return await asyncio.to_thread(
            channel.unary, f"/test.Peer/{method}", request, timeout_seconds=seconds
        )

    whole = os.urandom(3 << 20)
    assert await ask("Echo", whole) == whole
    for method, seconds, code in [
        ("Fail", PATIENCE_SECONDS, Code.FAILED_PRECONDITION),
        ("Hang", 0.2, Code.DEADLINE_EXCEEDED),
    ]:
        with pytest.raises(GRPCError) as caught:
            await ask(method, b"why", seconds)
        assert caught.value.code == code
    assert await ask("Echo", b"x") == b"x"
    await peer.stop()
    with pytest.raises(GRPCError) as caught:
        await ask("Echo", b"x")
    assert caught.value.code == Code.UNAVAILABLE
    await peer.start()
    assert await ask("Echo", b"x") == b"x"
    channel.close()


def test_messages_out_of_pieces() -> None:
    wire = framed(b"one") + framed(b"") + framed(b"x" * 300)
    for size in (1, 2, 5, 7, 1000):
        unframer = Unframer(300)
        pieces = [wire[start : start + size] for start in range(0, len(wire), size)]
        assert [message for piece in pieces for message in unframer.feed(piece)] == [b"one", b"", b"x" * 300]
        assert unframer.is_empty


@pytest.mark.parametrize("data", [framed(b"x" * 301), b"\1" + framed(b"x")[1:]])
def test_messages_that_are_not_taken(data: bytes) -> None:
    with pytest.raises(GRPCError):
        Unframer(300).feed(data)


@pytest.mark.parametrize(
    ("seconds", "value"), [(0.0001, b"1m"), (1, b"1001m"), (240, b"240001m"), (1e6, b"1000001S")]
)
def test_timeouts_on_the_wire(seconds: float, value: bytes) -> None:
    assert timeout_value(seconds) == value
