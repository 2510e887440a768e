"""How many seconds a client that was turned away is told to wait: doubled while many are, one less while few are."""

from __future__ import annotations

from collections import deque

LONGEST_SECONDS = 32


class Dropped:
    """Requests of one priority level that were turned away, counted by the second."""

    __slots__ = ("_changed", "_count", "_history", "_second", "retry_after_seconds")

    def __init__(self) -> None:
        self.retry_after_seconds = 1
        self._history: deque[tuple[int, int]] = deque()
        self._second = self._count = self._changed = 0

    def record(self, second: int) -> None:
        """One more, in this second (of any epoch)."""
        if second == self._second:
            self._count += 1
            return
        self._history.append((self._second, self._count))
        while second - self._history[0][0] > LONGEST_SECONDS + 1:
            self._history.popleft()
            if not self._history:
                break
        self._second, self._count = second, 1
        self._adjust(second)

    def _adjust(self, second: int) -> None:
        wait = self.retry_after_seconds
        dropped = sum(count for at, count in self._history if second - wait <= at < second)
        if second - self._changed >= wait and dropped >= 3 * wait:
            self.retry_after_seconds = min(wait * 2, LONGEST_SECONDS)
            self._changed = second
        elif dropped < wait and wait > 1:
            self.retry_after_seconds = wait - 1
