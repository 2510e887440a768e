"""The cluster's name server, over UDP and TCP: what is ours is answered at once from the caches, the rest is asked elsewhere.

Started by whoever runs a node (`cluster/node_network.py`), once the caches are filled; ended by `close`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from dataclasses import replace
from random import Random
from typing import Any

from tiphys.client.cache import View
from tiphys.client.reflector import Informers
from tiphys.client.resources import ENDPOINTSLICES, NAMESPACES, SERVICES
from tiphys.dns import message, records
from tiphys.dns.cache import AnswerCache
from tiphys.dns.forwarding import Forwarder, NoAnswer
from tiphys.dns.message import Answer, BadMessage, Query, Record
from tiphys.dns.metrics import NameMetrics
from tiphys.machinery.clock import Clock

log = logging.getLogger(__name__)

PORT = 53
ASKED_ELSEWHERE_LIMIT = 1000
"""So many questions may wait for others' answers at a time; more are told at once that it failed."""
IDLE_SECONDS = 10.0
"""A client over TCP that asks nothing for so long has its connection closed."""
CONNECTIONS_LIMIT = 200
_TCP_LIMIT_BYTES = 65535


class Resolver:
    """Answers to messages, whichever way they came."""

    def __init__(
        self,
        view: View,
        zone: records.Zone,
        forwarder: Forwarder,
        *,
        random: Random,
        clock: Clock,
        metrics: NameMetrics | None = None,
    ) -> None:
        self._view = view
        self._zone = zone
        self._forwarder = forwarder
        self._random = random
        self._clock = clock
        self._metrics = metrics or NameMetrics()
        self.cache = AnswerCache(clock, self._metrics)
        self._waiting = 0

    def answer(self, data: bytes, *, over_tcp: bool) -> bytes | Coroutine[Any, Any, bytes] | None:
        """At once, or when it is known elsewhere. None: to what is no query at all there is no answer."""
        try:
            query = message.read_query(data)
        except BadMessage as error:
            return None if error.id is None else message.write_error(error.id, message.FORMERR)
        self._metrics.asked(query, over_tcp=over_tcp)
        started = self._clock.monotonic()
        knows, made = self._answer(query, data, over_tcp=over_tcp)
        if isinstance(made, bytes):
            self._metrics.answered(made, knows, self._clock.monotonic() - started)
            return made
        return self._later(made, knows, started)

    async def _later(self, answer: Coroutine[Any, Any, bytes], knows: str, started: float) -> bytes:
        made = await answer
        self._metrics.answered(made, knows, self._clock.monotonic() - started)
        return made

    def _answer(
        self, query: Query, data: bytes, *, over_tcp: bool
    ) -> tuple[str, bytes | Coroutine[Any, Any, bytes]]:
        """(what CoreDNS calls him who knows it, the answer)"""
        limit = _TCP_LIMIT_BYTES if over_tcp else message.limit_of(query)
        if (code := _refusal(query)) is not None:
            return "", self._written(query, Answer(code, is_authoritative=False), limit)
        found = records.resolve(query.name, query.type, self._view, self._zone)
        if found is not None and not found.alias:
            return "kubernetes", self._written(query, found.answer, limit)
        if found is None and (kept := self.cache.find(query, data, limit)) is not None:
            return "cache", kept
        if self._waiting >= ASKED_ELSEWHERE_LIMIT:
            self._metrics.rejected.value += 1
            return "forward", self._written(query, Answer(message.SERVFAIL, is_authoritative=False), limit)
        if found is not None:
            return "kubernetes", self._follow(query, found, limit)
        return "forward", self._ask(query, data, over_tcp=over_tcp)

    def _written(self, query: Query, answer: Answer, limit_bytes: int) -> bytes:
        """In another order each time: clients take the first address, and shall not all take the same."""
        shuffled = list(answer.answers)
        if len(shuffled) > 1 and shuffled[0].type != message.CNAME:
            self._random.shuffle(shuffled)
        return message.write_answer(query, replace(answer, answers=shuffled), limit_bytes=limit_bytes)

    async def _ask(self, query: Query, data: bytes, *, over_tcp: bool) -> bytes:
        self._waiting += 1
        try:
            answer = await self._forwarder.ask(data, over_tcp=over_tcp)
        except NoAnswer:
            answer = self._written(query, self._without_others(query), message.PLAIN_SIZE_BYTES)
        finally:
            self._waiting -= 1
        if message.code_of(answer) == message.SERVFAIL:
            answer = self._written(query, self._without_others(query), message.PLAIN_SIZE_BYTES)
        return self.cache.keep(query, data, answer)

    def _without_others(self, query: Query) -> Answer:
        """busybox's nslookup asks for `kubernetes.default` as it stands: whoever knows the root says that there is no such name."""
        is_ours = records.is_shortened(query.name, self._view, self._zone)
        return Answer(message.NXDOMAIN if is_ours else message.SERVFAIL, is_authoritative=False)

    async def _follow(self, query: Query, found: records.Found, limit_bytes: int) -> bytes:
        """An alias of ours, and what others know of the name that it leads to; the alias alone, when they know nothing."""
        self._waiting += 1
        further: list[Record] = []
        try:
            asked = message.write_query(0, found.alias, query.type)
            further = message.read_addresses(await self._whole(asked))
        except (NoAnswer, BadMessage) as error:
            log.info("nothing is known of %s, to which %s leads: %r", found.alias, query.name, error)
        finally:
            self._waiting -= 1
        answers = (*found.answer.answers, *further)
        return self._written(query, Answer(answers=answers, is_authoritative=True), limit_bytes)

    async def _whole(self, asked: bytes) -> bytes:
        """What others know of it, of any length. Raises NoAnswer."""
        query = message.read_query(asked)
        kept = self.cache.find(query, asked, _TCP_LIMIT_BYTES)
        if kept is not None:
            return kept
        return self.cache.keep(query, asked, await self._forwarder.ask_whole(asked))


def _refusal(query: Query) -> int | None:
    """The code of the answer to what nobody here answers."""
    if query.edns_version:
        return message.BADVERS
    if query.opcode != 0:
        return message.NOTIMP
    return message.REFUSED if query.class_ != message.IN else None


class Server:
    """Listens at one address."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver
        self._tasks: set[asyncio.Task[None]] = set()
        self._connections = 0
        self._udp: asyncio.DatagramTransport | None = None
        self._tcp: asyncio.Server | None = None

    async def listen(self, host: str, port: int = PORT) -> int:
        """The port. OSError when it is taken."""
        loop = asyncio.get_running_loop()
        self._tcp = await asyncio.start_server(self._connection, host, port)
        port = self._tcp.sockets[0].getsockname()[1]
        self._udp, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self), (host, port))
        return port

    async def close(self) -> None:
        if self._udp is not None:
            self._udp.close()
        if self._tcp is not None:
            self._tcp.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def datagram(self, transport: asyncio.DatagramTransport, data: bytes, peer: Any) -> None:
        answer = self._resolver.answer(data, over_tcp=False)
        if isinstance(answer, bytes):
            transport.sendto(answer, peer)
        elif answer is not None:
            self._keep(asyncio.ensure_future(_send_later(transport, answer, peer)))

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._connections >= CONNECTIONS_LIMIT:
            writer.close()
            return
        task = asyncio.current_task()
        assert task is not None
        self._keep(task)
        self._connections += 1
        try:
            while True:
                async with asyncio.timeout(IDLE_SECONDS):
                    size = int.from_bytes(await reader.readexactly(2))
                    data = await reader.readexactly(size)
                answer = self._resolver.answer(data, over_tcp=True)
                if answer is None:
                    return
                said = answer if isinstance(answer, bytes) else await answer
                writer.write(len(said).to_bytes(2) + said)
                await writer.drain()
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            self._connections -= 1
            writer.close()


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: Server) -> None:
        self._server = server

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._server.datagram(self._transport, data, addr)


async def _send_later(
    transport: asyncio.DatagramTransport, answer: Coroutine[Any, Any, bytes], peer: Any
) -> None:
    said = await answer
    if not transport.is_closing():
        transport.sendto(said, peer)


def watch(informers: Informers) -> View:
    """What a resolver looks at; `informers.wait_synced()` says when all of it is there."""
    for kind in (SERVICES, ENDPOINTSLICES, NAMESPACES):
        informers.cache(kind)
    return informers.view
