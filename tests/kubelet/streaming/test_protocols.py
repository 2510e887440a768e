"""Every version of the exec and port-forward protocols, spoken by a client of our own."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tiphys.net.client import HTTPClient
from tiphys.net.spdy import SpdySession, SpdyStream, StreamReset
from tiphys.net.websocket import ClientHandshake, Opcode, WebSocket, WebSocketByteStream

EXEC = "/api/v1/namespaces/default/pods/x/exec?stdin=true&stdout=true&stderr=true"
FORWARD = "/api/v1/namespaces/default/pods/x/portforward"


@pytest.fixture
async def client(cluster: Any) -> AsyncIterator[HTTPClient]:
    made = HTTPClient(f"http://127.0.0.1:{cluster.port}")
    yield made
    await made.close()


async def open_websocket(client: HTTPClient, target: str, *protocols: str) -> tuple[WebSocket, str]:
    handshake = ClientHandshake(protocols)
    response, stream = await client.upgrade("GET", target, handshake.headers)
    chosen = handshake.verify(response.status, response.headers)
    assert stream is not None
    return WebSocket(stream, "client"), chosen


async def open_spdy(client: HTTPClient, target: str, *protocols: str) -> tuple[SpdySession, str]:
    headers = [("Connection", "Upgrade"), ("Upgrade", "SPDY/3.1")]
    response, stream = await client.upgrade(
        "POST", target, headers + [("X-Stream-Protocol-Version", protocol) for protocol in protocols]
    )
    assert response.status == 101, response.body
    assert stream is not None
    return SpdySession(stream, "client"), response.headers["x-stream-protocol-version"]


async def by_channel(websocket: WebSocket, *, in_base64: bool) -> dict[int, bytes]:
    """Everything until the server closes, sorted."""
    got: dict[int, bytes] = {}
    while (message := await asyncio.wait_for(websocket.receive(), 60)) is not None:
        opcode, payload = message
        assert opcode is (Opcode.TEXT if in_base64 else Opcode.BINARY)
        channel = payload[0] - 48 if in_base64 else payload[0]
        data = base64.b64decode(payload[1:]) if in_base64 else payload[1:]
        got[channel] = got.get(channel, b"") + data
    return got


# --- exec over WebSocket ---


@pytest.mark.parametrize(
    "protocol",
    [
        *(
            "v5.channel.k8s.io",
            "v4.channel.k8s.io",
            "v3.channel.k8s.io",
            "v2.channel.k8s.io",
            "channel.k8s.io",
            "",
        ),
        *(
            "v4.base64.channel.k8s.io",
            "v3.base64.channel.k8s.io",
            "v2.base64.channel.k8s.io",
            "base64.channel.k8s.io",
        ),
    ],
)
async def test_output_error_and_status_over_websocket(
    client: HTTPClient, cluster: Any, protocol: str
) -> None:
    offered = [protocol] if protocol else []
    websocket, chosen = await open_websocket(client, EXEC + "&command=say&command=out&command=err", *offered)
    assert chosen == protocol
    got = await by_channel(websocket, in_base64="base64" in protocol)
    assert (got[1], got[2]) == (b"out", b"err")
    if protocol.startswith(("v4", "v5")):
        assert json.loads(got[3])["status"] == "Success"
    else:
        assert got.get(3, b"") == b""
    assert websocket.close_code == 1000
    assert cluster.protocols == [protocol]


async def test_before_v4_a_failure_is_its_message(client: HTTPClient) -> None:
    websocket, _ = await open_websocket(client, EXEC + "&command=exit&command=3", "channel.k8s.io")
    got = await by_channel(websocket, in_base64=False)
    assert got[3] == b"command terminated with non-zero exit code: command terminated with exit code 3"


async def test_v5_closes_stdin_alone(client: HTTPClient) -> None:
    websocket, _ = await open_websocket(client, EXEC + "&command=cat", "v5.channel.k8s.io")
    await websocket.send(b"\0hello ")
    await websocket.send(b"\0world")
    await websocket.send(b"")
    await websocket.send(b"\x09a channel that does not exist")
    await websocket.send(b"\xff\x00")
    await websocket.send(b"\0dropped")
    got = await by_channel(websocket, in_base64=False)
    assert got[1] == b"hello world"
    assert json.loads(got[3])["status"] == "Success"


@pytest.mark.parametrize("signal", [b"\xff", b"\xff\x00\x01", b"\xff\x09"])
async def test_a_close_signal_that_names_no_channel_ends_the_streams(
    client: HTTPClient, cluster: Any, signal: bytes
) -> None:
    websocket, _ = await open_websocket(client, EXEC + "&command=hang", "v5.channel.k8s.io")
    await websocket.send(signal)
    assert await asyncio.wait_for(cluster.ended.get(), 60) == "hang"
    await by_channel(websocket, in_base64=False)


async def test_before_v5_255_is_a_channel_like_any_unknown_one(client: HTTPClient) -> None:
    websocket, _ = await open_websocket(client, EXEC + "&command=cat", "v4.channel.k8s.io")
    await websocket.send(b"\xff\x00")
    await websocket.send(b"\0still open")
    await websocket.receive()
    assert await websocket.receive() == (Opcode.BINARY, b"\1still open")
    await websocket.close()


async def test_base64_stdin_and_what_is_not_base64(client: HTTPClient) -> None:
    websocket, _ = await open_websocket(client, EXEC + "&command=cat", "v4.base64.channel.k8s.io")
    await websocket.send(b"0!!!", Opcode.TEXT)
    await websocket.send(b"0" + base64.b64encode(b"fine"), Opcode.TEXT)
    assert await websocket.receive() == (Opcode.TEXT, b"1")
    assert await websocket.receive() == (Opcode.TEXT, b"1" + base64.b64encode(b"fine"))
    await websocket.close()


async def test_terminal_sizes_over_websocket(client: HTTPClient) -> None:
    target = EXEC.replace("stderr=true", "tty=true") + "&command=sizes&command=1"
    websocket, _ = await open_websocket(client, target, "v4.channel.k8s.io")
    await websocket.send(b'\4{"Width":7,"Height":9}\n')
    assert (await by_channel(websocket, in_base64=False))[1] == b"7x9\r\n"


async def test_a_client_that_never_reads_stops_the_command_not_the_server(
    client: HTTPClient, cluster: Any
) -> None:
    websocket, _ = await open_websocket(client, EXEC + "&command=yes&command=1000", "v5.channel.k8s.io")
    for _ in range(100):
        await asyncio.sleep(0)
    assert cluster.ended.empty()
    websocket.abort()
    assert await asyncio.wait_for(cluster.ended.get(), 60) == "yes"


async def test_unknown_protocols_are_refused(client: HTTPClient) -> None:
    response, stream = await client.upgrade(
        "GET", EXEC + "&command=cat", ClientHandshake(["v9.channel.k8s.io"]).headers
    )
    assert (response.status, stream) == (403, None)
    assert b"requested protocol(s) are not supported" in response.body
    response = await client.request("GET", EXEC + "&command=cat")
    assert (response.status, response.body) == (400, b"unable to upgrade: missing upgrade headers in request")


# --- exec over SPDY ---


async def opened(session: SpdySession, *kinds: str) -> list[SpdyStream]:
    streams = [await session.open({"streamtype": kind}) for kind in kinds]
    await asyncio.gather(*(stream.wait_reply() for stream in streams))
    return streams


async def read_all(stream: SpdyStream | WebSocketByteStream) -> bytes:
    parts = []
    while part := await asyncio.wait_for(stream.read(), 60):
        parts.append(part)
    return b"".join(parts)


@pytest.mark.parametrize(
    "protocol",
    ["v5.channel.k8s.io", "v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io"],
)
async def test_exec_over_spdy(client: HTTPClient, protocol: str) -> None:
    session, chosen = await open_spdy(client, EXEC + "&command=exit&command=3", protocol, "channel.k8s.io")
    assert chosen == protocol
    async with session:
        error, _, stdout, stderr = await opened(session, "error", "stdin", "stdout", "stderr")
        assert await read_all(stdout) == await read_all(stderr) == b""
        status = await read_all(error)
        if protocol.startswith(("v4", "v5")):
            assert json.loads(status)["details"] == {"causes": [{"reason": "ExitCode", "message": "3"}]}
        else:
            assert (
                status == b"command terminated with non-zero exit code: command terminated with exit code 3"
            )


async def test_stdin_over_spdy_ends_alone(client: HTTPClient) -> None:
    session, _ = await open_spdy(client, EXEC + "&command=cat", "v4.channel.k8s.io")
    async with session:
        error, stdin, stdout, _ = await opened(session, "error", "stdin", "stdout", "stderr")
        await stdin.write(b"through")
        await stdin.write_eof()
        assert await read_all(stdout) == b"through"
        assert json.loads(await read_all(error))["status"] == "Success"


async def test_streams_that_were_not_asked_for_are_refused(client: HTTPClient) -> None:
    session, _ = await open_spdy(client, EXEC + "&command=cat", "v4.channel.k8s.io")
    async with session:
        for kind in ("nonsense", "resize"):
            stream = await session.open({"streamtype": kind})
            with pytest.raises(StreamReset):
                await stream.wait_reply()
        await opened(session, "error")
        twice = await session.open({"streamtype": "error"})
        with pytest.raises(StreamReset):
            await twice.wait_reply()


async def test_terminal_sizes_over_spdy(client: HTTPClient) -> None:
    target = EXEC.replace("stderr=true", "tty=true") + "&command=sizes&command=1"
    session, _ = await open_spdy(client, target, "v3.channel.k8s.io")
    async with session:
        _, _, stdout, resize = await opened(session, "error", "stdin", "stdout", "resize")
        await resize.write(b'{"Width":5,')
        await resize.write(b'"Height":6}')
        assert await read_all(stdout) == b"5x6\r\n"


# --- port-forward ---


async def forward_pair(session: SpdySession, port: str, **headers: str) -> tuple[SpdyStream, SpdyStream]:
    error = await session.open({"streamtype": "error", "port": port, **headers})
    await error.wait_reply()
    data = await session.open({"streamtype": "data", "port": port, **headers})
    await data.wait_reply()
    return data, error


@pytest.mark.parametrize("headers", [{"requestid": "7"}, {}], ids=["with request id", "old client"])
async def test_port_forward_over_spdy(client: HTTPClient, headers: dict[str, str]) -> None:
    session, chosen = await open_spdy(client, FORWARD, "portforward.k8s.io")
    assert chosen == "portforward.k8s.io"
    async with session:
        for _ in range(2):
            data, error = await forward_pair(session, "80", **headers)
            await data.write(b"shout")
            await data.write_eof()
            assert await read_all(data) == b"SHOUT"
            assert await read_all(error) == b""


async def test_a_failing_port_does_not_end_the_others(client: HTTPClient) -> None:
    session, _ = await open_spdy(client, FORWARD, "portforward.k8s.io")
    async with session:
        good, _ = await forward_pair(session, "80", requestid="1")
        bad, error = await forward_pair(session, "9", requestid="2")
        assert await read_all(error) == b"nobody listens on port 9"
        assert await read_all(bad) == b""
        await good.write(b"alive")
        assert await good.read() == b"ALIVE"


@pytest.mark.parametrize(
    "headers",
    [
        {"streamtype": "data"},
        {"streamtype": "data", "port": "http"},
        {"streamtype": "data", "port": "0"},
        {"port": "80"},
        {"streamtype": "stdin", "port": "80"},
    ],
)
async def test_bad_port_forward_streams_are_refused(client: HTTPClient, headers: dict[str, str]) -> None:
    session, _ = await open_spdy(client, FORWARD, "portforward.k8s.io")
    async with session:
        stream = await session.open(headers)
        with pytest.raises(StreamReset):
            await stream.wait_reply()


async def test_port_forward_in_a_websocket_tunnel(client: HTTPClient) -> None:
    websocket, _ = await open_websocket(client, FORWARD, "SPDY/3.1+portforward.k8s.io")
    async with SpdySession(WebSocketByteStream(websocket), "client") as session:
        data, _ = await forward_pair(session, "80", requestid="0")
        await data.write(b"x" * 300_000)
        await data.write_eof()
        assert await read_all(data) == b"X" * 300_000


@pytest.mark.parametrize("protocol", ["v4.channel.k8s.io", "v4.base64.channel.k8s.io", ""])
async def test_port_forward_over_websocket_channels(client: HTTPClient, protocol: str) -> None:
    in_base64 = "base64" in protocol
    websocket, _ = await open_websocket(client, FORWARD + "?port=80,9", *([protocol] if protocol else []))

    def message(channel: int, data: bytes) -> tuple[Opcode, bytes]:
        if in_base64:
            return Opcode.TEXT, b"%d" % channel + base64.b64encode(data)
        return Opcode.BINARY, bytes((channel,)) + data

    got = [await websocket.receive() for _ in range(5)]
    expected = [message(0, b"\x50\0"), message(1, b"\x50\0"), message(2, b"\x09\0"), message(3, b"\x09\0")]
    assert got[:4] == expected
    assert got[4] == message(3, b"nobody listens on port 9")
    opcode, payload = message(0, b"shout")
    await websocket.send(payload, opcode)
    assert await websocket.receive() == message(0, b"SHOUT")
    await websocket.close()
    assert websocket.close_code == 1000


async def test_port_forward_over_channels_needs_ports(client: HTTPClient) -> None:
    response, stream = await client.upgrade("GET", FORWARD, ClientHandshake(["v4.channel.k8s.io"]).headers)
    assert (response.status, response.body, stream) == (400, b'query parameter "port" is required', None)
