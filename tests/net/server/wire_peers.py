"""Clients that show what is on the wire: HTTP/1.1 by hand, HTTP/2 by ngh2 in the client's role, and a transport in memory."""

import asyncio
import ssl
from dataclasses import dataclass, field, replace

import ngh2

from tiphys.net.h2 import H2Connection
from tiphys.net.http import Address, Connection, Handler, Request, Response, Sink
from tiphys.net.server import Server
from tiphys.net.service import Limits, Service

# Whatever is awaited here comes at once, or the test is to fail rather than to hang: far more than a busy machine takes.
PATIENCE_SECONDS = 60


@dataclass
class Answer:
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    reset: int | None = None
    ended: bool = False


class H1Peer:
    """One HTTP/1.1 client connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    def get(self, target: str, *headers: str, method: str = "GET") -> None:
        lines = "".join(f"{header}\r\n" for header in ("Host: here", *headers))
        self.send(f"{method} {target} HTTP/1.1\r\n{lines}\r\n".encode())

    def post(self, target: str, body: bytes, *headers: str) -> None:
        self.get(target, f"Content-Length: {len(body)}", *headers, method="POST")
        self.send(body)

    async def until(self, separator: bytes) -> bytes:
        return await asyncio.wait_for(self.reader.readuntil(separator), PATIENCE_SECONDS)

    async def exactly(self, size: int) -> bytes:
        return await asyncio.wait_for(self.reader.readexactly(size), PATIENCE_SECONDS)

    async def to_end(self) -> bytes:
        return await asyncio.wait_for(self.reader.read(), PATIENCE_SECONDS)

    async def head(self) -> Answer:
        lines = (await self.until(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines[1:] if line)
        return Answer(int(lines[0].split()[1]), {name.lower(): value for name, value in headers.items()})

    async def chunk(self) -> bytes:
        size = int(await self.until(b"\r\n"), 16)
        return (await self.exactly(size + 2))[:-2]

    async def answer(self, *, without_body: bool = False) -> Answer:
        answer = await self.head()
        if without_body:
            pass
        elif answer.headers.get("transfer-encoding") == "chunked":
            while data := await self.chunk():
                answer.body += data
        else:
            answer.body = await self.exactly(int(answer.headers.get("content-length", "0")))
        return answer

    async def close(self) -> None:
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except (ConnectionError, ssl.SSLError):
            pass


def request_block(path: str, method: str = "GET", *headers: tuple[str, str]) -> list[tuple[bytes, bytes]]:
    pairs = ((":method", method), (":scheme", "https"), (":authority", "here"), (":path", path), *headers)
    return [(name.encode(), value.encode()) for name, value in pairs]


class H2Client:
    """HTTP/2's client side, without I/O: what it has heard is in `answers` by stream."""

    def __init__(self, *, window_bytes: int = 65535, manual: bool = False) -> None:
        configuration = ngh2.Configuration(auto_window_update=not manual, peer_max_concurrent_streams=1000)
        self.engine = ngh2.Connection(ngh2.Role.CLIENT, configuration)
        self.engine.initiate_connection(
            {ngh2.Setting.INITIAL_WINDOW_SIZE: window_bytes, ngh2.Setting.ENABLE_PUSH: 0}
        )
        self.answers: dict[int, Answer] = {}
        self.informed: list[int] = []
        self.settings: dict[int, int] = {}
        self.going_away: int | None = None

    def request(
        self, path: str, method: str = "GET", *headers: tuple[str, str], body: bytes | None = None
    ) -> int:
        """A body None ends the request; b"" leaves it open."""
        stream: int = self.engine.send_request(request_block(path, method, *headers), end_stream=body is None)
        self.answers[stream] = Answer()
        if body:
            self.engine.send_data(stream, body, end_stream=True)
        return stream

    def hear(self, data: bytes) -> None:
        self.engine.receive_data(data)
        for event in self.engine.events():
            self._note(event)

    def _note(self, event: ngh2.Event) -> None:
        match event:
            case ngh2.ResponseReceived():
                answer = self.answers[event.stream_id]
                pairs = {name.decode(): value.decode("latin-1") for name, value in event.headers}
                answer.status = int(pairs.pop(":status"))
                answer.headers = pairs
            case ngh2.DataReceived():
                self.answers[event.stream_id].body += event.data
            case ngh2.StreamReset():
                self.answers[event.stream_id].reset = event.error_code
            case ngh2.StreamClosed():
                self.answers[event.stream_id].ended = True
            case ngh2.InformationalResponseReceived():
                self.informed.append(int(dict(event.headers)[b":status"]))
            case ngh2.SettingsReceived():
                self.settings.update(event.settings)
            case ngh2.GoAwayReceived():
                self.going_away = event.error_code


class H2Peer(H2Client):
    """An HTTP/2 client on a socket."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, window_bytes: int
    ) -> None:
        super().__init__(window_bytes=window_bytes)
        self.reader = reader
        self.writer = writer

    async def exchange_bytes(self) -> bool:
        """Send what there is, hear what comes next; False at the end."""
        self.writer.write(self.engine.data_to_send())
        data = await asyncio.wait_for(self.reader.read(1 << 20), PATIENCE_SECONDS)
        if data:
            self.hear(data)
            self.writer.write(self.engine.data_to_send())
        return bool(data)

    async def ended(self, *streams: int) -> list[Answer]:
        while not all(self.answers[stream].ended for stream in streams):
            assert await self.exchange_bytes(), "the connection ended first"
        return [self.answers[stream] for stream in streams]

    async def heard(self, stream: int, data: bytes = b"") -> Answer:
        """Wait for the head and for this much of the body."""
        while not (self.answers[stream].status and data in self.answers[stream].body):
            assert await self.exchange_bytes(), "the connection ended first"
        return self.answers[stream]

    async def to_end(self) -> None:
        while await self.exchange_bytes():
            pass

    async def close(self) -> None:
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except (ConnectionError, ssl.SSLError):
            pass


class MemoryTransport(asyncio.Transport):
    """A transport without a socket: keeps each write apart, and pauses its protocol when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.closed = False
        self.aborted = False
        self.buffered_bytes = 0
        self.reading = True

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.writes.append(bytes(data))

    def get_write_buffer_size(self) -> int:
        return self.buffered_bytes

    def take(self) -> bytes:
        data = b"".join(self.writes)
        self.writes.clear()
        return data

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.aborted = self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def can_write_eof(self) -> bool:
        return False

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


@dataclass
class Site:
    """A running server and ways to reach it."""

    server: Server
    address: Address
    client_context: ssl.SSLContext | None
    peers: list[H1Peer | H2Peer] = field(default_factory=list)

    @property
    def service(self) -> Service:
        return self.server._service

    def limit(self, **limits: float) -> None:
        """From now on. Set at once, a short time would be over before a slow machine has done what comes first."""
        self.service.limits = replace(self.service.limits, **limits)  # type: ignore[arg-type]

    async def _open(
        self, alpn: list[str], context: ssl.SSLContext | None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        context = context or self.client_context
        if context is not None and alpn:
            context.set_alpn_protocols(alpn)
        limit = 1 << 26
        if self.address.path:
            return await asyncio.open_unix_connection(self.address.path, limit=limit)
        return await asyncio.open_connection(self.address.host, self.address.port, ssl=context, limit=limit)

    async def h1(
        self, *, alpn: tuple[str, ...] = ("http/1.1",), context: ssl.SSLContext | None = None
    ) -> H1Peer:
        peer = H1Peer(*await self._open(list(alpn), context))
        self.peers.append(peer)
        return peer

    async def h2(
        self,
        *,
        alpn: tuple[str, ...] = ("h2",),
        window_bytes: int = 65535,
        context: ssl.SSLContext | None = None,
    ) -> H2Peer:
        peer = H2Peer(*await self._open(list(alpn), context), window_bytes=window_bytes)
        self.peers.append(peer)
        return peer

    @property
    def url(self) -> str:
        return f"{'https' if self.client_context else 'http'}://{self.address}"


class Watches:
    """A handler whose every answer is an open sink."""

    def __init__(self) -> None:
        self.sinks: list[Sink] = []
        self.closed = 0
        self.one_closed = asyncio.Event()

    def __call__(self, request: Request) -> Response:
        return Response(200, [("content-type", "application/json")], start=self.start)

    def start(self, sink: Sink) -> None:
        self.sinks.append(sink)
        sink.on_close = self.on_close

    def on_close(self) -> None:
        self.closed += 1
        self.one_closed.set()


def echo(request: Request) -> Response:
    return Response(200, [("X-Path", request.path)], request.body or request.target.encode())


class Wire:
    """A client and a connection of the server with nothing but memory in between."""

    def __init__(self, handler: Handler, limits: Limits, *, window_bytes: int, manual: bool) -> None:
        self.client = H2Client(window_bytes=window_bytes, manual=manual)
        self.transport = MemoryTransport()
        self.service = Service(handler, limits)
        self.connection = H2Connection(self.service, Connection(protocol="h2"))
        self.connection.connection_made(self.transport)

    def settle(self) -> None:
        """Carry bytes both ways until there are none; the loop does not turn."""
        while True:
            data = self.transport.take()
            if data:
                self.client.hear(data)
            reply = self.client.engine.data_to_send()
            if reply and not self.transport.closed:
                self.connection.data_received(reply)
            if not data and not reply:
                return

    async def turn(self, times: int = 3) -> None:
        """Let the loop turn, and carry what comes."""
        for _ in range(times):
            self.settle()
            await asyncio.sleep(0)
        self.settle()

    def get(self, path: str, *headers: tuple[str, str], method: str = "GET") -> int:
        return self.client.request(path, method, *headers)
