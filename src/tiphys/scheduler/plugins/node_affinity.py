"""NodeAffinity: `nodeSelector` and the node affinity's required terms filter, its preferred terms score."""

from collections.abc import Sequence

from tiphys.scheduler.plugins.interface import NODE_ADDED, NODE_LABELS, Rejection, normalized
from tiphys.scheduler.snapshot import NodeInfo, PodInfo

REJECTION = Rejection(("node(s) didn't match Pod's node affinity/selector",), final=True)


class NodeAffinity:
    name = "NodeAffinity"
    weight = 2
    wakes_on = frozenset({NODE_ADDED, NODE_LABELS})

    def filter(self, pod: PodInfo, nodes: Sequence[NodeInfo]) -> Sequence[Rejection | None]:
        if not pod.spec.get("nodeSelector") and pod.required_nodes is None:
            return [None] * len(nodes)
        return [None if _matches(pod, node) else REJECTION for node in nodes]

    def score(self, pod: PodInfo, nodes: Sequence[NodeInfo]) -> Sequence[float]:
        if not pod.preferred_nodes:
            return [0] * len(nodes)
        return normalized([_preference(pod, node) for node in nodes])


def _matches(pod: PodInfo, node: NodeInfo) -> bool:
    selector = pod.spec.get("nodeSelector") or {}
    if not selector.items() <= node.labels.items():
        return False
    return pod.required_nodes is None or pod.required_nodes.matches(node.labels, node.name)


def _preference(pod: PodInfo, node: NodeInfo) -> int:
    return sum(
        weight for weight, preference in pod.preferred_nodes if preference.matches(node.labels, node.name)
    )
