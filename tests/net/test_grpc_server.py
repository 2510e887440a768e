"""A gRPC server of ours, called by Google's client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import grpc.aio
import pytest

from tiphys.net.grpc import Code, GRPCError
from tiphys.net.grpc_server import REQUEST_LIMIT_BYTES, GRPCServer

PATIENCE_SECONDS = 60


class Served:
    def __init__(self) -> None:
        self.hanging = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.server = GRPCServer(
            {
                "/test.Ours/Echo": self._echo,
                "/test.Ours/Fail": self._fail,
                "/test.Ours/Break": self._break,
                "/test.Ours/Hang": self._hang,
            }
        )

    async def _echo(self, request: bytes) -> bytes:
        return request

    async def _fail(self, request: bytes) -> bytes:
        raise GRPCError(Code.UNKNOWN, "nicht für dich\n")

    async def _break(self, request: bytes) -> bytes:
        raise ValueError("a bug")

    async def _hang(self, request: bytes) -> bytes:
        self.hanging.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return b""


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    made = Served()
    (tmp_path / "s").write_text("what a server that died has left")
    await made.server.listen(tmp_path / "s")
    yield made
    await made.server.stop()


@pytest.fixture
async def channel(tmp_path: Path, served: Served) -> AsyncIterator[grpc.aio.Channel]:
    options = [("grpc.max_receive_message_length", -1)]
    async with grpc.aio.insecure_channel(f"unix:{tmp_path / 's'}", options=options) as made:
        yield made


async def ask(
    channel: grpc.aio.Channel, path: str, request: bytes = b"", timeout: float = PATIENCE_SECONDS
) -> bytes:
    answer: bytes = await channel.unary_unary(path)(request, timeout=timeout)
    return answer


async def refusal(
    channel: grpc.aio.Channel, path: str, request: bytes = b"", timeout: float = PATIENCE_SECONDS
) -> tuple[str, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await ask(channel, path, request, timeout)
    return caught.value.code().name, caught.value.details() or ""


async def test_calls(channel: grpc.aio.Channel) -> None:
    whole = b"x" * REQUEST_LIMIT_BYTES
    assert await ask(channel, "/test.Ours/Echo", whole) == whole
    requests = [str(number).encode() for number in range(200)]
    assert await asyncio.gather(*(ask(channel, "/test.Ours/Echo", each) for each in requests)) == requests


async def test_refusals(channel: grpc.aio.Channel) -> None:
    assert await refusal(channel, "/test.Ours/Fail") == ("UNKNOWN", "nicht für dich\n")
    assert await refusal(channel, "/test.Ours/Break") == ("UNKNOWN", "a bug")
    assert await refusal(channel, "/test.Ours/None") == (
        "UNIMPLEMENTED",
        "unknown method None for service test.Ours",
    )
    assert await refusal(channel, "/test.None/Echo") == ("UNIMPLEMENTED", "unknown service test.None")
    too_long = b"x" * (REQUEST_LIMIT_BYTES + 1)
    why = f"grpc: received message larger than max ({len(too_long)} vs. {REQUEST_LIMIT_BYTES})"
    assert await refusal(channel, "/test.Ours/Echo", too_long) == ("RESOURCE_EXHAUSTED", why)
    assert await ask(channel, "/test.Ours/Echo", b"x") == b"x"


async def test_a_client_that_does_not_wait(channel: grpc.aio.Channel, served: Served) -> None:
    call = asyncio.create_task(ask(channel, "/test.Ours/Hang"))
    async with asyncio.timeout(PATIENCE_SECONDS):
        await served.hanging.wait()
        call.cancel()
        await served.cancelled.wait()


async def test_the_end_of_the_server(channel: grpc.aio.Channel, served: Served) -> None:
    call = asyncio.create_task(refusal(channel, "/test.Ours/Hang"))
    async with asyncio.timeout(PATIENCE_SECONDS):
        await served.hanging.wait()
        await served.server.stop()
        assert (await call)[0] == "UNAVAILABLE"
        await served.cancelled.wait()


@pytest.mark.parametrize(
    "said", [b"GET / HTTP/1.1\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"x" * 100]
)
async def test_who_speaks_something_else_is_let_go(served: Served, tmp_path: Path, said: bytes) -> None:
    reader, writer = await asyncio.open_unix_connection(tmp_path / "s")
    writer.write(said)
    async with asyncio.timeout(PATIENCE_SECONDS):
        await reader.read()
    writer.close()
