"""How many seats a request needs: one, more for lists of much, more for writes that many watch. Pure.

A list is estimated by the bytes it reads at once; one that is served from the watch cache in pieces never holds more than a
megabyte of them. A write's events take a while after it has been answered: five milliseconds for ten watches.
"""

from __future__ import annotations

from contextlib import suppress
from math import ceil

from tiphys.apiserver.fairness.queueset import ONE, Work
from tiphys.apiserver.requests import RequestInfo, query_integer
from tiphys.machinery.errors import StatusError

BYTES_PER_SEAT = 100_000
CACHED_LIST_BYTES = 1_000_000
LIST_SEATS_LIMIT = 100
MUTATING_SEATS_LIMIT = 10
WATCHES_PER_SEAT = 10
EVENT_SECONDS = 0.005
LEVEL_PART = 0.15
"""No request takes more than this part of its level's nominal seats."""
_MUTATING = frozenset({"create", "update", "patch", "delete"})
_WIDE = {
    count: Work(seats) for count, seats in zip(range(2, LIST_SEATS_LIMIT + 1), range(2, 101), strict=True)
}


def seats_limit(nominal: int) -> int:
    """The widest request that a level takes."""
    return max(1, ceil(nominal * LEVEL_PART))


def list_work(
    info: RequestInfo, query: dict[str, list[str]], *, count: int, size_bytes: int, limit: int
) -> Work:
    """A list (or the beginning of a watch that asks for one) over `count` objects of `size_bytes` each on average."""
    if info.name:
        loaded = 1
    else:
        loaded = count
        with suppress(StatusError):  # it is refused when it is read
            loaded = min(max(query_integer(query, "limit") or 0, 0) or count, count)
    seats = ceil(min(loaded * size_bytes, CACHED_LIST_BYTES) / BYTES_PER_SEAT)
    return _WIDE.get(min(seats, limit, LIST_SEATS_LIMIT), ONE)


def sends_initial_events(query: dict[str, list[str]]) -> bool:
    return query.get("sendInitialEvents", ("",))[0] in ("1", "t", "T", "true", "TRUE", "True")


def is_mutating(info: RequestInfo) -> bool:
    """Whether it makes events; a token that is asked for is not stored."""
    return info.verb in _MUTATING and not (info.subresource == "token" and info.resource == "serviceaccounts")


def mutating_work(watches: int, *, limit: int) -> Work:
    """A write that this many watches see."""
    if watches < WATCHES_PER_SEAT:
        return ONE
    seats = ceil(watches / WATCHES_PER_SEAT)
    narrowed = min(seats, limit, MUTATING_SEATS_LIMIT)
    return Work(1, narrowed, seats * EVENT_SECONDS / narrowed)
