"""A store in memory that begins behind the revisions of its earlier lives: whoever saw those is told that they are gone."""

from __future__ import annotations

import pytest

from tiphys.store.interface import Compacted
from tiphys.store.memory import MemoryStore


async def test_a_later_life_knows_nothing_of_earlier_ones() -> None:
    store = MemoryStore(after=1_000)
    assert (store.revision, store.compact_revision) == (1_000, 1_000)
    assert await store.write("/registry/a", b"1") == 1_001
    with pytest.raises(Compacted):
        store.changes(7)
    with pytest.raises(Compacted):
        store.list("/registry/", revision=7)
    assert [change.key for change in store.changes(1_000)] == ["/registry/a"]
    assert [entry.value for entry in store.list("/registry/").entries] == [b"1"]
    await store.close()
