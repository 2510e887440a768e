"""The memory manager's Static policy as a provider of the allocator; what it gives is on disk at once. What may be reserved, and how, is told here."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from tiphys.kubelet.admission import Refused
from tiphys.kubelet.allocation_metrics import ManagerMetrics
from tiphys.kubelet.configuration_values import MemoryReservation
from tiphys.kubelet.managers import checkpoint
from tiphys.kubelet.managers.checkpoint import BadState, CannotStart
from tiphys.kubelet.managers.hints import Hints, Nodes
from tiphys.kubelet.managers.memory import HUGE_PAGES, StaticMemory
from tiphys.kubelet.managers.topology import Topology
from tiphys.kubelet.spec import Object
from tiphys.machinery.quantity import ZERO, Quantity
from tiphys.machinery.quoting import quote

POLICY = "Static"


class MemoryManager:
    def __init__(self, static: StaticMemory, path: Path, metrics: ManagerMetrics) -> None:
        self.static = static
        self._path = path
        self._metrics = metrics
        kept = checkpoint.read_memory(path, POLICY)
        if kept is not None:
            try:
                static.restore(kept.get("machineState") or {}, kept.get("entries") or {})
            except BadState as error:
                raise CannotStart(f"start memory manager error: {error}") from None
            except (KeyError, TypeError, AttributeError):
                raise checkpoint.refusal(path, checkpoint.MEMORY, "checkpoint is corrupted") from None
        self._write()

    def _write(self) -> None:
        checkpoint.write_memory(self._path, POLICY, self.static.machine(), self.static.entries())

    def hints(self, pod: Object, container: Object) -> Hints:
        return self.static.hints(pod, container)

    def pod_hints(self, pod: Object) -> Hints:
        return self.static.pod_hints(pod)

    async def allocate(self, pod: Object, container: Object, nodes: Nodes | None) -> None:
        try:
            is_new = self.static.allocate(pod, container, nodes)
        except Refused:
            self._metrics.memory_pinned(failed=True)
            raise
        if is_new:
            self._metrics.memory_pinned(failed=False)
            self._write()

    def keep_only(self, uids: Collection[str]) -> None:
        if self.static.keep_only(uids):
            self._write()


def reservations(
    given: Collection[MemoryReservation], reserved: Mapping[str, Quantity], topology: Topology
) -> dict[int, dict[str, int]]:
    """By node and kind, bytes; together they are what the node keeps for itself (`reserved`). Raises CannotStart."""
    totals: dict[str, Quantity] = {}
    found: dict[int, dict[str, int]] = {}
    for each in given:
        if each.node not in topology.nodes:
            raise CannotStart(
                f"the reserved memory configuration references a NUMA node {each.node} "
                "that does not exist on this machine"
            )
        for kind, amount in each.limits.items():
            totals[kind] = totals[kind] + amount if kind in totals else amount
            found.setdefault(each.node, {})[kind] = amount.value
    kinds = {*totals, *(name for name in reserved if name == "memory" or name.startswith(HUGE_PAGES))}
    for kind in sorted(kinds):
        asked, kept = totals.get(kind, ZERO), reserved.get(kind, ZERO)
        if asked.value != kept.value:
            raise CannotStart(
                f"the total amount {quote(str(asked))} of type {quote(kind)} is not equal to the value "
                f"{quote(str(kept))} determined by Node Allocatable feature"
            )
    return found
