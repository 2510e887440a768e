"""A small gRPC server on a unix socket: methods with one message there and one back.

For what the kubelet offers to others on its node. Started by `GRPCServer.listen`, ended by `stop`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import cast

from tiphys.net.grpc import Code, GRPCError, Unframer, framed, status_trailers
from tiphys.net.h2_engine import Engine, EngineError, Headers

log = logging.getLogger(__name__)

Method = Callable[[bytes], Awaitable[bytes]]
"""Raises GRPCError to tell the client why not."""
REQUEST_LIMIT_BYTES = 4 << 20
HEADER_LIMIT_BYTES = 64 * 1024
WRITE_BYTES = 256 * 1024
_HEAD: Headers = [(b":status", b"200"), (b"content-type", b"application/grpc")]


class _Asked:
    """One call, until its request is whole and then until it is answered."""

    __slots__ = ("messages", "path", "task", "unframer")

    def __init__(self, path: str) -> None:
        self.path = path
        self.messages: list[bytes] = []
        self.unframer = Unframer(REQUEST_LIMIT_BYTES)
        self.task: asyncio.Task[None] | None = None


class _Connection(asyncio.Protocol):
    def __init__(self, server: GRPCServer) -> None:
        self._server = server
        self._engine = Engine(self, header_limit_bytes=HEADER_LIMIT_BYTES)
        self._asked: dict[int, _Asked] = {}
        self._transport: asyncio.Transport | None = None
        self._paused = False

    # --- for the engine ---

    def on_request(self, stream_id: int, headers: Headers, body: bytes | None) -> None:
        fields = dict(headers)
        if not fields.get(b"content-type", b"").startswith(b"application/grpc"):
            self._engine.respond(stream_id, [(b":status", b"415")], end=True)
            return
        self._asked[stream_id] = _Asked(fields.get(b":path", b"").decode("latin-1"))
        if body is not None:
            self._take(stream_id, body, ended=True)

    def on_data(self, stream_id: int, data: bytes, *, ended: bool) -> None:
        self._engine.acknowledge(stream_id, len(data))
        self._take(stream_id, data, ended=ended)

    def _take(self, stream_id: int, data: bytes, *, ended: bool) -> None:
        asked = self._asked.get(stream_id)
        if asked is None:
            return
        try:
            asked.messages += asked.unframer.feed(data)
        except GRPCError as error:
            del self._asked[stream_id]
            self._refuse(stream_id, error)
            return
        if ended:
            self.on_body_end(stream_id)

    def on_body_end(self, stream_id: int) -> None:
        asked = self._asked.get(stream_id)
        if asked is not None:
            asked.task = asyncio.get_running_loop().create_task(self._answer(stream_id, asked))

    def on_stream_closed(self, stream_id: int, error_code: int) -> None:
        """A client that has gone does not wait for an answer."""
        asked = self._asked.pop(stream_id, None)
        if asked is not None and asked.task is not None:
            asked.task.cancel()

    # --- answers ---

    async def _answer(self, stream_id: int, asked: _Asked) -> None:
        try:
            answer = await self._server.call(asked.path, asked.messages)
        except GRPCError as error:
            self._asked.pop(stream_id, None)
            self._refuse(stream_id, error)
        else:
            self._asked.pop(stream_id, None)
            self._engine.respond(stream_id, _HEAD)
            self._engine.send(stream_id, framed(answer))
            self._engine.end_with_trailers(stream_id, status_trailers(Code.OK, ""))
        self._flush()

    def _refuse(self, stream_id: int, error: GRPCError) -> None:
        self._engine.respond(stream_id, [*_HEAD, *status_trailers(error.code, error.details)], end=True)

    # --- asyncio.Protocol ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._server.connections.add(self)
        self._flush()

    def data_received(self, data: bytes) -> None:
        try:
            self._engine.receive(data)
        except EngineError:
            self.abort()
        else:
            self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.connections.discard(self)
        self._transport = None
        asked, self._asked = self._asked, {}
        for each in asked.values():
            if each.task is not None:
                each.task.cancel()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._flush()

    def _flush(self) -> None:
        try:
            while (
                not self._paused and self._transport is not None and (data := self._engine.take(WRITE_BYTES))
            ):
                self._transport.write(data)
            if self._transport is not None and self._engine.finished:
                self._transport.close()  # the peer was told why
        except EngineError:
            self.abort()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()


class GRPCServer:
    """`methods` by their paths: "/package.Service/Method"."""

    def __init__(self, methods: Mapping[str, Method]) -> None:
        self._methods = methods
        self._services = {path.rpartition("/")[0] for path in methods}
        self._server: asyncio.Server | None = None
        self.connections: set[_Connection] = set()

    async def listen(self, path: Path) -> None:
        """Whatever was at the path is gone."""
        path.unlink(missing_ok=True)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(lambda: _Connection(self), str(path))

    async def call(self, path: str, messages: list[bytes]) -> bytes:
        method = self._methods.get(path)
        if method is None:
            service, _, name = path.rpartition("/")
            known = f"method {name} for service {service[1:]}"
            what = known if service in self._services else f"service {service[1:]}"
            raise GRPCError(Code.UNIMPLEMENTED, f"unknown {what}")
        if len(messages) != 1:
            raise GRPCError(Code.INTERNAL, f"{len(messages)} messages of a unary call")
        try:
            return await method(messages[0])
        except GRPCError:
            raise
        except Exception as error:
            log.exception("%s", path)
            raise GRPCError(Code.UNKNOWN, str(error)) from None

    async def stop(self) -> None:
        """Calls under way are cancelled."""
        if self._server is not None:
            self._server.close()
        for connection in list(self.connections):
            connection.abort()
        await asyncio.sleep(0)
