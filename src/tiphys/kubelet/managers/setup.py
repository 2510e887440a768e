"""Builds the managers of a node that has any: imported only then."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path

from tiphys.kubelet.allocation_metrics import ManagerMetrics
from tiphys.kubelet.configuration import KubeletConfiguration
from tiphys.kubelet.managers import checkpoint, cpusets, options
from tiphys.kubelet.managers.allocator import Allocator, Devices
from tiphys.kubelet.managers.checkpoint import CannotStart
from tiphys.kubelet.managers.cpus import CPUOptions, StaticCPUs
from tiphys.kubelet.managers.hints import NONE, TopologyPolicy
from tiphys.kubelet.managers.memory import StaticMemory
from tiphys.kubelet.managers.memory_manager import MemoryManager, reservations
from tiphys.kubelet.managers.pinning import CPUManager
from tiphys.kubelet.managers.taking import take
from tiphys.kubelet.managers.topology import SYSTEM, Topology, read_topology
from tiphys.kubelet.runtimes.interface import Resources
from tiphys.kubelet.spec import Object
from tiphys.machinery import meta
from tiphys.machinery.quantity import Quantity


class ResourceManagers:
    """`cpus`, `memory` None: its policy is none. `reserved`: what the node keeps for itself. Raises CannotStart."""

    def __init__(
        self,
        settings: KubeletConfiguration,
        directory: Path,
        reserved: Mapping[str, Quantity],
        devices: Devices,
        holders: Callable[[], Collection[str] | None],
        *,
        metrics: ManagerMetrics,
        system: Path = SYSTEM,
    ) -> None:
        try:
            topology = read_topology(system)
        except (OSError, ValueError) as error:
            raise CannotStart(f"unable to discover CPU topology info: {error}") from None
        self.cpus = _cpu_manager(settings, topology, directory, metrics)
        self.memory = _memory_manager(settings, topology, directory, reserved, metrics)
        self.allocator = Allocator(
            _policy(settings, topology),
            devices,
            [provider for provider in (self.cpus, self.memory) if provider is not None],
            holders,
            per_pod=settings.topology_manager_scope == "pod",
            metrics=metrics,
        )

    def applied(self, pod: Object, container: Object, resources: Resources) -> Resources:
        """With the CPUs and the memory that a container of an admitted pod may use. Its own CPUs need no quota."""
        uid, name = meta.uid(pod), container["name"]
        if self.memory is not None and (nodes := self.memory.static.nodes_of(uid, name)):
            resources = replace(resources, cpuset_mems=",".join(map(str, sorted(nodes))))
        if self.cpus is None:
            return resources
        static = self.cpus.static
        if own := static.exclusive(uid, name):
            return replace(resources, cpuset_cpus=cpusets.text(own), cpu_quota_microseconds=0)
        return replace(resources, cpuset_cpus=cpusets.text(static.shared))

    def has_own_cpus(self, uid: str) -> bool:
        """Whether some of a pod's containers have CPUs to themselves."""
        return self.cpus is not None and uid in self.cpus.static.assigned


def _memory_manager(
    settings: KubeletConfiguration,
    topology: Topology,
    directory: Path,
    reserved: Mapping[str, Quantity],
    metrics: ManagerMetrics,
) -> MemoryManager | None:
    path = directory / checkpoint.MEMORY_STATE
    if settings.memory_manager_policy == "None":
        checkpoint.read_memory(path, "None")
        return None
    by_node = reservations(settings.reserved_memory, reserved, topology)
    return MemoryManager(StaticMemory(topology, by_node), path, metrics)


def _cpu_manager(
    settings: KubeletConfiguration, topology: Topology, directory: Path, metrics: ManagerMetrics
) -> CPUManager | None:
    path = directory / checkpoint.CPU_STATE
    if settings.cpu_manager_policy == "none":
        checkpoint.read_cpus(path, "none")
        return None
    chosen = settings.cpu_manager_policy_options
    found = CPUOptions(
        full_physical_only=options.is_true(chosen, options.FULL_CORES),
        spread_over_numa=options.is_true(chosen, options.SPREAD_NUMA),
        strict_reservation=options.is_true(chosen, options.STRICT),
        by_cache=options.is_true(chosen, options.BY_CACHE),
    )
    count = math.ceil(options.reserved_cpu(settings).milli / 1000)
    by_number = cpusets.parse(settings.reserved_system_cpus)
    if not by_number <= topology.all:
        told = f"{settings.reserved_system_cpus} is not a subset of online-cpus: {cpusets.text(topology.all)}"
        raise CannotStart(f"reserved-cpus: {told}")
    if count > len(topology.all):
        raise CannotStart(
            "new static policy error: [cpumanager] unable to reserve the required amount of CPUs "
            f"(size of  did not equal {count})"
        )
    reserved = by_number or take(topology, topology.all, count)
    return CPUManager(StaticCPUs(topology, reserved, found), path, metrics)


def _policy(settings: KubeletConfiguration, topology: Topology) -> TopologyPolicy:
    chosen = settings.topology_manager_policy_options
    most = options.most_nodes(chosen)
    if settings.topology_manager_policy != NONE and len(topology.nodes) > most:
        raise CannotStart(f"unsupported on machines with more than {most} NUMA Nodes")
    return TopologyPolicy(
        settings.topology_manager_policy,
        frozenset(topology.nodes),
        topology.distances if options.is_true(chosen, options.CLOSEST) else None,
    )
