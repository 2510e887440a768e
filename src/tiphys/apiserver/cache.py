"""The watch cache: every current object of a resource, what changed lately, and who wants to know.

Reads are answered from here and never from the store, except for lists of the past. The cache learns of writes from the
store's one stream of changes, before the writer is answered: so a client reads its own writes.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any, Protocol

from tiphys.apiserver.records import Record, with_version
from tiphys.apiserver.unreadable import PartialRecords, Unreadable, read_each
from tiphys.machinery.clock import Clock
from tiphys.machinery.errors import StatusError
from tiphys.store.interface import Change, Compacted, Store

ADDED, MODIFIED, DELETED, BOOKMARK = "ADDED", "MODIFIED", "DELETED", "BOOKMARK"

HISTORY_SECONDS = 75.0
"""How long an event stays at hand for watches that resume (upstream keeps the same); older ones are read from the store."""
HISTORY_MINIMUM = 100
HISTORY_MAXIMUM = 10_000
"""So many at most, however soon they came: a storm of writes must not fill the memory."""

SORTING_FACTOR = 200
"""One new key in so many is where sorting all becomes cheaper than finding the place of each."""


class Event:
    """One change of one object. `frames` holds what was already made of it, by encoding, for all watchers together."""

    __slots__ = ("at", "frames", "previous", "record", "revision", "type")

    def __init__(self, kind: str, record: Record, previous: Record | None, revision: int, at: float) -> None:
        self.type = kind
        self.record = record
        """The new state; for a deletion the last state under the revision of the deletion."""
        self.previous = previous
        self.revision = revision
        self.at = at
        self.frames: dict[Any, Any] = {}


class Watcher(Protocol):
    """One who is told: of one namespace, or of all when `namespace` is ""."""

    namespace: str

    def deliver(self, event: Event) -> None: ...


class ResourceCache:
    """The objects of one resource below one prefix of the store."""

    def __init__(self, prefix: str, revision: int) -> None:
        self.prefix = prefix
        self.records: dict[str, Record] = {}
        self.oldest = revision
        """Changes after this revision are remembered here."""
        self._loaded_through = revision
        self.received = 0
        """Changes that were taken in so far."""
        self._keys: list[str] = []
        self._unsorted: list[str] = []
        """Keys that are not among `_keys` yet: to find the place of each costs more the more there are, and readers are few."""
        self._history: deque[Event] = deque()
        self._watchers: dict[str, dict[Watcher, None]] = {}
        self._readers = 0
        self._expected: dict[str, tuple[bytes, dict[str, Any]]] = {}
        self.unreadable: dict[str, StatusError] = {}
        """What lies there and cannot be read, by key, and why."""

    def load(self, records: Iterable[Record], unreadable: dict[str, StatusError] | None = None) -> None:
        self.records = {record.key: record for record in records}
        self._keys = sorted(self.records)
        if unreadable:
            self.unreadable = unreadable
            self.records = PartialRecords(self.records.values(), unreadable)

    def mend(self, key: str, record: Record | None, at: float) -> None:
        """What could not be read is known now: as this, or as gone."""
        del self.unreadable[key]
        if not self.unreadable:
            self.records = {known: self.records[known] for known in self._sorted_keys()}
        if record is not None:
            self.records[key] = record
            self._unsorted.append(key)
            self._tell(Event(ADDED, record, None, record.revision, at))

    def get(self, namespace: str, name: str) -> Record | None:
        return self.records.get(f"{self.prefix}{namespace}/{name}" if namespace else self.prefix + name)

    def __len__(self) -> int:
        return len(self._keys) + len(self._unsorted)

    def _sorted_keys(self) -> list[str]:
        keys, new = self._keys, self._unsorted
        if new:
            if len(new) * SORTING_FACTOR < len(keys):
                for key in new:
                    insort(keys, key)
            else:
                keys += new
                keys.sort()
            self._unsorted = []
        return keys

    def average_bytes(self, samples: int) -> int:
        """The size of an object, by some of them."""
        keys = self._sorted_keys()
        if not keys:
            return 0
        seen = keys[:: max(1, len(keys) // samples)]
        return sum(len(self.records[key].data) for key in seen) // len(seen)

    def page(self, namespace: str = "", *, start_after: str = "", limit: int = 0) -> tuple[list[Record], int]:
        """Records in key order and how many remain behind the last; `namespace` "" is all of them."""
        prefix = f"{self.prefix}{namespace}/" if namespace else self.prefix
        keys = self._sorted_keys()
        first = bisect_right(keys, start_after) if start_after else bisect_left(keys, prefix)
        end = bisect_left(keys, prefix + "\U0010ffff") if namespace else len(keys)
        last = min(first + limit, end) if limit else end
        records = self.records
        if self.unreadable:
            self._refuse(prefix, start_after, keys[last - 1] if last < end else "")
        return [records[key] for key in keys[first:last]], max(0, end - last)

    def _refuse(self, prefix: str, start_after: str, last: str) -> None:
        """Raises the error of a key behind one and up to another ("": the end) that cannot be read."""
        for key in sorted(self.unreadable):
            if key.startswith(prefix) and key > start_after and (not last or key < last):
                raise self.unreadable[key]

    def expect(self, key: str, value: bytes, obj: dict[str, Any]) -> None:
        """These bytes are about to be written, and say this: whoever reads the object need not decode them again.

        `obj` belongs to the cache from now on. Does nothing when nobody here reads objects.
        """
        if self._readers:
            self._expected[key] = (value, obj)

    def expect_no_more(self, key: str) -> None:
        if self._expected:
            self._expected.pop(key, None)

    def apply(self, change: Change, at: float) -> Event | None:
        """Takes one change in and tells the watchers. None: the cache already had it."""
        key, value, revision = change.key, change.value, change.revision
        if revision <= self._loaded_through:
            return None
        if self.unreadable and key in self.unreadable:
            self.mend(key, None, at)
        previous = self.records.get(key)
        if value is None:
            if previous is None:
                return None
            del self.records[key]
            keys = self._sorted_keys()
            keys.pop(bisect_left(keys, key))
            event = Event(DELETED, previous.at(revision), previous, revision, at)
        else:
            record = make_record(self.prefix, key, value, revision)
            expected = self._expected.get(key) if self._expected else None
            if expected is not None and expected[0] is value:
                record.take(expected[1])
            self.records[key] = record
            if previous is None:
                self._unsorted.append(key)
                event = Event(ADDED, record, None, revision, at)
            else:
                event = Event(MODIFIED, record, previous, revision, at)
        self.received += 1
        history = self._history
        history.append(event)
        if len(history) > HISTORY_MINIMUM:
            self._shorten(history, at - HISTORY_SECONDS)
        self._tell(event)
        return event

    def _shorten(self, history: deque[Event], begin: float) -> None:
        while len(history) > HISTORY_MAXIMUM or (history[0].at < begin and len(history) > HISTORY_MINIMUM):
            self.oldest = history.popleft().revision

    def _tell(self, event: Event) -> None:
        namespace = event.record.namespace
        # Copies: whoever is told may end his watch, or begin one.
        for watcher in [*self._watchers.get("", ())]:
            watcher.deliver(event)
        if namespace and namespace in self._watchers:
            for watcher in [*self._watchers[namespace]]:
                watcher.deliver(event)

    def watch(self, watcher: Watcher, *, reads_objects: bool = False) -> Callable[[], None]:
        """Tells `watcher` of every change from now on; the result ends that.

        `reads_objects`: it looks into each of them, and does not just pass bytes on.
        """
        scope = self._watchers.setdefault(watcher.namespace, {})
        scope[watcher] = None
        self._readers += reads_objects

        def stop() -> None:
            if watcher in scope:
                del scope[watcher]
                self._readers -= reads_objects
            if not scope and self._watchers.get(watcher.namespace) is scope:
                del self._watchers[watcher.namespace]

        return stop

    @property
    def watcher_count(self) -> int:
        return sum(map(len, self._watchers.values()))

    def forget_history(self, revision: int) -> None:
        """From now on a watch cannot resume from before `revision`, the newest one."""
        self.oldest = revision
        self._history.clear()

    def events_after(self, revision: int) -> list[Event] | None:
        """What happened after `revision`, oldest first; None when that reaches back beyond what is remembered."""
        if revision < self.oldest:
            return None
        return [event for event in self._history if event.revision > revision]


def make_record(prefix: str, key: str, value: bytes, revision: int) -> Record:
    """The record of a stored entry; its namespace and name are what stands behind the prefix in its key."""
    namespace, _, name = key[len(prefix) :].rpartition("/")
    return Record(key, namespace, name, revision, with_version(value, revision))


class WatchCache:
    """The caches of all resources over one store, each loaded when it is first asked for."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self.store = store
        self._clock = clock
        self._caches: dict[str, ResourceCache] = {}
        self.loads: dict[str, int] = {}
        """How often each cache was filled, by prefix."""
        self._unsubscribe = store.subscribe(self._changed)

    @property
    def revision(self) -> int:
        return self.store.revision

    def resource(self, prefix: str) -> ResourceCache:
        """The cache of a prefix such as "/registry/apps/deployments/"."""
        cache = self._caches.get(prefix)
        if cache is None:
            cache = self._caches[prefix] = self._load(prefix)
        elif cache.unreadable:
            self._try_again(cache)
        return cache

    def _load(self, prefix: str) -> ResourceCache:
        unreadable: dict[str, StatusError] = {}
        self.loads[prefix] = self.loads.get(prefix, 0) + 1
        try:
            listing = self.store.list(prefix)
            entries, revision = listing.entries, listing.revision
        except Unreadable:
            entries, unreadable, revision = read_each(self.store, prefix)
        cache = ResourceCache(prefix, revision)
        cache.load(
            (make_record(prefix, entry.key, entry.value, entry.revision) for entry in entries), unreadable
        )
        return cache

    def _try_again(self, cache: ResourceCache) -> None:
        """Another key may be there by now: as long as the first one cannot be read, no other is asked about."""
        for key in tuple(cache.unreadable):
            try:
                entry = self.store.get(key)
            except StatusError:
                return
            record = make_record(cache.prefix, key, entry.value, entry.revision) if entry else None
            cache.mend(key, record, self._clock.monotonic())

    def known(self, prefix: str) -> ResourceCache | None:
        """The cache of a prefix if it has been loaded."""
        return self._caches.get(prefix)

    @property
    def loaded(self) -> dict[str, ResourceCache]:
        """All caches, by prefix."""
        return self._caches

    def forget(self, prefix: str) -> None:
        """Drops the cache of a resource that is no longer served."""
        self._caches.pop(prefix, None)

    def forget_history(self) -> None:
        """As if much time had passed: see ResourceCache. For clients' tests, with the store's own compaction."""
        for cache in self._caches.values():
            cache.forget_history(self.revision)

    def _changed(self, changes: Sequence[Change]) -> None:
        now = self._clock.monotonic()
        for change in changes:
            cache = self._caches.get(prefix_of(change.key))
            if cache is not None:
                cache.apply(change, now)

    def events_after(self, cache: ResourceCache, revision: int) -> list[Event]:
        """Events of one resource after a revision, from memory or else from the store's history. Raises Compacted."""
        events = cache.events_after(revision)
        if events is not None:
            return events
        return [
            event
            for change in self.store.changes(revision)
            if change.key.startswith(cache.prefix) and (event := _replay(cache.prefix, change)) is not None
        ]

    def page_at(
        self, cache: ResourceCache, namespace: str, revision: int, *, start_after: str = "", limit: int = 0
    ) -> tuple[list[Record], int]:
        """A page of a list as it was at a revision. Raises Compacted."""
        if revision == self.revision:
            return cache.page(namespace, start_after=start_after, limit=limit)
        prefix = f"{cache.prefix}{namespace}/" if namespace else cache.prefix
        listing = self.store.list(prefix, revision=revision, start_after=start_after, limit=limit)
        records = [
            make_record(cache.prefix, entry.key, entry.value, entry.revision) for entry in listing.entries
        ]
        return records, listing.remaining

    def close(self) -> None:
        self._unsubscribe()


def _replay(prefix: str, change: Change) -> Event | None:
    before = change.previous
    previous = make_record(prefix, before.key, before.value, before.revision) if before else None
    if change.value is not None:
        record = make_record(prefix, change.key, change.value, change.revision)
        return Event(MODIFIED if previous else ADDED, record, previous, change.revision, 0.0)
    if previous is None:
        return None
    return Event(DELETED, previous.at(change.revision), previous, change.revision, 0.0)


def prefix_of(key: str) -> str:
    """The resource prefix of a key: "/registry/apps/deployments/" of "/registry/apps/deployments/default/web"."""
    third = key.index("/", key.index("/", 10) + 1)
    return key[: third + 1]


@lru_cache(maxsize=4096)
def resource_prefix(group: str, plural: str) -> str:
    """Where the objects of a resource are kept in the store."""
    return f"/registry/{group or 'core'}/{plural}/"


__all__ = [
    "ADDED",
    "BOOKMARK",
    "DELETED",
    "MODIFIED",
    "Compacted",
    "Event",
    "ResourceCache",
    "WatchCache",
    "Watcher",
    "make_record",
    "prefix_of",
    "resource_prefix",
]
