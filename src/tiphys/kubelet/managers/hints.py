"""The topology manager's decision: which NUMA nodes a container (or a pod) gets all that it has from, and whether it may come at all. Pure.

Each resource has hints: choices of nodes that could serve it, preferred ones among them. They are merged into one choice (upstream's
`topologymanager`): nodes that all resources agree on, preferred ones first, few nodes rather than many.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import product

from tiphys.machinery.frozen import frozen

Nodes = frozenset[int]


@frozen
class Hint:
    """`nodes` None: any."""

    nodes: Nodes | None
    is_preferred: bool


Hints = Mapping[str, Sequence[Hint] | None]
"""By resource; None: it does not matter where it comes from; empty: it can be had from nowhere."""
ANY = Hint(None, is_preferred=True)
NOWHERE = Hint(None, is_preferred=False)
NONE, BEST_EFFORT, RESTRICTED, SINGLE_NUMA_NODE = "none", "best-effort", "restricted", "single-numa-node"
POLICIES = (NONE, BEST_EFFORT, RESTRICTED, SINGLE_NUMA_NODE)


@frozen
class TopologyPolicy:
    """`all`: the machine's NUMA nodes. `distances`: from each to all of them, if near nodes are to be preferred."""

    name: str
    all: Nodes
    distances: Mapping[int, Sequence[int]] | None = None

    def decide(self, providers: Iterable[Hints]) -> tuple[Hint, bool]:
        """The best choice, and whether the pod may come."""
        hints = list(_filtered(providers))
        if self.name == SINGLE_NUMA_NODE:
            hints = [[hint for hint in each if _is_of_one_node(hint)] for each in hints]
        best = self._merged(hints)
        if self.name == SINGLE_NUMA_NODE and best.nodes == self.all:
            best = Hint(None, best.is_preferred)
        return best, self.name == BEST_EFFORT or best.is_preferred

    def _merged(self, hints: Sequence[Sequence[Hint]]) -> Hint:
        fewest = [
            min((len(hint.nodes) for hint in each if hint.nodes is not None), default=0) for each in hints
        ]
        enough = max(fewest, default=0)
        best: Hint | None = None
        for permutation in product(*hints):
            candidate = self._common(permutation)
            if candidate.nodes and (best is None or self._is_better(candidate, best, enough)):
                best = candidate
        return best or Hint(self.all, is_preferred=False)

    def _common(self, permutation: Sequence[Hint]) -> Hint:
        named = [hint.nodes for hint in permutation if hint.nodes is not None]
        is_preferred = all(hint.is_preferred for hint in permutation) and len(set(named)) <= 1
        return Hint(self.all.intersection(*named), is_preferred)

    def _is_better(self, candidate: Hint, best: Hint, enough: int) -> bool:
        """`enough`: as many nodes as the most demanding resource needs at least."""
        if candidate.is_preferred != best.is_preferred:
            return candidate.is_preferred
        assert candidate.nodes is not None
        assert best.nodes is not None
        if candidate.is_preferred:
            return self._is_closer(candidate.nodes, best.nodes)
        wide, narrow = len(best.nodes), len(candidate.nodes)
        if wide > enough:
            return self._is_closer(candidate.nodes, best.nodes)
        if wide == enough:
            return narrow == enough and self._is_closer(candidate.nodes, best.nodes)
        if narrow > enough:
            return False
        return narrow > wide or (narrow == wide and self._is_closer(candidate.nodes, best.nodes))

    def _is_closer(self, one: Nodes, other: Nodes) -> bool:
        return self._reach(one) < self._reach(other)

    def _reach(self, nodes: Nodes) -> tuple[float, ...]:
        """Fewer are closer, then near ones if that counts, then low numbers."""
        value = float(sum(1 << node for node in nodes))
        if self.distances is None:
            return len(nodes), value
        ordered = sorted(self.all)
        apart = [self.distances[one][ordered.index(other)] for one in nodes for other in nodes]
        return len(nodes), sum(apart) / len(apart), value


def _filtered(providers: Iterable[Hints]) -> Iterator[Sequence[Hint]]:
    for hints in providers:
        if not hints:
            yield [ANY]
        for each in hints.values():
            yield [ANY] if each is None else (each or [NOWHERE])


def _is_of_one_node(hint: Hint) -> bool:
    return hint.is_preferred and (hint.nodes is None or len(hint.nodes) == 1)


def hints_for(
    masks: Iterable[Nodes],
    capacity: Callable[[Nodes], int],
    free: Callable[[Nodes], int | None],
    request: int,
) -> list[Hint]:
    """Those choices that have room; preferred are the smallest that could serve the request if all were free.

    `free(nodes)` None: something that must be taken again lies elsewhere.
    """
    enough, found = 0, []
    for mask in masks:
        if not enough and capacity(mask) >= request:
            enough = len(mask)
        room = free(mask)
        if room is not None and room >= request:
            found.append(mask)
    return [Hint(mask, is_preferred=len(mask) == enough) for mask in found]
