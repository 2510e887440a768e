"""Where does this pod go? One pure function from a pod and a snapshot to a decision.

Filters run in order over the nodes that are left; scores are weighted and summed; among the best nodes chance decides. When no
node is left, the message counts the reasons as upstream words them (`framework/types.go`, FitError):

    0/3 nodes are available: 1 node(s) had untolerated taint(s), 2 Insufficient cpu. no new claims to deallocate,
    preemption: 0/3 nodes are available: 1 Preemption is not helpful for scheduling, 2 No preemption victims found for
    incoming pod.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from random import Random

from tiphys.machinery.frozen import frozen
from tiphys.scheduler.plugins import FILTERS, SCORES, Filter, Score
from tiphys.scheduler.plugins.interface import Rejection
from tiphys.scheduler.snapshot import NodeInfo, PodInfo, Snapshot

NO_NODES = "no nodes available to schedule pods"
NOT_HELPFUL = "Preemption is not helpful for scheduling"
NO_VICTIMS = "No preemption victims found for incoming pod"


@frozen
class Decision:
    """`node` "": it fits nowhere, for the reasons in `message`; `rejected_by` names the plugins whose change of mind would help."""

    node: str = ""
    message: str = ""
    rejected_by: frozenset[str] = frozenset()
    feasible: int = 0


def decide(
    pod: PodInfo,
    snapshot: Snapshot,
    random: Random,
    *,
    filters: Sequence[Filter] = FILTERS,
    scores: Sequence[Score] = SCORES,
) -> Decision:
    nodes = snapshot.nodes()
    if not nodes:
        return Decision(message=NO_NODES)
    feasible, rejections = run_filters(pod, nodes, filters)
    if not feasible:
        return _unschedulable(pod, len(nodes), rejections)
    return Decision(select(pod, feasible, random, scores).name, feasible=len(feasible))


def run_filters(
    pod: PodInfo, nodes: Sequence[NodeInfo], filters: Sequence[Filter]
) -> tuple[list[NodeInfo], list[tuple[str, Rejection]]]:
    """The nodes that no filter rejects, and of each other one the first rejection with the plugin's name."""
    left = list(nodes)
    rejections: list[tuple[str, Rejection]] = []
    for plugin in filters:
        answers = plugin.filter(pod, left)
        rejections += [(plugin.name, answer) for answer in answers if answer is not None]
        left = [node for node, answer in zip(left, answers, strict=True) if answer is None]
        if not left:
            break
    return left, rejections


def select(pod: PodInfo, nodes: Sequence[NodeInfo], random: Random, scores: Sequence[Score]) -> NodeInfo:
    """One of the nodes with the highest sum of scores."""
    if len(nodes) == 1:
        return nodes[0]
    totals = [0.0] * len(nodes)
    for plugin in scores:
        for index, value in enumerate(plugin.score(pod, nodes)):
            totals[index] += plugin.weight * value
    best = max(totals)
    return random.choice([node for node, total in zip(nodes, totals, strict=True) if total == best])


# When it fits nowhere


def _unschedulable(pod: PodInfo, count: int, rejections: Sequence[tuple[str, Rejection]]) -> Decision:
    reasons = histogram(reason for _, rejection in rejections for reason in rejection.reasons)
    message = f"0/{count} nodes are available: {reasons}. {_preemption(pod, count, rejections)}"
    return Decision(message=message, rejected_by=frozenset(name for name, _ in rejections))


def histogram(reasons: Iterable[str]) -> str:
    """Counted reasons in the order of their texts, number first."""
    return ", ".join(sorted(f"{number} {reason}" for reason, number in Counter(reasons).items()))


def _preemption(pod: PodInfo, count: int, rejections: Sequence[tuple[str, Rejection]]) -> str:
    if pod.spec.get("preemptionPolicy") == "Never":
        return "no new claims to deallocate, preemption: not eligible due to preemptionPolicy=Never."
    helps = histogram(NOT_HELPFUL if rejection.final else NO_VICTIMS for _, rejection in rejections)
    return f"no new claims to deallocate, preemption: 0/{count} nodes are available: {helps}."
