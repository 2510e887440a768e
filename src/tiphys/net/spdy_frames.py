"""SPDY/3.1 frames without I/O: bytes to frames and frames to bytes.

The rules are those of the SPDY protocol draft 3 (chromium.org) with 3.1's changes, as far as moby/spdystream, the one
implementation still in use, speaks them. Header blocks share one zlib stream for each direction of a connection, so a
decoder must see every frame, and frames must reach the wire in the order in which they were encoded.
"""

import struct
import zlib
from collections.abc import Iterator, Mapping
from enum import IntEnum

from tiphys.machinery.frozen import frozen

__all__ = [
    "Data",
    "Frame",
    "FrameDecoder",
    "FrameEncoder",
    "GoAway",
    "GoAwayStatus",
    "Headers",
    "Ping",
    "ResetStatus",
    "RstStream",
    "Settings",
    "SpdyError",
    "SynReply",
    "SynStream",
    "WindowUpdate",
]

VERSION = 3
FLAG_FIN = 0x01
FLAG_UNIDIRECTIONAL = 0x02

# A control frame is held whole, and its headers are inflated, before anyone has looked at them.
CONTROL_FRAME_LIMIT_BYTES = 64 * 1024
HEADERS_LIMIT_BYTES = 256 * 1024
DATA_LIMIT_BYTES = (1 << 24) - 1

# The zlib dictionary that the protocol fixes (section 2.6.10.1): words behind their length, then loose text.
DICTIONARY_WORDS = (
    "options|head|post|put|delete|trace|accept|accept-charset|accept-encoding|accept-language|accept-ranges|age|allow|"
    "authorization|cache-control|connection|content-base|content-encoding|content-language|content-length|"
    "content-location|content-md5|content-range|content-type|date|etag|expect|expires|from|host|if-match|"
    "if-modified-since|if-none-match|if-range|if-unmodified-since|last-modified|location|max-forwards|pragma|"
    "proxy-authenticate|proxy-authorization|range|referer|retry-after|server|te|trailer|transfer-encoding|upgrade|"
    "user-agent|vary|via|warning|www-authenticate|method|get|status|200 OK|version|HTTP/1.1|url|public|set-cookie|"
    "keep-alive|origin"
)
DICTIONARY_TEXT = (
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
    "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden"
    "404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable"
    "Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT"
    "chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,text/javascript,"
    "publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
)


def dictionary() -> bytes:
    words = [word.encode() for word in DICTIONARY_WORDS.split("|")]
    return b"".join(struct.pack(">I", len(word)) + word for word in words) + DICTIONARY_TEXT.encode()


DICTIONARY = dictionary()


class FrameType(IntEnum):
    SYN_STREAM = 1
    SYN_REPLY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PING = 6
    GOAWAY = 7
    HEADERS = 8
    WINDOW_UPDATE = 9


class ResetStatus(IntEnum):
    PROTOCOL_ERROR = 1
    INVALID_STREAM = 2
    REFUSED_STREAM = 3
    UNSUPPORTED_VERSION = 4
    CANCEL = 5
    INTERNAL_ERROR = 6
    FLOW_CONTROL_ERROR = 7
    STREAM_IN_USE = 8
    STREAM_ALREADY_CLOSED = 9
    FRAME_TOO_LARGE = 11


class GoAwayStatus(IntEnum):
    OK = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2


class SpdyError(Exception):
    """The peer broke the protocol or a limit; the connection cannot go on."""


@frozen
class SynStream:
    stream_id: int
    headers: Mapping[str, str]  # lower-case names; repeated values joined by ", "
    fin: bool = False
    unidirectional: bool = False
    associated_id: int = 0
    priority: int = 0


@frozen
class SynReply:
    stream_id: int
    headers: Mapping[str, str]
    fin: bool = False


@frozen
class RstStream:
    stream_id: int
    status: int


@frozen
class Settings:
    values: Mapping[int, int]


@frozen
class Ping:
    ping_id: int


@frozen
class GoAway:
    last_stream_id: int
    status: int


@frozen
class Headers:
    stream_id: int
    headers: Mapping[str, str]
    fin: bool = False


@frozen
class WindowUpdate:
    stream_id: int
    delta: int


@frozen
class Data:
    """A decoder gives a long DATA frame in pieces as they arrive; only the last piece carries `fin`."""

    stream_id: int
    payload: bytes
    fin: bool = False


Frame = SynStream | SynReply | RstStream | Settings | Ping | GoAway | Headers | WindowUpdate | Data


class FrameEncoder:
    """Frames to bytes for one direction of one connection."""

    def __init__(self) -> None:
        self._compressor = zlib.compressobj(zlib.Z_BEST_COMPRESSION, zdict=DICTIONARY)

    def encode(self, frame: Frame) -> bytes:
        match frame:
            case Data(stream_id, payload, fin):
                return struct.pack(">II", stream_id, fin << 24 | len(payload)) + payload
            case SynStream(stream_id, headers, fin, unidirectional, associated_id, priority):
                flags = FLAG_FIN * fin | FLAG_UNIDIRECTIONAL * unidirectional
                head = struct.pack(">IIBB", stream_id, associated_id, priority << 5, 0)
                return control(FrameType.SYN_STREAM, head + self._compress(headers), flags)
            case SynReply(stream_id, headers, fin):
                block = self._compress(headers)
                return control(FrameType.SYN_REPLY, struct.pack(">I", stream_id) + block, FLAG_FIN * fin)
            case Headers(stream_id, headers, fin):
                block = self._compress(headers)
                return control(FrameType.HEADERS, struct.pack(">I", stream_id) + block, FLAG_FIN * fin)
            case RstStream(first, second):
                return control(FrameType.RST_STREAM, struct.pack(">II", first, second))
            case GoAway(first, second):
                return control(FrameType.GOAWAY, struct.pack(">II", first, second))
            case WindowUpdate(first, second):
                return control(FrameType.WINDOW_UPDATE, struct.pack(">II", first, second))
            case Ping(ping_id):
                return control(FrameType.PING, struct.pack(">I", ping_id))
            case Settings(values):
                pairs = b"".join(struct.pack(">II", key, value) for key, value in values.items())
                return control(FrameType.SETTINGS, struct.pack(">I", len(values)) + pairs)

    def _compress(self, headers: Mapping[str, str]) -> bytes:
        parts = [struct.pack(">I", len(headers))]
        for name, value in headers.items():
            for text in (name.lower().encode("latin-1"), value.encode("latin-1")):
                parts.append(struct.pack(">I", len(text)) + text)
        return self._compressor.compress(b"".join(parts)) + self._compressor.flush(zlib.Z_SYNC_FLUSH)


def control(frame_type: FrameType, payload: bytes, flags: int = 0) -> bytes:
    return struct.pack(">HHI", 0x8000 | VERSION, frame_type, flags << 24 | len(payload)) + payload


class FrameDecoder:
    """Bytes to frames for one direction of one connection. Raises SpdyError where the peer breaks the protocol."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._decompressor = zlib.decompressobj(zdict=DICTIONARY)
        self._data_stream_id = 0
        self._data_remaining = 0
        self._data_fin = False

    def feed(self, data: bytes) -> Iterator[Frame]:
        """All frames that are complete with these bytes; take them all before the next call."""
        self._buffer += data
        while True:
            if self._data_remaining:
                if not self._buffer:
                    return
                yield self._data_piece()
            elif len(self._buffer) < 8:
                return
            elif self._buffer[0] & 0x80:
                frame_type, flags, payload = self._control_frame()
                if payload is None:
                    return
                frame = self._parse(frame_type, flags, payload)
                if frame is not None:
                    yield frame
            elif (empty := self._data_head()) is not None:
                yield empty

    def _data_head(self) -> Data | None:
        stream_id, word = struct.unpack_from(">II", self._buffer)
        del self._buffer[:8]
        if stream_id == 0:
            raise SpdyError("a data frame for stream 0")
        self._data_stream_id, self._data_remaining = stream_id, word & 0xFFFFFF
        self._data_fin = bool(word >> 24 & FLAG_FIN)
        return None if self._data_remaining else Data(stream_id, b"", self._data_fin)

    def _data_piece(self) -> Data:
        payload = bytes(self._buffer[: self._data_remaining])
        del self._buffer[: len(payload)]
        self._data_remaining -= len(payload)
        return Data(self._data_stream_id, payload, self._data_fin and not self._data_remaining)

    def _control_frame(self) -> tuple[int, int, bytes | None]:
        version, frame_type, word = struct.unpack_from(">HHI", self._buffer)
        size = word & 0xFFFFFF
        if version & 0x7FFF != VERSION:
            raise SpdyError(f"unsupported SPDY version {version & 0x7FFF}")
        if size > CONTROL_FRAME_LIMIT_BYTES:
            raise SpdyError(f"a control frame of {size} bytes exceeds {CONTROL_FRAME_LIMIT_BYTES}")
        if len(self._buffer) < 8 + size:
            return frame_type, 0, None
        payload = bytes(self._buffer[8 : 8 + size])
        del self._buffer[: 8 + size]
        return frame_type, word >> 24, payload

    def _parse(self, frame_type: int, flags: int, payload: bytes) -> Frame | None:
        try:
            return self._parse_known(frame_type, flags, payload)
        except struct.error:
            raise SpdyError(f"a frame of type {frame_type} is too short") from None

    def _parse_known(self, frame_type: int, flags: int, payload: bytes) -> Frame | None:
        fin = bool(flags & FLAG_FIN)
        match frame_type:
            case FrameType.SYN_STREAM:
                stream_id, associated_id, priority, _ = struct.unpack_from(">IIBB", payload)
                headers = self._decompress(payload[10:])
                unidirectional = bool(flags & FLAG_UNIDIRECTIONAL)
                return SynStream(stream_id, headers, fin, unidirectional, associated_id, priority >> 5)
            case FrameType.SYN_REPLY:
                (stream_id,) = struct.unpack_from(">I", payload)
                return SynReply(stream_id, self._decompress(payload[4:]), fin)
            case FrameType.HEADERS:
                (stream_id,) = struct.unpack_from(">I", payload)
                return Headers(stream_id, self._decompress(payload[4:]), fin)
            case FrameType.RST_STREAM:
                return RstStream(*struct.unpack_from(">II", payload))
            case FrameType.GOAWAY:
                return GoAway(*struct.unpack_from(">II", payload))
            case FrameType.WINDOW_UPDATE:
                return WindowUpdate(*struct.unpack_from(">II", payload))
            case FrameType.PING:
                return Ping(*struct.unpack_from(">I", payload))
            case FrameType.SETTINGS:
                return Settings(parse_settings(payload))
        return None  # unknown types are skipped (section 2.2.1)

    def _decompress(self, block: bytes) -> dict[str, str]:
        try:
            plain = self._decompressor.decompress(block, HEADERS_LIMIT_BYTES)
        except zlib.error as error:
            raise SpdyError(f"a header block cannot be inflated: {error}") from None
        if self._decompressor.unconsumed_tail:
            raise SpdyError(f"a header block exceeds {HEADERS_LIMIT_BYTES} bytes")
        return parse_headers(plain)


def parse_settings(payload: bytes) -> dict[int, int]:
    (count,) = struct.unpack_from(">I", payload)
    if count * 8 > len(payload) - 4:
        raise SpdyError("a settings frame is too short")
    pairs = (struct.unpack_from(">II", payload, 4 + 8 * index) for index in range(count))
    return {key & 0xFFFFFF: value for key, value in pairs}


def parse_headers(block: bytes) -> dict[str, str]:
    """A name-value block (section 2.6.10): counts and lengths in 32 bits, values of one name joined by NUL."""
    (count,) = struct.unpack_from(">I", block)
    headers: dict[str, str] = {}
    at = 4
    for _ in range(count):
        name, at = parse_text(block, at)
        value, at = parse_text(block, at)
        headers[name.lower()] = ", ".join(value.split("\0"))
    return headers


def parse_text(block: bytes, at: int) -> tuple[str, int]:
    (size,) = struct.unpack_from(">I", block, at)
    end = at + 4 + size
    if end > len(block):
        raise SpdyError("a header block is too short")
    return block[at + 4 : end].decode("latin-1"), end
