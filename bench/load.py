"""A load generator for the API server: HTTP/2 over TLS with a client certificate, a fixed number of requests in flight."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import ngh2
from ngh2 import events

from tiphys.client import kubeconfig
from tiphys.net.tls import client_context

Body = Callable[[int], tuple[str, str, bytes, str]]
"""Number of the request → (method, target, body, content type)."""


@dataclass
class Result:
    """What one run measured; latencies in seconds."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    failed: int = 0
    body_bytes: int = 0

    @property
    def per_second(self) -> float:
        return len(self.latencies) / self.seconds

    def percentile(self, fraction: float) -> float:
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(len(ordered) * fraction))]


class Connection(asyncio.Protocol):
    """One connection with many streams; calls back when a response has ended or a piece of a stream has come."""

    def __init__(self, authority: str, accept: str) -> None:
        self._authority = authority.encode()
        self._accept = accept.encode()
        self.engine = ngh2.Connection(ngh2.Role.CLIENT)
        self._ended: dict[int, Callable[[int], None]] = {}
        self._pieces: dict[int, Callable[[bytes], None]] = {}
        self._status: dict[int, int] = {}
        self.received = 0
        self._dirty = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self.engine.initiate_connection({ngh2.Setting.INITIAL_WINDOW_SIZE: 1 << 24})
        self.engine.set_local_window_size(1 << 28)
        self.flush()

    def data_received(self, data: bytes) -> None:
        self.engine.receive_data(data)
        for event in self.engine.events():
            kind = type(event)
            if kind is events.ResponseReceived:
                self._status[event.stream_id] = int({item[0]: item[1] for item in event.headers}[b":status"])
                if event.end_stream:
                    self._finish(event.stream_id)
            elif kind is events.DataReceived:
                self.received += len(event.data)
                piece = self._pieces.get(event.stream_id)
                if piece is not None:
                    piece(event.data)
                if event.end_stream:
                    self._finish(event.stream_id)
        self.flush()

    def _finish(self, stream: int) -> None:
        ended = self._ended.pop(stream, None)
        if ended is not None:
            ended(self._status.pop(stream, 0))

    def connection_lost(self, exc: Exception | None) -> None:
        for stream in list(self._ended):
            self._finish(stream)

    def flush(self) -> None:
        self._dirty = False
        data = self.engine.data_to_send()
        if data:
            self._transport.write(data)  # type: ignore[attr-defined]

    def request(
        self,
        method: str,
        target: str,
        body: bytes = b"",
        content_type: str = "application/json",
        *,
        ended: Callable[[int], None],
        piece: Callable[[bytes], None] | None = None,
    ) -> None:
        headers = [
            (b":method", method.encode()),
            (b":scheme", b"https"),
            (b":authority", self._authority),
            (b":path", target.encode()),
            (b"accept", self._accept),
        ]
        if body:
            headers += [(b"content-type", content_type.encode()), (b"content-length", b"%d" % len(body))]
        stream = self.engine.send_request(headers, end_stream=not body)
        self._ended[stream] = ended
        if piece is not None:
            self._pieces[stream] = piece
        if body:
            self.engine.send_data(stream, body, end_stream=True)
        if not self._dirty:
            self._dirty = True
            asyncio.get_running_loop().call_soon(self.flush)

    def close(self) -> None:
        self._transport.close()  # type: ignore[attr-defined]


async def connect(config: Path, count: int = 1, *, accept: str = "application/json") -> list[Connection]:
    """Connections to the server of a kubeconfig, as its user, who wants this to read."""
    access = kubeconfig.access(config)
    url = urlsplit(access.server)
    context = client_context(
        ca_data=access.certificate_authority,
        cert_data=access.client_certificate,
        key_data=access.client_key,
        alpn=("h2",),
    )
    loop = asyncio.get_running_loop()
    made = []
    for _ in range(count):
        _, protocol = await loop.create_connection(
            lambda: Connection(url.netloc, accept),
            url.hostname,
            url.port,
            ssl=context,
            server_hostname="127.0.0.1",
        )
        made.append(protocol)
    return made


async def run(connections: list[Connection], make: Body, *, total: int, in_flight: int) -> Result:
    """`total` requests, `in_flight` at a time, spread over the connections."""
    result = Result()
    numbers: Iterator[int] = iter(range(total))
    done = asyncio.Event()
    left = total

    def send(connection: Connection) -> None:
        number = next(numbers, None)
        if number is None:
            return
        started = time.perf_counter()

        def ended(status: int) -> None:
            nonlocal left
            result.latencies.append(time.perf_counter() - started)
            if not 200 <= status < 300:
                result.failed += 1
            left -= 1
            if left == 0:
                done.set()
            send(connection)

        method, target, body, content_type = make(number)
        connection.request(method, target, body, content_type, ended=ended)

    before = sum(connection.received for connection in connections)
    begun = time.perf_counter()
    for index in range(min(in_flight, total)):
        send(connections[index % len(connections)])
    await done.wait()
    result.seconds = time.perf_counter() - begun
    result.body_bytes = sum(connection.received for connection in connections) - before
    return result
