"""Exec and attach over the wire: one upgrade for all protocols that clients speak.

WebSocket (`v5.channel.k8s.io` down to `channel.k8s.io`, some in base64) numbers its channels; SPDY/3.1 opens a stream
for each, named by its `streamtype` header. Versions differ in three things: the Status goes out as JSON from v4 on and
as its message before, terminal sizes come from v3 on, and v5 lets a WebSocket client close stdin alone.
"""

import asyncio
import json
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from tiphys.kubelet.streaming.channel_socket import ChannelSocket
from tiphys.kubelet.streaming.channels import RemoteCommandStreams, StreamOptions, TerminalSizes
from tiphys.kubelet.streaming.handshake import negotiate_spdy, refusal, spdy_headers
from tiphys.kubelet.streaming.status import execution_failure, plain_message
from tiphys.net.http import ByteStream, Request, Response
from tiphys.net.pipe import BytePipe
from tiphys.net.spdy import SpdySession, SpdyStream
from tiphys.net.websocket import HandshakeError, WebSocket, is_websocket_upgrade, server_handshake

__all__ = ["Serve", "upgrade_remote_command"]

Serve = Callable[[RemoteCommandStreams], Awaitable[None]]

STDIN, STDOUT, STDERR, ERROR, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255
STREAM_CREATION_TIMEOUT_SECONDS = 30.0

SPDY_PROTOCOLS = (
    "v5.channel.k8s.io",
    "v4.channel.k8s.io",
    "v3.channel.k8s.io",
    "v2.channel.k8s.io",
    "channel.k8s.io",
)
BASE64_PROTOCOLS = (
    "v4.base64.channel.k8s.io",
    "v3.base64.channel.k8s.io",
    "v2.base64.channel.k8s.io",
    "base64.channel.k8s.io",
)
WEBSOCKET_PROTOCOLS = (*SPDY_PROTOCOLS, *BASE64_PROTOCOLS, "")

log = logging.getLogger(__name__)


def version_of(protocol: str) -> int:
    numbered = re.match(r"v(\d)\.", protocol)
    return int(numbered[1]) if numbered else 1


def upgrade_remote_command(
    request: Request,
    options: StreamOptions,
    serve: Serve,
    *,
    creation_timeout_seconds: float = STREAM_CREATION_TIMEOUT_SECONDS,
) -> Response:
    """The answer to an exec or attach request: 101 whose upgrade runs `serve`, or the refusal.

    `serve` writes the Status itself; for an exception that leaves it, one is written here. The streams close after it.
    """

    async def run(streams: RemoteCommandStreams) -> None:
        try:
            await serve(streams)
        except ConnectionError as error:
            log.debug("the client of %s is gone: %s", request.path, error)
        except Exception as error:
            log.exception("%s failed", request.path)
            await streams.write_status(json.dumps(execution_failure(str(error))).encode())

    async def over_websocket(stream: ByteStream) -> None:
        async with websocket_streams(stream, subprotocol, options) as streams:
            await run(streams)

    async def over_spdy(stream: ByteStream) -> None:
        async with spdy_streams(stream, protocol, options, creation_timeout_seconds) as streams:
            await run(streams)

    try:
        if is_websocket_upgrade(request.headers):
            handshake = server_handshake(request.headers, WEBSOCKET_PROTOCOLS)
            subprotocol = handshake.subprotocol
            return Response(101, handshake.headers, upgrade=over_websocket)
        protocol = negotiate_spdy(request.headers, SPDY_PROTOCOLS)
        return Response(101, spdy_headers(protocol), upgrade=over_spdy)
    except HandshakeError as error:
        return refusal(error)


# --- WebSocket -----------------------------------------------------------------------------------------------------


class WebSocketCommandStreams(RemoteCommandStreams):
    """One task, started here and ended by close(), sorts what the client sends."""

    def __init__(self, socket: ChannelSocket, protocol: str, options: StreamOptions) -> None:
        self.options = options
        self.protocol = protocol
        self.sizes = TerminalSizes()
        self._version = version_of(protocol)
        self._socket = socket
        self._stdin = BytePipe()
        if not options.stdin:
            self._stdin.close_write()
        self._receiving = asyncio.ensure_future(self._receive())

    async def announce(self) -> None:
        """An empty message on the lowest channel tells the client that the streams are connected."""
        await self._socket.send(
            STDOUT if self.options.stdout else STDERR if self.options.stderr else ERROR, b""
        )

    async def _receive(self) -> None:
        try:
            while (message := await self._socket.receive()) is not None:
                if not await self._sort(*message):
                    break
        finally:
            self._stdin.close_write()
            self.sizes.end()

    async def _sort(self, channel: int, data: bytes) -> bool:
        """False when the client has broken the protocol."""
        if channel == STDIN:
            await self._stdin.write(data)
        elif channel == RESIZE:
            self.sizes.feed(data)
        elif channel == CLOSE and self._version >= 5:
            if len(data) != 1 or data[0] > RESIZE:
                log.warning("a channel close signal names no channel: %r", data[:10])
                return False
            if data[0] == STDIN:
                self._stdin.close_write()
        return True

    async def read_stdin(self, n: int = 65536) -> bytes:
        return await self._stdin.read(n)

    async def write_stdout(self, data: bytes) -> None:
        if self.options.stdout and data:
            await self._socket.send(STDOUT, data)

    async def write_stderr(self, data: bytes) -> None:
        if self.options.stderr and data:
            await self._socket.send(STDERR, data)

    async def write_status(self, status: bytes) -> None:
        text = status if self._version >= 4 else plain_message(status)
        if text:
            await self._socket.send(ERROR, text)

    async def wait_disconnected(self) -> None:
        await asyncio.wait([self._receiving])

    async def close(self) -> None:
        self._stdin.close_read()
        self._receiving.cancel()  # closing receives by itself, until the client has agreed
        await asyncio.gather(self._receiving, return_exceptions=True)
        await self._socket.close()


@asynccontextmanager
async def websocket_streams(
    stream: ByteStream, protocol: str, options: StreamOptions
) -> AsyncIterator[RemoteCommandStreams]:
    socket = ChannelSocket(WebSocket(stream, "server"), in_base64="base64." in protocol)
    streams = WebSocketCommandStreams(socket, protocol, options)
    try:
        await streams.announce()
        yield streams
    finally:
        await streams.close()


# --- SPDY ----------------------------------------------------------------------------------------------------------


class SpdyCommandStreams(RemoteCommandStreams):
    """The streams that the client has opened, by their type. One task, ended by close(), follows the terminal size."""

    def __init__(
        self, session: SpdySession, protocol: str, options: StreamOptions, opened: dict[str, SpdyStream]
    ) -> None:
        self.options = options
        self.protocol = protocol
        self.sizes = TerminalSizes()
        self._version = version_of(protocol)
        self._session = session
        self._opened = opened
        self._resizing = asyncio.ensure_future(self._follow_size())

    async def _follow_size(self) -> None:
        resize = self._opened.get("resize")
        try:
            while resize is not None and (data := await resize.read()):
                self.sizes.feed(data)
        except ConnectionError:
            pass
        finally:
            self.sizes.end()

    async def read_stdin(self, n: int = 65536) -> bytes:
        stdin = self._opened.get("stdin")
        if stdin is None:
            return b""
        try:
            return await stdin.read(n)
        except ConnectionError:
            return b""

    async def write_stdout(self, data: bytes) -> None:
        if (stdout := self._opened.get("stdout")) is not None:
            await stdout.write(data)

    async def write_stderr(self, data: bytes) -> None:
        if (stderr := self._opened.get("stderr")) is not None:
            await stderr.write(data)

    async def write_status(self, status: bytes) -> None:
        await self._opened["error"].write(status if self._version >= 4 else plain_message(status))

    async def wait_disconnected(self) -> None:
        await self._session.ended.wait()

    async def close(self) -> None:
        self._resizing.cancel()
        await asyncio.gather(self._resizing, return_exceptions=True)
        try:
            for name in ("stdout", "stderr", "error"):
                if name in self._opened:
                    await self._opened[name].write_eof()
        except ConnectionError:
            pass
        await self._session.close()


def expected_streams(protocol: str, options: StreamOptions) -> set[str]:
    names = {name for name in ("stdin", "stdout", "stderr") if getattr(options, name)} | {"error"}
    return names | {"resize"} if options.tty and version_of(protocol) >= 3 else names


async def opened_streams(session: SpdySession, expected: set[str]) -> dict[str, SpdyStream]:
    """Accepts streams until all expected ones are there. Raises ConnectionError when the client leaves before."""
    opened: dict[str, SpdyStream] = {}
    while expected - opened.keys():
        stream = await session.accept()
        if stream is None:
            raise ConnectionResetError("the client left before it had created its streams")
        name = stream.headers.get("streamtype", "")
        if name not in expected or name in opened:
            log.warning("unexpected stream type: %r", name)
            stream.reset()
            continue
        opened[name] = stream
        await stream.reply()
    return opened


@asynccontextmanager
async def spdy_streams(
    stream: ByteStream, protocol: str, options: StreamOptions, creation_timeout_seconds: float
) -> AsyncIterator[RemoteCommandStreams]:
    async with SpdySession(stream) as session:
        try:
            async with asyncio.timeout(creation_timeout_seconds):
                opened = await opened_streams(session, expected_streams(protocol, options))
        except TimeoutError:
            raise ConnectionResetError("timed out waiting for client to create streams") from None
        streams = SpdyCommandStreams(session, protocol, options, opened)
        try:
            yield streams
        finally:
            await streams.close()
