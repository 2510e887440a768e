"""The arithmetic of a rollout: how large each ReplicaSet of a Deployment may be now. Numbers in, numbers out.

`maxSurge` bounds how many pods there may be beyond the wanted number, `maxUnavailable` how many may be missing from those
that serve; both are counts or percentages (surge rounded up, unavailable down). The steps are upstream's
(`pkg/controller/deployment/rolling.go` and `util/deployment_util.go`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tiphys.client.transport import Object
from tiphys.controllers.pods import spec_of, status_of
from tiphys.machinery import meta
from tiphys.machinery.frozen import frozen

REVISION = "deployment.kubernetes.io/revision"
REVISION_HISTORY = "deployment.kubernetes.io/revision-history"
DESIRED_REPLICAS = "deployment.kubernetes.io/desired-replicas"
MAX_REPLICAS = "deployment.kubernetes.io/max-replicas"
TEMPLATE_HASH = "pod-template-hash"

Sizes = dict[str, int]
"""New sizes by the ReplicaSet's uid; those not named stay as they are."""


def size_of(replicaset: Object) -> int:
    """How many pods it is told to have."""
    return int(spec_of(replicaset).get("replicas", 1))


def available_of(replicaset: Object) -> int:
    return int(status_of(replicaset).get("availableReplicas", 0))


def total_size(replicasets: Iterable[Object]) -> int:
    return sum(map(size_of, replicasets))


def active(replicasets: Iterable[Object]) -> list[Object]:
    return [replicaset for replicaset in replicasets if size_of(replicaset) > 0]


def revision_of(obj: Object) -> int:
    """The revision that its annotation says; 0 for none, or one that is no number."""
    text = meta.annotations(obj).get(REVISION, "")
    return int(text) if text.isascii() and text.isdecimal() else 0


def by_age(replicasets: Iterable[Object]) -> list[Object]:
    """The oldest first; those of one second by name."""
    return sorted(
        replicasets, key=lambda each: (meta.metadata(each).get("creationTimestamp") or "", meta.name(each))
    )


def resolve(value: Any, total: int, *, round_up: bool) -> int:
    """A count, or a percentage of `total` ("25%")."""
    if isinstance(value, int):
        return value
    percent = int(str(value or "0").removesuffix("%"))
    return -(-percent * total // 100) if round_up else percent * total // 100


@frozen
class Rollout:
    """A Deployment's ReplicaSets: the one whose template it has now, if it exists, and those of earlier templates."""

    deployment: Object
    new: Object | None
    old: Sequence[Object]

    @property
    def desired(self) -> int:
        return int(spec_of(self.deployment).get("replicas", 1))

    @property
    def _strategy(self) -> dict[str, Any]:
        return spec_of(self.deployment).get("strategy") or {}

    @property
    def is_rolling(self) -> bool:
        return bool(self._strategy.get("type", "RollingUpdate") == "RollingUpdate")

    @property
    def max_surge(self) -> int:
        return self._fenceposts()[0] if self.is_rolling else 0

    @property
    def max_unavailable(self) -> int:
        if not self.is_rolling or self.desired == 0:
            return 0
        return min(self._fenceposts()[1], self.desired)

    @property
    def largest(self) -> int:
        """How many pods there may be at once."""
        return self.desired + self.max_surge

    @property
    def all(self) -> list[Object]:
        return [*self.old, *([self.new] if self.new else [])]

    def _fenceposts(self) -> tuple[int, int]:
        bounds = self._strategy.get("rollingUpdate") or {}
        surge = resolve(bounds.get("maxSurge", "25%"), self.desired, round_up=True)
        unavailable = resolve(bounds.get("maxUnavailable", "25%"), self.desired, round_up=False)
        # With neither room above nor below nothing could ever move.
        return (surge, unavailable) if surge or unavailable else (0, 1)


# A step forward


def first_size(rollout: Rollout) -> int:
    """How large the new ReplicaSet is created."""
    return _grown(rollout, 0)


def grow_new(rollout: Rollout) -> Sizes:
    """The new ReplicaSet up to what the surge allows, or down when it is larger than wanted."""
    if rollout.new is None:
        return {}
    size = size_of(rollout.new)
    wanted = rollout.desired if size > rollout.desired else _grown(rollout, size)
    return {meta.uid(rollout.new): wanted} if wanted != size else {}


def _grown(rollout: Rollout, size: int) -> int:
    if not rollout.is_rolling:
        return rollout.desired
    room = rollout.largest - total_size(rollout.all)
    return size + max(min(room, rollout.desired - size), 0)


def shrink_old(rollout: Rollout) -> Sizes:
    """Old ReplicaSets down as far as enough pods stay available; pods that do not serve anyway go first."""
    assert rollout.new is not None
    old = active(rollout.old)
    least_available = rollout.desired - rollout.max_unavailable
    new_unavailable = size_of(rollout.new) - available_of(rollout.new)
    spare = total_size([*old, rollout.new]) - least_available - new_unavailable
    if not old or spare <= 0:
        return {}
    sizes = {meta.uid(replicaset): size_of(replicaset) for replicaset in old}
    _take_unhealthy(by_age(old), sizes, spare)
    available = sum(map(available_of, [*old, rollout.new]))
    _take(by_age(old), sizes, available - least_available)
    return {uid: size for uid, size in sizes.items() if size != next(map(size_of, _with_uid(old, uid)))}


def _take_unhealthy(old: Sequence[Object], sizes: Sizes, count: int) -> None:
    for replicaset in old:
        taken = min(count, size_of(replicaset) - available_of(replicaset))
        if taken > 0:
            sizes[meta.uid(replicaset)] -= taken
            count -= taken


def _take(old: Sequence[Object], sizes: Sizes, count: int) -> None:
    for replicaset in old:
        taken = min(max(count, 0), sizes[meta.uid(replicaset)])
        sizes[meta.uid(replicaset)] -= taken
        count -= taken


def _with_uid(replicasets: Iterable[Object], uid: str) -> Iterable[Object]:
    return (replicaset for replicaset in replicasets if meta.uid(replicaset) == uid)


def shrink_to_nothing(replicasets: Iterable[Object]) -> Sizes:
    return {meta.uid(replicaset): 0 for replicaset in active(replicasets)}


# A change of the wanted number in the middle


def is_scaling(rollout: Rollout) -> bool:
    """The wanted number is another one than that for which the ReplicaSets were sized."""
    wanted = (_annotation(replicaset, DESIRED_REPLICAS) for replicaset in active(rollout.all))
    return any(number is not None and number != rollout.desired for number in wanted)


def scale(rollout: Rollout) -> Sizes:
    """Sizes after the wanted number changed, or while the Deployment is paused: no step of the rollout is taken."""
    only = _active_or_latest(rollout)
    if only is not None:
        return {meta.uid(only): rollout.desired} if size_of(only) != rollout.desired else {}
    if _is_saturated(rollout):
        return shrink_to_nothing(rollout.old)
    return _proportional(rollout) if rollout.is_rolling else {}


def _active_or_latest(rollout: Rollout) -> Object | None:
    """The only ReplicaSet with pods, or the latest when none has any; None when there are several."""
    with_pods = active(rollout.all)
    if len(with_pods) > 1:
        return None
    if with_pods:
        return with_pods[0]
    return rollout.new or (by_age(rollout.old)[-1] if rollout.old else None)


def _is_saturated(rollout: Rollout) -> bool:
    if rollout.new is None:
        return False
    numbers = (_annotation(rollout.new, DESIRED_REPLICAS), size_of(rollout.new), available_of(rollout.new))
    return all(number == rollout.desired for number in numbers)


def _proportional(rollout: Rollout) -> Sizes:
    """Every ReplicaSet gets its share of the pods to add or to take, the largest one what rounding leaves over."""
    replicasets = active(rollout.all)
    allowed = rollout.largest if rollout.desired > 0 else 0
    to_add = allowed - total_size(replicasets)
    if to_add == 0:
        return {}
    newest_first = by_age(replicasets)[:: -1 if to_add > 0 else 1]
    ordered = sorted(newest_first, key=size_of, reverse=True)  # stable: among equals the age decides
    shares: Sizes = {}
    added = 0
    for replicaset in ordered:
        share = _share(rollout, replicaset, to_add, added)
        shares[meta.uid(replicaset)] = size_of(replicaset) + share
        added += share
    largest = meta.uid(ordered[0])
    shares[largest] = max(shares[largest] + to_add - added, 0)
    return shares


def _share(rollout: Rollout, replicaset: Object, to_add: int, added: int) -> int:
    left = to_add - added
    if left == 0:
        return 0
    fraction = _fraction(rollout, replicaset)
    return min(fraction, left) if to_add > 0 else max(fraction, left)


def _fraction(rollout: Rollout, replicaset: Object) -> int:
    size = size_of(replicaset)
    if rollout.desired == 0:
        return -size
    before = _annotation(replicaset, MAX_REPLICAS) or status_of(rollout.deployment).get("replicas", 0)
    if not before:
        return 0
    # Half away from zero, as Go rounds; all numbers are positive here.
    return (2 * size * rollout.largest + before) // (2 * before) - size


def _annotation(replicaset: Object, name: str) -> int | None:
    text = meta.annotations(replicaset).get(name, "")
    return int(text) if text.isascii() and text.isdecimal() else None
