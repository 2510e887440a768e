"""A door before a server that is slow to open: the peer of a client on a busy machine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
OPENS_AFTER_SECONDS = 0.2


@asynccontextmanager
async def slow_door(connect: Callable[[], Awaitable[Streams]], path: str = "") -> AsyncIterator[int]:
    """At this path, or at the port that it gives. Who comes in waits before a byte goes either way."""
    tasks: set[asyncio.Task[None]] = set()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()

    async def come_in(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(OPENS_AFTER_SECONDS)
        inside, outside = await connect()
        for ways in ((reader, outside), (inside, writer)):
            tasks.add(asyncio.create_task(carry(*ways)))

    if path:
        door = await asyncio.start_unix_server(come_in, path)
    else:
        door = await asyncio.start_server(come_in, "127.0.0.1", 0)
    try:
        yield 0 if path else door.sockets[0].getsockname()[1]
    finally:
        door.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
