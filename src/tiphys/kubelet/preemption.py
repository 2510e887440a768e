"""Which pods must go so that a critical one has room: as few as possible, the least important first. Pure.

The choice is upstream's (`pkg/kubelet/preemption`): Guaranteed pods only if all others together would not do, then Burstable ones only
if all best-effort pods would not do; within a class those that come nearest to what is missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from tiphys.api.core.pod_resources import qos_class
from tiphys.kubelet import spec
from tiphys.kubelet.fit import requests
from tiphys.kubelet.seen import Sentence
from tiphys.kubelet.spec import Object

Needs = Mapping[str, int]

REASON = "Preempting"
MESSAGE = "Preempted in order to admit critical pod"
SENTENCE = Sentence(
    REASON,
    MESSAGE,
    conditions=(
        {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "TerminationByKubelet",
            "message": "Pod was preempted by Kubelet to accommodate a critical pod.",
        },
    ),
)


class NobodyToPreempt(Exception):
    """All of them together would not be enough."""


def victims(preemptor: Object, pods: Iterable[Object], needs: Needs) -> list[Object]:
    """`needs`: how much of each resource must become free. Raises NobodyToPreempt."""
    classes: dict[str, list[Object]] = {"BestEffort": [], "Burstable": [], "Guaranteed": []}
    for pod in pods:
        if _may_go(preemptor, pod):
            classes[qos_class(pod["spec"])].append(pod)
    best_effort, burstable, guaranteed = classes.values()
    missing = _less(needs, [*best_effort, *burstable, *guaranteed])
    if missing:
        raise NobodyToPreempt(_told(missing))
    of_guaranteed = _nearest(guaranteed, _less(needs, [*best_effort, *burstable]))
    of_burstable = _nearest(burstable, _less(needs, [*best_effort, *of_guaranteed]))
    of_best_effort = _nearest(best_effort, _less(needs, [*of_burstable, *of_guaranteed]))
    return [*of_best_effort, *of_burstable, *of_guaranteed]


def _may_go(preemptor: Object, pod: Object) -> bool:
    if spec.is_critical(preemptor) and not spec.is_critical(pod):
        return True
    return spec.priority(preemptor) > spec.priority(pod)


def _request(pod: Object, resource: str) -> int:
    return 1 if resource == "pods" else requests(pod).get(resource, 0)


def _less(needs: Needs, pods: Sequence[Object]) -> dict[str, int]:
    """What is still missing once these are gone."""
    left = {name: amount - sum(_request(pod, name) for pod in pods) for name, amount in needs.items()}
    return {name: amount for name, amount in left.items() if amount > 0}


def _nearest(pods: Sequence[Object], needs: Needs) -> list[Object]:
    chosen: list[Object] = []
    left = list(pods)
    while needs:
        if not left:
            raise NobodyToPreempt(_told(needs))
        best = min(
            left, key=lambda pod: (_distance(pod, needs), _request(pod, "memory"), _request(pod, "cpu"))
        )
        left.remove(best)
        chosen.append(best)
        needs = _less(needs, [best])
    return chosen


def _distance(pod: Object, needs: Needs) -> float:
    """From what is needed: each resource counts alike, whatever its unit."""
    return sum((max(amount - _request(pod, name), 0) / amount) ** 2 for name, amount in needs.items())


def _told(needs: Needs) -> str:
    listed = "".join(f"(res: {name}, q: {amount}), " for name, amount in needs.items())
    return f"no set of running pods found to reclaim resources: [{listed}]"
