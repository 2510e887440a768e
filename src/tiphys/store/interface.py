"""The contract of a store: what the apiserver may rely on, whichever store it runs on.

A store is a map from keys (strings, `/registry/<group>/<resource>/<namespace>/<name>` by the caller's convention) to
bytes, with one counter of revisions: every write takes the next one, so that a revision names a state of the whole map.
The caller opens the store inside its event loop and closes it; all methods are called on that loop's thread.

The model is etcd's, as far as Kubernetes needs it (API concepts, "Resource versions" and "Efficient detection of
changes"): compare-and-set by revision, lists at a past revision, an ordered history of changes, compaction.
"""

from __future__ import annotations

from asyncio import Future
from collections.abc import Callable, Sequence
from typing import Protocol

from tiphys.machinery.frozen import frozen


@frozen
class Entry:
    """A key that exists."""

    key: str
    value: bytes
    revision: int
    """Of the last write of this key."""


class Change:
    """One write of the history. `value` is None for a deletion; `previous` is None for a creation."""

    __slots__ = ("_previous", "key", "revision", "value")

    def __init__(
        self, revision: int, key: str, value: bytes | None, previous: Entry | Callable[[], Entry] | None
    ) -> None:
        self.revision = revision
        self.key = key
        self.value = value
        self._previous = previous

    @property
    def previous(self) -> Entry | None:
        """What the key held before.

        A store on disk reads it at the first use, because most subscribers have it in a cache of their own. In a
        subscriber's callback that always succeeds; a change that is kept until its own revision has been compacted
        away raises Compacted.
        """
        if callable(self._previous):
            self._previous = self._previous()
        return self._previous

    def transformed(self, transform: Callable[[bytes], bytes]) -> Change:
        """The same change of what the values stand for."""
        value, before = self.value, self._previous
        if before is None:
            return Change(self.revision, self.key, value and transform(value), None)

        def previous() -> Entry:
            entry = self.previous
            assert entry is not None
            return Entry(entry.key, transform(entry.value), entry.revision)

        return Change(self.revision, self.key, value and transform(value), previous)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Change):
            return NotImplemented
        return self._fields() == other._fields()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Change(revision={self.revision}, key={self.key!r}, value={self.value!r})"

    def _fields(self) -> tuple[int, str, bytes | None, Entry | None]:
        return self.revision, self.key, self.value, self.previous


@frozen
class Listing:
    """Some keys in order (of their UTF-8 bytes), all as they were at `revision`."""

    entries: list[Entry]
    revision: int
    remaining: int
    """How many more there are after the last entry; only a limit makes it larger than 0."""


class Conflict(Exception):
    """The key was not at the expected revision, or a key to delete did not exist. Nothing was written."""

    def __init__(self, key: str, current: Entry | None) -> None:
        super().__init__(f"{key} is at revision {current.revision}" if current else f"{key} does not exist")
        self.key = key
        self.current = current
        """What is there instead: durable, and what the decision was made on."""


class Compacted(Exception):
    """The history before `compact_revision` is gone."""

    def __init__(self, compact_revision: int) -> None:
        super().__init__(f"the history before revision {compact_revision} has been compacted")
        self.compact_revision = compact_revision


class FutureRevision(Exception):
    """Somebody asks for a revision that is not there yet."""

    def __init__(self, revision: int, newest: int) -> None:
        super().__init__(f"revision {revision} is in the future, the newest is {newest}")
        self.revision = revision
        self.newest = newest


class StoreError(Exception):
    """The store itself cannot do it. The message is one line: what happened to which file, and the cure."""

    def __init__(self, message: str, *, path: str = "") -> None:
        super().__init__(message)
        self.path = path


class StoreFull(StoreError):
    """No space left. What was acknowledged is safe; writes succeed again once there is space."""


class StoreCorrupt(StoreError):
    """The file is not a database of ours, or it is damaged."""


class StoreInUse(StoreError):
    """Another process has the store open."""


class StoreFailed(StoreError):
    """Any other refusal of the disk or the operating system."""


class StoreClosed(StoreError):
    """The store was used after `close`."""


class Store(Protocol):
    """What every store does. Reads are synchronous, of what is durable, and never wait for a write."""

    @property
    def revision(self) -> int:
        """The newest committed revision; 0 before the first write. A failed write may leave a gap, never a reuse."""

    @property
    def compact_revision(self) -> int:
        """The oldest revision whose state can still be listed; 0 if nothing was ever compacted."""

    def get(self, key: str) -> Entry | None: ...

    def list(self, prefix: str, *, revision: int = 0, start_after: str = "", limit: int = 0) -> Listing:
        """The keys that start with prefix, after `start_after`, at most `limit` (0: all), as they were at `revision`.

        Revision 0 is the newest. Raises Compacted or FutureRevision.
        """

    def write(self, key: str, value: bytes | None, *, expected: int | None = None) -> Future[int]:
        """Set the key, or delete it if value is None; the future resolves to the write's revision once it is durable.

        expected 0: the key must not exist; n: it must be at revision n; None: any (to delete, it must exist).
        The future fails with Conflict, or with a StoreError. The decision is made at once, in the order of the calls,
        on top of the writes that are still on their way; cancelling the future does not take the write back.
        Writes that wait together share one transaction.
        """

    def changes(self, after: int, *, limit: int = 0) -> Sequence[Change]:
        """The history after a revision, oldest first, at most `limit` (0: all). Raises Compacted or FutureRevision."""

    def subscribe(self, callback: Callable[[Sequence[Change]], None]) -> Callable[[], None]:
        """Hear of every commit, in order, on the event loop, before the futures of its writes resolve.

        Returns what ends the subscription. A callback that raises is reported to the loop's exception handler.
        """

    async def compact(self, revision: int) -> None:
        """Forget the history before a revision; its own state stays readable. Raises FutureRevision, StoreError.

        From the moment the promise is durable, older revisions answer Compacted; the space is freed in small slices.
        A revision that has been compacted already is no error.
        """

    def size_bytes(self) -> int:
        """What it takes of its disk; 0 when that is nothing."""

    async def close(self) -> None:
        """Finish the writes that wait, then release everything. Later calls fail with StoreClosed."""
