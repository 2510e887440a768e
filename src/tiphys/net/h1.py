"""HTTP/1.1 on one connection: requests in order, one response at a time (RFC 9112).

A connection is made by the Server for each accepted socket and ends itself: after `Connection: close`, a refusal, a
time-out, or when the client goes. While a response is on its way, further requests wait in the reader and reading stops.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import cast

from tiphys.net.deadline import Deadline
from tiphys.net.exchange import Exchange, has_no_body, small_body
from tiphys.net.h1_head import CONTINUE, LAST_CHUNK, has_header, response_head
from tiphys.net.h1_reader import Failure, Incoming, RequestReader, State
from tiphys.net.http import Connection, Frame, Request, Response, chunk_of
from tiphys.net.service import Service, end_writing, plain_response
from tiphys.net.tunnel import Tunnel

WRITE_BYTES = 128 * 1024


class H1Connection(asyncio.Protocol):
    __slots__ = (
        "_advancing",
        "_closing",
        "_deadline",
        "_deadline_for",
        "_dirty",
        "_exchange",
        "_lingering",
        "_output",
        "_reader",
        "_reading_paused",
        "_transport",
        "info",
        "paused",
        "service",
    )

    def __init__(self, service: Service, info: Connection) -> None:
        self.service = service
        self.info = info
        self.paused = False
        self._reader = RequestReader(info, service.limits)
        self._deadline = Deadline(service.loop, self._timed_out)
        self._deadline_for: tuple[int, State] | None = None
        self._exchange: H1Exchange | None = None
        self._output: list[bytes] = []
        self._dirty = False
        self._advancing = False
        self._closing = False
        self._lingering = False
        self._reading_paused = False

    # The transport's callbacks.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.service.add(self)
        self._await_more()

    def data_received(self, data: bytes) -> None:
        if self._lingering:
            return
        self._reader.feed(data)
        if self._exchange is None:
            self._advance()
        elif self._reader.has_backlog:
            self._pause_reading()

    def eof_received(self) -> bool:
        """The client has gone: one that only half-closes looks the same, and Go's servers take it so too."""
        self._closing = True
        self._abandon()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.service.discard(self)
        self._closing = True
        self._deadline.end()
        self._output.clear()
        self._abandon()
        self._reader.end()

    def _abandon(self) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.abandon()

    def pause_writing(self) -> None:
        self.paused = True
        self._deadline_for = None
        self._deadline.set(self.service.limits.idle_timeout_seconds)

    def resume_writing(self) -> None:
        self.paused = False
        self._deadline.clear()
        if self._exchange is not None:
            self._exchange.resume()
        elif not self._closing and not self._advancing:
            self._advance()

    # Requests, in order.

    def _advance(self) -> None:
        """Answer what is ready until an answer must be waited for."""
        self._advancing = True
        reader = self._reader
        while self._exchange is None and not self._closing:
            if self.paused:
                self._pause_reading()  # A client that asks and does not read: serve it when it has read.
                break
            if reader.ready:
                self._serve(reader.ready.popleft())
            elif reader.state is State.UPGRADE:
                reader.decline_upgrade()
            else:
                self._await_more()
                break
        self._advancing = False

    def _serve(self, incoming: Incoming) -> None:
        request = incoming.request
        self._closing = not incoming.keep_alive or self.service.stopping
        answer = self.service.answer(request)
        if not (isinstance(answer, Response) and self.send_at_once(answer, incoming)):
            self._deadline.clear()
            self._deadline_for = None
            exchange = self._exchange = H1Exchange(self, incoming)
            exchange.begin(answer)
        elif self._closing:
            self._close()

    def send_at_once(self, response: Response, incoming: Incoming) -> bool:
        """A small body at hand goes out with its head in one write. False: it is none, or cannot be sent."""
        body = small_body(response)
        if body is None:
            return False
        try:
            head = self.head(response, len(body), incoming)
        except ValueError:
            return False
        self.write_now(head if has_no_body(incoming.request, response) else head + body)
        return True

    def head(
        self, response: Response, length: int | None, incoming: Incoming, *, chunked: bool = False
    ) -> bytes:
        framing = ""
        if response.status == 204:
            pass
        elif length is not None:
            framing = f"content-length: {length}\r\n"
        elif chunked:
            framing = "transfer-encoding: chunked\r\n"
        if self._closing:
            framing += "connection: close\r\n"
        elif not incoming.chunked_allowed:
            framing += "connection: keep-alive\r\n"
        return response_head(response, framing, self.service.date())

    def close_after_this(self) -> None:
        self._closing = True

    def _await_more(self) -> None:
        """No request is ready and none is running: read on, for as long as the client may take."""
        reader, limits = self._reader, self.service.limits
        if reader.failure is not None:
            self._refuse(reader.failure)
            return
        if reader.continue_wanted:
            reader.continue_wanted = False
            self._transport.write(CONTINUE)
        if reader.state is State.IDLE:
            self._deadline.set(limits.idle_timeout_seconds)
        elif self._deadline_for != (awaited := (reader.begun, reader.state)):
            # Counted from the beginning of the head or body: a byte now and then does not move it.
            self._deadline_for = awaited
            in_head = reader.state is State.HEAD
            self._deadline.set(limits.header_timeout_seconds if in_head else limits.body_timeout_seconds)
        self._resume_reading()

    def _pause_reading(self) -> None:
        if not self._reading_paused:
            self._reading_paused = True
            self._transport.pause_reading()

    def _resume_reading(self) -> None:
        if self._reading_paused:
            self._reading_paused = False
            self._transport.resume_reading()

    def exchange_done(self, *, broken: bool) -> None:
        """The exchange is over; `broken`: its response was cut off, which in HTTP/1.1 only closing can say."""
        self._exchange = None
        if broken:
            self._closing = True
            self._transport.abort()
        elif self._closing:
            self._close()
        elif not self._advancing:
            self._advance()

    # Writing.

    def write_now(self, data: bytes) -> None:
        self._output.append(data)
        self.flush()

    def write_soon(self, data: bytes) -> None:
        """Written together with all else of this turn of the loop."""
        self._output.append(data)
        if not self._dirty:
            self._dirty = True
            self.service.flush_soon(self)

    def flush(self) -> None:
        self._dirty = False
        output = self._output
        if output:
            data = output[0] if len(output) == 1 else b"".join(output)
            output.clear()
            # TLS transports do not count what the transport below them holds. Written in slices, that is one at most.
            for start in range(0, len(data), WRITE_BYTES):
                self._transport.write(data[start : start + WRITE_BYTES])

    @property
    def pending_bytes(self) -> int:
        return self._transport.get_write_buffer_size() + sum(map(len, self._output))

    # The end.

    def _refuse(self, failure: Failure) -> None:
        """Answer what cannot be served, and close."""
        self._closing = True
        request = failure.request
        if request is not None:
            response = self.service.too_large(request)
        else:
            request = Request("GET", "/", connection=self.info)
            response = plain_response(failure.status, failure.message)
        self._reader.ready.clear()
        if not self.send_at_once(response, Incoming(request, False, True)):
            fallback = plain_response(failure.status, HTTPStatus(failure.status).phrase)
            self.send_at_once(fallback, Incoming(request, False, True))
        self._linger()

    def _linger(self) -> None:
        """Let the client read the refusal and close; what it still sends is dropped."""
        self.flush()
        self._lingering = True
        self._resume_reading()
        end_writing(self._transport)
        self._deadline.set(self.service.limits.linger_seconds)

    def _close(self) -> None:
        self.flush()
        self._deadline.clear()
        self._transport.close()

    def _timed_out(self) -> None:
        if self.paused or self._lingering:
            self._transport.abort()
        elif self._reader.state is State.IDLE:
            self._closing = True
            self._transport.close()
        else:
            self._refuse(Failure(408, "the request took too long"))

    def begin_shutdown(self) -> None:
        self._closing = True
        if self._exchange is None:
            self._close()
        else:
            self._exchange.wind_down()

    def kill(self) -> None:
        self._abandon()
        self._transport.abort()

    def hand_over(self, response: Response) -> None:
        """Leave the connection to `response.upgrade`."""
        framing = "" if has_header(response, "connection") else "connection: Upgrade\r\n"
        self.write_now(response_head(response, framing, self.service.date()))
        rest = self._reader.take_rest()
        self._closing = True
        self._exchange = None
        self._deadline.end()
        self._resume_reading()
        Tunnel(self.service, response, self._transport, rest, writing_paused=self.paused)
        self.service.discard(self)


class H1Exchange(Exchange):
    __slots__ = ("_broken", "_chunked", "_connection", "_incoming")

    def __init__(self, connection: H1Connection, incoming: Incoming) -> None:
        super().__init__(connection.service, incoming.request)
        self._connection = connection
        self._incoming = incoming
        self._chunked = False
        self._broken = False

    def _send_at_once(self, response: Response) -> bool:
        return self._connection.send_at_once(response, self._incoming)

    def _write_head(self, response: Response, length: int | None) -> None:
        connection, incoming = self._connection, self._incoming
        if length is not None:
            connection.write_soon(connection.head(response, length, incoming))
            return
        if not has_header(response, "content-length"):
            self._chunked = incoming.chunked_allowed
            if not self._chunked:
                connection.close_after_this()  # HTTP/1.0 knows no other end of a stream.
        connection.write_now(connection.head(response, None, incoming, chunked=self._chunked))

    def _write_body(self, data: bytes | Frame) -> None:
        if self._chunked:
            self._connection.write_soon(data.chunk if isinstance(data, Frame) else chunk_of(data))
        else:
            self._connection.write_soon(data.data if isinstance(data, Frame) else data)

    def write(self, data: bytes | Frame) -> None:
        if not self.closed:
            self._write_body(data)

    def _write_end(self) -> None:
        if self._chunked:
            self._connection.write_soon(LAST_CHUNK)

    def _cut_off(self) -> None:
        self._broken = True

    def _hand_over(self, response: Response) -> None:
        if not self._incoming.wants_upgrade:
            raise ValueError("the handler upgrades a connection whose client did not ask for it")
        self._connection.hand_over(response)
        self.closed = True

    def _await_resume(self) -> None:
        """The connection resumes its one exchange whenever the transport drains."""

    def _release(self) -> None:
        self._connection.exchange_done(broken=self._broken)

    @property
    def congested(self) -> bool:
        return self._connection.paused

    @property
    def pending_bytes(self) -> int:
        return 0 if self.closed else self._connection.pending_bytes
