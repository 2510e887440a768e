"""Requests, responses and streams as a handler sees them, the same over HTTP/1.1 and HTTP/2.

The server (`server.py`) makes Requests, hands each to one Handler, and carries the Response to the wire. A handler
that can answer at once returns a plain Response and costs no task; one that must wait returns an awaitable.
The words follow RFC 9110 (HTTP semantics).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import unquote, unquote_plus

from tiphys.machinery.frozen import frozen

Protocol = Literal["h1", "h2"]


@frozen
class Address:
    """Where a socket listens or a peer calls from: a host and port, or the path of a unix socket."""

    host: str = ""
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Connection:
    """What is known about the peer; one object for all requests of one connection.

    `peer_certificate` is the DER of a client certificate that TLS has verified, or None.
    `context` is free for the handler: what it derives from the certificate is worth keeping here.
    """

    __slots__ = ("context", "peer_address", "peer_certificate", "protocol", "tls")

    def __init__(
        self,
        *,
        protocol: Protocol = "h1",
        tls: bool = False,
        peer_address: Address | None = None,
        peer_certificate: bytes | None = None,
    ) -> None:
        self.protocol: Protocol = protocol
        self.tls = tls
        self.peer_address = peer_address or Address()
        self.peer_certificate = peer_certificate
        self.context: Any = None


class Repeated(str):
    """A header that was sent several times: all of it joined, and each of its `values`."""

    __slots__ = ("values",)
    values: tuple[str, ...]


def repeated(before: str, value: str, separator: str) -> Repeated:
    joined = Repeated(f"{before}{separator}{value}")
    joined.values = (*values_of(before), value)
    return joined


def values_of(header: str) -> tuple[str, ...]:
    """What a header was each time that it was sent; commas inside are part of a value."""
    return header.values if isinstance(header, Repeated) else (header,)


class Request:
    """One request, whole: the handler is called when the body has arrived.

    `headers` has lower-case names; repeated fields are joined by ", " (RFC 9110 §5.3; `values_of` tells them apart). HTTP/2's `:authority` is `host`.
    `query` has the target's parameters, in order, blank values kept.
    """

    __slots__ = ("body", "connection", "context", "headers", "method", "path", "query", "target")

    def __init__(
        self,
        method: str,
        target: str,
        headers: dict[str, str] | None = None,
        body: bytes = b"",
        connection: Connection | None = None,
    ) -> None:
        self.method = method
        self.target = target
        path, _, query = target.partition("?")
        self.path = unquote(path) if "%" in path else path
        self.query = parse_query(query) if query else {}
        self.headers = {} if headers is None else headers
        self.body = body
        self.connection = connection or Connection()
        self.context: Any = None

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.target}>"


def parse_query(text: str) -> dict[str, list[str]]:
    """`a=1&a=2&b` to `{"a": ["1", "2"], "b": [""]}` (application/x-www-form-urlencoded)."""
    query: dict[str, list[str]] = {}
    for pair in text.split("&"):
        if not pair:
            continue
        name, _, value = pair.partition("=")
        query.setdefault(unquote_plus(name), []).append(unquote_plus(value))
    return query


class Frame:
    """One event for any number of sinks. Each wire protocol frames it once, however many sinks it is written to."""

    __slots__ = ("_chunk", "data")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self._chunk: bytes | None = None

    @property
    def chunk(self) -> bytes:
        """The data as one chunk of HTTP/1.1's chunked coding (RFC 9112 §7.1); nothing for no data, for an empty chunk ends a body."""
        if self._chunk is None:
            self._chunk = chunk_of(self.data)
        return self._chunk


def chunk_of(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


def ignore() -> None:
    """The `on_close` of a sink whose writer did not set one."""


class Sink(ABC):
    """One open streaming response, written to from the event loop at any time after `Response.start` was called with it.

    Everything written in one turn of the loop goes out together. `write` and `close` never block and never raise; after
    the end they do nothing. `on_close` is called exactly once when either side ends, also from within `close()`: a writer
    that loops over a collection of sinks loops over a copy.
    """

    __slots__ = ("closed", "on_close")

    def __init__(self) -> None:
        self.closed = False
        self.on_close: Callable[[], None] = ignore

    @abstractmethod
    def write(self, data: bytes | Frame) -> None: ...

    @abstractmethod
    def close(self) -> None:
        """End the response properly (last chunk, END_STREAM) after what was written."""

    @abstractmethod
    def abort(self) -> None:
        """End the response so that the peer sees that it is cut off, and drop what it has not accepted yet."""

    @property
    @abstractmethod
    def pending_bytes(self) -> int:
        """Written but not yet accepted by the peer. HTTP/2 counts the connection's shared output in each of its sinks."""


class ByteStream(ABC):
    """A raw duplex connection: after an upgrade, or dialled."""

    __slots__ = ()

    @abstractmethod
    async def read(self, n: int = 65536) -> bytes:
        """At least one byte and at most n, or b"" once the peer has ended. Raises ConnectionError if it was cut off."""

    @abstractmethod
    async def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send; waits while the peer takes too little. Raises ConnectionError when the connection is gone."""

    @abstractmethod
    async def write_eof(self) -> None:
        """No more from this side; reading goes on. Where TLS cannot say so on its own, this does nothing."""

    @abstractmethod
    def close(self) -> None:
        """Send what was written, then close. May be called again."""


class Gradual:
    """A body that is made while it goes out, with back-pressure, of parts not much larger than a slice. Nobody knows its length
    before the end. An empty part: that was enough for this turn of the loop."""

    __slots__ = ("_parts", "size_bytes")

    def __init__(self, parts: Iterator[bytes]) -> None:
        self._parts = parts
        self.size_bytes = 0
        """Of what was made so far."""

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        part = next(self._parts)
        self.size_bytes += len(part)
        return part


@dataclass(slots=True)
class Response:
    """An answer. The server adds `content-length` (or the chunked coding) and `date`.

    body:     bytes; or a sequence of pieces, written in slices with back-pressure; or one that is made meanwhile (Gradual);
              or an iterator, streamed as it comes.
    start:    push style instead of a body: called once the head is on the wire; writes to the sink when it likes.
              Not called for HEAD.
    on_sent:  called once, when the answer has left for the wire or never will (the client has gone, it was cut off).
              With `start`: only if that is never called, for its writer is told by its sink.
    upgrade:  with status 101 (HTTP/1.1 only): takes the raw connection over, which closes when it returns.
    """

    status: int
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes | Sequence[bytes] | Gradual | AsyncIterator[bytes] = b""
    start: Callable[[Sink], None] | None = None
    upgrade: Callable[[ByteStream], Awaitable[None]] | None = None
    on_sent: Callable[[], None] | None = None


HANG_UP = Response(0, start=lambda sink: None)
"""Instead of an answer: the connection (of HTTP/2: the stream) is cut off. For tests of clients in bad weather."""

# A plain Response is sent at once. An awaitable (coroutine or Future) is cancelled when the client goes before its answer:
# what must be finished all the same, or is waited for by others, goes behind asyncio.shield.
Handler = Callable[[Request], Response | Awaitable[Response]]
