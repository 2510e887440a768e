"""attach: the streams of a container's own process, through containerd's streaming server.

CRI hands out a URL on that server, which holds the container's pipes and copies them to whoever is attached. It speaks the
"v4.channel.k8s.io" WebSocket protocol: the first byte of a message is its channel. It listens inside the node.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from tiphys.kubelet.runtimes import network_namespace
from tiphys.kubelet.runtimes.interface import RuntimeFailure, Unavailable
from tiphys.net.stream import TransportStream
from tiphys.net.websocket import ClientHandshake, HandshakeError, WebSocket, WebSocketError

PROTOCOL = "v4.channel.k8s.io"
STDIN, STDOUT, STDERR, ERROR, RESIZE = range(5)
PENDING_MESSAGES = 64
HEAD_LIMIT_BYTES = 16384


class Attachment:
    """An ExecSession of a process that somebody else started. The protocol cannot close stdin alone: close_stdin() does nothing."""

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket
        self._queues: dict[int, asyncio.Queue[bytes | None]] = {
            channel: asyncio.Queue(PENDING_MESSAGES) for channel in (STDOUT, STDERR)
        }
        self._receiver = asyncio.create_task(self._receive())
        self.stdout = self._chunks(STDOUT)
        self.stderr = self._chunks(STDERR)

    @classmethod
    async def open(cls, url: str, namespace: Path) -> Self:
        """Connects to the URL from inside the network namespace."""
        address = urlsplit(url)
        try:
            connection = await network_namespace.connect(
                namespace, address.hostname or "", address.port or 80
            )
        except OSError as error:
            raise Unavailable(f"cannot reach the runtime's streaming server: {error}") from error
        stream = TransportStream()
        await asyncio.get_running_loop().create_connection(lambda: stream, sock=connection)
        try:
            await _upgrade(stream, f"{address.path}?{address.query}".rstrip("?"), address.netloc)
        except (HandshakeError, ConnectionError) as error:
            stream.close()
            raise RuntimeFailure(f"cannot attach: {error}") from error
        return cls(WebSocket(stream, "client"))

    async def _receive(self) -> None:
        try:
            while (message := await self._websocket.receive()) is not None:
                data = message[1]
                if data and (queue := self._queues.get(data[0])) is not None and len(data) > 1:
                    await queue.put(data[1:])
        except (WebSocketError, ConnectionError):
            pass
        for queue in self._queues.values():
            await queue.put(None)

    async def _chunks(self, channel: int) -> AsyncIterator[bytes]:
        while (chunk := await self._queues[channel].get()) is not None:
            yield chunk

    async def write_stdin(self, data: bytes) -> None:
        await self._send(STDIN, data)

    async def close_stdin(self) -> None:
        pass

    async def resize(self, columns: int, rows: int) -> None:
        await self._send(RESIZE, json.dumps({"Width": columns, "Height": rows}).encode())

    async def _send(self, channel: int, data: bytes) -> None:
        try:
            await self._websocket.send(bytes([channel]) + data)
        except ConnectionError:
            pass  # it has ended; the streams tell

    async def wait(self) -> int:
        await asyncio.wait([self._receiver])
        return 0

    async def close(self) -> None:
        self._websocket.abort()
        self._receiver.cancel()
        await asyncio.wait([self._receiver])
        for queue in self._queues.values():
            while queue.full():
                queue.get_nowait()
            queue.put_nowait(None)


async def _upgrade(stream: TransportStream, target: str, host: str) -> None:
    handshake = ClientHandshake([PROTOCOL])
    lines = [f"GET {target} HTTP/1.1", f"Host: {host}"]
    lines += [f"{name}: {value}" for name, value in handshake.headers.items()]
    await stream.write("\r\n".join([*lines, "", ""]).encode())
    status, headers = _parse_head(await _read_head(stream))
    handshake.verify(status, headers)


async def _read_head(stream: TransportStream) -> str:
    """The answer's head and not a byte more: what follows is WebSocket already. (The stream is buffered, single bytes are cheap.)"""
    head = bytearray()
    while not head.endswith(b"\r\n\r\n"):
        byte = await stream.read(1)
        if not byte or len(head) > HEAD_LIMIT_BYTES:
            raise ConnectionError("the streaming server did not answer in HTTP")
        head += byte
    return head.decode("latin-1")


def _parse_head(head: str) -> tuple[int, dict[str, str]]:
    status_line, *fields = head.strip().split("\r\n")
    pairs = (field.partition(":") for field in fields)
    words = status_line.split()
    status = int(words[1]) if len(words) > 1 and words[1].isdigit() else 0
    return status, {name.strip().lower(): value.strip() for name, _, value in pairs}
