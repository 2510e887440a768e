"""The name server over real sockets on loopback, with another one beside it that knows the rest."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from random import Random
from typing import Any

import pytest
from test_dns_stories import view_of

from tiphys.dns import message, records
from tiphys.dns.forwarding import Forwarder, servers_of
from tiphys.dns.message import CNAME, A, Answer, Record
from tiphys.dns.server import Resolver, Server
from tiphys.machinery.clock import SystemClock

HOST = "127.0.0.53"
OTHER = "127.0.0.54"
MANY = [{"addresses": [f"10.91.{number >> 8}.{number & 255}"], "conditions": {}} for number in range(200)]
CLUSTER = {
    "services": [
        {"metadata": {"name": "web"}, "spec": {"clusterIP": "10.96.0.7", "ports": [{"port": 80}]}},
        {"metadata": {"name": "many"}, "spec": {"clusterIP": "None"}},
        {
            "metadata": {"name": "out"},
            "spec": {"type": "ExternalName", "externalName": "www.example.com"},
        },
    ],
    "slices": [
        {
            "metadata": {"name": "many-1", "labels": {"kubernetes.io/service-name": "many"}},
            "endpoints": MANY,
            "ports": [],
        }
    ],
}


class OtherResolver(Resolver):
    """Knows www.example.com, and a long list over TCP only."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, bool]] = []

    def answer(self, data: bytes, *, over_tcp: bool) -> bytes:
        query = message.read_query(data)
        self.asked.append((query.name, over_tcp))
        found = [Record(query.name, A, 60, "10.9.9.9")] if query.name.endswith("example.com") else []
        if query.name.startswith("long."):
            found = found * 100
        answer = Answer(0 if found else message.NXDOMAIN, answers=found, is_authoritative=False)
        limit = 65535 if over_tcp else message.limit_of(query)
        return message.write_answer(query, answer, limit_bytes=limit)


class Names:
    def __init__(self, port: int, other: OtherResolver) -> None:
        self.port = port
        self.other = other

    async def ask(self, name: str, type: int = A, *, query: bytes = b"") -> bytes:
        """Over UDP."""
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.connect((HOST, self.port))
            await loop.sock_sendall(sock, query or message.write_query(77, name, type))
            async with asyncio.timeout(30):
                return await loop.sock_recv(sock, 65535)

    async def ask_over_tcp(self, *names: str) -> list[bytes]:
        """One after the other over one connection."""
        reader, writer = await asyncio.open_connection(HOST, self.port)
        answers = []
        for name in names:
            asked = message.write_query(78, name, A)
            writer.write(len(asked).to_bytes(2) + asked)
            async with asyncio.timeout(30):
                size = int.from_bytes(await reader.readexactly(2))
                answers.append(await reader.readexactly(size))
        writer.close()
        return answers


@pytest.fixture
async def names() -> AsyncIterator[Names]:
    other = OtherResolver()
    beside = Server(other)
    port = await beside.listen(OTHER, 0)
    server = Server(resolver([OTHER], port))
    yield Names(await server.listen(HOST, 0), other)
    await server.close()
    await beside.close()


def resolver(servers: list[str], port: int = 9) -> Resolver:
    clock = SystemClock()
    forwarder = Forwarder(lambda: servers, random=Random(1), clock=clock, port=port)
    return Resolver(view_of(CLUSTER), records.Zone(), forwarder, random=Random(1), clock=clock)


def found(answer: bytes) -> list[Any]:
    return [record.data for record in message.read_addresses(answer)]


async def test_over_udp(names: Names) -> None:
    answer = await names.ask("web.shop.svc.cluster.local")
    assert found(answer) == ["10.96.0.7"]
    assert int.from_bytes(answer[:2]) == 77
    assert answer[2] & 0x04, "we are who knows"
    assert message.code_of(await names.ask("none.shop.svc.cluster.local")) == message.NXDOMAIN
    assert names.other.asked == []


async def test_what_is_too_long_is_asked_again_over_tcp(names: Names) -> None:
    cut = await names.ask("many.shop.svc.cluster.local")
    assert message.is_truncated(cut)
    assert len(cut) <= 512
    whole, web = await names.ask_over_tcp("many.shop.svc.cluster.local", "web.shop.svc.cluster.local")
    assert len(found(whole)) == 200
    assert found(web) == ["10.96.0.7"]
    assert found(whole) != sorted(found(whole)), "they take turns in being the first"


async def test_what_others_know(names: Names) -> None:
    answer = await names.ask("www.example.com")
    assert int.from_bytes(answer[:2]) == 77
    assert found(answer) == ["10.9.9.9"]
    assert message.code_of(await names.ask("www.example.net")) == message.NXDOMAIN
    [over_tcp] = await names.ask_over_tcp("long.example.com")
    assert len(found(over_tcp)) == 100
    assert ("long.example.com", True) in names.other.asked


async def test_an_alias_and_what_it_leads_to(names: Names) -> None:
    answer = message.read_addresses(await names.ask("out.shop.svc.cluster.local"))
    assert [(record.type, record.data) for record in answer] == [(CNAME, "www.example.com"), (A, "10.9.9.9")]


async def test_when_nobody_else_can_be_asked() -> None:
    """Nobody is there, or all that could be asked would be ourselves."""
    assert servers_of("nameserver 10.96.0.10\nsearch x\nnameserver 127.0.0.99 # it\n", ["10.96.0.10"]) == [
        "127.0.0.99"
    ]
    for servers in ([], ["127.0.0.99"]):
        server = Server(resolver(servers))
        names = Names(await server.listen(HOST, 0), OtherResolver())
        assert message.code_of(await names.ask("www.example.com")) == message.SERVFAIL
        alias = await names.ask("out.shop.svc.cluster.local")
        assert found(alias) == ["www.example.com"]
        await server.close()


@pytest.mark.parametrize("name", ["web.shop", "web.shop.svc", "none.shop.svc", "WEB.Shop"])
async def test_a_shortened_name_is_no_name_at_all(name: str) -> None:
    """busybox's nslookup does not complete what has a dot. Whoever knows the root says so; without him, we do."""
    server = Server(resolver(["127.0.0.99"]))
    names = Names(await server.listen(HOST, 0), OtherResolver())
    assert message.code_of(await names.ask(name)) == message.NXDOMAIN
    for other in ("web", "shop", "none.shop", "www.example.com"):
        assert message.code_of(await names.ask(other)) == message.SERVFAIL
    await server.close()


async def test_extensions(names: Names) -> None:
    def asked(version: int, flags: int) -> bytes:
        plain = message.write_query(5, "web.shop.svc.cluster.local", A)
        return plain[:11] + b"\1" + plain[12:] + bytes([0, 0, 41, 8, 0, 0, version, flags, 0, 0, 0])

    signed = await names.ask("", query=asked(0, 0x80))
    assert found(signed) == ["10.96.0.7"]
    assert signed[-11:] == bytes([0, 0, 41, 16, 0, 0, 0, 0x80, 0, 0, 0]), "the flag is said back"
    unknown = await names.ask("", query=asked(1, 0))
    assert (found(unknown), message.code_of(unknown), unknown[-6]) == ([], 0, 1), "BADVERS"


async def test_what_is_no_question(names: Names) -> None:
    query = message.write_query(5, "web.shop", A)
    assert message.code_of(await names.ask("", query=query[:-1])) == message.FORMERR
    status = bytes([*query[:2], 0x10, *query[3:]])
    assert message.code_of(await names.ask("", query=status)) == message.NOTIMP
    chaos = query[:-1] + b"\x03"
    assert message.code_of(await names.ask("", query=chaos)) == message.REFUSED


def test_what_is_ours_is_answered_at_once() -> None:
    """Without a task: there is nothing to wait for."""
    made = resolver([]).answer(message.write_query(1, "web.shop.svc.cluster.local", A), over_tcp=False)
    assert isinstance(made, bytes)
