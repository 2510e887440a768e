"""Completion indexes as text: `1,3-5,7`, in increasing order. What is wrong with it is said as upstream does (`validateIndexesFormat`)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

Run = tuple[int, int]
"""(first, last)."""


def runs(text: str, completions: int) -> list[Run]:
    """ValueError when it is not of this form, or has an index that the job has not."""
    found = [_run(part, completions) for part in text.split(",")] if text else []
    for (_, last), (first, _) in pairwise(found):
        if last >= first:
            raise ValueError(f"non-increasing order, previous: {last}, current: {first}")
    return found


def count(found: list[Run]) -> int:
    return sum(last - first + 1 for first, last in found)


def common(one: list[Run], other: list[Run]) -> int | None:
    """The first index that is in both."""
    return next(_common(one, other), None)


def _common(one: list[Run], other: list[Run]) -> Iterator[int]:
    ours, theirs = iter(one), iter(other)
    run, against = next(ours, None), next(theirs, None)
    while run is not None and against is not None:
        if max(run[0], against[0]) <= min(run[1], against[1]):
            yield max(run[0], against[0])
        if run[1] < against[1]:
            run = next(ours, None)
        else:
            against = next(theirs, None)


def _run(part: str, completions: int) -> Run:
    ends = part.split("-")
    if len(ends) > 2:
        requirement = "that an index interval can have at most two parts separated by '-'"
        raise ValueError(f'the fragment "{part}" violates the requirement {requirement}')
    numbers = [_index(end, completions) for end in ends]
    if len(numbers) == 2 and numbers[0] >= numbers[1]:
        raise ValueError(f"non-increasing order, previous: {numbers[0]}, current: {numbers[1]}")
    return numbers[0], numbers[-1]


def _index(text: str, completions: int) -> int:
    digits = text.removeprefix("+")
    if not (digits.isascii() and digits.isdecimal()):
        raise ValueError(f'cannot convert string to integer for index: "{text}"')
    if int(digits) >= completions:
        raise ValueError(f'too large index: "{text}"')
    return int(digits)
