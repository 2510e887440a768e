"""Whether the node is in need: what was observed, held against the thresholds, with the memory that grace periods and conditions ask for. Pure.

A soft threshold counts once it was met for its grace period without a break; one that was met stays met until its minimum reclaim
is free besides; and the node's condition stays for the transition period after it was last true, so that it does not flap.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import field, replace
from datetime import datetime, timedelta

from tiphys.kubelet.eviction.thresholds import (
    ALLOCATABLE_MEMORY_AVAILABLE,
    IMAGEFS_AVAILABLE,
    IMAGEFS_INODES_FREE,
    MEMORY_AVAILABLE,
    NODEFS_AVAILABLE,
    NODEFS_INODES_FREE,
    PID_AVAILABLE,
    SIGNALS,
    Threshold,
)
from tiphys.kubelet.stats.usage import FilesystemUsage, MemoryUsage, NodeDisks, NodeUsage
from tiphys.machinery.frozen import frozen

CONDITIONS = ("MemoryPressure", "DiskPressure", "PIDPressure")
_MEMORY = (MEMORY_AVAILABLE, ALLOCATABLE_MEMORY_AVAILABLE)


@frozen
class Observation:
    available: int
    capacity: int


Observations = Mapping[str, Observation]
"""By signal; what could not be observed is not there, and its thresholds are not met."""


def observations(node: NodeUsage, disks: NodeDisks | None) -> dict[str, Observation]:
    found = {
        MEMORY_AVAILABLE: _memory(node.memory),
        ALLOCATABLE_MEMORY_AVAILABLE: _memory(node.pods.memory),
        NODEFS_AVAILABLE: _bytes(disks.node if disks else None),
        NODEFS_INODES_FREE: _inodes(disks.node if disks else None),
        IMAGEFS_AVAILABLE: _bytes(disks.images if disks else None),
        IMAGEFS_INODES_FREE: _inodes(disks.images if disks else None),
    }
    if node.process_limit:
        found[PID_AVAILABLE] = Observation(node.process_limit - node.processes, node.process_limit)
    return {signal: observation for signal, observation in found.items() if observation is not None}


def memory_left(thresholds: Iterable[Threshold], seen: Observations) -> dict[str, int]:
    """By signal, how much more memory may be used until the next of its thresholds is met."""
    found: dict[str, int] = {}
    for threshold in thresholds:
        observed = seen.get(threshold.signal)
        if threshold.signal in _MEMORY and observed is not None:
            left = observed.available - threshold.amount.of(observed.capacity)
            if left > 0:
                found[threshold.signal] = min(left, found.get(threshold.signal, left))
    return found


def _memory(usage: MemoryUsage | None) -> Observation | None:
    if usage is None or usage.available_bytes is None:
        return None
    return Observation(usage.available_bytes, usage.available_bytes + usage.working_set_bytes)


def _bytes(disk: FilesystemUsage | None) -> Observation | None:
    return Observation(disk.available_bytes, disk.capacity_bytes) if disk else None


def _inodes(disk: FilesystemUsage | None) -> Observation | None:
    # A filesystem that makes inodes as it goes (btrfs) says 0 of 0.
    return Observation(disk.inodes_free, disk.inodes) if disk and disk.inodes else None


def with_allocatable(thresholds: Iterable[Threshold], *, is_enforced: bool) -> tuple[Threshold, ...]:
    """Where pods have a group of their own for all of them, its memory has the node's hard threshold, too."""
    given = tuple(thresholds)
    more = [
        replace(threshold, signal=ALLOCATABLE_MEMORY_AVAILABLE)
        for threshold in given
        if is_enforced and threshold.signal == MEMORY_AVAILABLE and threshold.is_hard
    ]
    return (*given, *more)


@frozen
class Pressure:
    """What is remembered from look to look."""

    first_met: Mapping[Threshold, datetime] = field(default_factory=dict)
    last_true: Mapping[str, datetime] = field(default_factory=dict)
    """Conditions, and when a threshold of theirs was last met."""
    acting: tuple[Threshold, ...] = ()
    """Thresholds that were met for their grace period and are not resolved yet; the one to act on is the first."""

    @property
    def conditions(self) -> tuple[str, ...]:
        """That the node has now."""
        return tuple(condition for condition in CONDITIONS if condition in self.last_true)


def is_met(threshold: Threshold, seen: Observations, *, with_reclaim: bool = False) -> bool:
    observed = seen.get(threshold.signal)
    if observed is None:
        return False
    wanted = threshold.amount.of(observed.capacity)
    if with_reclaim and threshold.minimum_reclaim is not None:
        wanted += threshold.minimum_reclaim.of(observed.capacity)
    return observed.available < wanted


def look(
    before: Pressure,
    thresholds: Iterable[Threshold],
    seen: Observations,
    now: datetime,
    transition_seconds: float,
) -> Pressure:
    met = [threshold for threshold in thresholds if is_met(threshold, seen)]
    met += [
        threshold
        for threshold in before.acting
        if threshold not in met and is_met(threshold, seen, with_reclaim=True)
    ]
    first_met = {threshold: before.first_met.get(threshold, now) for threshold in met}
    last_true = {**before.last_true, **{SIGNALS[threshold.signal].condition: now for threshold in met}}
    acting = [
        threshold
        for threshold, since in first_met.items()
        if now - since >= timedelta(seconds=threshold.grace_seconds)
    ]
    return Pressure(
        first_met,
        {
            condition: at
            for condition, at in last_true.items()
            if now - at < timedelta(seconds=transition_seconds)
        },
        tuple(sorted(acting, key=lambda threshold: threshold.signal not in _MEMORY)),
    )


def is_relieved(thresholds: Iterable[Threshold], seen: Observations) -> bool:
    """Nothing is short any more, minimum reclaims included."""
    return not any(is_met(threshold, seen, with_reclaim=True) for threshold in thresholds)
