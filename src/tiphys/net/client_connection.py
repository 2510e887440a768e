"""One HTTP/1.1 connection as its client sees it: requests go out one after the other, responses come in.

The pool (`client.py`) makes connections and ends them; between two requests a connection belongs to the pool, from
`send` to the end of the response to one caller.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import cast

import httptools

from tiphys.net.stream import TransportStream

__all__ = ["ClientConnection", "ConnectionLost", "HTTPClientError", "IncomingResponse", "ResponseError"]

PAUSE_ABOVE_BYTES = 256 * 1024
RESUME_BELOW_BYTES = 64 * 1024
HEADERS_LIMIT_BYTES = 256 * 1024


class HTTPClientError(Exception):
    """Whatever keeps a request from its response."""


class ResponseError(HTTPClientError):
    """What the server sent is not a whole response of HTTP/1.1."""


class ConnectionLost(ResponseError):
    """The connection ended before the response did.

    `untouched`: nothing of the response had come. `sent`: some of the request had gone out.
    """

    def __init__(self, reason: str, *, untouched: bool, sent: bool = True) -> None:
        super().__init__(reason)
        self.untouched = untouched
        self.sent = sent


class IncomingResponse:
    """The response that a connection is waiting for: the parser fills it, one caller reads it."""

    def __init__(self, connection: ClientConnection, *, bodiless: bool, upgrade: bool) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.ended = False
        self.keep_alive = False
        self.received_bytes = 0
        self.leftover = b""  # what follows a 101 on the wire
        self.head: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._connection = connection
        self._bodiless = bodiless
        self._upgrade = upgrade
        self._parser = httptools.HttpResponseParser(self)
        # As Go's client, which servers have been tried with: a line of the head may end without CR (RFC 9112, section 2.2). Whoever
        # answers us has the connection for himself, so that nobody between us can be led to see another message.
        self._parser.set_dangerous_leniencies(lenient_optional_cr_before_lf=True)
        self._head_done = False
        self._header_bytes = 0
        self._chunks: deque[bytes] = deque()
        self._buffered_bytes = 0
        self._error: HTTPClientError | None = None
        self._readable = asyncio.Event()

    # --- for the caller ---

    async def read(self) -> bytes:
        """The next piece of the body as it came, b"" at its end."""
        while not self._chunks:
            if self._error is not None:
                raise self._error
            if self.ended:
                return b""
            self._readable.clear()
            await self._readable.wait()
        chunk = self._chunks.popleft()
        self._buffered_bytes -= len(chunk)
        if self._buffered_bytes < RESUME_BELOW_BYTES and not self.ended:
            self._connection.resume_reading()
        return chunk

    async def read_all(self) -> bytes:
        first = await self.read()
        if not self._chunks and self.ended and self._error is None:
            return first
        parts = [first]
        while part := await self.read():
            parts.append(part)
        return b"".join(parts)

    # --- for the connection ---

    def feed(self, data: bytes) -> None:
        self.received_bytes += len(data)
        if self.leftover or (self.ended and self.status == 101):
            self.leftover += data
            return
        try:
            self._parser.feed_data(data)
            if not self._head_done and self.received_bytes > HEADERS_LIMIT_BYTES:
                # The parser keeps a line until it ends.
                self.fail(ResponseError(f"the headers exceed {HEADERS_LIMIT_BYTES} bytes"))
        except httptools.HttpParserUpgrade as switch:
            self.leftover = data[switch.args[0] :]
        except httptools.HttpParserError as error:
            # A callback's own error comes wrapped in the parser's.
            cause = error.__context__
            self.fail(
                cause if isinstance(cause, HTTPClientError) else ResponseError(f"malformed response: {error}")
            )

    def connection_ended(self, error: Exception | None) -> None:
        """The connection is gone. A body that only this delimits is whole now (RFC 9112, section 6.3)."""
        until_close = "content-length" not in self.headers and "transfer-encoding" not in self.headers
        if self._head_done and until_close and error is None:
            self._end()
        else:
            reason = f"the connection was lost: {error}" if error else "the server closed the connection"
            self.fail(
                ConnectionLost(f"{reason} before the end of the response", untouched=not self.received_bytes)
            )

    def fail(self, error: HTTPClientError) -> None:
        self.keep_alive = False
        if not self.ended:
            self._error = error
            self._end()

    def _end(self) -> None:
        self.ended = True
        self._readable.set()
        if not self.head.done():
            if self._error is not None:
                self.head.set_exception(self._error)
                self.head.exception()  # the caller may have given up already
            else:
                self.head.set_result(None)

    # --- for the parser ---

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._head_done:
            return  # a trailer
        self._header_bytes += len(name) + len(value)
        if self._header_bytes > HEADERS_LIMIT_BYTES:
            raise ResponseError(f"the headers exceed {HEADERS_LIMIT_BYTES} bytes")
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        self.headers[key] = f"{self.headers[key]}, {text}" if key in self.headers else text

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()
        if self.status < 200 and self.status != 101:
            return  # an interim response: the real one follows
        if self.status == 101 and not self._upgrade:
            raise ResponseError("the server switched protocols without being asked")
        self.keep_alive = self._parser.should_keep_alive()
        self._head_done = True
        if not self.head.done():
            self.head.set_result(None)
        if self._bodiless:
            self._end()

    def on_body(self, data: bytes) -> None:
        if self.ended:
            self.keep_alive = False  # a body after HEAD, or bytes that nobody asked for
            return
        self._chunks.append(data)
        self._buffered_bytes += len(data)
        self._readable.set()
        if self._buffered_bytes > PAUSE_ABOVE_BYTES:
            self._connection.pause_reading()

    def on_message_begin(self) -> None:
        if self.ended:
            self.keep_alive = False

    def on_message_complete(self) -> None:
        if self._head_done:
            self._end()
        else:
            self.headers.clear()


class ClientConnection(asyncio.Protocol):
    """Carries one exchange at a time. `idle_since` is for the pool, by the loop's clock."""

    def __init__(self) -> None:
        self.idle_since = 0.0
        self._transport: asyncio.Transport | None = None
        self._response: IncomingResponse | None = None
        self._paused = False
        self._writing_paused = False
        self._given_up = False

    @property
    def usable(self) -> bool:
        """Whether another request may go out: alive, nothing running, nothing left to send."""
        transport = self._transport
        return (
            transport is not None
            and self._response is None
            and not transport.is_closing()
            and not transport.get_write_buffer_size()
        )

    def send(self, method: str, head: bytes, body: bytes, *, upgrade: bool = False) -> IncomingResponse:
        assert self._transport is not None
        assert self._response is None
        response = self._response = IncomingResponse(self, bodiless=method == "HEAD", upgrade=upgrade)
        if self._transport.is_closing():
            response.fail(ConnectionLost("the server closed the connection", untouched=True, sent=False))
        else:
            self._transport.write(head + body if body else head)
        return response

    def finish(self) -> bool:
        """The caller is done with the response. True: the connection can carry another request; else it closes."""
        response, self._response = self._response, None
        if response is None or not response.ended:
            self.abort()  # the server may never read what close() would still want to send
            return False
        if response.keep_alive and self.usable:
            self.resume_reading()
            return True
        self.close()
        return False

    def hand_over(self) -> TransportStream:
        """After a 101: the connection becomes a raw stream, with the bytes that came behind the response."""
        assert self._transport is not None
        assert self._response is not None
        response, self._response = self._response, None
        stream = TransportStream()
        stream.take_over(self._transport, response.leftover, writing_paused=self._writing_paused)
        self._paused = False
        if not self._transport.is_closing():
            self._transport.resume_reading()
        return stream

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def give_up(self) -> None:
        """Nobody waits for it any more: it ends, now or as soon as it is there."""
        self._given_up = True
        self.abort()

    def pause_reading(self) -> None:
        if not self._paused and self._transport is not None and not self._transport.is_closing():
            self._paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if self._paused and self._transport is not None and not self._transport.is_closing():
            self._paused = False
            self._transport.resume_reading()

    # --- asyncio.Protocol ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if self._given_up:
            self.abort()

    def data_received(self, data: bytes) -> None:
        if self._response is None:
            self.close()  # nobody asked: perhaps a 408 before the server closes
        else:
            self._response.feed(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._response is not None and not self._response.ended:
            self._response.connection_ended(exc)

    def pause_writing(self) -> None:
        self._writing_paused = True

    def resume_writing(self) -> None:
        self._writing_paused = False
