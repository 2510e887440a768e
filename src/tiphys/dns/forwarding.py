"""Names that are not the cluster's: asked of the name servers of the node's own resolv.conf, one after the other.

Each question goes out from a port and with a number of its own, so that nobody outside can guess what an answer must look like.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from random import Random

from tiphys.dns.message import BadMessage, is_truncated
from tiphys.dns.metrics import NameMetrics
from tiphys.machinery.clock import Clock

PORT = 53
ANSWER_SECONDS = 2.0
ATTEMPTS = 2


class NoAnswer(Exception):
    """No server that could be asked answered."""


def servers_of(resolver: str, own: Iterable[str]) -> list[str]:
    """Of a resolv.conf: IPv4 name servers, but for ourselves, whom we would ask for ever."""
    found = []
    for line in resolver.splitlines():
        words = line.partition("#")[0].partition(";")[0].split()
        if words[:1] == ["nameserver"] and len(words) > 1 and ":" not in words[1]:
            found.append(words[1])
    avoided = set(own)
    return [server for server in dict.fromkeys(found) if server not in avoided]


class ResolverFile:
    """The name servers of a resolv.conf as it is when it is asked for them. `own`: whom never to name."""

    def __init__(self, path: Path, own: Iterable[str], on_change: Callable[[], None] = lambda: None) -> None:
        self._path = path
        self._own = tuple(own)
        self._on_change = on_change
        self._seen: object = ()
        self._servers: Sequence[str] = ()

    def __call__(self) -> Sequence[str]:
        try:
            status = os.stat(self._path)
            seen = status.st_mtime_ns, status.st_ino, status.st_size
            if seen != self._seen:
                servers = servers_of(self._path.read_text(), self._own)
                if self._seen and servers != self._servers:
                    self._on_change()
                self._seen, self._servers = seen, servers
        except OSError:
            # Between two of them: whoever writes it anew is not yet done.
            pass
        return self._servers


class Forwarder:
    """`servers`: whom to ask now, first to last."""

    def __init__(
        self,
        servers: Callable[[], Sequence[str]],
        *,
        random: Random,
        clock: Clock,
        port: int = PORT,
        metrics: NameMetrics | None = None,
    ) -> None:
        self._servers = servers
        self._random = random
        self._clock = clock
        self._port = port
        self._metrics = metrics or NameMetrics()

    async def ask(self, message: bytes, *, over_tcp: bool = False) -> bytes:
        """The answer to a query, with the query's own number. Raises NoAnswer."""
        for _ in range(ATTEMPTS):
            for server in self._servers():
                id = self._random.randbytes(2)
                started = self._clock.monotonic()
                try:
                    async with asyncio.timeout(ANSWER_SECONDS):
                        answer = await self._ask_one(server, id + message[2:], over_tcp=over_tcp)
                    seconds = self._clock.monotonic() - started
                    self._metrics.answered_elsewhere(f"{server}:{self._port}", answer, seconds)
                    return message[:2] + answer[2:]
                except (OSError, EOFError, BadMessage):
                    continue
        raise NoAnswer

    async def _ask_one(self, server: str, message: bytes, *, over_tcp: bool) -> bytes:
        if over_tcp:
            return await self._over_tcp(server, message)
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            await loop.sock_connect(sock, (server, self._port))
            await loop.sock_sendall(sock, message)
            while True:
                answer = await loop.sock_recv(sock, 65535)
                if len(answer) >= 12 and answer[:2] == message[:2] and answer[2] & 0x80:
                    return answer

    async def _over_tcp(self, server: str, message: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(server, self._port)
        try:
            writer.write(len(message).to_bytes(2) + message)
            answer = await reader.readexactly(int.from_bytes(await reader.readexactly(2)))
        finally:
            writer.close()
        if len(answer) < 12 or answer[:2] != message[:2]:
            raise BadMessage("not an answer to what was asked")
        return answer

    async def ask_whole(self, message: bytes) -> bytes:
        """The same, over TCP when it does not fit into a packet. Raises NoAnswer."""
        answer = await self.ask(message)
        return await self.ask(message, over_tcp=True) if is_truncated(answer) else answer
