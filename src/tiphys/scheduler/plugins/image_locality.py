"""ImageLocality: nodes that have the pod's images already score better, the more so the larger these are.

An image counts in proportion to how many nodes have it, so that one that is on a single node does not draw all pods there.
"""

from collections.abc import Sequence

from tiphys.scheduler.plugins.interface import BEST
from tiphys.scheduler.snapshot import NodeInfo, PodInfo

MEBIBYTE = 1024 * 1024
SMALLEST = 23 * MEBIBYTE
LARGEST_PER_CONTAINER = 1000 * MEBIBYTE


class ImageLocality:
    name = "ImageLocality"
    weight = 1

    def score(self, pod: PodInfo, nodes: Sequence[NodeInfo]) -> Sequence[float]:
        images = pod.images
        if not images or not any(node.images for node in nodes):
            return [0] * len(nodes)
        spread = {image: sum(image in node.images for node in nodes) / len(nodes) for image in images}
        largest = LARGEST_PER_CONTAINER * len(images)
        return [_score(node, images, spread, largest) for node in nodes]


def _score(node: NodeInfo, images: Sequence[str], spread: dict[str, float], largest: int) -> float:
    total = sum(int(node.images.get(image, 0) * spread[image]) for image in images)
    return BEST * (min(max(total, SMALLEST), largest) - SMALLEST) // (largest - SMALLEST)
