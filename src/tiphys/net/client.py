"""An HTTP/1.1 client for one server: a pool of kept connections, whole and streamed responses, upgrades.

The caller says how to reach the server: by the URL's host and port, or by a `dial` function that gives a connected
socket (from another network namespace, to a unix socket). Redirects are answers like any other.

Made by whoever talks to that server, on the event loop it is used on; ended with `close()`.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from tiphys.machinery.frozen import frozen
from tiphys.net.client_connection import (
    ClientConnection,
    ConnectionLost,
    HTTPClientError,
    IncomingResponse,
    ResponseError,
)
from tiphys.net.http import ByteStream

__all__ = [
    "ClientResponse",
    "ConnectError",
    "HTTPClient",
    "HTTPClientError",
    "RequestTimeout",
    "ResponseError",
    "StreamedResponse",
]

Dial = Callable[[], Awaitable[socket.socket]]
HeaderFields = Mapping[str, str] | Sequence[tuple[str, str]]

CONNECT_TIMEOUT_SECONDS = 10.0
# Shorter than servers usually wait (Go: 90 s and more), so that a request seldom meets a connection about to close.
IDLE_TIMEOUT_SECONDS = 60.0
IDLE_CONNECTION_LIMIT = 64
BODY_METHODS = frozenset({"POST", "PUT", "PATCH"})  # their length is said even when it is 0
IDEMPOTENT_METHODS = frozenset(
    {"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"}
)  # RFC 9110, section 9.2.2


class ConnectError(HTTPClientError):
    """No connection could be made. `address` is what was tried, `reason` why it failed."""

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(f"cannot connect to {address}: {reason}")
        self.address = address
        self.reason = reason


class RequestTimeout(HTTPClientError, TimeoutError):
    """The time that the caller allowed is over."""


@frozen
class ClientResponse:
    """A whole response. `headers` has lower-case names; repeated fields are joined by ", "."""

    status: int
    headers: dict[str, str]
    body: bytes


class StreamedResponse:
    """A response whose body is read as it comes: `async for piece in response`. Reading slowly slows the server."""

    def __init__(self, response: IncomingResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self._response = response

    async def read(self) -> bytes:
        """The next piece, b"" at the end. Raises ResponseError when the body is cut off."""
        return await self._response.read()

    async def read_all(self) -> bytes:
        return await self._response.read_all()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while piece := await self._response.read():
            yield piece


class HTTPClient:
    """Requests to one server, any number at once, each on a connection of its own.

    `base_url`: `http://host:port` or `https://…`; a path in it goes before each target. `ssl_context` is for https.
    All methods raise ConnectError, RequestTimeout or ResponseError, which are HTTPClientErrors.
    """

    def __init__(
        self,
        base_url: str,
        *,
        ssl_context: ssl.SSLContext | None = None,
        dial: Dial | None = None,
        connect_timeout_seconds: float = CONNECT_TIMEOUT_SECONDS,
        idle_timeout_seconds: float = IDLE_TIMEOUT_SECONDS,
    ) -> None:
        url = urlsplit(base_url)
        if url.scheme not in ("http", "https") or not url.hostname:
            raise ValueError(f"{base_url!r} is not an http or https URL")
        self.base_url = base_url
        self._tls = url.scheme == "https"
        self._host = url.hostname
        self._port = url.port or (443 if self._tls else 80)
        self._authority = url.netloc.rpartition("@")[2]
        self._prefix = url.path.rstrip("/")
        self._ssl_context = ssl_context
        self._dial = dial
        self._connect_timeout_seconds = connect_timeout_seconds
        self._idle_timeout_seconds = idle_timeout_seconds
        self._idle: deque[ClientConnection] = deque()  # the most recently used on the right
        self._open: set[ClientConnection] = set()
        self._closed = False

    async def request(
        self,
        method: str,
        target: str,
        headers: HeaderFields = (),
        body: bytes = b"",
        timeout_seconds: float | None = None,
    ) -> ClientResponse:
        """Sends a request and waits for the whole response. `target` is path and query as on the wire."""
        head = self._head(method, target, headers, body)
        async with deadline(timeout_seconds, method, target):
            connection, response = await self._exchange(method, head, body)
            try:
                return ClientResponse(response.status, response.headers, await response.read_all())
            finally:
                self._finish(connection)

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        target: str,
        headers: HeaderFields = (),
        body: bytes = b"",
        timeout_seconds: float | None = None,
    ) -> AsyncIterator[StreamedResponse]:
        """Gives the response as soon as its head is there; `timeout_seconds` counts until then.

        Leaving the block before the body's end closes the connection.
        """
        head = self._head(method, target, headers, body)
        async with deadline(timeout_seconds, method, target):
            connection, response = await self._exchange(method, head, body)
        try:
            yield StreamedResponse(response)
        finally:
            self._finish(connection)

    async def upgrade(
        self,
        method: str,
        target: str,
        headers: HeaderFields = (),
        body: bytes = b"",
        timeout_seconds: float | None = None,
    ) -> tuple[ClientResponse, ByteStream | None]:
        """Asks for another protocol; `headers` name it (Connection, Upgrade).

        On 101 the stream is the caller's, who closes it; bytes that came right behind the response are in it.
        Any other answer comes whole, without a stream.
        """
        head = self._head(method, target, headers, body)
        async with deadline(timeout_seconds, method, target):
            connection = await self._connect()
            try:
                response = await self._send(connection, method, head, body, upgrade=True)
                if response.status == 101:
                    self._open.discard(connection)
                    return ClientResponse(101, response.headers, b""), connection.hand_over()
                return ClientResponse(response.status, response.headers, await response.read_all()), None
            finally:
                if connection in self._open:
                    self._finish(connection)

    async def close(self) -> None:
        """Closes all connections; requests under way fail. Upgraded streams belong to their callers."""
        self._closed = True
        self._idle.clear()
        for connection in self._open:
            connection.close()
        self._open.clear()
        await asyncio.sleep(0)  # the loop closes the sockets

    # --- exchanges ---

    async def _exchange(
        self, method: str, head: bytes, body: bytes
    ) -> tuple[ClientConnection, IncomingResponse]:
        """A request and the head of its response.

        A server may close a kept connection at any moment, also while a request is on its way there. Then the request
        goes out once more on a fresh connection, if it cannot have been carried out or may be carried out twice.
        """
        kept = self._take_idle()
        if kept is not None:
            try:
                return kept, await self._send(kept, method, head, body)
            except ConnectionLost as lost:
                self._finish(kept)
                if not (lost.untouched and (method in IDEMPOTENT_METHODS or not lost.sent)):
                    raise
            except BaseException:
                self._finish(kept)
                raise
        fresh = await self._connect()
        try:
            return fresh, await self._send(fresh, method, head, body)
        except BaseException:
            self._finish(fresh)
            raise

    async def _send(
        self, connection: ClientConnection, method: str, head: bytes, body: bytes, *, upgrade: bool = False
    ) -> IncomingResponse:
        response = connection.send(method, head, body, upgrade=upgrade)
        await response.head
        return response

    def _head(self, method: str, target: str, headers: HeaderFields, body: bytes) -> bytes:
        fields = list(headers.items() if isinstance(headers, Mapping) else headers)
        names = {name.lower() for name, _ in fields}
        if "host" not in names:
            fields.insert(0, ("Host", self._authority))
        # An upgrade with a body, be it empty, is one that servers may ignore.
        if "content-length" not in names and (body or ("upgrade" not in names and method in BODY_METHODS)):
            fields.append(("Content-Length", str(len(body))))
        return encode_head(method, self._prefix + target, fields)

    # --- the pool ---

    def _take_idle(self) -> ClientConnection | None:
        """The kept connection that was used last; those that have waited too long or broken are dropped."""
        now = asyncio.get_running_loop().time()
        while self._idle:
            connection = self._idle.pop()
            if connection.usable and now - connection.idle_since < self._idle_timeout_seconds:
                return connection
            self._drop(connection)
        return None

    def _finish(self, connection: ClientConnection) -> None:
        if self._closed or not connection.finish():
            self._drop(connection)
            return
        now = connection.idle_since = asyncio.get_running_loop().time()
        # What a burst needed is not kept after it: a TLS connection costs a quarter of a megabyte.
        while self._idle and now - self._idle[0].idle_since >= self._idle_timeout_seconds:
            self._drop(self._idle.popleft())
        self._idle.append(connection)
        if len(self._idle) > IDLE_CONNECTION_LIMIT:
            self._drop(self._idle.popleft())

    def _drop(self, connection: ClientConnection) -> None:
        self._open.discard(connection)
        connection.close()

    async def _connect(self) -> ClientConnection:
        if self._closed:
            raise ConnectError(self.base_url, "the client is closed")
        try:
            async with asyncio.timeout(self._connect_timeout_seconds):
                connection = await self._open_connection()
        except TimeoutError:
            raise ConnectError(
                self._authority, f"timed out after {self._connect_timeout_seconds:g} s"
            ) from None
        except (OSError, ssl.CertificateError) as error:
            raise ConnectError(self._authority, describe(error)) from error
        self._open.add(connection)
        return connection

    async def _open_connection(self) -> ClientConnection:
        loop, connection = asyncio.get_running_loop(), ClientConnection()
        tls = (self._ssl_context or True) if self._tls else None
        sock = await self._dial() if self._dial is not None else None
        try:
            if sock is None:
                await loop.create_connection(lambda: connection, self._host, self._port, ssl=tls)
            else:
                sock.setblocking(False)
                name = self._host if self._tls else None
                await loop.create_connection(lambda: connection, sock=sock, ssl=tls, server_hostname=name)
        except BaseException:
            # Not the socket: the loop may still have a transport for it, when this was cancelled before that had begun.
            connection.give_up()
            raise
        return connection


@asynccontextmanager
async def deadline(timeout_seconds: float | None, method: str, target: str) -> AsyncIterator[None]:
    limit = asyncio.timeout(timeout_seconds)
    try:
        async with limit:
            yield
    except TimeoutError:
        if not limit.expired():
            raise
        raise RequestTimeout(f"{method} {target} took longer than {timeout_seconds:g} s") from None


def encode_head(method: str, target: str, fields: Sequence[tuple[str, str]]) -> bytes:
    """The head of a request. Raises ValueError where a value could end its line and smuggle in another."""
    lines = [f"{method} {target} HTTP/1.1"] + [f"{name}: {value}" for name, value in fields]
    if " " in target or any("\r" in line or "\n" in line or "\0" in line for line in lines):
        raise ValueError(f"the request line or a header of {method} {target!r} has a forbidden character")
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def describe(error: OSError | ssl.CertificateError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the server's certificate is not accepted: {error.verify_message}"
    return error.strerror or str(error) or type(error).__name__
