"""Sets of completion indexes, as the status of a job writes them: `1,3-5,7`.

A run of three and more is written with a hyphen, two neighbours as two numbers. A set may be of 100 000 indexes and is kept as runs.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator

from tiphys.client.transport import Object
from tiphys.machinery import meta
from tiphys.machinery.frozen import frozen

COMPLETION_INDEX = "batch.kubernetes.io/job-completion-index"
"""Annotation and label of a pod of an indexed job."""

Run = tuple[int, int]
"""(first, last)."""


@frozen
class Indexes:
    """`runs` are in order and do not touch."""

    runs: tuple[Run, ...] = ()

    def __len__(self) -> int:
        return sum(last - first + 1 for first, last in self.runs)

    def __contains__(self, index: int) -> bool:
        position = bisect_right(self.runs, index, key=lambda run: run[0])
        return position > 0 and index <= self.runs[position - 1][1]

    def __or__(self, other: Indexes) -> Indexes:
        return _of_runs(sorted((*self.runs, *other.runs)))

    def __str__(self) -> str:
        return ",".join(_written(run) for run in self.runs)

    def common(self, other: Indexes) -> int:
        """How many are in both."""
        return len(self) + len(other) - len(self | other)

    def missing(self, below: int) -> Iterator[int]:
        """Those below the bound that are not in here, in order."""
        start = 0
        for first, last in self.runs:
            yield from range(start, min(first, below))
            start = last + 1
        yield from range(start, below)


def of(indexes: Iterable[int]) -> Indexes:
    return _of_runs((index, index) for index in sorted(indexes))


def parse(text: str, below: int) -> Indexes:
    """What is written, as far as it is below the bound; a part that nobody can read is left out."""
    runs = (_read(part, below) for part in text.split(",") if part)
    return _of_runs(sorted(run for run in runs if run is not None))


def completion_index(pod: Object) -> int | None:
    text = meta.annotations(pod).get(COMPLETION_INDEX, "")
    return int(text) if text.isascii() and text.isdecimal() else None


def of_pods(pods: Iterable[Object]) -> Indexes:
    found = (completion_index(pod) for pod in pods)
    return of(index for index in found if index is not None)


def _of_runs(ordered: Iterable[Run]) -> Indexes:
    runs: list[Run] = []
    for first, last in ordered:
        if runs and first <= runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], max(runs[-1][1], last))
        else:
            runs.append((first, last))
    return Indexes(tuple(runs))


def _written(run: Run) -> str:
    first, last = run
    if first == last:
        return str(first)
    return f"{first}{',' if last == first + 1 else '-'}{last}"


def _read(part: str, below: int) -> Run | None:
    first, _, last = part.partition("-")
    if not all(text.isascii() and text.isdecimal() for text in (first, last or first)):
        return None
    run = int(first), min(int(last or first), below - 1)
    return run if run[0] <= run[1] else None
