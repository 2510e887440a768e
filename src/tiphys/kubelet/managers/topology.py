"""How the CPUs and the memory of a machine lie: threads of a core, cores of a socket, sockets and NUMA nodes. Read from sysfs, then pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import field
from itertools import combinations
from pathlib import Path

from tiphys.kubelet.managers import cpusets
from tiphys.kubelet.managers.cpusets import CPUSet
from tiphys.machinery.frozen import frozen
from tiphys.machinery.quantity import BINARY_SI, from_value

SYSTEM = Path("/sys/devices/system")
_LAST_LEVEL = 3


@frozen
class CPU:
    core: int
    """The lowest of its threads: numbers of cores may repeat from socket to socket."""
    socket: int
    node: int
    cache: int = 0
    """Of the last level, which some CPUs of a socket may share and others not."""


@frozen
class Topology:
    """`memory`: by NUMA node and kind ("memory", "hugepages-2Mi"), bytes."""

    cpus: Mapping[int, CPU]
    nodes: tuple[int, ...] = (0,)
    memory: Mapping[int, Mapping[str, int]] = field(default_factory=dict)
    distances: Mapping[int, tuple[int, ...]] = field(default_factory=dict)

    @property
    def all(self) -> CPUSet:
        return frozenset(self.cpus)

    @property
    def threads_per_core(self) -> int:
        cores = {cpu.core for cpu in self.cpus.values()}
        return len(self.cpus) // len(cores) if cores else 0

    @property
    def sockets(self) -> int:
        return len({cpu.socket for cpu in self.cpus.values()})

    def group(self, cpus: Iterable[int], key: Callable[[CPU], int]) -> dict[int, CPUSet]:
        """By core, socket, node or cache."""
        found: dict[int, set[int]] = {}
        for cpu in cpus:
            found.setdefault(key(self.cpus[cpu]), set()).add(cpu)
        return {id: frozenset(members) for id, members in found.items()}

    def of_nodes(self, nodes: Iterable[int]) -> CPUSet:
        wanted = set(nodes)
        return frozenset(id for id, cpu in self.cpus.items() if cpu.node in wanted)

    def of_sockets(self, sockets: Iterable[int]) -> CPUSet:
        wanted = set(sockets)
        return frozenset(id for id, cpu in self.cpus.items() if cpu.socket in wanted)

    def siblings(self, cpus: Iterable[int]) -> CPUSet:
        """All threads of the cores that these belong to."""
        cores = {self.cpus[cpu].core for cpu in cpus}
        return frozenset(id for id, cpu in self.cpus.items() if cpu.core in cores)

    def masks(self) -> list[frozenset[int]]:
        """All choices of NUMA nodes, small ones first."""
        return [
            frozenset(choice)
            for count in range(1, len(self.nodes) + 1)
            for choice in combinations(self.nodes, count)
        ]


def read_topology(directory: Path = SYSTEM) -> Topology:
    """Raises OSError and ValueError when the kernel tells nothing of its CPUs."""
    online = cpusets.parse((directory / "cpu" / "online").read_text())
    node_paths = _numbered(directory / "node", "node")
    node_of = {
        cpu: node for node, path in node_paths.items() for cpu in cpusets.parse(_text(path / "cpulist"))
    }
    cpus = {id: _cpu(directory / "cpu" / f"cpu{id}", id, node_of.get(id, 0)) for id in sorted(online)}
    return Topology(
        cpus,
        tuple(node_paths) or (0,),
        {node: _memory(path) for node, path in node_paths.items()},
        {node: tuple(map(int, _text(path / "distance").split())) for node, path in node_paths.items()},
    )


def _cpu(path: Path, id: int, node: int) -> CPU:
    siblings = cpusets.parse(_text(path / "topology" / "thread_siblings_list")) or {id}
    socket = int(_text(path / "topology" / "physical_package_id") or 0)
    cache = 0
    for index in path.glob("cache/index*"):
        if _text(index / "level") == str(_LAST_LEVEL):
            cache = int(_text(index / "id") or 0)
    return CPU(min(siblings), max(socket, 0), node, cache)


def _memory(path: Path) -> dict[str, int]:
    found = {}
    total = re.search(r"MemTotal:\s+(\d+) kB", _text(path / "meminfo"))
    if total:
        found["memory"] = int(total[1]) << 10
    for size in path.glob("hugepages/hugepages-*kB"):
        page_bytes = int(size.name.removeprefix("hugepages-").removesuffix("kB")) << 10
        pages = int(_text(size / "nr_hugepages") or 0)
        found[f"hugepages-{from_value(page_bytes, BINARY_SI)}"] = pages * page_bytes
    return found


def _numbered(directory: Path, prefix: str) -> dict[int, Path]:
    found = {
        int(path.name.removeprefix(prefix)): path
        for path in directory.glob(f"{prefix}*")
        if path.name.removeprefix(prefix).isdecimal()
    }
    return dict(sorted(found.items()))


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
