"""NodeResourcesBalancedAllocation: nodes whose cpu and memory would be used in like proportion score best.

A pod that requests neither is not scored: it would only pile up on one node.
"""

from collections.abc import Sequence
from math import sqrt

from tiphys.scheduler.plugins.interface import BEST
from tiphys.scheduler.snapshot import NodeInfo, PodInfo

RESOURCES = ("cpu", "memory")


class NodeResourcesBalancedAllocation:
    name = "NodeResourcesBalancedAllocation"
    weight = 1

    def score(self, pod: PodInfo, nodes: Sequence[NodeInfo]) -> Sequence[float]:
        if not any(pod.requests.get(name) for name in RESOURCES):
            return [0] * len(nodes)
        return [_balance(pod, node) for node in nodes]


def _balance(pod: PodInfo, node: NodeInfo) -> float:
    fractions = [
        min((node.requested[name] + pod.requests.get(name, 0)) / node.allocatable[name], 1.0)
        for name in RESOURCES
        if node.allocatable.get(name)
    ]
    if not fractions:
        return BEST
    mean = sum(fractions) / len(fractions)
    deviation = sqrt(sum((fraction - mean) ** 2 for fraction in fractions) / len(fractions))
    return int((1 - deviation) * BEST)
