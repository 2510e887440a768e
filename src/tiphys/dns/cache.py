"""Answers of other name servers, kept for as long as they say, half a minute at most (kubeadm's `cache 30`).

Kept as they came, in bytes: whoever asks again gets them with his own number and spelling, and with what is left of their time. What
is ours is not kept here; it is known at once.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from tiphys.dns import message
from tiphys.dns.message import BadMessage, Query
from tiphys.dns.metrics import DENIAL, SUCCESS, NameMetrics
from tiphys.machinery.clock import Clock

LIMIT = 5000
"""So many answers of each kind, and no long ones."""
_SIZE_LIMIT_BYTES = 4096
LONGEST_SECONDS, SHORTEST_SECONDS = 30, 5
"""CoreDNS's. A failure is kept for the shortest time."""
_QUESTION = 12
_RECURSION, _CHECKING = 0x01, 0x10

_Key = tuple[str, int, int, bool, bool, bool]


@dataclass(slots=True)
class _Kept:
    """`places`: where its records say how long they hold."""

    message: bytes
    places: tuple[int, ...]
    until: float


class AnswerCache:
    def __init__(self, clock: Clock, metrics: NameMetrics) -> None:
        self._clock = clock
        self._metrics = metrics
        self._kept: dict[str, dict[_Key, _Kept]] = {SUCCESS: {}, DENIAL: {}}

    def clear(self) -> None:
        for kind, kept in self._kept.items():
            kept.clear()
            self._metrics.entries[kind].value = 0

    def find(self, query: Query, asked: bytes, limit_bytes: int) -> bytes | None:
        """What is known of it. `asked`: the query as it came."""
        self._metrics.looked.value += 1
        key, now = _key(query, asked), self._clock.monotonic()
        for kind, kept in self._kept.items():
            found = kept.get(key)
            if found is not None and found.until <= now:
                del kept[key]
                self._metrics.entries[kind].value = len(kept)
            elif found is not None and len(found.message) <= limit_bytes:
                self._metrics.hits[kind].value += 1
                answer = _lasting(found.message, found.places, int(found.until - now))
                answer[:2] = asked[:2]
                answer[2] = answer[2] & ~_RECURSION | asked[2] & _RECURSION
                answer[_QUESTION : _QUESTION + len(query.question)] = query.question
                return bytes(answer)
        self._metrics.misses.value += 1
        return None

    def keep(self, query: Query, asked: bytes, answer: bytes) -> bytes:
        """The answer as it is to be given on."""
        code = message.code_of(answer)
        if message.is_truncated(answer) or code not in (message.NOERROR, message.NXDOMAIN, message.SERVFAIL):
            return answer
        question = answer[_QUESTION : _QUESTION + len(query.question)]
        try:
            places, seconds, count = message.read_lifetimes(answer)
        except BadMessage:
            question = b""
        if question.lower() != query.question.lower():
            self._metrics.drops.value += 1
            return answer
        holds = min(max(seconds, SHORTEST_SECONDS), LONGEST_SECONDS) if places else SHORTEST_SECONDS
        holds = SHORTEST_SECONDS if code == message.SERVFAIL else holds
        given = bytes(_lasting(answer, places, holds))
        if len(answer) <= _SIZE_LIMIT_BYTES:
            kind = SUCCESS if code == message.NOERROR and count else DENIAL
            self._add(kind, _key(query, asked), _Kept(given, places, self._clock.monotonic() + holds))
        return given

    def _add(self, kind: str, key: _Key, new: _Kept) -> None:
        for each in self._kept.values():
            each.pop(key, None)
        kept = self._kept[kind]
        if len(kept) >= LIMIT:
            del kept[next(iter(kept))]
            self._metrics.evictions[kind].value += 1
        kept[key] = new
        self._metrics.entries[kind].value = len(kept)


def _key(query: Query, asked: bytes) -> _Key:
    """All of a question on which an answer depends, and how long it is in the message, since it is written over."""
    flags = query.has_edns, query.wants_dnssec, bool(asked[3] & _CHECKING)
    return query.name, query.type, len(query.question), *flags


def _lasting(answer: bytes, places: tuple[int, ...], seconds: int) -> bytearray:
    changed = bytearray(answer)
    for place in places:
        struct.pack_into("!I", changed, place, seconds)
    return changed
