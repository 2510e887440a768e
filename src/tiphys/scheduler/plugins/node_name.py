"""NodeName: a pod that names its node goes there and nowhere else."""

from collections.abc import Sequence

from tiphys.scheduler.plugins.interface import NODE_ADDED, Rejection
from tiphys.scheduler.snapshot import NodeInfo, PodInfo

REJECTION = Rejection(("node(s) didn't match the requested node name",), final=True)


class NodeName:
    name = "NodeName"
    wakes_on = frozenset({NODE_ADDED})

    def filter(self, pod: PodInfo, nodes: Sequence[NodeInfo]) -> Sequence[Rejection | None]:
        wanted = pod.node_name
        return [REJECTION if wanted and node.name != wanted else None for node in nodes]
