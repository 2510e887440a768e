"""Which pods of a DaemonSet are replaced next when its template has changed.

Either old pods are deleted, and come back new, as many at a time as may be unavailable; or new pods are made beside the old ones, as
many as may be too much, and an old one goes when its successor is available. Whatever does not serve already costs nothing: it is
replaced at once. The rules are upstream's `pkg/controller/daemon/update.go`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from tiphys.client.transport import Object
from tiphys.controllers.daemon_nodes import Fitness, is_updated
from tiphys.controllers.pods import is_available, spec_of
from tiphys.controllers.rollout import resolve
from tiphys.machinery import meta
from tiphys.machinery.frozen import frozen


@frozen
class Daemons:
    """A DaemonSet with its pods by node. `fitness`: of every node there is. `hash`: that of the present revision."""

    daemonset: Object
    pods: Mapping[str, Sequence[Object]]
    fitness: Mapping[str, Fitness]
    hash: str
    now: datetime

    @property
    def desired(self) -> int:
        return sum(fitness.may_start for fitness in self.fitness.values())

    @property
    def strategy(self) -> Mapping[str, Any]:
        return spec_of(self.daemonset).get("updateStrategy") or {}

    @property
    def allows_surge(self) -> bool:
        return self.max_surge > 0

    @property
    def max_surge(self) -> int:
        return self._limit("maxSurge")

    @property
    def max_unavailable(self) -> int:
        limit = self._limit("maxUnavailable")
        return limit or (1 if self.desired and not self.max_surge else 0)

    def _limit(self, name: str) -> int:
        rolling = self.strategy.get("rollingUpdate") or {}
        if self.strategy.get("type") != "RollingUpdate":
            return 0
        return resolve(rolling.get(name) or 0, self.desired, round_up=True)

    def is_updated(self, pod: Object) -> bool:
        return is_updated(self.daemonset, pod, self.hash)

    def is_available(self, pod: Object) -> bool:
        return is_available(pod, spec_of(self.daemonset).get("minReadySeconds", 0), self.now)

    def may_start(self, node: str) -> bool:
        return node in self.fitness and self.fitness[node].may_start


@frozen
class Changes:
    """Nodes that get a pod, and pods that go."""

    starts: tuple[str, ...] = ()
    ends: tuple[Object, ...] = ()


@frozen
class _Pair:
    """The pods of one node that are not going: at most one of each sort."""

    old: Object | None
    new: Object | None


def replace_pods(daemons: Daemons) -> Changes:
    if all(daemons.is_updated(pod) for pods in daemons.pods.values() for pod in pods):
        return Changes()
    return _beside(daemons) if daemons.allows_surge else _one_after_the_other(daemons)


def _pair(daemons: Daemons, node: str) -> _Pair | None:
    """None: there are several of one sort, and the node must be put in order first."""
    staying = [pod for pod in daemons.pods[node] if not meta.is_deleting(pod)]
    new = [pod for pod in staying if daemons.is_updated(pod)]
    old = [pod for pod in staying if not daemons.is_updated(pod)]
    if len(new) > 1 or len(old) > 1:
        return None
    return _Pair(next(iter(old), None), next(iter(new), None))


def _one_after_the_other(daemons: Daemons) -> Changes:
    unavailable = 0
    at_once: list[Object] = []
    candidates: list[Object] = []
    for node in daemons.pods:
        pair = _pair(daemons, node)
        if pair is None or (pair.old is None) == (pair.new is None):
            unavailable += 1
        elif pair.old is None:
            unavailable += not daemons.is_available(pair.new or {})
        elif daemons.is_available(pair.old):
            candidates.append(pair.old)
        else:
            at_once.append(pair.old)
            unavailable += 1
    room = max(daemons.max_unavailable - unavailable, 0)
    return Changes(ends=(*at_once, *candidates[:room]))


def _beside(daemons: Daemons) -> Changes:
    surging = available = 0
    at_once: list[str] = []
    candidates: list[str] = []
    ends: list[Object] = []
    misplaced: list[Object] = []
    for node in daemons.pods:
        pair = _pair(daemons, node)
        if pair is None:
            surging += 1
            continue
        serving = daemons.is_available(pair.old or pair.new or {})
        available += serving
        if pair.old is None:
            continue
        if pair.new is not None:
            if daemons.is_available(pair.new):
                ends.append(pair.old)
            else:
                surging += 1
        elif daemons.may_start(node):
            (candidates if serving else at_once).append(node)
        else:
            (misplaced if serving else ends).append(pair.old)
    # What serves where none may start any more goes only when as many serve where they should.
    spare = max(available - daemons.desired, 0)
    room = max(daemons.max_surge - surging, 0)
    return Changes((*at_once, *candidates[:room]), (*ends, *misplaced[:spare]))
