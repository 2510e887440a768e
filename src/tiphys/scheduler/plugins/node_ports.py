"""NodePorts: a port of the node can be given to one pod only."""

from collections.abc import Sequence

from tiphys.scheduler.plugins.interface import NODE_ADDED, POD_DELETED, Rejection
from tiphys.scheduler.snapshot import NodeInfo, PodInfo

REJECTION = Rejection(("node(s) didn't have free ports for the requested pod ports",))


class NodePorts:
    name = "NodePorts"
    wakes_on = frozenset({NODE_ADDED, POD_DELETED})

    def filter(self, pod: PodInfo, nodes: Sequence[NodeInfo]) -> Sequence[Rejection | None]:
        if not pod.host_ports:
            return [None] * len(nodes)
        return [REJECTION if _is_taken(pod, node) else None for node in nodes]


def _is_taken(pod: PodInfo, node: NodeInfo) -> bool:
    taken = [port for other in node.pods.values() for port in other.host_ports]
    return any(wanted.conflicts_with(port) for wanted in pod.host_ports for port in taken)
