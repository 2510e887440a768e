"""Exponential back-off as plain values: nothing here waits or looks at a clock.

The numbers are upstream's: work queues as in client-go `workqueue`, restarts of containers as in the kubelet.
"""

from collections.abc import Hashable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Generic, Protocol, TypeVar

from tiphys.machinery.frozen import frozen

Item = TypeVar("Item", bound=Hashable)


class Jitter(Protocol):
    """The part of `random.Random` that spreads delays."""

    def random(self) -> float:
        """A number from 0 up to, but not including, 1."""


@frozen
class Backoff:
    """How long to wait after so many failures: `base`, then `factor` times as long each time, up to `cap`.

    `jitter` 0.1 adds up to a tenth, so that those who failed together do not come back together.
    """

    base_seconds: float
    cap_seconds: float
    factor: float = 2.0
    jitter: float = 0.0

    def delay_seconds(self, failures: int, random: Jitter | None = None) -> float:
        """The wait after `failures` failures in a row; 0 for none."""
        if failures <= 0:
            return 0.0
        try:
            delay = min(self.base_seconds * self.factor ** (failures - 1), self.cap_seconds)
        except OverflowError:
            delay = self.cap_seconds
        return delay * (1 + self.jitter * random.random()) if random is not None else delay

    def after(self, delay_seconds: float) -> float:
        """The wait that follows a wait of `delay_seconds` (0: the first one)."""
        if delay_seconds <= 0:
            return min(self.base_seconds, self.cap_seconds)
        return min(delay_seconds * self.factor, self.cap_seconds)


WORK_QUEUE = Backoff(base_seconds=0.005, cap_seconds=1000.0)
CRASH_LOOP = Backoff(base_seconds=10.0, cap_seconds=300.0)
FORGIVEN_SECONDS = 600.0
"""A container that ran for longer starts from the beginning."""


@dataclass(slots=True)
class ItemBackoff(Generic[Item]):
    """Counts failures in a row of each item of a work queue."""

    policy: Backoff = WORK_QUEUE
    random: Jitter | None = None
    _failures: dict[Item, int] = field(default_factory=dict)

    def failed(self, item: Item) -> float:
        """Counts one more failure; the seconds to wait before the next try."""
        failures = self._failures.get(item, 0) + 1
        self._failures[item] = failures
        return self.policy.delay_seconds(failures, self.random)

    def forget(self, item: Item) -> None:
        """The item has succeeded, or is gone."""
        self._failures.pop(item, None)

    def failures(self, item: Item) -> int:
        return self._failures.get(item, 0)


@frozen
class CrashLoop:
    """The restarts of one container.

    `delay_seconds` is the wait before the next restart; it is 0 before the first one, which happens at once.
    `restarted` is when, by the finish of the container before it, the last restart was granted.
    """

    policy: Backoff = CRASH_LOOP
    delay_seconds: float = 0.0
    restarted: datetime | None = None

    def wait_seconds(self, finished: datetime, now: datetime) -> float:
        """How long to wait yet before restarting a container that finished at `finished`; 0: restart it."""
        if self._is_over(finished):
            return 0.0
        return max(self.delay_seconds - (now - finished).total_seconds(), 0.0)

    def restart(self, finished: datetime) -> "CrashLoop":
        """The state after a container that finished at `finished` is restarted."""
        delay = self.policy.after(0.0 if self._is_over(finished) else self.delay_seconds)
        return replace(self, delay_seconds=delay, restarted=finished)

    def _is_over(self, finished: datetime) -> bool:
        """It kept running long enough to be forgiven."""
        if self.restarted is None:
            return True
        return (finished - self.restarted).total_seconds() > FORGIVEN_SECONDS
