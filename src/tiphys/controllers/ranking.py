"""Which pods to delete first when there are too many: those that are missed least.

The order is upstream's `ActivePodsWithRanks` (`pkg/controller/controller_utils.go`): not on a node, then pending, then not
ready, then the cheaper one by the annotation, then the one with more siblings on its node, then the one that is ready for a
shorter time (in powers of two, so that pods of about the same age are picked at random), then the one that restarted more
often, then the younger one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from functools import cmp_to_key

from tiphys.client.transport import Object
from tiphys.controllers.pods import is_active, is_ready, ready_time, restarts, spec_of, status_of
from tiphys.machinery import meta

DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
_PHASES = {"Pending": 0, "Unknown": 1, "Running": 2}


def deletion_order(pods: Sequence[Object], siblings: Iterable[Object], now: datetime) -> list[Object]:
    """`pods`, the first to go first. `siblings`: the pods of all ReplicaSets of the same owner, these ones included."""
    crowd = Counter(spec_of(pod).get("nodeName") or "" for pod in siblings if is_active(pod))

    def compare(one: Object, other: Object) -> int:
        a, b = _standing(one, crowd), _standing(other, crowd)
        if a != b:
            return -1 if a < b else 1
        return _compare_ages(one, other, now)

    return sorted(pods, key=cmp_to_key(compare))


def _standing(pod: Object, crowd: Counter[str]) -> tuple[int, ...]:
    node = spec_of(pod).get("nodeName") or ""
    phase = _PHASES.get(status_of(pod).get("phase", "Pending"), 0)
    return (bool(node), phase, is_ready(pod), deletion_cost(pod), -crowd[node])


def deletion_cost(pod: Object) -> int:
    """What the annotation says; 0 when it is missing or no int32."""
    text = meta.annotations(pod).get(DELETION_COST, "0")
    digits = text[1:] if text[:1] == "-" else text
    cost = int(text) if digits.isascii() and digits.isdecimal() and (digits == "0" or digits[0] != "0") else 0
    return cost if -(2**31) <= cost < 2**31 else 0


def _compare_ages(one: Object, other: Object, now: datetime) -> int:
    ready_one, ready_other = ready_time(one), ready_time(other)
    if ready_one != ready_other and is_ready(one) and is_ready(other):
        return _compare_times(ready_one, ready_other, one, other, now)
    if restarts(one) != restarts(other):
        return restarts(other) - restarts(one)
    created_one, created_other = meta.creation_time(one), meta.creation_time(other)
    if created_one != created_other:
        return _compare_times(created_one, created_other, one, other, now)
    return 0


def _compare_times(
    at: datetime | None, other_at: datetime | None, one: Object, other: Object, now: datetime
) -> int:
    """The later one is first; an unknown time is before any."""
    if at is None or other_at is None:
        return (at is not None) - (other_at is not None)
    difference = _magnitude(now - at) - _magnitude(now - other_at)
    if difference:
        return difference
    return -1 if meta.uid(one) < meta.uid(other) else 1


def _magnitude(age: timedelta) -> int:
    """The power of two of an age in nanoseconds; -1 for none."""
    nanoseconds = round(age.total_seconds() * 1_000_000) * 1000
    return nanoseconds.bit_length() - 1 if nanoseconds > 0 else -1
