"""WebSocket (RFC 6455) over a ByteStream, for both roles: handshake, messages, and a byte stream inside messages.

There is no library here because the owner of the connection needs the raw bytes before and after: the HTTP server
hands over an upgraded connection together with what it has already read, and a WebSocket may itself carry another
protocol (docs/decisions/0005-streaming-protocols.md). No extension is offered or accepted.

Who starts a WebSocket is whoever made the handshake; it ends with `close()`, which also closes the stream.
"""

import asyncio
import base64
import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from tiphys.machinery.frozen import frozen
from tiphys.net.http import ByteStream
from tiphys.net.websocket_frames import (
    CONTROL_PAYLOAD_LIMIT_BYTES,
    CloseCode,
    Frame,
    FrameDecoder,
    Opcode,
    WebSocketError,
    encode_frame,
)

__all__ = [
    "ClientHandshake",
    "CloseCode",
    "HandshakeError",
    "Opcode",
    "ServerHandshake",
    "WebSocket",
    "WebSocketByteStream",
    "WebSocketError",
    "accept_key",
    "choose_subprotocol",
    "is_websocket_upgrade",
    "offered_subprotocols",
    "server_handshake",
]

MESSAGE_LIMIT_BYTES = 16 * 1024 * 1024
READ_BYTES = 256 * 1024  # what transports read at once: less would have to be cut off it, with a copy
FRAGMENT_LIMIT = 4096  # of one message, so that empty fragments cost no memory either
KEY_SUFFIX = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # section 1.3


class HandshakeError(Exception):
    """The upgrade cannot be made; as a server, answer `status` with `headers` and this message."""

    def __init__(self, status: int, message: str, headers: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.headers = list(headers)


# --- handshake (section 4): pure functions of headers with lower-case names ---------------------------------------


def accept_key(key: str) -> str:
    """Sec-WebSocket-Accept for a Sec-WebSocket-Key (section 4.2.2)."""
    return base64.b64encode(
        hashlib.sha1(key.encode("latin-1") + KEY_SUFFIX, usedforsecurity=False).digest()
    ).decode()


def tokens(value: str) -> list[str]:
    return [token for part in value.split(",") if (token := part.strip())]


def is_websocket_upgrade(headers: Mapping[str, str]) -> bool:
    return headers.get("upgrade", "").strip().lower() == "websocket" and "upgrade" in tokens(
        headers.get("connection", "").lower()
    )


def offered_subprotocols(headers: Mapping[str, str]) -> list[str]:
    """The client's subprotocols, most wanted first."""
    return tokens(headers.get("sec-websocket-protocol", ""))


def choose_subprotocol(offered: Sequence[str], supported: Sequence[str]) -> str | None:
    """The first one that the client names and we support; the client's order counts (section 1.9).

    A client that names none gets "" when `supported` contains "". None: nothing fits.
    """
    for subprotocol in offered or [""]:
        if subprotocol in supported:
            return subprotocol
    return None


@frozen
class ServerHandshake:
    headers: list[tuple[str, str]]  # of the 101 response
    subprotocol: str  # "" when none was asked for


def server_handshake(headers: Mapping[str, str], supported: Sequence[str] = ("",)) -> ServerHandshake:
    """Judges a client's upgrade request. Raises HandshakeError with the status to answer."""
    if not is_websocket_upgrade(headers):
        raise HandshakeError(400, "unable to upgrade: missing websocket upgrade headers in request")
    if headers.get("sec-websocket-version", "").strip() != "13":
        raise HandshakeError(
            426, "unable to upgrade: websocket version 13 is required", [("Sec-WebSocket-Version", "13")]
        )
    key = headers.get("sec-websocket-key", "").strip()
    if not is_key(key):
        raise HandshakeError(400, "unable to upgrade: Sec-WebSocket-Key must be 16 bytes in base64")
    offered = offered_subprotocols(headers)
    subprotocol = choose_subprotocol(offered, supported)
    if subprotocol is None:
        raise HandshakeError(
            403,
            f"requested protocol(s) are not supported: {offered}; supports {[name for name in supported if name]}",
        )
    answer = [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", accept_key(key))]
    if subprotocol:
        answer.append(("Sec-WebSocket-Protocol", subprotocol))
    return ServerHandshake(answer, subprotocol)


def is_key(key: str) -> bool:
    try:
        return len(base64.b64decode(key, validate=True)) == 16
    except ValueError:
        return False


class ClientHandshake:
    """One attempt of a client: send `headers` with a GET, then `verify` the answer."""

    def __init__(
        self, subprotocols: Sequence[str] = (), *, random: Callable[[int], bytes] = os.urandom
    ) -> None:
        self._key = base64.b64encode(random(16)).decode()
        self._subprotocols = list(subprotocols)

    @property
    def headers(self) -> dict[str, str]:
        headers = {
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": self._key,
        }
        if self._subprotocols:
            headers["Sec-WebSocket-Protocol"] = ", ".join(self._subprotocols)
        return headers

    def verify(self, status: int, headers: Mapping[str, str]) -> str:
        """The subprotocol that the server chose, "" for none. Raises HandshakeError when it did not accept."""
        if status != 101 or not is_websocket_upgrade(headers):
            raise HandshakeError(status, f"the server did not upgrade to websocket: status {status}")
        if headers.get("sec-websocket-accept", "").strip() != accept_key(self._key):
            raise HandshakeError(status, "the server's Sec-WebSocket-Accept does not fit the key")
        chosen = headers.get("sec-websocket-protocol", "").strip()
        if chosen and chosen not in self._subprotocols:
            raise HandshakeError(
                status, f"the server chose the subprotocol {chosen!r}, which was not offered"
            )
        return chosen


# --- messages ------------------------------------------------------------------------------------------------------


class WebSocket:
    """Messages over an upgraded connection. One task receives; any number may send.

    Pings are answered while a `receive` is waiting. Once it has returned None, `close_code` and `close_reason`
    say how the peer ended: 1005 a close frame without a code, 1006 no close frame at all.
    """

    def __init__(
        self,
        stream: ByteStream,
        role: Literal["server", "client"],
        *,
        message_limit_bytes: int = MESSAGE_LIMIT_BYTES,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.close_code: int | None = None
        self.close_reason = ""
        self._stream = stream
        self._random = random if role == "client" else None
        self._message_limit_bytes = message_limit_bytes
        self._decoder = FrameDecoder(masked=role == "server", payload_limit_bytes=message_limit_bytes)
        self._writing = asyncio.Lock()
        self._pong: bytes | None = None
        self._pong_task: asyncio.Task[None] | None = None
        self._close_sent = False
        self._receiving = False
        self._kind: Opcode | None = None  # of the message whose fragments are being collected
        self._parts: list[bytes] = []  # here, not in receive(): cancelling that loses nothing
        self._parts_bytes = 0
        self._ended = asyncio.Event()

    async def receive(self) -> tuple[Opcode, bytes] | None:
        """The next whole message (TEXT or BINARY), or None once either side has closed. May be cancelled and called again.

        Raises WebSocketError, after telling the peer why, when it breaks the protocol or the message limit.
        """
        if self._receiving:
            raise RuntimeError("another task is already receiving from this websocket")
        self._receiving = True
        try:
            return None if self._ended.is_set() else await self._receive_message()
        except WebSocketError as error:
            self._end(error.code, error.reason)
            await self._send_close(error.code, error.reason)
            raise
        finally:
            self._receiving = False

    async def _receive_message(self) -> tuple[Opcode, bytes] | None:
        while True:
            frame = await self._next_frame()
            if frame is None:
                self._end(CloseCode.ABNORMAL, "the connection ended without a close frame")
                return None
            if frame.opcode is Opcode.CLOSE:
                await self._answer_close(frame.payload)
                return None
            if frame.opcode is Opcode.PING:
                self._answer_ping(frame.payload)
            elif frame.opcode is not Opcode.PONG and (message := self._collect(frame)) is not None:
                return message

    def _collect(self, frame: Frame) -> tuple[Opcode, bytes] | None:
        """Adds a fragment; the message, when that was its last one."""
        kind = next_kind(self._kind, frame.opcode)
        self._parts.append(frame.payload)
        self._parts_bytes += len(frame.payload)
        if self._parts_bytes > self._message_limit_bytes or len(self._parts) > FRAGMENT_LIMIT:
            raise WebSocketError(CloseCode.TOO_BIG, f"a message exceeds {self._message_limit_bytes} bytes")
        if not frame.final:
            self._kind = kind
            return None
        parts, self._kind, self._parts, self._parts_bytes = self._parts, None, [], 0
        return kind, checked_message(kind, parts)

    async def _next_frame(self) -> Frame | None:
        while (frame := self._decoder.next_frame()) is None:
            try:
                data = await self._stream.read(READ_BYTES)
            except ConnectionError:
                return None
            if not data:
                return None
            self._decoder.feed(data)
        return frame

    async def send(self, data: bytes, opcode: Opcode = Opcode.BINARY, *, prefix: bytes = b"") -> None:
        """Sends one message in one frame, waiting while the peer is slow. Raises ConnectionError once closed.

        `prefix` goes before the data: whoever has both apart need not join them.
        """
        await self._send_frame(Frame(opcode, data), prefix)

    async def ping(self, data: bytes = b"") -> None:
        """Sends a ping; the peer's pong is swallowed by `receive`. At most 125 bytes."""
        if len(data) > CONTROL_PAYLOAD_LIMIT_BYTES:
            raise ValueError(f"a ping carries at most {CONTROL_PAYLOAD_LIMIT_BYTES} bytes")
        await self._send_frame(Frame(Opcode.PING, data))

    async def send_close(self, code: int = CloseCode.NORMAL, reason: str = "") -> None:
        """Tells the peer that nothing more comes from here; what it still sends can be received. Never raises."""
        await self._send_close(code, reason)

    async def close(
        self, code: int = CloseCode.NORMAL, reason: str = "", *, timeout_seconds: float = 5.0
    ) -> None:
        """The closing handshake: sends a close frame, waits for the peer's, then closes the stream.

        What the peer still sends meanwhile is dropped. Waiting matters also without the protocol's demand: to close
        a socket that holds unread bytes resets the connection, and the peer may lose what we sent last.
        """
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._send_close(code, reason)
                if self._receiving:
                    await self._ended.wait()
                while await self.receive() is not None:
                    pass
        except (TimeoutError, WebSocketError):
            pass
        finally:
            self._end(CloseCode.ABNORMAL, "closed here")
            self._stream.close()

    def abort(self) -> None:
        """Closes the stream at once, without a close frame."""
        self._end(CloseCode.ABNORMAL, "aborted here")
        self._stream.close()

    async def _send_frame(self, frame: Frame, prefix: bytes = b"") -> None:
        async with self._writing:
            if self._close_sent or self._ended.is_set():
                raise ConnectionError("the websocket is closed")
            await self._write(frame, prefix)

    async def _send_close(self, code: int, reason: str) -> None:
        async with self._writing:
            if self._close_sent:
                return
            self._close_sent = True
            payload = close_payload(code, reason)
            try:
                await self._write(Frame(Opcode.CLOSE, payload))
            except ConnectionError:
                self._end(CloseCode.ABNORMAL, "the connection is lost")

    async def _write(self, frame: Frame, prefix: bytes = b"") -> None:
        mask = self._random(4) if self._random is not None else None
        await self._stream.write(encode_frame(frame, mask, prefix=prefix))

    def _answer_ping(self, payload: bytes) -> None:
        # Not sent from here: a peer that does not read would stop us from reading, and with that both sides for good.
        # Only the latest ping needs a pong (section 5.5.3), so that a flood of them costs no memory.
        self._pong = payload
        if self._pong_task is None or self._pong_task.done():
            self._pong_task = asyncio.ensure_future(self._send_pong())

    async def _send_pong(self) -> None:
        while self._pong is not None:
            async with self._writing:
                payload, self._pong = self._pong, None
                if self._close_sent or self._ended.is_set():
                    return
                try:
                    await self._write(Frame(Opcode.PONG, payload))
                except ConnectionError:
                    return  # the reading side finds out too, and reports it

    async def _answer_close(self, payload: bytes) -> None:
        code, reason = parse_close(payload)
        self._end(code, reason)
        await self._send_close(CloseCode.NORMAL if code == CloseCode.NO_STATUS else code, "")

    def _end(self, code: int, reason: str) -> None:
        if not self._ended.is_set():
            self.close_code, self.close_reason = code, reason
            self._ended.set()


def next_kind(kind: Opcode | None, opcode: Opcode) -> Opcode:
    """The kind of the message that a data frame belongs to (section 5.4)."""
    if (opcode is Opcode.CONTINUATION) != (kind is not None):
        raise WebSocketError(CloseCode.PROTOCOL_ERROR, "fragments of messages are out of order")
    return opcode if kind is None else kind


def checked_message(kind: Opcode, parts: list[bytes]) -> bytes:
    data = parts[0] if len(parts) == 1 else b"".join(parts)
    if kind is Opcode.TEXT and not is_utf8(data):
        raise WebSocketError(CloseCode.INVALID_DATA, "a text message is not UTF-8")
    return data


def is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def close_payload(code: int, reason: str) -> bytes:
    text = reason.encode()[: CONTROL_PAYLOAD_LIMIT_BYTES - 2].decode(errors="ignore")
    return int(code).to_bytes(2, "big") + text.encode()


def parse_close(payload: bytes) -> tuple[int, str]:
    """Code and reason of a close frame (section 5.5.1 and 7.4)."""
    if not payload:
        return CloseCode.NO_STATUS, ""
    code = int.from_bytes(payload[:2], "big")
    named = 1000 <= code <= 1014 and code not in (1004, CloseCode.NO_STATUS, CloseCode.ABNORMAL)
    if len(payload) < 2 or not (named or 3000 <= code <= 4999):
        raise WebSocketError(CloseCode.PROTOCOL_ERROR, "a close frame carries no valid code")
    if not is_utf8(payload[2:]):
        raise WebSocketError(CloseCode.INVALID_DATA, "the reason of a close frame is not UTF-8")
    return code, payload[2:].decode()


class WebSocketByteStream(ByteStream):
    """A byte stream carried in binary messages, whose borders mean nothing: another protocol tunnels through it."""

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket
        self._rest = b""

    async def read(self, n: int = 65536) -> bytes:
        while not self._rest:
            message = await self._receive()
            if message is None:
                return b""
            self._rest = message
        data, self._rest = self._rest[:n], self._rest[n:]
        return data

    async def _receive(self) -> bytes | None:
        try:
            message = await self._websocket.receive()
        except WebSocketError as error:
            raise ConnectionResetError(str(error)) from error
        if message is None:
            return None
        opcode, data = message
        if opcode is not Opcode.BINARY:
            await self._websocket.send_close(CloseCode.UNSUPPORTED_DATA, "only binary messages are expected")
            raise ConnectionResetError("a text message in a tunnel of bytes")
        return data

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        await self._websocket.send(bytes(data))

    async def write_eof(self) -> None:
        """A WebSocket has no half close: this begins the closing handshake, and `read` still gives what comes."""
        await self._websocket.send_close()

    def close(self) -> None:
        self._websocket.abort()
