"""One request whose answer is not a small body at hand: it waits for the handler, streams, or is pushed to.

Exchange drives the response and knows no wire; `h1.py` and `h2.py` give it one. It is made when a request's answer
needs it, and ends (once, `_finish` or `abandon`) when the response is complete, cut off, or the client is gone.
Small answers at hand never come here: they are written by the connection at once.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import AsyncIterator, Awaitable, Iterable, Iterator
from contextlib import AsyncExitStack
from typing import cast

from tiphys.net.http import HANG_UP, Frame, Gradual, Request, Response, Sink, ignore
from tiphys.net.service import Service, log

# A large body goes out in such slices, and one stream may write so many in one turn of the loop; then others have theirs.
SLICE_BYTES = 64 * 1024
SLICES_A_TURN = 4


def small_body(response: Response) -> bytes | None:
    """A body at hand that goes out in one slice, or None."""
    body = response.body
    if (
        isinstance(body, bytes)
        and len(body) <= SLICE_BYTES
        and response.on_sent is None
        and response.start is None
        and response.upgrade is None
    ):
        return body
    return None


def has_no_body(request: Request, response: Response) -> bool:
    """The response ends with its head (RFC 9112 §6.3)."""
    return request.method == "HEAD" or response.status in (204, 304)


def slices(pieces: Iterable[bytes], size_bytes: int = SLICE_BYTES) -> Iterator[bytes]:
    """The same bytes in slices of about `size_bytes`: small pieces joined, large ones cut, nothing made whole."""
    batch: list[bytes] = []
    batched = 0
    for piece in pieces:
        if batched + len(piece) > size_bytes and batch:
            yield b"".join(batch)
            batch, batched = [], 0
        if len(piece) > size_bytes:
            yield from (piece[start : start + size_bytes] for start in range(0, len(piece), size_bytes))
        else:
            batch.append(piece)
            batched += len(piece)
    if batch:
        yield b"".join(batch)


def dismiss(future: asyncio.Future[Response]) -> None:
    """Nobody is left to hear of an answer."""
    if not future.cancelled() and future.exception() is None:
        unsent = future.result().on_sent
        if unsent is not None:
            unsent()


def cut(parts: Iterable[bytes], size_bytes: int = SLICE_BYTES) -> Iterator[bytes]:
    """The same parts, but none larger: what is made a part at a time is not made faster than it is written."""
    for part in parts:
        if len(part) > size_bytes:
            yield from (part[start : start + size_bytes] for start in range(0, len(part), size_bytes))
        else:
            yield part


class Exchange(Sink):
    __slots__ = ("_future", "_headed", "_parked", "_pushed", "_slices", "_writable", "request", "service")

    def __init__(self, service: Service, request: Request) -> None:
        super().__init__()
        self.service = service
        self.request = request
        self._future: asyncio.Future[Response] | asyncio.Task[None] | None = None
        self._slices: Iterator[bytes] | None = None
        self._headed = False
        self._parked = False
        self._pushed = False
        self._writable: asyncio.Future[None] | None = None

    # The wire, given by each protocol.

    @abstractmethod
    def _send_at_once(self, response: Response) -> bool:
        """Send a small body at hand with its head in one write. False: it is none, or cannot be sent."""

    @abstractmethod
    def _write_head(self, response: Response, length: int | None) -> None:
        """Send the head; of a stream (`length` of the body None) at once. ValueError for a header that cannot be sent."""

    @abstractmethod
    def _write_body(self, data: bytes | Frame) -> None: ...

    @abstractmethod
    def _write_end(self) -> None: ...

    @abstractmethod
    def _cut_off(self) -> None:
        """Make the peer see that the response is not complete."""

    @abstractmethod
    def _hand_over(self, response: Response) -> None:
        """Do `response.upgrade`."""

    @abstractmethod
    def _await_resume(self) -> None:
        """Have the connection call `resume` when this exchange is no longer congested."""

    @abstractmethod
    def _release(self) -> None:
        """The connection may forget this exchange."""

    @property
    @abstractmethod
    def congested(self) -> bool:
        """Enough is waiting for the peer: write no more until `resume` is called."""

    # The response.

    def begin(self, answer: Response | Awaitable[Response]) -> None:
        if isinstance(answer, Response):
            self._respond(answer)
            return
        try:
            self._future = future = asyncio.ensure_future(answer)
        except TypeError as error:
            self._respond(self.service.failed(self.request, error))
            return
        future.add_done_callback(self._answered)

    def _answered(self, future: asyncio.Future[Response]) -> None:
        self._future = None
        if not self.closed:
            self._respond(self.service.outcome(self.request, future))
        else:
            dismiss(future)

    def _respond(self, response: Response) -> None:
        try:
            self._send(response)
        except Exception as error:
            self._respond_broken(error)

    def _respond_broken(self, error: Exception) -> None:
        """The Response could not be sent as it is: a 500 if nothing went out yet, else a visible break."""
        if not self._headed:
            try:
                self._send(self.service.failed(self.request, error))
                return
            except Exception as second_error:
                error = second_error
        log.error("cannot answer %s %s", self.request.method, self.request.path, exc_info=error)
        self.abort()

    def _send(self, response: Response) -> None:
        body = response.body
        if response.on_sent is not None:
            self.on_close = response.on_sent
        if response is HANG_UP:
            self.abort()
        elif self._send_at_once(response):
            self._finish()
        elif response.upgrade is not None:
            self._hand_over(response)
        elif response.start is not None or isinstance(body, AsyncIterator):
            self._send_stream(response)
        elif isinstance(body, Gradual):
            self._write_head(response, None)
            self._send_slices(response, cut(body))
        else:
            pieces = (body,) if isinstance(body, bytes) else body
            self._write_head(response, sum(map(len, pieces)))
            self._send_slices(response, slices(pieces))

    def _send_slices(self, response: Response, data: Iterator[bytes]) -> None:
        self._headed = True
        if has_no_body(self.request, response):
            self._finish()
            return
        self._slices = data
        self._pump()

    def _send_stream(self, response: Response) -> None:
        self._write_head(response, None)
        self._headed = True
        if has_no_body(self.request, response):
            self._finish()
        elif response.start is not None:
            self._pushed = True
            self._start(response)
        else:
            self._future = self.service.spawn(self._stream(cast(AsyncIterator[bytes], response.body)))

    def _start(self, response: Response) -> None:
        assert response.start is not None
        try:
            response.start(self)
        except Exception:
            log.exception("the stream's start failed for %s %s", self.request.method, self.request.path)
            self.abort()

    def _pump(self) -> None:
        """Write a few slices, and come back in the next turn of the loop."""
        if self.closed or self._slices is None:
            return
        if self.congested:
            self._parked = True
            self._await_resume()
            return
        try:
            for _ in range(SLICES_A_TURN):
                data = next(self._slices, None)
                if data is None:
                    self.close()
                    return
                if not data:
                    break
                self._write_body(data)
        except Exception as error:
            self._respond_broken(error)
            return
        self.service.loop.call_soon(self._pump)

    async def _stream(self, body: AsyncIterator[bytes]) -> None:
        """Write an iterator's chunks as they come, as fast as the peer takes them, and a slice in one turn of the loop."""
        written = 0
        try:
            async with AsyncExitStack() as cleanup:
                if (aclose := getattr(body, "aclose", None)) is not None:
                    cleanup.push_async_callback(aclose)
                async for chunk in body:
                    for data in slices((chunk,)):
                        if (written := written + len(data)) > SLICE_BYTES:
                            written = 0
                            await asyncio.sleep(0)
                        await self._until_writable()
                        self._write_body(data)
        except ConnectionError as error:  # It was cut off where it comes from, and so it is here.
            log.info("the source of %s %s ended early: %s", self.request.method, self.request.path, error)
            self.abort()
        except Exception:
            log.exception("the response stream failed for %s %s", self.request.method, self.request.path)
            self.abort()
        else:
            self._future = None
            self.close()

    async def _until_writable(self) -> None:
        if self.congested:
            self._writable = self.service.loop.create_future()
            self._await_resume()
            await self._writable
            self._writable = None

    def resume(self) -> None:
        """The peer has taken enough: go on writing."""
        if self._parked:
            self._parked = False
            self.service.loop.call_soon(self._pump)
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)

    # The end.

    def close(self) -> None:
        if not self.closed:
            self._write_end()
            self._finish()

    def abort(self) -> None:
        if not self.closed:
            self._cut_off()
            self._finish()

    def wind_down(self) -> None:
        """The server is stopping: a sink that is pushed to would never end by itself."""
        if self._pushed:
            self.close()

    def abandon(self) -> None:
        """The client is gone: stop the handler or the iterator, and tell the writer."""
        if self.closed:
            return
        self.closed = True
        self._slices = None
        if self._future is not None:
            self._future.cancel()
        self._tell_writer()

    def _finish(self) -> None:
        self.closed = True
        self._slices = None
        self._tell_writer()
        self._release()

    def _tell_writer(self) -> None:
        # Let go of, too: what is told knows the sink, and a ring of the two would wait for the collector.
        told, self.on_close = self.on_close, ignore
        try:
            told()
        except Exception:
            log.exception("on_close failed for %s %s", self.request.method, self.request.path)
