"""The CPU manager's static policy: CPUs that belong to one container alone, and the pool that all others share. Pure; one a node.

A container of a Guaranteed pod that requests whole CPUs has them to itself, from its pod's admission to its end. What is reserved for the
system is never given away so, but the others may run there, too (unless `strict-cpu-reservation` says no).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from tiphys.api.core.pod_resources import qos_class
from tiphys.kubelet import spec
from tiphys.kubelet.admission import Refused
from tiphys.kubelet.managers import cpusets
from tiphys.kubelet.managers.checkpoint import BadState
from tiphys.kubelet.managers.cpusets import EMPTY, CPUSet
from tiphys.kubelet.managers.hints import Hint, Hints, Nodes, hints_for
from tiphys.kubelet.managers.taking import NotEnoughCPUs, take, take_spread
from tiphys.kubelet.managers.topology import Topology
from tiphys.kubelet.spec import Object
from tiphys.machinery import meta
from tiphys.machinery.frozen import frozen
from tiphys.machinery.quantity import parse

Assignments = dict[str, dict[str, CPUSet]]
"""By the uid of the pod, then by container."""


@frozen
class CPUOptions:
    """By upstream's names of policy options, less their "cpus"."""

    full_physical_only: bool = False
    spread_over_numa: bool = False
    strict_reservation: bool = False
    by_cache: bool = False


def exclusive_cpus(pod: Object, container: Object) -> int:
    """How many a container has to itself; 0: it shares."""
    if pod["spec"].get("resources") or qos_class(pod["spec"]) != "Guaranteed":
        return 0
    request = ((container.get("resources") or {}).get("requests") or {}).get("cpu")
    amount = parse(request) if request else None
    return amount.value if amount and amount.milli == amount.value * 1000 else 0


class StaticCPUs:
    """`shared` is the pool, reserved CPUs and all. What changes is to be written down by whoever changes it."""

    def __init__(self, topology: Topology, reserved: CPUSet, options: CPUOptions | None = None) -> None:
        self._topology = topology
        self.reserved = reserved
        self._options = options or CPUOptions()
        self.shared = self._all
        self.assigned: Assignments = {}

    @property
    def _all(self) -> CPUSet:
        return self._topology.all - (self.reserved if self._options.strict_reservation else EMPTY)

    @property
    def allocatable(self) -> CPUSet:
        return self._topology.all - self.reserved

    def restore(self, shared: CPUSet, assigned: Assignments) -> None:
        """What was kept. Raises BadState."""
        if not shared:
            if assigned:
                raise BadState("default cpuset cannot be empty")
            return
        common = self.reserved & shared
        if self._options.strict_reservation and common:
            raise BadState(
                f'some of strictly reserved cpus: "{cpusets.text(common)}" '
                f'are present in defaultCpuSet: "{cpusets.text(shared)}"'
            )
        if not self._options.strict_reservation and common != self.reserved:
            raise BadState(
                f'not all reserved cpus: "{cpusets.text(self.reserved)}" '
                f'are present in defaultCpuSet: "{cpusets.text(shared)}"'
            )
        known = shared
        for uid, containers in assigned.items():
            for name, cpus in containers.items():
                if shared & cpus:
                    raise BadState(
                        f'pod: {uid}, container: {name} cpuset: "{cpusets.text(cpus)}" '
                        f'overlaps with default cpuset "{cpusets.text(shared)}"'
                    )
                known |= cpus
        if known != self._all:
            raise BadState(
                f'current set of available CPUs "{cpusets.text(self._all)}" '
                f'doesn\'t match with CPUs in state "{cpusets.text(known)}"'
            )
        self.shared, self.assigned = shared, assigned

    # Whose they are

    def of(self, uid: str, container: str) -> CPUSet:
        """Where it may run."""
        return self.exclusive(uid, container) or self.shared

    def exclusive(self, uid: str, container: str) -> CPUSet:
        return self.assigned.get(uid, {}).get(container, EMPTY)

    def keep_only(self, uids: Collection[str]) -> bool:
        """Pods that are over give back what they had; whether any did."""
        gone = [uid for uid in self.assigned if uid not in uids]
        for uid in gone:
            self.shared |= frozenset().union(*self.assigned.pop(uid).values())
        return bool(gone)

    # Giving

    def allocate(self, pod: Object, container: Object, nodes: Nodes | None) -> bool:
        """Gives a container of a pod that is being admitted its CPUs, from `nodes` as far as they reach. Raises Refused."""
        count = exclusive_cpus(pod, container)
        if not count:
            return False
        if self._options.full_physical_only:
            self._check_cores(count)
        uid, name = meta.uid(pod), container["name"]
        if name in self.assigned.get(uid, {}):
            return False
        available = self._available(pod, container)
        near = available & self._topology.of_nodes(nodes) if nodes is not None else EMPTY
        try:
            taken = self._take(near, min(count, len(near)))
            taken |= self._take(available - taken, count - len(taken))
        except NotEnoughCPUs as error:
            raise Refused.unexpectedly(error) from None
        self.shared -= taken
        self.assigned.setdefault(uid, {})[name] = taken
        return True

    def _take(self, available: CPUSet, count: int) -> CPUSet:
        if self._options.spread_over_numa:
            size = self._topology.threads_per_core if self._options.full_physical_only else 1
            return take_spread(self._topology, available, count, size)
        return take(self._topology, available, count, by_cache=self._options.by_cache)

    def _available(self, pod: Object, container: Object) -> CPUSet:
        return (self.shared - self.reserved) | self._reusable(pod, container)

    def _reusable(self, pod: Object, container: Object) -> CPUSet:
        """What init containers that have run by then leave to this one."""
        has = self.assigned.get(meta.uid(pod), {})
        found = EMPTY
        for earlier in (*spec.containers(pod, "init"), *spec.containers(pod)):
            if earlier["name"] == container["name"]:
                break
            cpus = has.get(earlier["name"], EMPTY)
            found = found | cpus if spec.is_passing(pod, earlier) else found - cpus
        return found

    def _check_cores(self, count: int) -> None:
        threads = self._topology.threads_per_core
        if count % threads:
            raise Refused(
                f"SMT Alignment Error: requested {count} cpus not multiple cpus per core = {threads}",
                "SMTAlignmentError",
            )
        whole = len(self.shared - self._topology.siblings(self.reserved))
        if count > whole:
            told = f"available physical CPUs = {whole}, requested CPUs = {count}, CPUs per core = {threads}"
            raise Refused(f"SMT Alignment Error: not enough free physical CPUs: {told}", "SMTAlignmentError")

    # Hints

    def hints(self, pod: Object, container: Object) -> Hints:
        count = exclusive_cpus(pod, container)
        if not count:
            return {}
        has = self.exclusive(meta.uid(pod), container["name"])
        if has:
            return {"cpu": self._hints(has, EMPTY, count) if len(has) == count else []}
        reusable = self._reusable(pod, container)
        return {"cpu": self._hints(self.shared - self.reserved, reusable, count)}

    def pod_hints(self, pod: Object) -> Hints:
        """Of all its containers together."""
        at_once = sum(exclusive_cpus(pod, each) for each in (*spec.sidecars(pod), *spec.containers(pod)))
        before = max((exclusive_cpus(pod, each) for each in spec.containers(pod, "init")), default=0)
        count = max(at_once, before)
        if not count:
            return {}
        has = frozenset().union(*self.assigned.get(meta.uid(pod), {}).values())
        if has:
            return {"cpu": self._hints(has, EMPTY, count) if len(has) == count else []}
        return {"cpu": self._hints(self.shared - self.reserved, EMPTY, count)}

    def _hints(self, available: CPUSet, reusable: CPUSet, count: int) -> list[Hint]:
        def free(nodes: Nodes) -> int | None:
            there = self._topology.of_nodes(nodes)
            return len((available | reusable) & there) if reusable <= there else None

        return hints_for(
            self._topology.masks(), lambda nodes: len(self._topology.of_nodes(nodes)), free, count
        )


def texts(assigned: Assignments) -> Mapping[str, Mapping[str, str]]:
    return {
        uid: {name: cpusets.text(cpus) for name, cpus in containers.items()}
        for uid, containers in assigned.items()
    }
