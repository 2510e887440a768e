"""A connection after a 101: the handler's coroutine owns it as a ByteStream until it returns."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from tiphys.net.http import Response
from tiphys.net.service import Service, log
from tiphys.net.stream import TransportStream


class Tunnel:
    """Runs `Response.upgrade`, closes the stream when that ends, and lets the server's shutdown wait for it."""

    def __init__(
        self,
        service: Service,
        response: Response,
        transport: asyncio.Transport,
        received: bytes,
        *,
        writing_paused: bool,
    ) -> None:
        self._service = service
        self._stream = TransportStream()
        self._stream.take_over(transport, received, writing_paused=writing_paused)
        service.add(self)
        self._task = service.spawn(self._run(response))

    async def _run(self, response: Response) -> None:
        assert response.upgrade is not None
        try:
            with suppress(ConnectionError):  # The peer has gone: nothing is left to do.
                await response.upgrade(self._stream)
        except Exception:
            log.exception("an upgraded connection failed")
        finally:
            self._stream.close()
            self._stream.lost.add_done_callback(lambda _: self._service.discard(self))

    def flush(self) -> None:
        """A ByteStream writes at once."""

    def begin_shutdown(self) -> None:
        """Sessions end by themselves within the grace period, or are killed."""

    def kill(self) -> None:
        self._task.cancel()
        self._stream.abort()
