"""Which revision of each key is the newest: at once in memory, a little later in the file.

To point a row of `cur` at every write dirties a page of `cur` per write, since keys come in random order; the log, to
which a write only appends, grows by whole pages that are full. So a commit leaves `cur` alone:

    commit ──► log                                   rows after `pointers_through` ──replayed──► opening
       └─────► Pointers.late (key → revision, 0: gone) ──sorted, in slices──► cur, at last pointers_through

`cur` is right for every key that has no row in the log after `pointers_through`; of the others it may or may not know.
Both readers of the past and opening therefore lay what is late over it, which harms nothing if it is there already.
Compaction deletes nothing after `pointers_through`, so that the replay finds what it needs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tiphys.machinery.frozen import frozen
from tiphys.store.group_commit import Write

GONE = 0
Pointer = tuple[str, int]
"""A key and the revision of its newest row, or GONE."""


@frozen
class FlushPolicy:
    """When late pointers go into the file, and how much of it at a time."""

    rows: int = 4096
    """So many writes after the last flush start one: it bounds what opening replays."""
    quiet_rows: int = 64
    """With fewer writes than this a quiet store stays quiet: they cost opening and lists nothing to speak of."""
    quiet_seconds: float = 1.0
    slice_keys: int = 256
    """Keys between two commits: about 1 ms."""


@frozen
class Slice:
    """Pointers that go into the file in one transaction."""

    pointers: Sequence[Pointer]
    through: int
    """What `pointers_through` becomes; 0 if more slices follow."""


class Pointers:
    """What is known in memory. It belongs to the thread of the event loop."""

    def __init__(self, revisions: dict[str, int], through: int) -> None:
        self.revisions = revisions
        """Every key that exists, and where."""
        self.through = through
        """The file knows of every write up to this revision."""
        self.rows = 0
        """Writes that a replay would read now."""
        self._late: dict[str, int] = {}
        self._flushing: dict[str, int] = {}
        self._flushing_rows = 0

    def replay(self, rows: Iterable[Pointer]) -> None:
        """Lay the rows of the log that come after `through`, in order, over what `cur` says."""
        for key, revision in rows:
            self._late[key] = revision
            self.rows += 1
            if revision == GONE:
                self.revisions.pop(key, None)
            else:
                self.revisions[key] = revision

    def committed(self, writes: Sequence[Write]) -> None:
        revisions, late = self.revisions, self._late
        for write in writes:
            key = write.key
            if write.value is None:
                del revisions[key]
                late[key] = GONE
            else:
                revisions[key] = late[key] = write.revision
        self.rows += len(writes)

    def late(self, prefix: str, first: str) -> dict[str, int]:
        """The keys with the prefix, from `first` on, for which `cur` cannot be trusted, and what is true of them."""
        return {
            key: revision
            for part in (self._flushing, self._late)  # the second one is newer
            for key, revision in part.items()
            if key >= first and key.startswith(prefix)
        }

    def begin_flush(self, revision: int, slice_keys: int) -> Sequence[Slice]:
        """What to write, in this order, to bring the file to this revision, the newest one.

        The slices end in `flushed` or in `flush_failed`.
        """
        self._flushing, self._late = self._late, {}
        self._flushing_rows = self.rows
        pointers = sorted(self._flushing.items())
        cuts = range(0, max(len(pointers), 1), slice_keys)
        return [Slice(pointers[cut : cut + slice_keys], revision if cut == cuts[-1] else 0) for cut in cuts]

    def flushed(self, revision: int) -> None:
        self.through = revision
        self.rows -= self._flushing_rows
        self._flushing = {}

    def flush_failed(self) -> None:
        """Some slices may be in the file: they are true, and will be written again."""
        self._late = {**self._flushing, **self._late}
        self._flushing = {}
