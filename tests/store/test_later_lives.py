"""A store in memory that begins behind the revisions of its earlier lives: whoever saw those is told that they are gone."""

from __future__ import annotations

from pathlib import Path

import pytest

from tiphys.store.interface import Compacted
from tiphys.store.memory import MemoryStore
from tiphys.store.sqlite import SQLiteStore


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


async def test_what_a_store_takes_of_its_disk(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "state.db")
    before = store.size_bytes()
    await store.write("/registry/a", bytes(100_000))
    assert store.size_bytes() >= before + 100_000
    await store.close()
