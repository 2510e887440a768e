"""NodeResourcesFit: what the pod requests must be left on the node; of nodes that fit, the emptiest scores best.

Filter: every resource by itself, and the number of pods. A node that could not hold the pod even when empty is a final
rejection. Score: LeastAllocated over cpu and memory, as upstream's default.
"""

from collections.abc import Iterator, Sequence

from tiphys.scheduler.plugins.interface import (
    BEST,
    NODE_ADDED,
    NODE_ALLOCATABLE,
    POD_DELETED,
    POD_SHRUNK,
    Rejection,
)
from tiphys.scheduler.snapshot import NodeInfo, PodInfo


class NodeResourcesFit:
    name = "NodeResourcesFit"
    weight = 1
    wakes_on = frozenset({NODE_ADDED, NODE_ALLOCATABLE, POD_DELETED, POD_SHRUNK})

    def filter(self, pod: PodInfo, nodes: Sequence[NodeInfo]) -> Sequence[Rejection | None]:
        return [_rejection(pod, node) for node in nodes]

    def score(self, pod: PodInfo, nodes: Sequence[NodeInfo]) -> Sequence[float]:
        return [_least_allocated(pod, node) for node in nodes]


def _rejection(pod: PodInfo, node: NodeInfo) -> Rejection | None:
    reasons = tuple(_shortages(pod, node))
    if not reasons:
        return None
    never = any(wanted > node.allocatable.get(name, 0) for name, wanted in pod.requests.items() if wanted)
    return Rejection(reasons, final=never)


def _shortages(pod: PodInfo, node: NodeInfo) -> Iterator[str]:
    if len(node.pods) + 1 > node.allocatable.get("pods", 0):
        yield "Too many pods"
    for name, wanted in pod.requests.items():
        if wanted and wanted > node.allocatable.get(name, 0) - node.requested[name]:
            yield f"Insufficient {name}"


def _least_allocated(pod: PodInfo, node: NodeInfo) -> float:
    cpu, memory = pod.scored_requests
    shares = [
        _free_share(node.allocatable.get("cpu", 0), node.scored_cpu + cpu),
        _free_share(node.allocatable.get("memory", 0), node.scored_memory + memory),
    ]
    known = [share for share in shares if share is not None]
    return sum(known) // len(known) if known else 0


def _free_share(allocatable: int, requested: int) -> int | None:
    """How much stays free, of BEST; None when the node says nothing of this resource."""
    if allocatable == 0:
        return None
    return max(allocatable - requested, 0) * BEST // allocatable
