"""When the node has too little of something: eviction thresholds, as a KubeletConfiguration writes them. Pure.

Rules and messages are upstream's (`pkg/kubelet/eviction` ParseThresholdConfig).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

from tiphys.machinery.frozen import frozen
from tiphys.machinery.quantity import Quantity, parse
from tiphys.machinery.quoting import parse_duration

MEMORY_AVAILABLE = "memory.available"
ALLOCATABLE_MEMORY_AVAILABLE = "allocatableMemory.available"
NODEFS_AVAILABLE = "nodefs.available"
NODEFS_INODES_FREE = "nodefs.inodesFree"
IMAGEFS_AVAILABLE = "imagefs.available"
IMAGEFS_INODES_FREE = "imagefs.inodesFree"
CONTAINERFS_AVAILABLE = "containerfs.available"
CONTAINERFS_INODES_FREE = "containerfs.inodesFree"
PID_AVAILABLE = "pid.available"


@frozen
class Signal:
    """What is short when a threshold of it is met: a resource, and the condition that the node reports."""

    resource: str
    condition: str


SIGNALS: Mapping[str, Signal] = {
    MEMORY_AVAILABLE: Signal("memory", "MemoryPressure"),
    ALLOCATABLE_MEMORY_AVAILABLE: Signal("memory", "MemoryPressure"),
    NODEFS_AVAILABLE: Signal("ephemeral-storage", "DiskPressure"),
    NODEFS_INODES_FREE: Signal("inodes", "DiskPressure"),
    IMAGEFS_AVAILABLE: Signal("ephemeral-storage", "DiskPressure"),
    IMAGEFS_INODES_FREE: Signal("inodes", "DiskPressure"),
    CONTAINERFS_AVAILABLE: Signal("ephemeral-storage", "DiskPressure"),
    CONTAINERFS_INODES_FREE: Signal("inodes", "DiskPressure"),
    PID_AVAILABLE: Signal("pids", "PIDPressure"),
}

DEFAULT_HARD: Mapping[str, str] = {
    MEMORY_AVAILABLE: "100Mi",
    NODEFS_AVAILABLE: "10%",
    NODEFS_INODES_FREE: "5%",
    IMAGEFS_AVAILABLE: "15%",
}


class BadThreshold(ValueError):
    """What is wrong with it, in one line."""


@frozen
class Amount:
    """So much, or such a part of the capacity."""

    quantity: Quantity | None = None
    fraction: float = 0.0

    def of(self, capacity: int) -> int:
        return self.quantity.value if self.quantity is not None else int(capacity * self.fraction)


@frozen
class Threshold:
    """Met when less than `amount` is left. A hard one has no grace: pods are evicted at once."""

    signal: str
    amount: Amount
    grace_seconds: float = 0.0
    minimum_reclaim: Amount | None = None

    @property
    def is_hard(self) -> bool:
        return self.grace_seconds == 0

    @property
    def resource(self) -> str:
        return SIGNALS[self.signal].resource


def thresholds(
    hard: Mapping[str, str],
    soft: Mapping[str, str],
    soft_grace_periods: Mapping[str, str],
    minimum_reclaims: Mapping[str, str],
) -> tuple[Threshold, ...]:
    """Raises BadThreshold."""
    graces = {signal: _grace(signal, text) for signal, text in soft_grace_periods.items()}
    reclaims = {signal: _reclaim(signal, text) for signal, text in minimum_reclaims.items()}
    found = [
        Threshold(signal, amount, 0.0, reclaims.get(signal)) for signal, amount in _amounts(hard).items()
    ]
    for signal, amount in _amounts(soft).items():
        if signal not in graces:
            raise BadThreshold(f"grace period must be specified for the soft eviction threshold {signal}")
        found.append(Threshold(signal, amount, graces[signal], reclaims.get(signal)))
    return tuple(found)


def _amounts(texts: Mapping[str, str]) -> dict[str, Amount]:
    found = {}
    for signal, text in texts.items():
        amount = _amount(signal, text)
        if amount is not None:
            found[signal] = amount
    return found


def _check(signal: str) -> None:
    if signal not in SIGNALS:
        raise BadThreshold(f"unsupported eviction signal {signal}")


def _amount(signal: str, text: str) -> Amount | None:
    """None: there is no such threshold."""
    _check(signal)
    if text in ("0%", "100%"):
        return None
    if text.endswith("%"):
        fraction = _fraction(text)
        if fraction < 0:
            raise BadThreshold(f"eviction percentage threshold {signal} must be >= 0%: {text}")
        if fraction > 1:
            raise BadThreshold(f"eviction percentage threshold {signal} must be <= 100%: {text}")
        return Amount(fraction=fraction)
    quantity = _quantity(text)
    if quantity.nanos <= 0:
        raise BadThreshold(f"eviction threshold {signal} must be positive: {quantity}")
    return Amount(quantity)


def _grace(signal: str, text: str) -> float:
    _check(signal)
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise BadThreshold(str(error)) from None
    if seconds < 0:
        raise BadThreshold(f"invalid eviction grace period specified: {text}, must be a positive value")
    return seconds


def _reclaim(signal: str, text: str) -> Amount:
    _check(signal)
    if text.endswith("%"):
        fraction = _fraction(text)
        if fraction <= 0:
            raise BadThreshold(f"eviction percentage minimum reclaim {signal} must be positive: {text}")
        return Amount(fraction=fraction)
    quantity = _quantity(text)
    if quantity.nanos < 0:
        raise BadThreshold(f"negative eviction minimum reclaim specified for {signal}")
    return Amount(quantity)


def _quantity(text: str) -> Quantity:
    try:
        return parse(text)
    except ValueError as error:
        raise BadThreshold(str(error)) from None


def _fraction(text: str) -> float:
    """In single precision, as upstream counts: it shows in the allocatable bytes of a node."""
    try:
        percents = float(text.rstrip("%"))
        return _single(_single(percents) / 100)
    except (ValueError, OverflowError):
        raise BadThreshold(f"{text} is no percentage") from None


def _single(number: float) -> float:
    found: float = struct.unpack("f", struct.pack("f", number))[0]
    return found
