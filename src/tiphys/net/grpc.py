"""gRPC on one HTTP/2 connection, as its client sees it: calls go out, messages and a status come back.

No I/O and no messages' classes: bytes in, bytes out. `grpc_channel.py` has the connections. After gRPC's "gRPC over HTTP2"
and its status codes' document; no compression, no retries by configuration.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from enum import IntEnum
from urllib.parse import quote, unquote

from tiphys.machinery.frozen import frozen
from tiphys.net.h2_client_engine import (
    ENHANCE_YOUR_CALM,
    INADEQUATE_SECURITY,
    REFUSED_STREAM,
    STREAM_WINDOW_BYTES,
    ClientEngine,
)
from tiphys.net.h2_engine import CANCEL, NO_ERROR, EngineError, Headers

Metadata = Sequence[tuple[str, str]]
PREFIX_BYTES = 5
WRITE_BYTES = 256 * 1024
_TIMEOUT_LIMIT = 99_999_999


class Code(IntEnum):
    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16

    @property
    def label(self) -> str:
        """As Go's clients print it: "DeadlineExceeded"."""
        return _LABELS.get(self) or "".join(word.capitalize() for word in self.name.split("_"))


_CODES = {b"%d" % code: code for code in Code}
_LABELS = {Code.OK: "OK", Code.CANCELLED: "Canceled"}
_HTTP_STATUSES = {
    b"400": Code.INTERNAL,
    b"401": Code.UNAUTHENTICATED,
    b"403": Code.PERMISSION_DENIED,
    b"404": Code.UNIMPLEMENTED,
    **dict.fromkeys((b"429", b"502", b"503", b"504"), Code.UNAVAILABLE),
}
_RESETS = {
    CANCEL: Code.CANCELLED,
    REFUSED_STREAM: Code.UNAVAILABLE,
    ENHANCE_YOUR_CALM: Code.RESOURCE_EXHAUSTED,
    INADEQUATE_SECURITY: Code.PERMISSION_DENIED,
}


class GRPCError(Exception):
    """A call's status, when it is not OK. `untouched`: the server has not looked at the call, which may go out again."""

    def __init__(self, code: Code, details: str, *, untouched: bool = False) -> None:
        super().__init__(f"rpc error: code = {code.label} desc = {details}")
        self.code = code
        self.details = details
        self.untouched = untouched


@frozen
class Terms:
    """What a client says of itself, and what it takes."""

    authority: str = "localhost"
    """Servers in Go refuse one that is no host name, such as the path of a socket."""
    user_agent: str = "grpc-tiphys/1"
    receive_limit_bytes: int = 4 << 20


def framed(message: bytes) -> bytes:
    """A message as it goes over the wire: its length before it, and that it is not compressed."""
    return b"\0" + len(message).to_bytes(4, "big") + message


class Unframer:
    """The messages of a body, which comes in pieces. Raises GRPCError."""

    __slots__ = ("_held", "_limit_bytes")

    def __init__(self, limit_bytes: int) -> None:
        self._held = bytearray()
        self._limit_bytes = limit_bytes

    def feed(self, data: bytes) -> list[bytes]:
        if not self._held and len(data) >= PREFIX_BYTES and self._size(data) == len(data):
            return [data[PREFIX_BYTES:]]
        held, found = self._held, []
        held += data
        while len(held) >= PREFIX_BYTES and (size := self._size(held)) <= len(held):
            found.append(bytes(memoryview(held)[PREFIX_BYTES:size]))
            del held[:size]
        return found

    @property
    def is_empty(self) -> bool:
        return not self._held

    def _size(self, data: bytes | bytearray) -> int:
        """Of the first message with its prefix."""
        if data[0]:
            raise GRPCError(Code.UNIMPLEMENTED, "grpc: compressed messages are not installed here")
        size = int.from_bytes(data[1:PREFIX_BYTES], "big")
        if size > self._limit_bytes:
            why = f"grpc: received message larger than max ({size} vs. {self._limit_bytes})"
            raise GRPCError(Code.RESOURCE_EXHAUSTED, why)
        return size + PREFIX_BYTES


class Call:
    """What has come back of one call so far. `on_change` is called whenever there is more."""

    __slots__ = (
        "_unframer",
        "ended",
        "error",
        "messages",
        "on_change",
        "status",
        "stream_id",
        "trailers",
        "unacknowledged",
        "unread_bytes",
    )

    def __init__(self, stream_id: int, limit_bytes: int, on_change: Callable[[], None]) -> None:
        self.stream_id = stream_id
        self.on_change = on_change
        self.messages: deque[bytes] = deque()
        self.unread_bytes = 0
        self.unacknowledged = 0
        self.ended = False
        self.error: GRPCError | None = None
        self.status = b""
        self.trailers: dict[bytes, bytes] = {}
        self._unframer = Unframer(limit_bytes)

    def on_data(self, data: bytes) -> None:
        for message in self._unframer.feed(data):
            self.messages.append(message)
            self.unread_bytes += len(message)
        self.unacknowledged += len(data)

    def end(self, error_code: int) -> None:
        """The stream is closed: what it was worth."""
        self.error = self._verdict(error_code)
        self.ended = True
        self.on_change()

    def fail(self, error: GRPCError) -> None:
        if not self.ended:
            self.error, self.ended = error, True
            self.on_change()

    def _verdict(self, error_code: int) -> GRPCError | None:
        told = self.trailers.get(b"grpc-status")
        if told is None:
            return self._verdict_without_status(error_code)
        code = _CODES.get(told, Code.UNKNOWN)
        if code != Code.OK:
            details = unquote(self.trailers.get(b"grpc-message", b"").decode("latin-1"))
            return GRPCError(code, details)
        if not self._unframer.is_empty:
            return GRPCError(Code.INTERNAL, "unexpected EOF")
        return None

    def _verdict_without_status(self, error_code: int) -> GRPCError:
        if self.status and self.status != b"200":
            code = _HTTP_STATUSES.get(self.status, Code.UNKNOWN)
            return GRPCError(
                code, f"unexpected HTTP status code received from server: {self.status.decode()}"
            )
        if error_code == NO_ERROR:
            return GRPCError(Code.INTERNAL, "server closed the stream without sending trailers")
        reset = f"stream terminated by RST_STREAM with error code {error_code}"
        return GRPCError(
            _RESETS.get(error_code, Code.INTERNAL), reset, untouched=error_code == REFUSED_STREAM
        )


class ClientCalls:
    """The calls of one connection. Its owner carries bytes: `receive` what comes, `take` what is to go after each method."""

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._engine = ClientEngine(self)
        self._open: dict[int, Call] = {}
        self.usable = True
        """Whether new calls may begin."""
        self.established = False
        """Whether the other side has said a word of HTTP/2."""

    def begin(
        self, path: str, metadata: Metadata, timeout_seconds: float | None, on_change: Callable[[], None]
    ) -> Call:
        headers = [
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":path", path.encode()),
            (b":authority", self._terms.authority.encode()),
            (b"te", b"trailers"),
            (b"content-type", b"application/grpc"),
            (b"user-agent", self._terms.user_agent.encode()),
        ]
        if timeout_seconds is not None:
            headers.append((b"grpc-timeout", timeout_value(timeout_seconds)))
        headers += [(name.encode(), value.encode()) for name, value in metadata]
        try:
            stream_id = self._engine.request(headers)
        except EngineError as error:
            self.usable = False
            raise GRPCError(Code.UNAVAILABLE, str(error), untouched=True) from None
        call = self._open[stream_id] = Call(stream_id, self._terms.receive_limit_bytes, on_change)
        return call

    def send(self, call: Call, message: bytes, *, end: bool) -> None:
        self._engine.send(call.stream_id, framed(message), end=end)

    def end_sending(self, call: Call) -> None:
        self._engine.send(call.stream_id, b"", end=True)

    def next_message(self, call: Call) -> bytes:
        """The first of those that have come; who reads slowly slows the server."""
        message = call.messages.popleft()
        call.unread_bytes -= len(message)
        self._acknowledge(call)
        return message

    def _acknowledge(self, call: Call) -> None:
        """The parts of a message that is not whole yet, however long, are no reason to stop the server."""
        if call.unacknowledged and call.unread_bytes < STREAM_WINDOW_BYTES:
            self._engine.acknowledge(call.stream_id, call.unacknowledged)
            call.unacknowledged = 0

    def release(self, call: Call) -> None:
        """Its caller is done with it: it is cancelled unless it has ended, and what was not read is dropped."""
        call.messages.clear()
        call.unread_bytes = 0
        self._acknowledge(call)
        if self._open.pop(call.stream_id, None) is not None:
            self._engine.cancel(call.stream_id)

    def receive(self, data: bytes) -> None:
        try:
            self._engine.receive(data)
        except EngineError as error:
            self.lose(f"error reading from server: {error}")

    def take(self) -> bytes:
        """Again until it is empty; then, `usable` may have ended."""
        try:
            data = self._engine.take(WRITE_BYTES)
        except EngineError as error:
            self.lose(f"error writing to server: {error}")
            return b""
        if not data and self._engine.finished:
            self.lose(
                "error reading from server: the connection was ended by a protocol error or by the server"
            )
        return data

    @property
    def over(self) -> bool:
        """Nothing goes on here any more: close the connection."""
        return not self.usable and not self._open

    def lose(self, reason: str) -> None:
        """The connection is gone."""
        self.usable = False
        calls, self._open = self._open, {}
        for call in calls.values():
            call.fail(GRPCError(Code.UNAVAILABLE, reason))

    # --- for the engine ---

    def on_headers(self, stream_id: int, headers: Headers) -> None:
        call = self._open.get(stream_id)
        if call is not None:
            call.trailers = dict(headers)
            call.status = call.trailers.get(b":status", call.status)

    def on_data(self, stream_id: int, data: bytes) -> None:
        call = self._open.get(stream_id)
        if call is None:
            self._engine.acknowledge(stream_id, len(data))
            return
        try:
            call.on_data(data)
        except GRPCError as error:
            call.unacknowledged += len(data)
            self.release(call)
            call.fail(error)
        else:
            self._acknowledge(call)
            call.on_change()

    def on_stream_closed(self, stream_id: int, error_code: int) -> None:
        call = self._open.pop(stream_id, None)
        if call is not None:
            call.end(error_code)

    def on_settings(self) -> None:
        self.established = True

    def on_go_away(self) -> None:
        self.usable = False


def timeout_value(seconds: float) -> bytes:
    """At most eight digits and a unit, never less than what is left."""
    milliseconds = int(seconds * 1000) + 1
    if milliseconds <= _TIMEOUT_LIMIT:
        return b"%dm" % milliseconds
    return b"%dS" % min(int(seconds) + 1, _TIMEOUT_LIMIT)


def status_trailers(code: Code, details: str) -> list[tuple[bytes, bytes]]:
    trailers = [(b"grpc-status", b"%d" % code)]
    if details:
        trailers.append((b"grpc-message", quote(details, safe=" !\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~").encode()))
    return trailers
