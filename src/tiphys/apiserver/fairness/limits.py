"""How the server's seats are divided among priority levels, and lent from those that need few to those that need more.

Each level has a nominal number from its shares, a part of which it may lend and a bound on what it may borrow. Every ten
seconds the current numbers follow the demand: each level keeps what it has lately used of its own, and the rest is spread
in proportion to smoothed demand, within the bounds (KEP-1040, "Dispatching"). Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil

from tiphys.machinery.frozen import frozen

ADJUSTMENT_SECONDS = 10.0
SMOOTHING = 0.977
"""How much of the demand of ten seconds ago still counts; a minute's lull does not take a level's seats away at once."""
_LEAST_TARGET = 0.001


@frozen
class Bounds:
    """Seats of one level: its own, the least it keeps, the most it may have."""

    nominal: int
    least: int
    most: int
    exempt: bool = False


@frozen
class Demanded:
    """Seats that a level wanted: smoothed, and at most at once in the last period."""

    smoothed: float = 0.0
    high: int = 0

    def after(self, average: float, deviation: float, high: int) -> Demanded:
        """With another period's average, standard deviation and maximum."""
        envelope = average + deviation
        return Demanded(max(envelope, SMOOTHING * self.smoothed + (1 - SMOOTHING) * envelope), high)


def bounds(total: int, shares: int, share_sum: int, *, lendable: int, borrowing: int | None) -> Bounds:
    """The bounds of a limited level, from its shares and percentages."""
    nominal = ceil(total * shares / share_sum) if share_sum else 0
    least = nominal - _round(nominal * lendable / 100)
    most = nominal + (total if borrowing is None else _round(nominal * borrowing / 100))
    return Bounds(nominal, least, most)


def current_limits(levels: Mapping[str, Bounds], demands: Mapping[str, Demanded]) -> dict[str, int]:
    """How many seats each level has until the next adjustment."""
    remaining = sum(level.nominal for level in levels.values())
    found: dict[str, int] = {}
    for name, level in levels.items():
        if level.exempt:  # never held back: what it used lately is not there for others
            found[name] = max(level.least, demands[name].high)
            remaining -= found[name]
    limited = {name: level for name, level in levels.items() if not level.exempt}
    kept = {name: max(level.least, min(level.nominal, demands[name].high)) for name, level in limited.items()}
    least_sum, kept_sum = sum(level.least for level in limited.values()), sum(kept.values())
    if remaining <= least_sum:
        found.update({name: level.least for name, level in limited.items()})
    elif remaining <= kept_sum:
        fraction = (remaining - least_sum) / (kept_sum - least_sum)
        for name, level in limited.items():
            found[name] = level.least + _round((kept[name] - level.least) * fraction)
    else:
        shares = [
            Share(kept[name], level.most, max(kept[name], demands[name].smoothed))
            for name, level in limited.items()
        ]
        for name, seats in zip(limited, spread(remaining, shares), strict=True):
            found[name] = _round(seats)
    return found


@frozen
class Share:
    """What one of several may get of something: between `lower` and `upper`, in proportion to `target`."""

    lower: float
    upper: float
    target: float


def spread(amount: float, shares: Sequence[Share]) -> list[float]:
    """Divides an amount: everyone gets the same multiple of the target, clipped to the bounds. Less than all the lower
    bounds, or more than all the upper ones, gives those."""
    if amount <= sum(share.lower for share in shares):
        return [share.lower for share in shares]
    if amount >= sum(share.upper for share in shares):
        return [share.upper for share in shares]
    targets = [max(share.target, _LEAST_TARGET) for share in shares]

    def at(factor: float) -> list[float]:
        return [
            min(max(factor * target, share.lower), share.upper)
            for share, target in zip(shares, targets, strict=True)
        ]

    # The sum grows with the factor, in straight pieces between the factors at which somebody meets a bound.
    corners = sorted(
        {
            bound / target
            for share, target in zip(shares, targets, strict=True)
            for bound in (share.lower, share.upper)
        }
    )
    low, high = 0, len(corners) - 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if sum(at(corners[middle])) <= amount else (low, middle)
    below, above = sum(at(corners[low])), sum(at(corners[high]))
    part = (amount - below) / (above - below) if above > below else 0.0
    return at(corners[low] + part * (corners[high] - corners[low]))


def _round(value: float) -> int:
    """Half away from zero, as Go rounds; only used for what is not negative."""
    return int(value + 0.5)
