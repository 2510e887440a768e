"""HTTP/2 on one connection: many requests at once, each on its stream (RFC 9113).

What the streams write in one turn of the loop goes out in one write, or two. Each stream's output waits in the engine for the
peer's windows; a connection whose transport is full takes nothing more out of the engine, so that all wait there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import cast

from tiphys.net.deadline import Deadline
from tiphys.net.exchange import Exchange, dismiss, has_no_body, small_body
from tiphys.net.h1_reader import has_bad_escape
from tiphys.net.h2_engine import (
    GOAWAY_PROTOCOL_ERROR,
    HTTP_1_1_REQUIRED,
    INTERNAL_ERROR,
    NO_ERROR,
    Engine,
    EngineError,
    Headers,
)
from tiphys.net.h2_fields import Heads, response_block
from tiphys.net.http import Connection, Frame, Request, Response
from tiphys.net.service import Service, end_writing, plain_response

# At most this much is taken out of the engine for one write, of which there are two in one turn of the loop. Not larger: TLS keeps
# room for as much for as long as the connection lasts.
WRITE_BYTES = 128 * 1024
# A stream with this much waiting in the engine produces no more.
STREAM_QUEUE_BYTES = 128 * 1024
# Uploads together may hold this much on one connection before only the oldest is let go on.
UPLOADS_BYTES = 16 * 1024 * 1024
# Loops keep their clock in milliseconds: a timer may go off a little early.
EARLY_SECONDS = 0.002

# One for all connections: many clients send the same.
_heads = Heads()


class Upload:
    """A request whose body is still coming, until `due_at` by the loop's clock."""

    __slots__ = ("due_at", "pieces", "request", "size", "unacknowledged")

    def __init__(self, request: Request, due_at: float) -> None:
        self.request = request
        self.due_at = due_at
        self.pieces: list[bytes] = []
        self.size = 0
        self.unacknowledged = 0


class H2Connection(asyncio.Protocol):
    __slots__ = (
        "_closed",
        "_deadline",
        "_dirty",
        "_engine",
        "_exchanges",
        "_stopping",
        "_streams",
        "_transport",
        "_upload_timer",
        "_uploaded_bytes",
        "_uploads",
        "_waiting",
        "info",
        "paused",
        "service",
    )

    def __init__(self, service: Service, info: Connection) -> None:
        self.service = service
        self.info = info
        self.paused = False
        self._engine = Engine(self, header_limit_bytes=service.limits.header_bytes)
        self._deadline = Deadline(service.loop, self._timed_out)
        # Every open stream, and who is to be told when it closes while its answer is made.
        self._streams: dict[int, Callable[[], object] | None] = {}
        self._exchanges: dict[int, H2Exchange] = {}
        # In the order of their times.
        self._uploads: dict[int, Upload] = {}
        self._upload_timer: asyncio.TimerHandle | None = None
        self._uploaded_bytes = 0
        self._waiting: set[H2Exchange] = set()
        self._dirty = False
        self._closed = False
        self._stopping = False

    # The transport's callbacks.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.service.add(self)
        self.flush()

    def data_received(self, data: bytes) -> None:
        if self._closed:
            return
        try:
            self._engine.receive(data)
        except EngineError:
            self._fail()
            return
        self.flush()

    def eof_received(self) -> bool:
        self._closed = True
        self._abandon_all()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._closed = True
        self.service.discard(self)
        self._deadline.end()
        self._uploads.clear()
        if self._upload_timer is not None:
            self._upload_timer.cancel()
            self._upload_timer = None
        self._abandon_all()
        self._engine.end()

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False
        self.flush()

    # The engine's callbacks.

    def on_request(self, stream_id: int, block: Headers, body: bytes | None) -> None:
        self._streams[stream_id] = None
        limits = self.service.limits
        request, size = _heads.read(block, self.info)
        if size > limits.header_bytes or len(block) > limits.header_count:
            response = plain_response(431, "the request's head is too large")
            self._refuse(stream_id, request, response, ended=body is not None)
        elif "%" in request.target and has_bad_escape(request.target):
            response = plain_response(400, "invalid URL escape")
            self._refuse(stream_id, request, response, ended=body is not None)
        elif body is None:
            self._begin_upload(stream_id, request)
        elif not body:
            self._serve(stream_id, request)
        elif len(body) > limits.body_bytes:
            self._refuse(stream_id, request, self.service.too_large(request), ended=True)
        else:
            if "expect" in request.headers:
                self._say_continue(stream_id, request)
            request.body = body
            self._serve(stream_id, request)

    def on_data(self, stream_id: int, data: bytes, *, ended: bool) -> None:
        upload = self._uploads.get(stream_id)
        if upload is None:
            self._engine.acknowledge(stream_id, len(data))  # Refused already: dropped.
            return
        upload.pieces.append(data)
        upload.size += len(data)
        upload.unacknowledged += len(data)
        self._uploaded_bytes += len(data)
        if upload.size > self.service.limits.body_bytes:
            self._end_upload(stream_id)
            self._refuse(stream_id, upload.request, self.service.too_large(upload.request), ended=ended)
        elif ended:
            self.on_body_end(stream_id)
        else:
            self._acknowledge_uploads()

    def on_body_end(self, stream_id: int) -> None:
        upload = self._end_upload(stream_id)
        if upload is not None:
            pieces = upload.pieces
            upload.request.body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
            self._serve(stream_id, upload.request)

    def on_stream_closed(self, stream_id: int, error_code: int) -> None:
        abandon = self._streams.pop(stream_id, None)
        if abandon is not None:
            self._exchanges.pop(stream_id, None)
            abandon()
        elif self._uploads:
            self._end_upload(stream_id)

    # Requests.

    def _begin_upload(self, stream_id: int, request: Request) -> None:
        service = self.service
        if int(request.headers.get("content-length") or 0) > service.limits.body_bytes:
            self._refuse(stream_id, request, service.too_large(request), ended=False)
            return
        due_at = service.loop.time() + service.limits.body_timeout_seconds
        self._uploads[stream_id] = Upload(request, due_at)
        if self._upload_timer is None:
            self._upload_timer = service.loop.call_at(due_at, self._end_late_uploads)
        if "expect" in request.headers:
            self._say_continue(stream_id, request)

    def _say_continue(self, stream_id: int, request: Request) -> None:
        if request.headers["expect"].lower() == "100-continue":
            self._engine.inform(stream_id, 100)

    def _end_upload(self, stream_id: int) -> Upload | None:
        upload = self._uploads.pop(stream_id, None)
        if upload is not None:
            self._uploaded_bytes -= upload.size
            if upload.unacknowledged:
                self._engine.acknowledge(stream_id, upload.unacknowledged)
            if self._uploads:
                self._acknowledge_uploads()
        return upload

    def _acknowledge_uploads(self) -> None:
        """Let uploads go on: all while there is room, else the oldest, which makes room when it is whole."""
        for stream_id, upload in self._uploads.items():
            if upload.unacknowledged:
                self._engine.acknowledge(stream_id, upload.unacknowledged)
                upload.unacknowledged = 0
            if self._uploaded_bytes > UPLOADS_BYTES:
                break

    def _end_late_uploads(self) -> None:
        """One timer for all: it goes off for the oldest of those that there were, and looks at those that there are."""
        self._upload_timer = None
        loop = self.service.loop
        now = loop.time() + EARLY_SECONDS
        while self._uploads:
            stream_id, upload = next(iter(self._uploads.items()))
            if upload.due_at > now:
                self._upload_timer = loop.call_at(upload.due_at, self._end_late_uploads)
                break
            self._end_upload(stream_id)
            response = plain_response(408, "the request took too long")
            self._refuse(stream_id, upload.request, response, ended=False)
        self.flush()

    def _refuse(self, stream_id: int, request: Request, response: Response, *, ended: bool) -> None:
        """Answer a request that the handler does not get to see.

        A client that goes on sending is told to stop, without an error (RFC 9113 §8.1), but not at once: some
        (curl before 8.0) then lose the answer.
        """
        self._begin_exchange(stream_id, request, response)
        if not ended:
            self.service.loop.call_later(self.service.limits.linger_seconds, self._stop_sender, stream_id)

    def _stop_sender(self, stream_id: int) -> None:
        if stream_id in self._streams and not self._closed:
            self.reset(stream_id, NO_ERROR)

    def _serve(self, stream_id: int, request: Request) -> None:
        answer = self.service.answer(request)
        if isinstance(answer, Response):
            self._respond(stream_id, request, answer)
            return
        try:
            future = answer if isinstance(answer, asyncio.Future) else asyncio.ensure_future(answer)
        except TypeError as error:
            self._respond(stream_id, request, self.service.failed(request, error))
            return
        self._streams[stream_id] = future.cancel
        future.add_done_callback(partial(self._answered, stream_id, request))

    def _answered(self, stream_id: int, request: Request, future: asyncio.Future[Response]) -> None:
        if stream_id in self._streams:
            self._streams[stream_id] = None
            self._respond(stream_id, request, self.service.outcome(request, future))
            self.flush_soon()
        else:
            dismiss(future)

    def _respond(self, stream_id: int, request: Request, response: Response) -> None:
        if not self.send_at_once(stream_id, request, response):
            self._begin_exchange(stream_id, request, response)

    def _begin_exchange(self, stream_id: int, request: Request, response: Response) -> None:
        exchange = self._exchanges[stream_id] = H2Exchange(self, stream_id, request)
        self._streams[stream_id] = exchange.abandon
        exchange.begin(response)

    def send_at_once(self, stream_id: int, request: Request, response: Response) -> bool:
        """Queue a small body at hand with its head. False: it is none, or cannot be sent."""
        try:
            body = small_body(response)
            if body is None:
                return False
            block = response_block(response, self.service.date_field(), len(body))
        except Exception:
            return False  # The exchange finds out why, and says so.
        if has_no_body(request, response):
            self._engine.respond(stream_id, block, end=True)
        else:
            self._engine.answer(stream_id, block, body)
        return True

    def send_head(self, stream_id: int, request: Request, response: Response, length: int | None) -> None:
        block = response_block(response, self.service.date_field(), length)
        self._engine.respond(stream_id, block, end=has_no_body(request, response))

    # Writing.

    def write(self, stream_id: int, data: bytes, *, end: bool = False) -> None:
        self._engine.send(stream_id, data, end=end)
        self.flush_soon()

    def reset(self, stream_id: int, error_code: int) -> None:
        self._engine.reset(stream_id, error_code)
        self.flush_soon()

    def flush_soon(self) -> None:
        if not self._dirty:
            self._dirty = True
            self.service.flush_soon(self)

    def flush(self) -> None:
        """Send what the engine has, as far as the peer's windows and the transport allow."""
        self._dirty = False
        if self.paused or self._closed:
            self._keep_time(progress=False)
            return
        try:
            data = self._engine.take(WRITE_BYTES)
            if data:
                self._transport.write(data)
                if len(data) == WRITE_BYTES:
                    self._write_more()
        except EngineError:
            self._fail()
            return
        self._after_flush(progress=bool(data))

    def _write_more(self) -> None:
        """Once more, and the rest in the next turn of the loop."""
        if not self.paused:
            data = self._engine.take(WRITE_BYTES)
            if data:
                self._transport.write(data)
        self.flush_soon()

    def _after_flush(self, *, progress: bool) -> None:
        if self._waiting:
            self._resume_waiting()
        self._keep_time(progress=progress)
        if self._engine.finished:
            self._close_gently()

    def _close_gently(self) -> None:
        """Let the client read the last frames and close: a reset could destroy them (as in `h1.py`)."""
        self._closed = True
        if end_writing(self._transport):
            self._deadline.set(self.service.limits.linger_seconds)
        else:
            self._transport.close()

    def _resume_waiting(self) -> None:
        for exchange in list(self._waiting):
            if exchange.closed or not exchange.congested:
                self._waiting.discard(exchange)
                exchange.resume()

    def _keep_time(self, *, progress: bool) -> None:
        """A client may be idle, or not read what waits for it, only for so long."""
        if self._closed:
            return
        stalled = self.paused or self._engine.queued_bytes() > 0
        if self._streams and not stalled:
            self._deadline.clear()
        elif progress or not self._deadline.is_set:
            self._deadline.set(self.service.limits.idle_timeout_seconds)

    def pending_bytes(self, stream_id: int) -> int:
        return self._engine.queued_bytes(stream_id) + self._transport.get_write_buffer_size()

    def await_resume(self, exchange: H2Exchange) -> None:
        self._waiting.add(exchange)

    def queued_bytes(self, stream_id: int) -> int:
        return self._engine.queued_bytes(stream_id)

    # The end.

    def forget(self, stream_id: int) -> None:
        self._exchanges.pop(stream_id, None)
        if self._stopping:
            self.flush_soon()

    def _timed_out(self) -> None:
        if self._streams or self.paused or self._closed:
            self._transport.abort()
        else:
            self.begin_shutdown()

    def begin_shutdown(self) -> None:
        self._stopping = True
        for exchange in list(self._exchanges.values()):
            exchange.wind_down()
        self._engine.go_away()
        self.flush()

    def kill(self) -> None:
        self._closed = True
        self._abandon_all()
        self._transport.abort()

    def _fail(self) -> None:
        """The peer broke the protocol."""
        if not self._closed:
            self._transport.write(GOAWAY_PROTOCOL_ERROR)
            self._close_gently()
            self._abandon_all()

    def _abandon_all(self) -> None:
        streams, self._streams = self._streams, {}
        self._exchanges.clear()
        for abandon in streams.values():
            if abandon is not None:
                abandon()


class H2Exchange(Exchange):
    __slots__ = ("_connection", "_stream_id")

    def __init__(self, connection: H2Connection, stream_id: int, request: Request) -> None:
        super().__init__(connection.service, request)
        self._connection = connection
        self._stream_id = stream_id

    def _send_at_once(self, response: Response) -> bool:
        sent = self._connection.send_at_once(self._stream_id, self.request, response)
        if sent:
            self._connection.flush_soon()
        return sent

    def _write_head(self, response: Response, length: int | None) -> None:
        self._connection.send_head(self._stream_id, self.request, response, length)
        self._connection.flush_soon()

    def _write_body(self, data: bytes | Frame) -> None:
        self._connection.write(self._stream_id, data.data if isinstance(data, Frame) else data)

    def write(self, data: bytes | Frame) -> None:
        if not self.closed:
            self._connection.write(self._stream_id, data.data if isinstance(data, Frame) else data)

    def _write_end(self) -> None:
        self._connection.write(self._stream_id, b"", end=True)

    def _cut_off(self) -> None:
        self._connection.reset(self._stream_id, INTERNAL_ERROR)

    def _hand_over(self, response: Response) -> None:
        """Only HTTP/1.1 can be upgraded: the client is told to come back with it."""
        self._connection.reset(self._stream_id, HTTP_1_1_REQUIRED)
        self._finish()

    def _await_resume(self) -> None:
        self._connection.await_resume(self)

    def _release(self) -> None:
        self._connection.forget(self._stream_id)

    @property
    def congested(self) -> bool:
        return self._connection.queued_bytes(self._stream_id) >= STREAM_QUEUE_BYTES

    @property
    def pending_bytes(self) -> int:
        return 0 if self.closed else self._connection.pending_bytes(self._stream_id)
