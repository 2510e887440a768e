"""Ends streaming connections that nobody uses: upstream's `streamingConnectionIdleTimeout`."""

from __future__ import annotations

from tiphys.machinery.clock import Clock, Timer
from tiphys.net.http import ByteStream, Response

__all__ = ["IdleStream", "ended_when_idle"]


class IdleStream(ByteStream):
    """Another stream, closed when for so long nothing has come and nothing has gone. Costs one timer, whatever is carried."""

    def __init__(self, stream: ByteStream, clock: Clock, seconds: float) -> None:
        self._stream = stream
        self._clock = clock
        self._seconds = seconds
        self._used_at = clock.monotonic()
        self._timer: Timer = clock.call_later(seconds, self._look)

    def _look(self) -> None:
        left = self._used_at + self._seconds - self._clock.monotonic()
        if left > 0:
            self._timer = self._clock.call_later(left, self._look)
        else:
            self._stream.close()

    async def read(self, n: int = 65536) -> bytes:
        data = await self._stream.read(n)
        self._used_at = self._clock.monotonic()
        return data

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        self._used_at = self._clock.monotonic()
        await self._stream.write(data)

    async def write_eof(self) -> None:
        await self._stream.write_eof()

    def close(self) -> None:
        self._timer.cancel()
        self._stream.close()


def ended_when_idle(response: Response, clock: Clock, seconds: float) -> Response:
    """The same answer; what it upgrades to ends when it is idle. 0: never."""
    upgrade = response.upgrade
    if upgrade is None or seconds <= 0:
        return response

    async def limited(stream: ByteStream) -> None:
        watched = IdleStream(stream, clock, seconds)
        try:
            await upgrade(watched)
        finally:
            watched.close()

    response.upgrade = limited
    return response
