"""SPDY/3.1 sessions: many streams over one ByteStream, as server or as client.

It exists for one family of peers, those built on moby/spdystream (kubectl, client-go, container runtimes), and does
what that library does where it differs from the written protocol:

- Flow control is TCP's alone. spdystream neither sends nor honours WINDOW_UPDATE, so a window would only stall; a
  stream whose reader is slow makes the session stop reading, as there.
- Data frames that come before the SYN_REPLY was sent are dropped there, so nobody sends before the reply.
- Frames for streams that are gone are ignored, without RST_STREAM.

Used as `async with SpdySession(stream) as session`; leaving the block ends the session and closes the stream.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Mapping
from types import TracebackType
from typing import Literal, Self

from tiphys.net.http import ByteStream
from tiphys.net.pipe import BytePipe
from tiphys.net.spdy_frames import (
    Data,
    Frame,
    FrameDecoder,
    FrameEncoder,
    GoAway,
    GoAwayStatus,
    Headers,
    Ping,
    ResetStatus,
    RstStream,
    SpdyError,
    SynReply,
    SynStream,
)

__all__ = ["ResetStatus", "SpdyError", "SpdySession", "SpdyStream", "StreamReset"]

STREAM_LIMIT = 4096  # open at once, opened by the peer
UNSENT_CONTROL_LIMIT = 1024
WRITE_SIZE_BYTES = 64 * 1024
STREAM_BUFFER_BYTES = 256 * 1024
REFUSAL_TIMEOUT_SECONDS = 1.0

log = logging.getLogger(__name__)


class StreamReset(ConnectionResetError):
    """One side gave the stream up."""

    def __init__(self, stream_id: int, status: int) -> None:
        super().__init__(f"spdy stream {stream_id} was reset (status {int(status)})")
        self.status = status


class SpdyStream(ByteStream):
    """One stream. Opened by the peer, it must be answered with `reply()` or `reset()` before anything is written."""

    def __init__(self, session: "SpdySession", stream_id: int, headers: Mapping[str, str]) -> None:
        self.stream_id = stream_id
        self.headers = dict(headers)
        self.local_ended = False
        self.remote_ended = False
        self.incoming = BytePipe(STREAM_BUFFER_BYTES)
        self.replied: asyncio.Future[dict[str, str]] = asyncio.get_running_loop().create_future()
        self._session = session
        self._reset: StreamReset | None = None

    async def reply(self, headers: Mapping[str, str] | None = None) -> None:
        """Accepts a stream that the peer opened."""
        if not self.replied.done():
            self.replied.set_result({})
            await self._session.send(SynReply(self.stream_id, headers or {}))

    async def wait_reply(self) -> dict[str, str]:
        """The headers of the peer's reply to a stream opened here. Raises StreamReset when it refuses."""
        return await asyncio.shield(self.replied)

    async def read(self, n: int = 65536) -> bytes:
        return await self.incoming.read(n)

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        view = memoryview(data)
        for at in range(0, len(view), WRITE_SIZE_BYTES):
            self._check_writable()
            await self._session.send(Data(self.stream_id, bytes(view[at : at + WRITE_SIZE_BYTES])))

    async def write_eof(self) -> None:
        """Half close: the peer reads the end; what it sends can still be read."""
        if not self.local_ended and self._reset is None:
            self.local_ended = True
            self._session.forget_if_done(self)
            await self._session.send(Data(self.stream_id, b"", fin=True))

    def reset(self, status: int = ResetStatus.CANCEL) -> None:
        """Gives the stream up in both directions; also refuses one that was not replied to."""
        if self._reset is None:
            if not (self.local_ended and self.remote_ended):
                self._session.send_soon(RstStream(self.stream_id, status))
            self.end(StreamReset(self.stream_id, status))
            self.incoming.close_read()
            self._session.forget(self)

    def close(self) -> None:
        """Gives the stream up, unless both sides have already ended it."""
        if self.local_ended and self.remote_ended:
            self.incoming.close_read()
        else:
            self.reset()

    def end(self, error: StreamReset) -> None:
        """What the session calls when the stream is reset or lost."""
        self._reset = error
        self.local_ended = self.remote_ended = True
        self.incoming.close_write(error)
        if not self.replied.done():
            self.replied.set_exception(error)
            self.replied.exception()  # nobody has to wait for the reply

    def _check_writable(self) -> None:
        if self._reset is not None:
            raise self._reset
        if self.local_ended:
            raise ConnectionResetError(f"spdy stream {self.stream_id} is closed for writing")
        if not self.replied.done():
            raise RuntimeError(f"spdy stream {self.stream_id} has no reply yet")


class SpdySession:
    """All streams of one connection. `accept()` gives those that the peer opens; a client calls `open()`."""

    def __init__(self, stream: ByteStream, role: Literal["server", "client"] = "server") -> None:
        self._stream = stream
        self._encoder = FrameEncoder()
        self._writing = asyncio.Lock()
        self._control: deque[Frame] = deque()
        self._control_task: asyncio.Task[None] | None = None
        self._reader: asyncio.Task[None] | None = None
        self._streams: dict[int, SpdyStream] = {}
        self._accepted: deque[SpdyStream] = deque()
        self._acceptable = asyncio.Event()
        self._next_id = 1 if role == "client" else 2
        self._last_peer_id = 0
        self._peer_parity = 0 if role == "client" else 1
        self._goaway = False  # no new streams, from either side
        self.ended = asyncio.Event()  # the peer is gone, or the session was closed here

    async def __aenter__(self) -> Self:
        self._reader = asyncio.ensure_future(self._read_frames())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            await self.close()
        else:
            await self._stop()

    async def accept(self) -> SpdyStream | None:
        """The next stream that the peer opens, not yet replied to; None once no more can come."""
        while not self._accepted:
            if self._goaway or self.ended.is_set():
                return None
            self._acceptable.clear()
            await self._acceptable.wait()
        return self._accepted.popleft()

    async def open(self, headers: Mapping[str, str], *, fin: bool = False) -> SpdyStream:
        """Opens a stream. Await its `wait_reply()` before writing."""
        if self._goaway or self.ended.is_set():
            raise ConnectionResetError("the spdy session takes no new streams")
        async with self._writing:  # stream ids must reach the wire in rising order
            stream = SpdyStream(self, self._next_id, headers)
            self._next_id += 2
            self._streams[stream.stream_id] = stream
            stream.local_ended = fin
            await self._write(SynStream(stream.stream_id, headers, fin))
        return stream

    async def close(self, *, timeout_seconds: float = 5.0) -> None:
        """Says GOAWAY and waits for the peer to end the connection, so that it gets everything that was sent.

        To close a socket that holds unread bytes would reset the connection and could take back our last words.
        """
        try:
            async with asyncio.timeout(timeout_seconds):
                if not self.ended.is_set():
                    self._goaway = True
                    self._acceptable.set()
                    await self.send(GoAway(self._last_peer_id, GoAwayStatus.OK))
                    self._discard_input()
                    await self._stream.write_eof()
                    await self.ended.wait()
        except (TimeoutError, ConnectionError):
            pass
        finally:
            await self._stop()

    def _discard_input(self) -> None:
        for stream in self._streams.values():
            stream.incoming.close_read()

    async def _stop(self) -> None:
        tasks = [task for task in (self._reader, self._control_task) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._end_all()
        self._stream.close()

    # --- sending ---

    async def send(self, frame: Frame) -> None:
        async with self._writing:
            await self._write(frame)

    async def _write(self, frame: Frame) -> None:
        if self.ended.is_set():
            raise ConnectionResetError("the spdy session has ended")
        await self._stream.write(self._encoder.encode(frame))

    def send_soon(self, frame: Frame) -> None:
        """Sends without waiting. The reader uses it: a peer that does not read must not stop us from reading."""
        if self.ended.is_set():
            return
        self._control.append(frame)
        if self._control_task is None or self._control_task.done():
            self._control_task = asyncio.ensure_future(self._send_control())

    async def _send_control(self) -> None:
        try:
            while self._control:
                await self.send(self._control.popleft())
        except ConnectionError:
            self._control.clear()  # the reader finds out too

    # --- receiving ---

    async def _read_frames(self) -> None:
        decoder = FrameDecoder()
        try:
            while data := await self._stream.read():
                for frame in decoder.feed(data):
                    await self._dispatch(frame)
        except ConnectionError:
            pass
        except SpdyError as error:
            log.warning("a spdy session ends: %s", error)
            await self._refuse()
        except Exception:
            log.exception("a spdy session failed")
        finally:
            self._end_all()

    async def _refuse(self) -> None:
        """Nothing more can be understood: tells the peer so, if it still reads."""
        try:
            async with asyncio.timeout(REFUSAL_TIMEOUT_SECONDS):
                await self.send(GoAway(self._last_peer_id, GoAwayStatus.PROTOCOL_ERROR))
        except (ConnectionError, TimeoutError):
            pass

    async def _dispatch(self, frame: Frame) -> None:
        if len(self._control) >= UNSENT_CONTROL_LIMIT:
            raise SpdyError("the peer makes answers necessary and does not read them")
        match frame:
            case Data(stream_id, payload, fin):
                if (stream := self._streams.get(stream_id)) is not None:
                    await stream.incoming.write(payload)
                    self._remote_fin(stream, fin=fin)
            case SynStream():
                self._opened_by_peer(frame)
            case SynReply(stream_id, headers, fin):
                if (stream := self._streams.get(stream_id)) is not None and not stream.replied.done():
                    stream.replied.set_result(dict(headers))
                    self._remote_fin(stream, fin=fin)
            case Headers(stream_id, _, fin):
                if (stream := self._streams.get(stream_id)) is not None:
                    self._remote_fin(stream, fin=fin)
            case RstStream(stream_id, status):
                if (stream := self._streams.pop(stream_id, None)) is not None:
                    stream.end(StreamReset(stream_id, status))
            case Ping(ping_id):
                if ping_id % 2 == self._peer_parity:  # else it is the echo of one of ours
                    self.send_soon(frame)
            case GoAway():
                self._goaway = True
                self._acceptable.set()
            case _:
                pass  # SETTINGS and WINDOW_UPDATE: see the top of this file

    def _opened_by_peer(self, frame: SynStream) -> None:
        if self._goaway:
            return
        stream_id = frame.stream_id
        if stream_id % 2 != self._peer_parity or stream_id <= self._last_peer_id:
            self.send_soon(RstStream(stream_id, ResetStatus.PROTOCOL_ERROR))
            return
        self._last_peer_id = stream_id
        if len(self._streams) >= STREAM_LIMIT:
            self.send_soon(RstStream(stream_id, ResetStatus.REFUSED_STREAM))
            return
        stream = SpdyStream(self, stream_id, frame.headers)
        stream.local_ended = frame.unidirectional
        self._streams[stream_id] = stream
        self._remote_fin(stream, fin=frame.fin)
        self._accepted.append(stream)
        self._acceptable.set()

    def _remote_fin(self, stream: SpdyStream, *, fin: bool) -> None:
        if fin:
            stream.remote_ended = True
            stream.incoming.close_write()
            self.forget_if_done(stream)

    def forget_if_done(self, stream: SpdyStream) -> None:
        if stream.local_ended and stream.remote_ended:
            self.forget(stream)

    def forget(self, stream: SpdyStream) -> None:
        self._streams.pop(stream.stream_id, None)

    def _end_all(self) -> None:
        self.ended.set()
        self._acceptable.set()
        for stream in list(self._streams.values()):
            stream.end(StreamReset(stream.stream_id, ResetStatus.INTERNAL_ERROR))
        self._streams.clear()
