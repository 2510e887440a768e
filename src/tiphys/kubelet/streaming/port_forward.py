"""Port-forward over the wire: one upgrade for all protocols that clients speak, one connection at a time for the handler.

SPDY (`portforward.k8s.io`): for each connection a data and an error stream, paired by their `requestid` header, any
number at once. The same inside WebSocket messages (`SPDY/3.1+portforward.k8s.io`), which is what kubectl prefers.
The older WebSocket protocol (`v4.channel.k8s.io`) has one connection for each port in the query: channel 2i carries
its data, 2i+1 its error, and each begins with the port in two bytes, little endian
(k8s.io/cri-streaming/pkg/streaming/portforward).
"""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

from tiphys.kubelet.streaming.channel_socket import ChannelSocket
from tiphys.kubelet.streaming.handshake import negotiate_spdy, refusal, spdy_headers
from tiphys.machinery.frozen import frozen
from tiphys.net.http import ByteStream, Request, Response
from tiphys.net.pipe import BytePipe
from tiphys.net.spdy import SpdySession, SpdyStream
from tiphys.net.websocket import (
    HandshakeError,
    WebSocket,
    WebSocketByteStream,
    is_websocket_upgrade,
    offered_subprotocols,
    server_handshake,
)

__all__ = [
    "PortForwardConnection",
    "PortForwardStreams",
    "ServeConnection",
    "requested_ports",
    "upgrade_port_forward",
]

SPDY_PROTOCOL = "portforward.k8s.io"
TUNNEL_PROTOCOL = f"SPDY/3.1+{SPDY_PROTOCOL}"
CHANNEL_PROTOCOLS = ("v4.channel.k8s.io", "v4.base64.channel.k8s.io", "")
STREAM_CREATION_TIMEOUT_SECONDS = 30.0

log = logging.getLogger(__name__)


@frozen
class PortForwardConnection:
    """One connection of the client to one port of the pod. `data` is a duplex stream; `error` takes what went wrong."""

    port: int
    data: ByteStream
    error: ByteStream

    async def fail(self, message: str) -> None:
        """Tells the client, which prints the message and gives up forwarding."""
        try:
            await self.error.write(message.encode())
        except ConnectionError:
            pass


ServeConnection = Callable[[PortForwardConnection], Awaitable[None]]


class PortForwardStreams(ABC):
    """What one client forwards: its connections as they come, until it leaves."""

    @abstractmethod
    def connections(self) -> AsyncIterator[PortForwardConnection]:
        """Each connection once, until no more can come; those that were given out may go on."""

    @abstractmethod
    async def wait_disconnected(self) -> None:
        """Returns once the client is gone. Called after `connections()` has begun."""

    @abstractmethod
    async def close(self) -> None: ...


def requested_ports(query: Mapping[str, Sequence[str]]) -> list[int]:
    """The ports of a WebSocket request without SPDY: `port` at a kubelet, `ports` at an API server. Raises ValueError."""
    texts = query.get("port") or query.get("ports") or []
    if not texts:
        raise ValueError('query parameter "port" is required')
    ports = []
    for text in texts:
        if not text:
            raise ValueError('query parameter "port" cannot be empty')
        ports += [parse_port(part) for part in text.split(",")]
    return ports


def parse_port(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) > 65535:
        raise ValueError(f'unable to parse "{text}" as a port')
    if int(text) < 1:
        raise ValueError(f'port "{text}" must be > 0')
    return int(text)


def upgrade_port_forward(
    request: Request,
    serve: ServeConnection,
    *,
    creation_timeout_seconds: float = STREAM_CREATION_TIMEOUT_SECONDS,
) -> Response:
    """The answer to a port-forward request: 101 whose upgrade runs `serve` for each connection, or the refusal.

    When `serve` returns, the connection's streams end; an exception that leaves it goes to the client as its message.
    """

    async def over_spdy(stream: ByteStream) -> None:
        async with spdy_forward(stream, creation_timeout_seconds) as streams:
            await serve_all(streams, serve)

    async def over_tunnel(stream: ByteStream) -> None:
        await over_spdy(WebSocketByteStream(WebSocket(stream, "server")))

    async def over_channels(stream: ByteStream) -> None:
        socket = ChannelSocket(WebSocket(stream, "server"), in_base64="base64." in subprotocol)
        streams = ChannelForwardStreams(socket, ports)
        try:
            await serve_all(streams, serve)
        finally:
            await streams.close()

    try:
        if not is_websocket_upgrade(request.headers):
            return Response(
                101, spdy_headers(negotiate_spdy(request.headers, [SPDY_PROTOCOL])), upgrade=over_spdy
            )
        if TUNNEL_PROTOCOL in offered_subprotocols(request.headers):
            return Response(
                101, server_handshake(request.headers, [TUNNEL_PROTOCOL]).headers, upgrade=over_tunnel
            )
        handshake = server_handshake(request.headers, CHANNEL_PROTOCOLS)
        subprotocol, ports = handshake.subprotocol, requested_ports(request.query)
        return Response(101, handshake.headers, upgrade=over_channels)
    except HandshakeError as error:
        return refusal(error)
    except ValueError as error:
        return refusal(HandshakeError(400, str(error)))


async def serve_all(streams: PortForwardStreams, serve: ServeConnection) -> None:
    """Runs `serve` for each connection, all at once, until the client is gone or opens no more and all have ended."""
    running: set[asyncio.Task[None]] = set()
    try:
        async for connection in streams.connections():
            task = asyncio.ensure_future(serve_one(connection, serve))
            running.add(task)
            task.add_done_callback(running.discard)
        gone = asyncio.ensure_future(streams.wait_disconnected())
        while running and not gone.done():
            await asyncio.wait([gone, *running], return_when=asyncio.FIRST_COMPLETED)
        gone.cancel()
    finally:
        for task in list(running):
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def serve_one(connection: PortForwardConnection, serve: ServeConnection) -> None:
    try:
        await serve(connection)
    except Exception as error:
        log.debug("forwarding to port %d failed: %s", connection.port, error)
        await connection.fail(str(error))
    finally:
        for stream in (connection.data, connection.error):
            try:
                await stream.write_eof()
            except ConnectionError:
                pass


# --- SPDY ----------------------------------------------------------------------------------------------------------


class SpdyForwardStreams(PortForwardStreams):
    """Pairs the streams that the client opens. A pair that stays incomplete is given up after the time-out."""

    def __init__(self, session: SpdySession, creation_timeout_seconds: float) -> None:
        self._session = session
        self._timeout_seconds = creation_timeout_seconds
        self._halves: dict[str, tuple[SpdyStream, asyncio.TimerHandle]] = {}

    async def connections(self) -> AsyncIterator[PortForwardConnection]:
        while (stream := await self._session.accept()) is not None:
            try:
                port, kind = described(stream)
            except ValueError as error:
                log.warning("a port-forward stream is refused: %s", error)
                stream.reset()
                continue
            await stream.reply()
            other = self._other_half(stream, kind)
            if other is not None:
                data, error_stream = (stream, other) if kind == "data" else (other, stream)
                yield PortForwardConnection(port, data, error_stream)

    def _other_half(self, stream: SpdyStream, kind: str) -> SpdyStream | None:
        """The waiting half of the pair; without one, the stream itself begins to wait."""
        request = request_id(stream, kind)
        waiting = self._halves.get(request)
        if waiting is None:
            timer = asyncio.get_running_loop().call_later(self._timeout_seconds, self._give_up, request)
            self._halves[request] = (stream, timer)
            return None
        other, timer = waiting
        if other.headers["streamtype"] == kind:
            log.warning("error processing stream for request %s: %s stream already assigned", request, kind)
            stream.reset()
            return None
        del self._halves[request]
        timer.cancel()
        return other

    def _give_up(self, request: str) -> None:
        stream, _ = self._halves.pop(request)
        log.warning("request %s: timed out waiting for streams", request)
        stream.reset()

    async def wait_disconnected(self) -> None:
        await self._session.ended.wait()

    async def close(self) -> None:
        for _, timer in self._halves.values():
            timer.cancel()
        await self._session.close()


def described(stream: SpdyStream) -> tuple[int, str]:
    """Port and type of a stream, from its headers. Raises ValueError."""
    port, kind = stream.headers.get("port", ""), stream.headers.get("streamtype", "")
    if not port:
        raise ValueError('"port" header is required')
    if not kind:
        raise ValueError('"streamType" header is required')
    if kind not in ("error", "data"):
        raise ValueError(f'invalid stream type "{kind}"')
    return parse_port(port), kind


def request_id(stream: SpdyStream, kind: str) -> str:
    """Which connection a stream belongs to. Clients before requestid opened the error stream, and next the data stream."""
    given = stream.headers.get("requestid", "")
    return given or str(stream.stream_id - (2 if kind == "data" else 0))


@asynccontextmanager
async def spdy_forward(
    stream: ByteStream, creation_timeout_seconds: float
) -> AsyncIterator[PortForwardStreams]:
    async with SpdySession(stream) as session:
        streams = SpdyForwardStreams(session, creation_timeout_seconds)
        try:
            yield streams
        finally:
            await streams.close()


# --- WebSocket channels --------------------------------------------------------------------------------------------


class ChannelStream(ByteStream):
    """One channel as a byte stream. The protocol has no half close: its end is the end of the WebSocket."""

    def __init__(self, socket: ChannelSocket, channel: int) -> None:
        self.incoming = BytePipe()
        self._socket = socket
        self._channel = channel

    async def read(self, n: int = 65536) -> bytes:
        return await self.incoming.read(n)

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        await self._socket.send(self._channel, bytes(data))

    async def write_eof(self) -> None:
        pass

    def close(self) -> None:
        self.incoming.close_read()


class ChannelForwardStreams(PortForwardStreams):
    """One task, started with the first connection and ended by close(), sorts what the client sends."""

    def __init__(self, socket: ChannelSocket, ports: Sequence[int]) -> None:
        self._socket = socket
        self._ports = ports
        self._channels = [ChannelStream(socket, number) for number in range(2 * len(ports))]
        self._receiving: asyncio.Task[None] | None = None

    async def connections(self) -> AsyncIterator[PortForwardConnection]:
        self._receiving = asyncio.ensure_future(self._receive())
        for index, port in enumerate(self._ports):
            data, error = self._channels[2 * index : 2 * index + 2]
            for stream in (data, error):
                await stream.write(port.to_bytes(2, "little"))
            yield PortForwardConnection(port, data, error)

    async def _receive(self) -> None:
        try:
            while (message := await self._socket.receive()) is not None:
                channel, payload = message
                if 0 <= channel < len(self._channels) and channel % 2 == 0:
                    await self._channels[channel].incoming.write(payload)
        finally:
            for stream in self._channels:
                stream.incoming.close_write()

    async def wait_disconnected(self) -> None:
        if self._receiving is not None:
            await asyncio.wait([self._receiving])

    async def close(self) -> None:
        for stream in self._channels:
            stream.close()
        if self._receiving is not None:
            self._receiving.cancel()
            await asyncio.gather(self._receiving, return_exceptions=True)
        await self._socket.close()
