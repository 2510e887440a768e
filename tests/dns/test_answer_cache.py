"""Answers of others that are kept, for how long, how many; and whom to ask, as a file says it."""

from __future__ import annotations

import os
from pathlib import Path
from random import Random

import pytest
from test_dns_stories import view_of

from tiphys.dns import cache, message, records
from tiphys.dns.cache import AnswerCache
from tiphys.dns.forwarding import Forwarder, ResolverFile
from tiphys.dns.message import NOERROR, NXDOMAIN, SERVFAIL, SOA, A, Answer, Record
from tiphys.dns.metrics import NameMetrics
from tiphys.dns.server import Resolver
from tiphys.machinery.metrics import Registry
from tiphys.testing.clock import FakeClock

NAME = "www.example.com"
START = Record("com", SOA, 900, ("a.com", "b.com", 1, 2, 3, 4, 5))


def asked(name: str = NAME, id: int = 1) -> bytes:
    return message.write_query(id, name, A)


def said(query: bytes, *ttls: int, code: int = NOERROR, size: int = 512) -> bytes:
    """One address for each."""
    records = [Record(message.read_query(query).name, A, ttl, f"10.9.9.{n}") for n, ttl in enumerate(ttls)]
    authority = [] if records or code == SERVFAIL else [START]
    answer = Answer(code, answers=records, authority=authority, is_authoritative=False)
    return message.write_answer(message.read_query(query), answer, limit_bytes=size)


class Kept:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.registry = Registry()
        self.cache = AnswerCache(self.clock, NameMetrics(self.registry))

    def keep(self, query: bytes, answer: bytes) -> bytes:
        return self.cache.keep(message.read_query(query), query, answer)

    def find(self, query: bytes, limit: int = 512) -> bytes | None:
        return self.cache.find(message.read_query(query), query, limit)

    def counted(self, name: str) -> dict[str, float]:
        """By `type`, or ""."""
        found = {}
        for line in self.registry.render().decode().splitlines():
            if line.startswith(f"{name}{{"):
                labels, _, value = line.rpartition(" ")
                found[labels.partition('type="')[2].partition('"')[0]] = float(value)
        return found


def ttls(answer: bytes) -> list[int]:
    return [record.ttl for record in message.read_addresses(answer)]


async def test_an_answer_holds_as_long_as_it_says_but_half_a_minute_at_most() -> None:
    kept = Kept()
    assert kept.find(asked()) is None
    assert ttls(kept.keep(asked(), said(asked(), 300, 20))) == [20, 20]
    await kept.clock.advance(12)
    again = kept.find(asked("WWW.example.COM", 77))
    assert again is not None
    assert ttls(again) == [8, 8]
    assert again[:2] == bytes([0, 77])
    assert b"\x03WWW" in again, "in the spelling of who asks"
    assert (kept.counted("coredns_cache_hits_total"), kept.counted("coredns_cache_misses_total")) == (
        {"success": 1, "denial": 0},
        {"": 1},
    )
    await kept.clock.advance(8)
    assert kept.find(asked()) is None
    assert ttls(kept.keep(asked(), said(asked(), 300))) == [30]
    assert ttls(kept.keep(asked(), said(asked(), 1))) == [5]
    kept.cache.clear()
    assert kept.find(asked()) is None


@pytest.mark.parametrize(("code", "seconds"), [(NXDOMAIN, 30), (NOERROR, 30), (SERVFAIL, 5)])
async def test_that_there_is_nothing_is_kept_too(code: int, seconds: int) -> None:
    kept = Kept()
    kept.keep(asked(), said(asked(), code=code))
    await kept.clock.advance(seconds - 1)
    found = kept.find(asked())
    assert found is not None
    assert message.code_of(found) == code
    assert kept.counted("coredns_cache_entries") == {"success": 0, "denial": 1}
    await kept.clock.advance(1)
    assert kept.find(asked()) is None
    assert kept.counted("coredns_cache_entries") == {"success": 0, "denial": 0}


def test_what_is_not_kept() -> None:
    kept = Kept()
    cut = said(asked(), *range(100, 140))
    assert message.is_truncated(cut)
    assert kept.keep(asked(), cut) == cut
    other = said(asked("other.example.com"), 60)
    kept.keep(asked(), other)
    assert kept.counted("coredns_cache_drops_total") == {"": 1}
    cookie = bytearray(said(asked(), 60) + bytes([0, 0, 41, 16, 0, 0, 0, 0, 0, 0, 8]) + b"a cookie")
    cookie[11] = 1
    assert kept.keep(asked(), bytes(cookie)) == cookie, "what is said to one client"
    assert kept.find(asked()) is None
    long = said(asked(), *range(100, 140), size=4096)
    kept.keep(asked(), long)
    assert kept.find(asked()) is None, "who takes less asks himself"
    assert kept.find(asked(), 4096) is not None


def test_a_question_that_is_written_in_another_way() -> None:
    """With a pointer to its own end: as long as it is asked so, nobody else's answer fits."""
    kept = Kept()
    kept.keep(asked("a"), said(asked("a"), 60))
    plain = asked("a")
    odd = plain[:12] + b"\x01a\xc0\x14" + plain[15:19] + b"\0"
    assert message.read_query(odd).name == message.read_query(plain).name
    assert kept.find(odd) is None
    assert kept.find(plain) is not None


def test_there_is_room_for_so_many() -> None:
    kept = Kept()
    for number in range(cache.LIMIT + 2):
        query = asked(f"{number}.example.com")
        kept.keep(query, said(query, 60))
    assert kept.find(asked("1.example.com")) is None
    assert kept.find(asked("2.example.com")) is not None
    assert kept.counted("coredns_cache_entries")["success"] == cache.LIMIT
    assert kept.counted("coredns_cache_evictions_total")["success"] == 2


class Others(Forwarder):
    def __init__(self) -> None:
        self.asked = 0

    async def ask(self, message: bytes, *, over_tcp: bool = False) -> bytes:
        self.asked += 1
        return said(message, 60)


async def test_others_are_asked_once() -> None:
    others, registry = Others(), Registry()
    clock, random = FakeClock(), Random(1)
    resolver = Resolver(
        view_of({}), records.Zone(), others, random=random, clock=clock, metrics=NameMetrics(registry)
    )
    for _ in range(3):
        made = resolver.answer(asked(), over_tcp=False)
        answer = made if isinstance(made, bytes) or made is None else await made
        assert answer is not None
        assert [record.data for record in message.read_addresses(answer)] == ["10.9.9.0"]
        ours = resolver.answer(asked("dns-version.cluster.local"), over_tcp=True)
        assert isinstance(ours, bytes)
    assert others.asked == 1
    text = registry.render().decode()
    place = 'server="dns://:53",view="",zone="."'
    for plugin, count in (("forward", 1), ("cache", 2), ("kubernetes", 3)):
        labels = f'plugin="{plugin}",rcode="NOERROR",{place}'
        assert f"coredns_dns_responses_total{{{labels}}} {count}" in text
    labels = 'family="1",proto="udp",server="dns://:53",type="A",view="",zone="."'
    assert f"coredns_dns_requests_total{{{labels}}} 3" in text
    assert f"coredns_dns_request_duration_seconds_count{{{place}}} 6" in text


def test_whom_to_ask_is_what_the_file_says_now(tmp_path: Path) -> None:
    path, changes = tmp_path / "resolv.conf", []
    servers = ResolverFile(path, ["10.96.0.10"], lambda: changes.append(1))
    assert list(servers()) == []
    path.write_text("nameserver 10.96.0.10\nnameserver 10.0.0.1\n")
    assert list(servers()) == ["10.0.0.1"]
    assert changes == []
    other = tmp_path / "other"
    other.write_text("nameserver 10.0.0.2\n")
    os.replace(other, path)
    assert list(servers()) == ["10.0.0.2"]
    assert changes == [1]
    path.unlink()
    assert list(servers()) == ["10.0.0.2"], "until there is another"
