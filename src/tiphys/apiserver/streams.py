"""Two connections made one: what a client says to a kubelet or to another API server, carried as it is."""

from __future__ import annotations

import asyncio

from tiphys.net.http import ByteStream

READ_BYTES = 1 << 20
"""Whatever came at once is carried as it came, without being looked at or copied."""


async def splice(left: ByteStream, right: ByteStream) -> None:
    """Carries bytes both ways until either side has ended; then both are closed, after what was still under way to them.

    Nobody ends one half only: TLS could not say so, and the protocols that go over such connections have ends of their own. So a
    client that has gone is noticed although the other side has nothing to say to it, and whatever runs for it there ends.
    """
    carriers = [asyncio.ensure_future(_carry(left, right)), asyncio.ensure_future(_carry(right, left))]
    try:
        await asyncio.wait(carriers, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in carriers:
            task.cancel()
        await asyncio.gather(*carriers, return_exceptions=True)
        left.close()
        right.close()


async def _carry(source: ByteStream, target: ByteStream) -> None:
    try:
        while data := await source.read(READ_BYTES):
            await target.write(data)
    except (ConnectionError, OSError):
        pass  # the end of one is the end of both
