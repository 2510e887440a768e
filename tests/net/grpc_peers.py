"""Somebody else's gRPC, to hold ours to: Google's server with the methods that tests of calls need."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

LIMIT_BYTES = 32 << 20


class Peer:
    """Methods of `/test.Peer/`: Echo, Fail, Hang, Count (an answer for each number below the request), Talk (an answer for each message)."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._server: Any = None
        self.metadata: dict[str, str] = {}
        self.time_left: float | None = None
        self.hanging = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.counted = 0

    async def start(self) -> None:
        options = [("grpc.max_receive_message_length", LIMIT_BYTES)]
        self._server = grpc.aio.server(options=options)
        methods = {
            "Echo": grpc.unary_unary_rpc_method_handler(self._echo),
            "Fail": grpc.unary_unary_rpc_method_handler(self._fail),
            "Hang": grpc.unary_unary_rpc_method_handler(self._hang),
            "Count": grpc.unary_stream_rpc_method_handler(self._count),
            "Talk": grpc.stream_stream_rpc_method_handler(self._talk),
        }
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Peer", methods),))
        self._server.add_insecure_port(f"unix:{self._path}")
        await self._server.start()

    async def stop(self) -> None:
        await self._server.stop(None)

    async def _echo(self, request: bytes, context: Any) -> bytes:
        self.metadata = dict(context.invocation_metadata())
        self.time_left = context.time_remaining()
        return request

    async def _fail(self, request: bytes, context: Any) -> bytes:
        await context.abort(grpc.StatusCode.FAILED_PRECONDITION, request.decode())
        return b""

    async def _hang(self, request: bytes, context: Any) -> bytes:
        self.hanging.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return b""

    async def _count(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        """Each number with padding to a length: "count length"."""
        count, length = map(int, request.split())
        for number in range(count):
            yield str(number).encode().ljust(length)
            self.counted = number + 1
        if count == 0:
            await context.abort(grpc.StatusCode.NOT_FOUND, "nothing to count")

    async def _talk(self, requests: Any, context: Any) -> AsyncIterator[bytes]:
        async for request in requests:
            yield request.upper()
