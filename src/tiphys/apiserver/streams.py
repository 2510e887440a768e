"""Two connections made one: what a client says to a kubelet or to another API server, carried as it is."""

from __future__ import annotations

import asyncio

from tiphys.net.http import ByteStream

READ_BYTES = 1 << 20
"""Whatever came at once is carried as it came, without being looked at or copied."""


async def splice(left: ByteStream, right: ByteStream) -> None:
    """Carries bytes both ways until `right`, the server that was dialled, has ended."""

    async def carry(source: ByteStream, target: ByteStream) -> None:
        try:
            while data := await source.read(READ_BYTES):
                await target.write(data)
            await target.write_eof()
        except (ConnectionError, OSError):
            source.close()
            target.close()

    try:
        # The server at the far end ends the conversation; a client that has ended only its own half still waits for the answer.
        outbound = asyncio.ensure_future(carry(left, right))
        await carry(right, left)
        outbound.cancel()
        await asyncio.gather(outbound, return_exceptions=True)
    finally:
        left.close()
        right.close()
