"""A store in memory: for tests, and for clusters that may be forgotten. It loses everything when the process ends."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence
from operator import attrgetter

from tiphys.store.group_commit import Batch, GroupCommitStore, Write
from tiphys.store.interface import Change, Entry, FutureRevision, Listing

_by_revision = attrgetter("revision")


class MemoryStore(GroupCommitStore):
    """Keeps the current entries and the history; the past is the present with later changes undone."""

    def __init__(self, *, after: int = 0) -> None:
        """`after`: revisions begin behind it. Who has seen those of an earlier life is told that they are gone, if this is later than
        all of them; else he waits for them."""
        super().__init__(revision=after, compact_revision=after)
        self._entries: dict[str, Entry] = {}
        self._keys: list[str] = []  # of _entries, sorted
        self._history: list[Change] = []

    def get(self, key: str) -> Entry | None:
        self._readable(self.revision)
        return self._entries.get(key)

    def list(self, prefix: str, *, revision: int = 0, start_after: str = "", limit: int = 0) -> Listing:
        revision = self._readable(revision or self.revision)
        then = self._before(self._later(revision))
        found = [self._entries[key] for key in self._range(prefix, start_after) if key not in then]
        found += [
            entry
            for key, entry in then.items()
            if entry is not None and key.startswith(prefix) and key > start_after
        ]
        if then:
            found.sort(key=attrgetter("key"))
        page = found[: limit or None]
        return Listing(page, revision, len(found) - len(page))

    def changes(self, after: int, *, limit: int = 0) -> Sequence[Change]:
        return self._later(self._readable(after))[: limit or None]

    async def compact(self, revision: int) -> None:
        if self._closed:
            raise self._closed_error()
        if revision > self.revision:
            raise FutureRevision(revision, self.revision)
        self.compact_revision = max(self.compact_revision, revision)
        del self._history[: bisect_right(self._history, revision, key=_by_revision)]

    def size_bytes(self) -> int:
        return 0

    async def close(self) -> None:
        await self._finish_writes()

    def _revision_of(self, key: str) -> int:
        entry = self._entries.get(key)
        return entry.revision if entry else 0

    def _commit(self, batch: Batch) -> None:
        changes = [self._apply(write) for write in batch.writes]
        self._history += changes
        self._committed(batch, changes)

    def _apply(self, write: Write) -> Change:
        previous = self._entries.get(write.key)
        if write.value is None:
            del self._entries[write.key]
            del self._keys[bisect_left(self._keys, write.key)]
        else:
            if previous is None:
                insort(self._keys, write.key)
            self._entries[write.key] = Entry(write.key, write.value, write.revision)
        return Change(write.revision, write.key, write.value, previous)

    def _later(self, revision: int) -> Sequence[Change]:
        return self._history[bisect_right(self._history, revision, key=_by_revision) :]

    @staticmethod
    def _before(changes: Sequence[Change]) -> dict[str, Entry | None]:
        """What the changed keys held before the first of their changes."""
        then: dict[str, Entry | None] = {}
        for change in changes:
            then.setdefault(change.key, change.previous)
        return then

    def _range(self, prefix: str, start_after: str) -> Sequence[str]:
        first = max(
            bisect_left(self._keys, prefix), bisect_right(self._keys, start_after) if start_after else 0
        )
        last = first
        while last < len(self._keys) and self._keys[last].startswith(prefix):
            last += 1
        return self._keys[first:last]
