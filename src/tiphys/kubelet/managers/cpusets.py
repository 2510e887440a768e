"""Sets of CPUs as the kernel spells them: "0-3,8". Pure."""

from __future__ import annotations

from collections.abc import Iterable

CPUSet = frozenset[int]
EMPTY: CPUSet = frozenset()


def parse(text: str) -> CPUSet:
    """Raises ValueError."""
    found: set[int] = set()
    for part in text.strip().split(",") if text.strip() else ():
        first, dash, last = part.partition("-")
        found.update(range(int(first), int(last if dash else first) + 1))
    return frozenset(found)


def text(cpus: Iterable[int]) -> str:
    ranges: list[list[int]] = []
    for cpu in sorted(cpus):
        if ranges and cpu == ranges[-1][1] + 1:
            ranges[-1][1] = cpu
        else:
            ranges.append([cpu, cpu])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges)
