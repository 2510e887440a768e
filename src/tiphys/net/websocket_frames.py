"""WebSocket frames (RFC 6455, section 5) without I/O: bytes to frames and frames to bytes."""

from enum import IntEnum

from tiphys.machinery.frozen import frozen
from tiphys.net.masking import apply_mask

__all__ = ["CloseCode", "Frame", "FrameDecoder", "Opcode", "WebSocketError", "encode_frame"]

CONTROL_PAYLOAD_LIMIT_BYTES = 125


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
    payload_at: int  # where the payload begins, from the beginning of the frame


class FrameDecoder:
    """Collects bytes and gives whole frames. Raises WebSocketError where the peer breaks section 5 or the limit.

    `masked`: what the peer's role demands: clients mask each frame, servers none (section 5.1).
    """

    __slots__ = ("_buffer", "_head", "_masked", "_payload_limit_bytes")

    def __init__(self, *, masked: bool, payload_limit_bytes: int) -> None:
        self._buffer = bytearray()
        self._head: Head | None = None
        self._masked = masked
        self._payload_limit_bytes = payload_limit_bytes

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def next_frame(self) -> Frame | None:
        """The next whole frame, or None when more bytes are needed."""
        if self._head is None:
            self._head = self._read_head()
            if self._head is None:
                return None
        head = self._head
        end = head.payload_at + head.size_bytes
        if len(self._buffer) < end:
            return None
        with memoryview(self._buffer) as view, view[head.payload_at : end] as part:
            payload = bytes(part) if head.mask is None else apply_mask(part, head.mask)
        del self._buffer[:end]
        self._head = None
        return Frame(head.opcode, payload, head.final)

    def _read_head(self) -> Head | None:
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        opcode = self._checked_opcode(buffer[0], buffer[1])
        size, at = buffer[1] & 0x7F, 2
        extra = {126: 2, 127: 8}.get(size, 0)
        needed = at + extra + (4 if self._masked else 0)
        if len(buffer) < needed:
            return None
        if extra:
            size = int.from_bytes(buffer[at : at + extra], "big")
            at += extra
        if size > self._payload_limit_bytes:
            raise WebSocketError(
                CloseCode.TOO_BIG, f"a frame of {size} bytes exceeds {self._payload_limit_bytes}"
            )
        mask = bytes(buffer[at:needed]) if self._masked else None
        return Head(opcode, bool(buffer[0] & 0x80), size, mask, needed)

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
