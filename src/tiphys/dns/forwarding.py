"""Names that are not the cluster's: asked of the name servers of the node's own resolv.conf, one after the other.

Each question goes out from a port and with a number of its own, so that nobody outside can guess what an answer must look like.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable, Sequence
from random import Random

from tiphys.dns.message import BadMessage, is_truncated

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


class Forwarder:
    def __init__(self, servers: Sequence[str], *, random: Random, port: int = PORT) -> None:
        self._servers = servers
        self._random = random
        self._port = port

    async def ask(self, message: bytes, *, over_tcp: bool = False) -> bytes:
        """The answer to a query, with the query's own number. Raises NoAnswer."""
        for _ in range(ATTEMPTS):
            for server in self._servers:
                id = self._random.randbytes(2)
                try:
                    async with asyncio.timeout(ANSWER_SECONDS):
                        answer = await self._ask_one(server, id + message[2:], over_tcp=over_tcp)
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
