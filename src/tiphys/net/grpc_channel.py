"""Calls to one gRPC server from the event loop (`grpc_blocking.py`: from a thread that waits).

A connection is made by the first call that needs one, and again by the next one after a loss: on a unix socket that costs
less than to wait, so there is no back-off. A call without a connection fails at once, with UNAVAILABLE. Whoever made a
channel closes it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

from tiphys.net.grpc import Call, ClientCalls, Code, GRPCError, Metadata, Terms

Address = str | tuple[str, int]
"""The path of a unix socket, or a host and a port."""


class _Line(asyncio.Protocol):
    """One connection."""

    def __init__(self, terms: Terms) -> None:
        self.calls = ClientCalls(terms)
        self.established: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._transport: asyncio.Transport | None = None
        self._paused = False

    def flush(self) -> None:
        transport = self._transport
        while not self._paused and transport is not None and (data := self.calls.take()):
            transport.write(data)
        if transport is not None and self.calls.over:
            transport.close()

    def close(self) -> None:
        self.calls.lose("the connection is closing")
        if self._transport is not None:
            self._transport.abort()

    # --- asyncio.Protocol ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.flush()

    def data_received(self, data: bytes) -> None:
        self.calls.receive(data)
        if self.calls.established and not self.established.done():
            self.established.set_result(None)
        self.flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self.calls.lose(f"error reading from server: {exc or 'EOF'}")
        if not self.established.done():
            self.established.set_exception(ConnectionResetError("error reading server preface: EOF"))

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self.flush()


class Stream:
    """An open call to write to and read from. What is written waits in memory for a server that is slow."""

    def __init__(self, line: _Line, path: str, metadata: Metadata, timeout_seconds: float | None) -> None:
        self._line = line
        self._waiter: asyncio.Future[None] | None = None
        self._call = line.calls.begin(path, metadata, timeout_seconds, self._on_change)

    def write(self, message: bytes, *, end: bool = False) -> None:
        self._line.calls.send(self._call, message, end=end)
        self._line.flush()

    async def read(self) -> bytes | None:
        """The next message, None at the end. Raises GRPCError."""
        call = self._call
        while not call.messages:
            if call.error is not None:
                raise call.error
            if call.ended:
                return None
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        message = self._line.calls.next_message(call)
        self._line.flush()
        return message

    async def only(self) -> bytes:
        """The message of a call that has one answer. Raises GRPCError, also when there was none or more."""
        call = self._call
        while not call.ended:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        return the_only_message(call)

    def release(self) -> None:
        """Cancels the call, unless it has ended."""
        self._line.calls.release(self._call)
        self._line.flush()

    def _on_change(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Channel:
    def __init__(self, address: Address, terms: Terms = Terms()) -> None:
        self._address = address
        self._terms = terms
        self._line: _Line | None = None
        self._connecting = asyncio.Lock()
        self._closed = False

    async def unary(
        self,
        path: str,
        request: bytes,
        *,
        metadata: Metadata = (),
        timeout_seconds: float | None = None,
    ) -> bytes:
        """One message there, one back. Raises GRPCError; without a timeout it waits for ever."""
        try:
            async with asyncio.timeout(timeout_seconds) as limit:
                try:
                    return await self._unary_once(path, request, metadata, timeout_seconds)
                except GRPCError as error:
                    if not error.untouched:
                        raise
                return await self._unary_once(path, request, metadata, timeout_seconds)
        except TimeoutError:
            if not limit.expired():
                raise
            raise deadline_exceeded() from None

    async def _unary_once(
        self, path: str, request: bytes, metadata: Metadata, timeout_seconds: float | None
    ) -> bytes:
        async with self.open(path, metadata=metadata, timeout_seconds=timeout_seconds) as stream:
            stream.write(request, end=True)
            return await stream.only()

    async def stream(self, path: str, request: bytes, *, metadata: Metadata = ()) -> AsyncIterator[bytes]:
        """One message there, many back, as fast as they are read. Raises GRPCError."""
        async with self.open(path, metadata=metadata) as stream:
            stream.write(request, end=True)
            while (message := await stream.read()) is not None:
                yield message

    @asynccontextmanager
    async def open(
        self, path: str, *, metadata: Metadata = (), timeout_seconds: float | None = None
    ) -> AsyncIterator[Stream]:
        """A call that goes both ways; cancelled at the end of the block unless it has ended."""
        stream = Stream(await self.connect(), path, metadata, timeout_seconds)
        try:
            yield stream
        finally:
            stream.release()

    async def connect(self) -> _Line:
        """The connection, made if there is none. Raises GRPCError."""
        line = self._line
        if line is not None and line.calls.usable:
            return line
        async with self._connecting:
            if self._line is None or not self._line.calls.usable:
                self._line = await self._new_line()
            return self._line

    async def _new_line(self) -> _Line:
        if self._closed:
            raise GRPCError(Code.CANCELLED, "grpc: the client connection is closing")
        loop = asyncio.get_running_loop()
        try:
            if isinstance(self._address, str):
                _, line = await loop.create_unix_connection(lambda: _Line(self._terms), self._address)
            else:
                _, line = await loop.create_connection(lambda: _Line(self._terms), *self._address)
        except OSError as error:
            raise unreachable(self._address, error) from None
        try:
            await line.established
        except OSError as error:
            raise GRPCError(Code.UNAVAILABLE, f'connection error: desc = "{error}"') from None
        except BaseException:
            line.close()
            raise
        return line

    async def close(self) -> None:
        """Calls under way fail."""
        self._closed = True
        if self._line is not None:
            self._line.close()
        await asyncio.sleep(0)  # the loop closes the socket


def the_only_message(call: Call) -> bytes:
    if call.error is not None:
        raise call.error
    if len(call.messages) != 1:
        raise GRPCError(
            Code.INTERNAL, f"cardinality violation: {len(call.messages)} messages of a unary call"
        )
    return call.messages[0]


def deadline_exceeded() -> GRPCError:
    return GRPCError(Code.DEADLINE_EXCEEDED, "context deadline exceeded")


def unreachable(address: Address, error: OSError) -> GRPCError:
    """In the words of Go's clients, which people know."""
    kind, where = ("unix", address) if isinstance(address, str) else ("tcp", f"{address[0]}:{address[1]}")
    why = (error.strerror or str(error)).lower()
    doing = f"transport: Error while dialing: dial {kind} {where}: connect: {why}"
    return GRPCError(Code.UNAVAILABLE, f'connection error: desc = "{doing}"')
