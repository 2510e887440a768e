"""Machines to try allocations on, and pods that want a part of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tiphys.kubelet.managers.topology import CPU, Topology

Object = dict[str, Any]


def machine(*, nodes: int = 1, cores: int = 2, threads: int = 2, sockets: int | None = None) -> Topology:
    """`cores` a node. Threads are numbered as Linux does it: first threads of all cores, then second ones."""
    total = nodes * cores
    per_socket = total // (sockets or nodes)
    cpus = {
        thread * total + core: CPU(core, core // per_socket, core // cores)
        for thread in range(threads)
        for core in range(total)
    }
    memory = {node: {"memory": 8 << 30} for node in range(nodes)}
    return Topology(dict(sorted(cpus.items())), tuple(range(nodes)), memory)


def write_system(directory: Path, topology: Topology) -> Path:
    """As sysfs shows it."""

    def put(path: str, text: object) -> None:
        file = directory / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n")

    put("cpu/online", f"0-{len(topology.cpus) - 1}")
    for id, cpu in topology.cpus.items():
        siblings = sorted(topology.siblings([id]))
        put(f"cpu/cpu{id}/topology/thread_siblings_list", ",".join(map(str, siblings)))
        put(f"cpu/cpu{id}/topology/physical_package_id", cpu.socket)
        put(f"cpu/cpu{id}/cache/index3/level", 3)
        put(f"cpu/cpu{id}/cache/index3/id", cpu.cache)
        put(f"cpu/cpu{id}/cache/index0/level", 1)
    for node in topology.nodes:
        put(f"node/node{node}/cpulist", ",".join(map(str, sorted(topology.of_nodes([node])))))
        put(f"node/node{node}/distance", " ".join("10" if n == node else "20" for n in topology.nodes))
        put(f"node/node{node}/meminfo", f"Node {node} MemTotal:       {8 << 20} kB")
        put(f"node/node{node}/hugepages/hugepages-2048kB/nr_hugepages", 4)
    return directory


def container(name: str, cpu: str, memory: str = "64Mi", **more: Any) -> Object:
    amounts = {"cpu": cpu, "memory": memory}
    return {"name": name, "image": "busybox", "resources": {"requests": amounts, "limits": amounts}, **more}


def pod(uid: str, *containers: Object, init: tuple[Object, ...] = (), **more: Any) -> Object:
    return {
        "metadata": {"name": uid, "namespace": "default", "uid": uid},
        "spec": {"containers": list(containers), "initContainers": list(init), **more},
    }
