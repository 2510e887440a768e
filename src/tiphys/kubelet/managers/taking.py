"""Which CPUs a container gets of those that are free: as few parts of the machine as possible, and of these the fullest. Pure.

The order is upstream's (`cpumanager` cpu_assignment): whole NUMA nodes and sockets (whichever is larger goes first), whole caches if asked for,
whole cores, then single threads; among equals the part with the fewest free CPUs, then the lowest number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import combinations
from statistics import pstdev

from tiphys.kubelet.managers.cpusets import EMPTY, CPUSet
from tiphys.kubelet.managers.topology import CPU, Topology

Key = Callable[[CPU], int]


class NotEnoughCPUs(Exception):
    """Fewer are free than are asked for."""


def _node(cpu: CPU) -> int:
    return cpu.node


def _socket(cpu: CPU) -> int:
    return cpu.socket


def _core(cpu: CPU) -> int:
    return cpu.core


def _cache(cpu: CPU) -> int:
    return cpu.cache


def take(topology: Topology, available: CPUSet, count: int, *, by_cache: bool = False) -> CPUSet:
    """Packed as closely as can be. `by_cache`: CPUs that share a last-level cache rather than others. Raises NotEnoughCPUs."""
    if len(available) < count:
        raise NotEnoughCPUs(
            f"not enough cpus available to satisfy request: requested={count}, available={len(available)}"
        )
    levels: list[Key] = _levels(topology)
    taken = EMPTY
    for level in levels:
        taken |= _whole_parts(topology, level, available - taken, count - len(taken))
    if by_cache:
        taken |= _whole_parts(topology, _cache, available - taken, count - len(taken))
        taken |= _part_of_a_cache(topology, available - taken, count - len(taken))
    taken |= _whole_parts(topology, _core, available - taken, count - len(taken))
    rest = _in_order(topology, available - taken)[: count - len(taken)]
    return taken | frozenset(rest)


def _levels(topology: Topology) -> list[Key]:
    """The larger first."""
    numa_is_larger = topology.sockets >= len(topology.nodes)
    return [_node, _socket] if numa_is_larger else [_socket, _node]


def _whole_parts(topology: Topology, key: Key, free: CPUSet, count: int) -> CPUSet:
    """Of parts that are wholly free, those that are wholly needed."""
    taken = EMPTY
    whole = topology.group(topology.all, key)
    for id in _sorted_parts(topology, key, free):
        if free >= whole[id] and len(whole[id]) <= count - len(taken):
            taken |= whole[id]
    return taken


def _part_of_a_cache(topology: Topology, free: CPUSet, count: int) -> CPUSet:
    """All that is still needed out of one cache, if one has that many."""
    if not count:
        return EMPTY
    groups = topology.group(free, _cache)
    for id in _sorted_parts(topology, _cache, free):
        if len(groups[id]) >= count:
            members = groups[id]
            cores = _whole_parts(topology, _core, members, count)
            rest = [cpu for cpu in _in_order(topology, members) if cpu not in cores][: count - len(cores)]
            return cores | frozenset(rest)
    return EMPTY


def _sorted_parts(topology: Topology, key: Key, free: CPUSet) -> list[int]:
    """Parts with something free: within the larger parts that they lie in, the fullest first."""
    ids: list[int] = []
    for cpu in _in_order(topology, free, until=key):
        id = key(topology.cpus[cpu])
        if id not in ids:
            ids.append(id)
    return ids


def _in_order(topology: Topology, free: CPUSet, until: Key = _core) -> list[int]:
    levels = _levels(topology)
    if until is _cache:
        levels = [*levels, _cache]
    elif until in levels:
        levels = levels[: levels.index(until) + 1]
    else:
        levels = [*levels, _core]
    counts = [{id: len(members) for id, members in topology.group(free, level).items()} for level in levels]

    def rank(id: int) -> tuple[int, ...]:
        parts = [level(topology.cpus[id]) for level in levels]
        return (*(n for part, count in zip(parts, counts, strict=True) for n in (count[part], part)), id)

    return sorted(free, key=rank)


def take_spread(topology: Topology, available: CPUSet, count: int, group_size: int) -> CPUSet:
    """Evenly over as few NUMA nodes as can be; packed where one is enough. Raises NotEnoughCPUs."""
    if len(available) < count:
        return take(topology, available, count)
    free = topology.group(available, _node)
    for number in range(1, len(free) + 1):
        best = _best_spread(free, count, group_size, combinations(sorted(free), number))
        if best is not None:
            return _spread_over(topology, available, count, group_size, best)
    # No even split: what is packed is better than nothing.
    return take(topology, available, count)


def _best_spread(
    free: dict[int, CPUSet], count: int, group_size: int, choices: Iterable[tuple[int, ...]]
) -> tuple[int, ...] | None:
    """Of the choices that have room for equal parts, the one that leaves the nodes most alike."""
    found: tuple[float, tuple[int, ...]] | None = None
    for choice in choices:
        share = count // len(choice) // group_size * group_size
        left = count - share * len(choice)
        if sum(len(free[node]) for node in choice) < count or any(len(free[n]) < share for n in choice):
            continue
        room = sum((len(free[node]) - share) // group_size * group_size for node in choice)
        if room < left:
            continue
        after = [len(cpus) - (share if node in choice else 0) for node, cpus in free.items()]
        candidate = (pstdev(after), choice)
        found = candidate if found is None or candidate < found else found
    return found[1] if found else None


def _spread_over(
    topology: Topology, available: CPUSet, count: int, group_size: int, nodes: Sequence[int]
) -> CPUSet:
    share = count // len(nodes) // group_size * group_size
    taken = EMPTY
    for node in nodes:
        taken |= take(topology, available & topology.of_nodes([node]), share)
    while len(taken) < count:
        free = {node: (available - taken) & topology.of_nodes([node]) for node in nodes}
        node = max(nodes, key=lambda node: (len(free[node]), -node))
        taken |= take(topology, free[node], min(group_size, count - len(taken), len(free[node])))
    return taken
