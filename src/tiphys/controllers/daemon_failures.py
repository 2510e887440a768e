"""How often pods of a DaemonSet failed on a node: what a replacement has to wait for.

A failed pod is replaced at once the first time, then a second after it was made, then two, four… up to a quarter of an hour. Whoever
has not failed for twice as long begins anew, and so does a new template. The pods that failed are deleted, so they must be
remembered; after a restart of the controller nothing is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from tiphys.client.transport import Object
from tiphys.controllers.daemon_nodes import node_of
from tiphys.controllers.pods import status_of
from tiphys.machinery import meta
from tiphys.machinery.frozen import frozen

FIRST_SECONDS = 1.0
LONGEST_SECONDS = 15 * 60.0


@frozen
class _Series:
    """Failures on one node, one after the other: the last pod that failed, and how long it had to stay."""

    uid: str
    created: datetime | None
    delay_seconds: float

    def next(self, pod: Object) -> _Series:
        created = meta.creation_time(pod)
        rested = timedelta(seconds=2 * LONGEST_SECONDS)
        if created is not None and self.created is not None and created - self.created > rested:
            return _Series(meta.uid(pod), created, 0)
        doubled = min(max(2 * self.delay_seconds, FIRST_SECONDS), LONGEST_SECONDS)
        return _Series(meta.uid(pod), created, doubled)


class Failures:
    """Of all DaemonSets, by key."""

    def __init__(self) -> None:
        self._series: dict[str, tuple[tuple[str, int], dict[str, _Series]]] = {}

    def delays(self, daemonset: Object, pods: Iterable[Object]) -> Mapping[str, float]:
        """By uid of the failed ones among the pods: how many seconds each must have been there before it is replaced."""
        failed = [
            pod for pod in pods if status_of(pod).get("phase") == "Failed" and not meta.is_deleting(pod)
        ]
        if not failed:
            return {}
        known = self._of(daemonset)
        for node, pod in {node_of(pod): pod for pod in sorted(failed, key=_age)}.items():
            before = known.get(node)
            if before is None:
                known[node] = _Series(meta.uid(pod), meta.creation_time(pod), 0)
            elif before.uid != meta.uid(pod):
                known[node] = before.next(pod)
        return {meta.uid(pod): known[node_of(pod)].delay_seconds for pod in failed}

    def _of(self, daemonset: Object) -> dict[str, _Series]:
        key, whose = meta.namespaced_name(daemonset), (meta.uid(daemonset), meta.generation(daemonset))
        if key not in self._series or self._series[key][0] != whose:
            self._series[key] = (whose, {})
        return self._series[key][1]

    def forget(self, key: str) -> None:
        self._series.pop(key, None)


def _age(pod: Object) -> tuple[str, str]:
    return meta.metadata(pod).get("creationTimestamp") or "", meta.name(pod)
