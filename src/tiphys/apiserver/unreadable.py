"""Objects that lie in the store and cannot be read: encrypted with a key that is gone, damaged, or passed off under another name.

As upstream, each object beside them is served; what would have to name all of them (a list, a watch, whoever goes through a cache) fails,
and says which one it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from tiphys.apiserver.records import Record
from tiphys.machinery.errors import StatusError
from tiphys.store.interface import Entry, Listing, Store

CHUNK = 200
LIMIT = 1000
"""With more of them the key itself is missing: then it is not worth looking at each."""


class Unreadable(StatusError):
    """The answer about one key of the store."""

    def __init__(self, error: StatusError, key: str) -> None:
        super().__init__(error.code, error.reason, error.message, error.details)
        self.key = key


class PartialRecords(dict[str, Record]):
    """What can be read. Nobody is told that these are all."""

    def __init__(self, records: Iterable[Record], problems: dict[str, StatusError]) -> None:
        super().__init__((record.key, record) for record in records)
        self._problems = problems

    def _refuse(self) -> StatusError:
        return next(iter(self._problems.values()))

    def get(self, key: str, default: Any = None) -> Any:
        if key in self._problems:
            raise self._problems[key]
        return super().get(key, default)

    def __iter__(self) -> Iterator[str]:
        raise self._refuse()

    def values(self) -> Any:
        raise self._refuse()

    def items(self) -> Any:
        raise self._refuse()

    def keys(self) -> Any:
        raise self._refuse()


def read_each(store: Store, prefix: str) -> tuple[list[Entry], dict[str, StatusError], int]:
    """All that can be read below a prefix, what is wrong with the rest, and the revision. Raises StatusError when it is about no
    single key, or when there are too many of them."""
    entries: list[Entry] = []
    problems: dict[str, StatusError] = {}
    after, limit = "", CHUNK
    while True:
        try:
            found: Listing = store.list(prefix, start_after=after, limit=limit)
        except Unreadable as error:
            if limit > 1:
                limit = 1
                continue
            problems[error.key] = error
            if len(problems) > LIMIT:
                raise
            after, limit = error.key, CHUNK
            continue
        entries += found.entries
        if not found.remaining:
            return entries, problems, found.revision
        after = found.entries[-1].key
