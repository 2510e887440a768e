"""Joins a client's streams (exec, attach, port-forward) with those of a process or a port in a pod."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any

from tiphys.kubelet.runtimes.interface import ExecSession, Runtime, RuntimeFailure
from tiphys.kubelet.streaming.channels import RemoteCommandStreams
from tiphys.kubelet.streaming.port_forward import PortForwardConnection
from tiphys.kubelet.streaming.status import execution_failure, exit_status

log = logging.getLogger(__name__)

Open = Callable[[], Awaitable[ExecSession]]
BLOCK_BYTES = 64 * 1024


async def serve_command(streams: RemoteCommandStreams, open_session: Open) -> None:
    """Runs the session until its process ends, or the client leaves; says how it ended."""
    left = asyncio.ensure_future(streams.wait_disconnected())
    try:
        session = await _opened(open_session, left)
    except RuntimeFailure as error:
        await _end([left])
        await streams.write_status(json.dumps(execution_failure(error.message)).encode())
        return
    except BaseException:
        await _end([left])
        raise
    if session is None:
        return
    try:
        finished = asyncio.ensure_future(_until_exit(streams, session))
        background = [
            asyncio.ensure_future(work) for work in (_feed(streams, session), _resize(streams, session))
        ]
        try:
            await asyncio.wait([finished, left], return_when=asyncio.FIRST_COMPLETED)
            if finished.done():
                await streams.write_status(json.dumps(exit_status(finished.result())).encode())
        finally:
            await _end([finished, left, *background])
    finally:
        await session.close()


async def _opened(open_session: Open, left: asyncio.Future[None]) -> ExecSession | None:
    """None when the client has left before: there may be a queue, and nobody is served in it who is not there any more."""
    opening = asyncio.ensure_future(open_session())
    try:
        either: list[asyncio.Future[Any]] = [opening, left]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    finally:
        if not opening.done():
            opening.cancel()
            await asyncio.wait([opening])
    if opening.cancelled():
        return None
    return opening.result()


async def _until_exit(streams: RemoteCommandStreams, session: ExecSession) -> int:
    """The exit code, once all output has gone out."""
    await asyncio.gather(
        _copy(session.stdout, streams.write_stdout), _copy(session.stderr, streams.write_stderr)
    )
    return await session.wait()


async def _copy(source: AsyncIterator[bytes], write: Callable[[bytes], Coroutine[Any, Any, None]]) -> None:
    async for data in source:
        await write(data)


async def _feed(streams: RemoteCommandStreams, session: ExecSession) -> None:
    if not streams.options.stdin:
        return
    while data := await streams.read_stdin():
        await session.write_stdin(data)
    await session.close_stdin()


async def _resize(streams: RemoteCommandStreams, session: ExecSession) -> None:
    async for size in streams.sizes:
        try:
            await session.resize(size.width, size.height)
        except RuntimeFailure as error:
            log.debug("cannot resize: %s", error.message)


async def serve_port(connection: PortForwardConnection, runtime: Runtime, sandbox_id: str) -> None:
    """Carries bytes between the client and a port of the pod. An exception's text is what the client sees."""
    try:
        target = await runtime.open_in_sandbox(sandbox_id, connection.port)
    except (OSError, RuntimeFailure) as error:
        cause = os.strerror(error.errno).lower() if isinstance(error, OSError) and error.errno else str(error)
        port = connection.port
        raise ConnectionError(
            f"error forwarding port {port} to pod {sandbox_id}, uid : failed to execute portforward in network namespace: "
            f'failed to connect to localhost:{port} inside namespace "{sandbox_id}", '
            f"IPv4: dial tcp4 127.0.0.1:{port}: connect: {cause} IPv6 dial tcp6 [::1]:{port}: connect: {cause} "
        ) from error
    try:
        outbound = asyncio.ensure_future(_send(connection, target))
        try:
            loop = asyncio.get_running_loop()
            while data := await loop.sock_recv(target, BLOCK_BYTES):
                await connection.data.write(data)
        finally:
            await _end([outbound])
    finally:
        target.close()


async def _send(connection: PortForwardConnection, target: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    while data := await connection.data.read():
        await loop.sock_sendall(target, data)
    target.shutdown(socket.SHUT_WR)


async def _end(tasks: list[asyncio.Future[Any]]) -> None:
    for task in tasks:
        task.cancel()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(result, Exception) and not isinstance(result, ConnectionError | OSError):
            log.warning("a stream failed: %r", result)
