"""WebSocket frames (RFC 6455, section 5) without I/O: bytes to frames and frames to bytes."""

from collections import deque
from enum import IntEnum
from itertools import islice

from tiphys.machinery.frozen import frozen
from tiphys.net.masking import apply_mask

__all__ = ["CloseCode", "Frame", "FrameDecoder", "Opcode", "WebSocketError", "encode_frame"]

CONTROL_PAYLOAD_LIMIT_BYTES = 125
HEAD_LIMIT_BYTES = 14
SMALL_PIECE_BYTES = 4096


class Opcode(IntEnum):
    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


class CloseCode(IntEnum):
    """RFC 6455, section 7.4.1."""

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    UNSUPPORTED_DATA = 1003
    NO_STATUS = 1005  # never on the wire: the peer's close frame named none
    ABNORMAL = 1006  # never on the wire: the connection ended without a close frame
    INVALID_DATA = 1007
    POLICY_VIOLATION = 1008
    TOO_BIG = 1009
    INTERNAL_ERROR = 1011


class WebSocketError(Exception):
    """The peer broke the protocol or a limit. `code` is what the close frame tells it."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"websocket: {reason} (close code {int(code)})")
        self.code = code
        self.reason = reason


@frozen
class Frame:
    opcode: Opcode
    payload: bytes
    final: bool = True


def encode_frame(frame: Frame, mask: bytes | None = None, *, prefix: bytes = b"") -> bytes:
    """The frame on the wire. A client gives a fresh unpredictable four-byte mask; a server gives none.

    `prefix` goes before the payload: who has both apart need not join them first.
    """
    size = len(prefix) + len(frame.payload)
    first = frame.opcode | (0x80 if frame.final else 0)
    masked = 0x80 if mask is not None else 0
    if size < 126:
        head = bytes((first, masked | size))
    elif size < 1 << 16:
        head = bytes((first, masked | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((first, masked | 127)) + size.to_bytes(8, "big")
    if mask is None:
        return b"".join((head, prefix, frame.payload))
    return b"".join((head, mask, apply_mask(prefix + frame.payload, mask)))


@frozen
class Head:
    opcode: Opcode
    final: bool
    size_bytes: int
    mask: bytes | None


class FrameDecoder:
    """Collects bytes and gives whole frames. Raises WebSocketError where the peer breaks section 5 or the limit.

    `masked`: what the peer's role demands: clients mask each frame, servers none (section 5.1).
    """

    __slots__ = ("_at", "_head", "_masked", "_payload_limit_bytes", "_pieces", "_size")

    def __init__(self, *, masked: bool, payload_limit_bytes: int) -> None:
        # As they came: to put them together would be a copy of all that comes.
        self._pieces: deque[bytes] = deque()
        self._at = 0  # in the first of them, what was not taken yet
        self._size = 0
        self._head: Head | None = None
        self._masked = masked
        self._payload_limit_bytes = payload_limit_bytes

    def feed(self, data: bytes) -> None:
        pieces = self._pieces
        if pieces and len(pieces[-1]) + len(data) <= SMALL_PIECE_BYTES:
            pieces[-1] += data  # a peer that sends byte by byte must not cost an object for each
        elif data:
            pieces.append(data)
        self._size += len(data)

    def next_frame(self) -> Frame | None:
        """The next whole frame, or None when more bytes are needed."""
        if self._head is None:
            self._head = self._read_head()
            if self._head is None:
                return None
        head = self._head
        if self._size < head.size_bytes:
            return None
        part = self._take(head.size_bytes)
        self._head = None
        return Frame(
            head.opcode, bytes(part) if head.mask is None else apply_mask(part, head.mask), head.final
        )

    def _take(self, size: int) -> bytes | memoryview:
        """So much of what is here, without a copy when it came in one piece."""
        self._size -= size
        first, at = self._pieces[0] if self._pieces else b"", self._at
        if len(first) - at > size:
            self._at = at + size
            return memoryview(first)[at : self._at]
        parts: list[bytes | memoryview] = []
        while size and size >= len(first) - at:
            parts.append(memoryview(first)[at:] if at else first)
            size -= len(first) - at
            self._pieces.popleft()
            first, at = self._pieces[0] if self._pieces else b"", 0
        if size:
            parts.append(memoryview(first)[:size])
        self._at = size
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _peek(self, size: int) -> bytes:
        """At most so much of what is here; it stays."""
        found = self._pieces[0][self._at : self._at + size] if self._pieces else b""
        for piece in islice(self._pieces, 1, None):
            if len(found) >= size:
                break
            found += piece[: size - len(found)]
        return found

    def _read_head(self) -> Head | None:
        """Takes it from what is here, once it is whole."""
        start = self._peek(HEAD_LIMIT_BYTES)
        if len(start) < 2:
            return None
        opcode = self._checked_opcode(start[0], start[1])
        size, at = start[1] & 0x7F, 2
        extra = {126: 2, 127: 8}.get(size, 0)
        needed = at + extra + (4 if self._masked else 0)
        if len(start) < needed:
            return None
        if extra:
            size = int.from_bytes(start[at : at + extra], "big")
            at += extra
        if size > self._payload_limit_bytes:
            raise WebSocketError(
                CloseCode.TOO_BIG, f"a frame of {size} bytes exceeds {self._payload_limit_bytes}"
            )
        mask = start[at:needed] if self._masked else None
        self._take(needed)
        return Head(opcode, bool(start[0] & 0x80), size, mask)

    def _checked_opcode(self, first: int, second: int) -> Opcode:
        if first & 0x70:
            raise WebSocketError(CloseCode.PROTOCOL_ERROR, "reserved bits are set without an extension")
        try:
            opcode = Opcode(first & 0x0F)
        except ValueError:
            raise WebSocketError(CloseCode.PROTOCOL_ERROR, f"unknown opcode {first & 0x0F}") from None
        if bool(second & 0x80) != self._masked:
            raise WebSocketError(
                CloseCode.PROTOCOL_ERROR, "a client must mask its frames and a server must not mask any"
            )
        if opcode >= Opcode.CLOSE and (not first & 0x80 or second & 0x7F > CONTROL_PAYLOAD_LIMIT_BYTES):
            raise WebSocketError(
                CloseCode.PROTOCOL_ERROR, "a control frame is never fragmented nor longer than 125 bytes"
            )
        return opcode
