"""What all connections of one server share: the handler, its limits and hooks, and the loop's bookkeeping."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, Protocol

from tiphys.machinery.frozen import frozen
from tiphys.net.http import Handler, Request, Response

log = logging.getLogger("tiphys.net")

TooLargeHook = Callable[[Request], Response]
ErrorHook = Callable[[Request, Exception], Response]


@frozen
class Limits:
    """What one client may take. The times are those of kube-apiserver (32 s for a head, 90 s idle, 60 s for a request).

    `linger_seconds`: when the server ends a connection, what the client still sends is read and dropped for this long.
    Closing at once would make the kernel send a reset, which can destroy the last bytes before the client has read them.
    """

    body_bytes: int = 3 * 1024 * 1024
    header_bytes: int = 64 * 1024
    header_count: int = 1000
    header_timeout_seconds: float = 32.0
    body_timeout_seconds: float = 60.0
    idle_timeout_seconds: float = 90.0
    linger_seconds: float = 0.5


class Served(Protocol):
    """One connection as the server sees it."""

    def flush(self) -> None:
        """Send what was written in this turn of the loop."""

    def begin_shutdown(self) -> None:
        """End open sinks properly, take no further requests, close once the running ones are answered."""

    def kill(self) -> None:
        """Cut the connection off now."""


class Service:
    """Made by the Server; every connection holds it."""

    def __init__(
        self,
        handler: Handler,
        limits: Limits,
        *,
        on_too_large: TooLargeHook | None = None,
        on_error: ErrorHook | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.handler = handler
        self.limits = limits
        self.loop = asyncio.get_running_loop()
        self.connections: set[Served] = set()
        self.stopping = False
        self._on_too_large = on_too_large
        self._on_error = on_error
        self._clock = clock
        self._date = ""
        self._date_field = (b"date", b"")
        self._date_second = 0
        self._dirty: list[Served] = []
        self._tasks: set[asyncio.Task[Any]] = set()
        self._emptied: asyncio.Future[None] | None = None

    def answer(self, request: Request) -> Response | Awaitable[Response]:
        """Run the handler; what it raises becomes a Response."""
        try:
            return self.handler(request)
        except Exception as error:
            return self.failed(request, error)

    def outcome(self, request: Request, future: asyncio.Future[Response]) -> Response:
        """The Response of a finished handler."""
        if future.cancelled():
            return self.failed(request, RuntimeError("the handler was cancelled from within"))
        error = future.exception()
        if error is None:
            return future.result()
        return self.failed(request, error if isinstance(error, Exception) else RuntimeError(repr(error)))

    def failed(self, request: Request, error: Exception) -> Response:
        """The answer to a request whose handler raised: the hook's, or a plain 500 and a line in the log."""
        if self._on_error is not None:
            try:
                return self._on_error(request, error)
            except Exception as hook_error:
                log.error(
                    "the error hook failed for %s %s", request.method, request.path, exc_info=hook_error
                )
        log.error("the handler failed for %s %s", request.method, request.path, exc_info=error)
        return plain_response(500)

    def too_large(self, request: Request) -> Response:
        """The answer to a request whose body is over the limit. Its `body` is empty."""
        if self._on_too_large is None:
            return plain_response(413)
        try:
            return self._on_too_large(request)
        except Exception as error:
            return self.failed(request, error)

    def date(self) -> str:
        """The `date` header, made once a second."""
        self.date_field()
        return self._date

    def date_field(self) -> tuple[bytes, bytes]:
        """The same as HTTP/2 says it."""
        now = self._clock()
        if int(now) != self._date_second:
            self._date_second = int(now)
            self._date = formatdate(now, usegmt=True)
            self._date_field = b"date", self._date.encode()
        return self._date_field

    def flush_soon(self, connection: Served) -> None:
        """Have the connection flushed once before the next turn of the loop. One callback serves all connections."""
        if not self._dirty:
            self.loop.call_soon(self._flush_dirty)
        self._dirty.append(connection)

    def _flush_dirty(self) -> None:
        dirty, self._dirty = self._dirty, []
        for connection in dirty:
            try:
                connection.flush()
            except Exception:
                log.exception("cannot write to a connection")
                connection.kill()

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """A task that is kept until it is done."""
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def add(self, connection: Served) -> None:
        self.connections.add(connection)
        if self.stopping:
            self.loop.call_soon(connection.begin_shutdown)

    def discard(self, connection: Served) -> None:
        self.connections.discard(connection)
        if not self.connections and self._emptied is not None and not self._emptied.done():
            self._emptied.set_result(None)

    async def emptied(self, timeout_seconds: float) -> bool:
        """Wait until the last connection has gone; False when time was up first."""
        if self.connections:
            self._emptied = self.loop.create_future()
            await asyncio.wait([self._emptied], timeout=timeout_seconds)
        return not self.connections


def plain_response(status: int, message: str = "") -> Response:
    """A short text answer from the server itself."""
    text = f"{status} {HTTPStatus(status).phrase}{': ' if message else ''}{message}\n"
    return Response(status, [("content-type", "text/plain; charset=utf-8")], text.encode())


def end_writing(transport: asyncio.Transport) -> bool:
    """Half-close after what was written. False where that cannot be: with TLS, or when the peer is gone already."""
    if not transport.can_write_eof():
        return False
    try:
        transport.write_eof()
    except OSError:
        return False
    return True
