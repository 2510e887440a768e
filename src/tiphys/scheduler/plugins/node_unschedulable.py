"""NodeUnschedulable: a cordoned node takes no new pods, but those that tolerate the taint of the same meaning."""

from collections.abc import Sequence

from tiphys.scheduler.plugins.interface import NODE_ADDED, NODE_TAINTS, Rejection
from tiphys.scheduler.snapshot import NodeInfo, PodInfo

REJECTION = Rejection(("node(s) were unschedulable",), final=True)
TAINT = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}


class NodeUnschedulable:
    name = "NodeUnschedulable"
    wakes_on = frozenset({NODE_ADDED, NODE_TAINTS})

    def filter(self, pod: PodInfo, nodes: Sequence[NodeInfo]) -> Sequence[Rejection | None]:
        tolerated = pod.tolerates(TAINT)
        return [REJECTION if node.unschedulable and not tolerated else None for node in nodes]
