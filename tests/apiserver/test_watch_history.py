"""How much of the past is at hand for watches that resume: neither old nor without bounds."""

from __future__ import annotations

from typing import Any

import orjson

from tiphys.apiserver.cache import HISTORY_MAXIMUM, HISTORY_SECONDS, Event, ResourceCache
from tiphys.store.interface import Change

KEY = "/registry/core/configmaps/default/a"


def change(cache: ResourceCache, revision: int, at: float) -> None:
    value = orjson.dumps({"metadata": {"name": "a", "namespace": "default"}, "data": {"n": str(revision)}})
    cache.apply(Change(revision, KEY, value, None), at)


def test_a_storm_of_writes_does_not_fill_the_memory() -> None:
    cache = ResourceCache("/registry/core/configmaps/", 0)
    for revision in range(1, HISTORY_MAXIMUM + 500):
        change(cache, revision, 0.0)
    assert cache.events_after(100) is None, "older ones are read from the store"
    recent = cache.events_after(cache.oldest) or []
    assert len(recent) == HISTORY_MAXIMUM
    assert [event.revision for event in recent[-2:]] == [HISTORY_MAXIMUM + 498, HISTORY_MAXIMUM + 499]


def test_what_is_old_is_forgotten_in_quiet_times_too() -> None:
    cache = ResourceCache("/registry/core/configmaps/", 0)
    for revision in range(1, 301):
        change(cache, revision, 0.0)
    change(cache, 301, HISTORY_SECONDS + 1)
    assert cache.events_after(100) is None
    assert len(cache.events_after(cache.oldest) or []) == 100


class Reader:
    namespace = ""

    def __init__(self) -> None:
        self.objects: list[dict[str, Any]] = []

    def deliver(self, event: Event) -> None:
        self.objects.append(event.record.object)


def test_readers_are_given_what_was_written_as_long_as_it_is_that() -> None:
    cache, reader = ResourceCache("/registry/core/configmaps/", 0), Reader()
    stop = cache.watch(reader, reads_objects=True)
    written = {"metadata": {"name": "a", "managedFields": [{}]}, "data": {"who": "the writer"}}
    value = orjson.dumps({"metadata": {"name": "a"}, "data": {"who": "the bytes"}})
    cache.expect(KEY, value, written)
    cache.apply(Change(1, KEY, value, None), 0.0)
    assert reader.objects == [
        {"metadata": {"name": "a", "resourceVersion": "1"}, "data": {"who": "the writer"}}
    ]
    another = bytes([*value])  # somebody else's write of the same key came first
    cache.apply(Change(2, KEY, another, None), 0.0)
    assert reader.objects[1]["data"] == {"who": "the bytes"}
    cache.expect_no_more(KEY)
    cache.apply(Change(3, KEY, value, None), 0.0)
    assert reader.objects[2]["data"] == {"who": "the bytes"}
    stop()
    cache.expect(KEY, value, written)  # nobody reads: it is left as bytes
    cache.apply(Change(4, KEY, value, None), 0.0)
    assert cache.records[KEY].object["data"] == {"who": "the bytes"}
