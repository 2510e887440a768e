"""What lies in the store and cannot be read: which of it, and that nobody takes the rest for all."""

from __future__ import annotations

import pytest

from tiphys.apiserver.cache import WatchCache
from tiphys.apiserver.unreadable import CHUNK, LIMIT, Unreadable, read_each
from tiphys.machinery.errors import StatusError, internal_error
from tiphys.store.interface import Entry, Listing
from tiphys.store.memory import MemoryStore
from tiphys.testing.clock import FakeClock

PREFIX = "/registry/core/things/"
GOOD, BAD = b'{"kind":"T","apiVersion":"v1","metadata":{"name":"x"}}', b"broken"


class Broken(MemoryStore):
    """Values that are `BAD` cannot be read."""

    def get(self, key: str) -> Entry | None:
        found = super().get(key)
        return found and self._checked(found)

    def list(self, prefix: str, *, revision: int = 0, start_after: str = "", limit: int = 0) -> Listing:
        found = super().list(prefix, revision=revision, start_after=start_after, limit=limit)
        for entry in found.entries:
            self._checked(entry)
        return found

    def _checked(self, entry: Entry) -> Entry:
        if entry.value == BAD:
            raise Unreadable(internal_error(f"cannot read {entry.key}"), entry.key)
        return entry


async def filled(count: int, *bad: int) -> Broken:
    store = Broken()
    for number in range(count):
        await store.write(f"{PREFIX}{number:05}", BAD if number in bad else GOOD)
    return store


@pytest.mark.parametrize("bad", [(0,), (1, 2), (CHUNK - 1, CHUNK, CHUNK + 1), (3 * CHUNK - 1,)])
async def test_each_that_can_be_read_is_found(bad: tuple[int, ...]) -> None:
    entries, problems, _ = read_each(await filled(3 * CHUNK, *bad), PREFIX)
    assert sorted(problems) == [f"{PREFIX}{number:05}" for number in bad]
    assert len(entries) == len({entry.key for entry in entries}) == 3 * CHUNK - len(bad)
    assert not {entry.key for entry in entries} & problems.keys()


async def test_when_none_can_be_read_that_is_said_at_once() -> None:
    with pytest.raises(Unreadable):
        read_each(await filled(LIMIT + 1, *range(LIMIT + 1)), PREFIX)


async def test_nobody_takes_the_rest_for_all() -> None:
    store = await filled(3, 1)
    cache = WatchCache(store, FakeClock()).resource(PREFIX)
    assert cache.get("", "00000") is not None
    assert cache.get("", "00003") is None
    with pytest.raises(StatusError, match="cannot read"):
        cache.get("", "00001")
    for read in (cache.records.values, cache.records.items, cache.records.keys, lambda: list(cache.records)):
        with pytest.raises(StatusError, match="cannot read"):
            read()


async def test_what_can_be_read_again_is_there_with_the_next_question() -> None:
    store = await filled(3, 0, 1)
    caches = WatchCache(store, FakeClock())
    cache = caches.resource(PREFIX)
    await store.write(f"{PREFIX}00000", GOOD)
    assert sorted(cache.unreadable) == [f"{PREFIX}00001"]
    assert cache.get("", "00000") is not None
    await store.write(f"{PREFIX}00001", None)
    assert caches.resource(PREFIX) is cache
    assert not cache.unreadable
    assert [record.name for record in cache.records.values()] == ["00000", "00002"]
    assert [record.name for record in cache.page()[0]] == ["00000", "00002"]
