"""attach: the streams of a container's own process, through containerd's streaming server.

CRI hands out a URL on that server, which holds the container's pipes and copies them to whoever is attached. It speaks SPDY/3.1 and,
over WebSocket, an older protocol in which standard input cannot end before everything else does: hence SPDY, so that what is
piped into a container (`kubectl run -i … -- cat`) has an end. It listens inside the node.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from tiphys.kubelet.runtimes import network_namespace
from tiphys.kubelet.runtimes.cri.execution import Streams
from tiphys.kubelet.runtimes.interface import RuntimeFailure, Unavailable
from tiphys.net.spdy import SpdySession, SpdyStream
from tiphys.net.stream import TransportStream

PROTOCOL = "v4.channel.k8s.io"
HEAD_LIMIT_BYTES = 16384
FAREWELL_SECONDS = 1.0


class Attachment:
    """An ExecSession of a process that somebody else started. The end of stdin reaches a container with `stdinOnce` only."""

    def __init__(self, session: SpdySession, streams: Mapping[str, SpdyStream]) -> None:
        self._session = session
        self._streams = streams
        self.stdout = _chunks(streams.get("stdout"))
        self.stderr = _chunks(streams.get("stderr"))

    @classmethod
    async def open(cls, url: str, namespace: Path, streams: Streams) -> Self:
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
            session = await SpdySession(stream, "client").__aenter__()
            return cls(session, await _open_streams(session, streams))
        except ConnectionError as error:
            stream.close()
            raise RuntimeFailure(f"cannot attach: {error}") from error

    async def write_stdin(self, data: bytes) -> None:
        await self._send("stdin", data)

    async def close_stdin(self) -> None:
        try:
            await self._streams["stdin"].write_eof()
        except ConnectionError:
            pass

    async def resize(self, columns: int, rows: int) -> None:
        await self._send("resize", json.dumps({"Width": columns, "Height": rows}).encode() + b"\n")

    async def _send(self, name: str, data: bytes) -> None:
        try:
            await self._streams[name].write(data)
        except ConnectionError:
            pass  # it has ended; the streams tell

    async def wait(self) -> int:
        """The streaming server ends the error stream with the others."""
        async for _ in _chunks(self._streams["error"]):
            pass
        return 0

    async def close(self) -> None:
        await self._session.close(timeout_seconds=FAREWELL_SECONDS)


async def _open_streams(session: SpdySession, streams: Streams) -> dict[str, SpdyStream]:
    wanted = {
        "error": True,
        "stdin": streams.stdin,
        "stdout": streams.stdout,
        "stderr": streams.stderr,
        "resize": streams.tty,
    }
    opened = {
        name: await session.open({"streamtype": name}) for name, is_wanted in wanted.items() if is_wanted
    }
    for stream in opened.values():
        await stream.wait_reply()
    return opened


async def _chunks(stream: SpdyStream | None) -> AsyncIterator[bytes]:
    try:
        while stream is not None and (chunk := await stream.read()):
            yield chunk
    except ConnectionError:
        return


async def _upgrade(stream: TransportStream, target: str, host: str) -> None:
    lines = [
        f"POST {target} HTTP/1.1",
        f"Host: {host}",
        "Connection: Upgrade",
        "Upgrade: SPDY/3.1",
        f"X-Stream-Protocol-Version: {PROTOCOL}",
        "Content-Length: 0",
    ]
    await stream.write("\r\n".join([*lines, "", ""]).encode())
    status, headers = _parse_head(await _read_head(stream))
    if status != 101 or headers.get("x-stream-protocol-version") != PROTOCOL:
        raise ConnectionError(f"the streaming server answers {status} to {PROTOCOL}")


async def _read_head(stream: TransportStream) -> str:
    """The answer's head and not a byte more: what follows is SPDY already. (The stream is buffered, single bytes are cheap.)"""
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
