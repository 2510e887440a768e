"""The form of a plugin: one rule a file, over all nodes at once.

A filter says of each node why the pod cannot run there; a score says how well it would run there. Both are pure. To add one,
follow docs/add-a-plugin.md: a file here, and a line in `__init__.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from tiphys.machinery.frozen import frozen
from tiphys.scheduler.snapshot import NodeInfo, PodInfo

BEST = 100

# Changes in the cluster that may make a rejected pod fit, as words for `wakes_on`.
NODE_ADDED = "node added"
NODE_ALLOCATABLE = "node allocatable changed"
NODE_LABELS = "node labels changed"
NODE_TAINTS = "node taints changed"
POD_DELETED = "assigned pod deleted"
POD_SHRUNK = "assigned pod shrunk"


@frozen
class Rejection:
    """Why a pod cannot run on a node: each reason is counted in the message. `final`: no deletion of pods would help."""

    reasons: tuple[str, ...]
    final: bool = False


class Filter(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def wakes_on(self) -> frozenset[str]:
        """Which changes may lift its rejections."""

    def filter(self, pod: PodInfo, nodes: Sequence[NodeInfo]) -> Sequence[Rejection | None]:
        """One answer a node; None: it may run there."""


class Score(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def weight(self) -> int: ...

    def score(self, pod: PodInfo, nodes: Sequence[NodeInfo]) -> Sequence[float]:
        """One number a node, from 0 to BEST."""


def normalized(values: Sequence[float], *, reverse: bool = False) -> list[float]:
    """Values from 0 up, stretched so that the largest is BEST; reversed, the largest is 0."""
    largest = max(values, default=0)
    if largest == 0:
        return [BEST if reverse else 0] * len(values)
    scaled = [value * BEST // largest for value in values]
    return [BEST - value for value in scaled] if reverse else scaled
