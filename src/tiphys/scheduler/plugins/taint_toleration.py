"""TaintToleration: taints NoSchedule and NoExecute that a pod does not tolerate filter; PreferNoSchedule ones score."""

from collections.abc import Sequence

from tiphys.scheduler.plugins.interface import NODE_ADDED, NODE_TAINTS, Rejection, normalized
from tiphys.scheduler.snapshot import NodeInfo, PodInfo

REJECTION = Rejection(("node(s) had untolerated taint(s)",), final=True)
KEEPS_OUT = ("NoSchedule", "NoExecute")


class TaintToleration:
    name = "TaintToleration"
    weight = 3
    wakes_on = frozenset({NODE_ADDED, NODE_TAINTS})

    def filter(self, pod: PodInfo, nodes: Sequence[NodeInfo]) -> Sequence[Rejection | None]:
        return [REJECTION if _untolerated(pod, node, KEEPS_OUT) else None for node in nodes]

    def score(self, pod: PodInfo, nodes: Sequence[NodeInfo]) -> Sequence[float]:
        return normalized([_untolerated(pod, node, ("PreferNoSchedule",)) for node in nodes], reverse=True)


def _untolerated(pod: PodInfo, node: NodeInfo, effects: tuple[str, ...]) -> int:
    return sum(taint.get("effect") in effects and not pod.tolerates(taint) for taint in node.taints)
