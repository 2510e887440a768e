"""HTTP/2's framing, header compression and windows, behind the few methods that the server needs.

The work is done by libnghttp2 through ngh2. ngh2 is young (alpha): only this file and `h2_client_engine.py` know it, so that another
engine (the pure-Python `h2`, about ten times slower) can take its place. No I/O: bytes in, bytes out, calls to a Listener.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Protocol

import ngh2
from ngh2.events import DataReceived, RequestReceived, StreamClosed, TrailersReceived

Headers = Sequence[tuple[bytes, bytes]]

NO_ERROR = int(ngh2.ErrorCode.NO_ERROR)
INTERNAL_ERROR = int(ngh2.ErrorCode.INTERNAL_ERROR)
CANCEL = int(ngh2.ErrorCode.CANCEL)
HTTP_1_1_REQUIRED = int(ngh2.ErrorCode.HTTP_1_1_REQUIRED)

MAX_CONCURRENT_STREAMS = 250
STREAM_WINDOW_BYTES = 256 * 1024
# Every stream can fill its own window, so one that stalls never starves another.
CONNECTION_WINDOW_BYTES = MAX_CONCURRENT_STREAMS * STREAM_WINDOW_BYTES
# Against rapid reset (CVE-2023-44487): a client may cancel this many requests at once, then so many a second.
RESET_BURST, RESETS_PER_SECOND = 1000, 100
# Beyond this multiple of the limit a head is not answered with 431: the connection ends.
HARD_HEADER_LIMIT_FACTOR = 4
HARD_HEADER_COUNT = 4096

# GOAWAY, last stream 0, PROTOCOL_ERROR: written by hand, for an engine that has failed writes nothing more.
GOAWAY_PROTOCOL_ERROR = b"\x00\x00\x08\x07\x00\x00\x00\x00\x00" + b"\x00\x00\x00\x00" + b"\x00\x00\x00\x01"


class EngineError(Exception):
    """The peer broke the protocol, or a limit: the connection cannot go on."""


class Listener(Protocol):
    def on_request(self, stream_id: int, headers: Headers, body: bytes | None) -> None:
        """`body`: all of it (acknowledged), where there is none or it came along with the head; None: it is still to come."""

    def on_data(self, stream_id: int, data: bytes, *, ended: bool) -> None: ...

    def on_body_end(self, stream_id: int) -> None:
        """The body ended by trailers."""

    def on_stream_closed(self, stream_id: int, error_code: int) -> None:
        """Both sides have ended (NO_ERROR), or one has cancelled. Called once for each request."""


class _Nobody:
    """Listens to a connection that has ended."""

    def on_request(self, stream_id: int, headers: Headers, body: bytes | None) -> None: ...

    def on_data(self, stream_id: int, data: bytes, *, ended: bool) -> None: ...

    def on_body_end(self, stream_id: int) -> None: ...

    def on_stream_closed(self, stream_id: int, error_code: int) -> None: ...


_NOBODY = _Nobody()


class Engine:
    """The server's side of one connection. Calls on a stream that is gone do nothing: its `on_stream_closed` says so."""

    __slots__ = ("_connection", "_listener")

    def __init__(self, listener: Listener, *, header_limit_bytes: int) -> None:
        self._listener = listener
        configuration = ngh2.Configuration(
            auto_window_update=False,
            stream_reset_rate_limit=(RESET_BURST, RESETS_PER_SECOND),
            max_inbound_header_list_size=header_limit_bytes * HARD_HEADER_LIMIT_FACTOR,
            max_inbound_header_count=HARD_HEADER_COUNT,
            max_continuations=max(8, header_limit_bytes * HARD_HEADER_LIMIT_FACTOR // 16384),
        )
        self._connection = ngh2.Connection(ngh2.Role.SERVER, configuration)
        self._connection.initiate_connection(
            {
                ngh2.Setting.MAX_CONCURRENT_STREAMS: MAX_CONCURRENT_STREAMS,
                ngh2.Setting.INITIAL_WINDOW_SIZE: STREAM_WINDOW_BYTES,
                ngh2.Setting.MAX_HEADER_LIST_SIZE: header_limit_bytes,
            }
        )
        self._connection.set_local_window_size(CONNECTION_WINDOW_BYTES)

    def end(self) -> None:
        """Nothing comes any more: the listener is let go of, so that it is freed at once and not with the next garbage."""
        self._listener = _NOBODY

    def receive(self, data: bytes) -> None:
        """Take bytes from the peer and tell the listener what they say."""
        try:
            self._connection.receive_data(data)
        except ngh2.NGH2Error as error:
            raise EngineError(str(error)) from error
        self._dispatch(self._connection.events())

    def take(self, limit_bytes: int) -> bytes:
        """At most `limit_bytes` of what is to be sent now; b"" if nothing is, or the peer's windows are full."""
        try:
            data: bytes = self._connection.data_to_send(limit_bytes)
        except ngh2.NGH2Error as error:
            raise EngineError(str(error)) from error
        for event in self._connection.events():
            if type(event) is StreamClosed:
                self._listener.on_stream_closed(event.stream_id, event.error_code)
        return data

    def _dispatch(self, happened: list[Any]) -> None:
        listener = self._listener
        # What was cancelled in the same breath is not worth a handler's work, but it was a stream.
        cancelled: Collection[int] = ()
        if StreamClosed in set(map(type, happened)):
            cancelled = {event.stream_id for event in happened if type(event) is StreamClosed}
        # Heads whose body is to come, perhaps at once: clients send the heads of several requests, then the bodies.
        heads: dict[int, Headers] = {}
        for event in happened:
            kind = type(event)
            if kind is DataReceived:
                stream_id, ended = event.stream_id, event.end_stream
                head = heads.pop(stream_id, None)
                if head is None:
                    listener.on_data(stream_id, event.data, ended=ended)
                elif ended:
                    data = event.data
                    self.acknowledge(stream_id, len(data))
                    listener.on_request(stream_id, head, data)
                else:
                    listener.on_request(stream_id, head, None)
                    listener.on_data(stream_id, event.data, ended=False)
            elif kind is RequestReceived:
                if event.stream_id in cancelled:
                    continue
                if event.end_stream:
                    listener.on_request(event.stream_id, event.headers, b"")
                else:
                    heads[event.stream_id] = event.headers
            elif kind is StreamClosed:
                listener.on_stream_closed(event.stream_id, event.error_code)
            elif kind is TrailersReceived:
                if (head := heads.pop(event.stream_id, None)) is not None:
                    listener.on_request(event.stream_id, head, None)
                listener.on_body_end(event.stream_id)
        for stream_id, head in heads.items():
            listener.on_request(stream_id, head, None)

    def respond(self, stream_id: int, headers: Headers, *, end: bool = False) -> None:
        """The response's head; `headers` begins with `:status`."""
        try:
            self._connection.send_response(stream_id, headers, end_stream=end)
        except ngh2.NGH2Error:
            pass

    def answer(self, stream_id: int, headers: Headers, body: bytes) -> None:
        """A whole response: `respond`, then `send`."""
        try:
            self._connection.send_response(stream_id, headers)
            self._connection.send_data(stream_id, body, end_stream=True)
        except ngh2.NGH2Error:
            pass

    def inform(self, stream_id: int, status: int) -> None:
        """A head before the head, such as 100."""
        try:
            self._connection.send_informational_response(stream_id, [(b":status", b"%d" % status)])
        except ngh2.NGH2Error:
            pass

    def send(self, stream_id: int, data: bytes, *, end: bool = False) -> None:
        """Queue a part of the response's body."""
        try:
            self._connection.send_data(stream_id, data, end_stream=end)
        except ngh2.NGH2Error:
            pass

    def end_with_trailers(self, stream_id: int, trailers: Headers) -> None:
        """After the response's head and body."""
        try:
            self._connection.send_trailers(stream_id, trailers)
        except ngh2.NGH2Error:
            pass

    def reset(self, stream_id: int, error_code: int) -> None:
        try:
            self._connection.reset_stream(stream_id, error_code)
        except ngh2.NGH2Error:
            pass

    def acknowledge(self, stream_id: int, size: int) -> None:
        """Let the peer send as much again."""
        try:
            self._connection.acknowledge_received_data(size, stream_id)
        except (ngh2.NGH2Error, ValueError):
            pass

    def go_away(self) -> None:
        """No new streams; the open ones go on."""
        try:
            self._connection.send_goaway(NO_ERROR)
        except ngh2.NGH2Error:
            pass

    def queued_bytes(self, stream_id: int | None = None) -> int:
        """Body bytes not yet taken, of one stream or of all: they wait for the peer's windows or for `take`."""
        size: int = self._connection.queued_body_size(stream_id)
        return size

    @property
    def finished(self) -> bool:
        """Nothing is left to be sent or received: close the transport."""
        try:
            return not (self._connection.want_read or self._connection.want_write)
        except ngh2.NGH2Error:
            return True
