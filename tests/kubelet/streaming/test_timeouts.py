"""A client that begins and does not go on."""

import asyncio
import socket
from collections.abc import Callable

import pytest

from tiphys.kubelet.streaming.channels import RemoteCommandStreams, StreamOptions
from tiphys.kubelet.streaming.port_forward import PortForwardConnection, upgrade_port_forward
from tiphys.kubelet.streaming.remote_command import upgrade_remote_command
from tiphys.net.http import ByteStream, Request, Response
from tiphys.net.spdy import SpdySession, StreamReset
from tiphys.net.stream import TransportStream


def request(protocol: str) -> Request:
    headers = {"connection": "Upgrade", "upgrade": "SPDY/3.1", "x-stream-protocol-version": protocol}
    return Request("POST", "/", headers)


async def connected() -> tuple[ByteStream, ByteStream]:
    async def stream_of(sock: socket.socket) -> TransportStream:
        sock.setblocking(False)
        _, stream = await asyncio.get_running_loop().create_connection(TransportStream, sock=sock)
        return stream

    left, right = socket.socketpair()
    return await stream_of(left), await stream_of(right)


async def never(_: object) -> None:
    raise AssertionError("nothing is complete, so nothing is to be served")


async def serving(response: Response) -> tuple[asyncio.Future[None], SpdySession]:
    assert response.upgrade is not None
    here, there = await connected()
    return asyncio.ensure_future(response.upgrade(here)), SpdySession(there, "client")


async def test_streams_that_are_never_opened_end_the_exec() -> None:
    serve: Callable[[RemoteCommandStreams], object] = never
    response = upgrade_remote_command(
        request("v4.channel.k8s.io"),
        StreamOptions(stdin=True),
        serve,  # type: ignore[arg-type]
        creation_timeout_seconds=0.5,
    )
    running, session = await serving(response)
    async with session:
        error = await session.open({"streamtype": "error"})
        await error.wait_reply()
        with pytest.raises(ConnectionError, match="timed out waiting for client to create streams"):
            await asyncio.wait_for(running, 60)
        await session.ended.wait()


async def test_half_a_pair_is_given_up_and_the_session_goes_on() -> None:
    served: list[int] = []

    async def serve(connection: PortForwardConnection) -> None:
        served.append(connection.port)

    response = upgrade_port_forward(request("portforward.k8s.io"), serve, creation_timeout_seconds=0.5)
    running, session = await serving(response)
    async with session:
        half = await session.open({"streamtype": "error", "port": "80", "requestid": "1"})
        await half.wait_reply()
        with pytest.raises(StreamReset):
            await asyncio.wait_for(half.read(), 60)
        pair = [
            await session.open({"streamtype": kind, "port": "81", "requestid": "2"})
            for kind in ("error", "data")
        ]
        for stream in pair:
            assert await asyncio.wait_for(stream.read(), 60) == b""
        assert served == [81]
    await asyncio.wait_for(running, 60)
