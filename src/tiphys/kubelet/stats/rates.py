"""How much of the CPU something uses now, from what it has used altogether: that needs two looks, and time between them.

Nobody looks for the sake of it: the looks are those of whoever asks. So "now" is the time since the last question, if it is not too
long ago; and for what began since, the time since it began.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from tiphys.kubelet.stats.usage import CPUUsage

SHORTEST_SECONDS = 5.0
"""Within that the last answer stands: the kernel counts in jumps."""
LONGEST_SECONDS = 120.0
FIRST_SECONDS = 1.0
"""How long whoever asks first waits for a second look."""


@dataclass(slots=True)
class _Seen:
    time: datetime
    usage_nanoseconds: int
    nano_cores: int | None


class Rates:
    """Of many things, by their keys; what nobody asked about for long is forgotten."""

    def __init__(self) -> None:
        self._seen: dict[str, _Seen] = {}

    def nano_cores(self, key: str, usage: CPUUsage | None, began_at: datetime | None) -> int | None:
        """None: not known yet."""
        if usage is None:
            return None
        last = self._seen.get(key)
        since, before, rate = _beginning(last, usage, began_at)
        elapsed = (usage.time - since).total_seconds() if since is not None else 0.0
        shortest = FIRST_SECONDS if rate is None else SHORTEST_SECONDS
        if last is not None and last.time == since and elapsed < shortest:
            return rate
        if since is not None and elapsed >= FIRST_SECONDS:
            rate = round((usage.usage_nanoseconds - before) / elapsed)
        self._seen[key] = _Seen(usage.time, usage.usage_nanoseconds, rate)
        return rate

    def forget_before(self, time: datetime) -> None:
        self._seen = {key: seen for key, seen in self._seen.items() if seen.time >= time}


def _beginning(
    last: _Seen | None, usage: CPUUsage, began_at: datetime | None
) -> tuple[datetime | None, int, int | None]:
    """(from when to count, what had been used by then, the rate that was told last)."""
    if (
        last is not None
        and last.usage_nanoseconds <= usage.usage_nanoseconds
        and _is_recent(last.time, usage)
    ):
        return last.time, last.usage_nanoseconds, last.nano_cores
    if began_at is not None and _is_recent(began_at, usage):
        return began_at, 0, None
    return None, 0, None


def _is_recent(time: datetime, usage: CPUUsage) -> bool:
    return (usage.time - time).total_seconds() <= LONGEST_SECONDS
