"""The memory manager's Static policy: which NUMA nodes the memory of Guaranteed pods' containers comes from. Pure; one a node.

Every request for memory or huge pages becomes a block on one node, or on a group of nodes when none is large enough. A node belongs to
one group only as long as something is on it, so that what is promised on one node is not used up by who has it from several.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any

from tiphys.api.core.pod_resources import qos_class
from tiphys.kubelet import spec
from tiphys.kubelet.admission import Refused
from tiphys.kubelet.managers.checkpoint import BadState
from tiphys.kubelet.managers.hints import Hint, Hints, Nodes, hints_for
from tiphys.kubelet.managers.topology import Topology
from tiphys.kubelet.spec import Object
from tiphys.machinery import meta
from tiphys.machinery.frozen import frozen
from tiphys.machinery.quantity import as_value

HUGE_PAGES = "hugepages-"
Amounts = Mapping[str, int]
"""By kind of memory, bytes."""


@frozen
class Block:
    kind: str
    nodes: tuple[int, ...]
    size_bytes: int


@frozen
class _Table:
    """Of one kind of memory on one node."""

    total: int
    reserved_by_system: int
    reserved: int = 0

    @property
    def allocatable(self) -> int:
        return max(self.total - self.reserved_by_system, 0)

    @property
    def free(self) -> int:
        return self.allocatable - self.reserved


@frozen
class _Node:
    tables: Mapping[str, _Table]
    assignments: int = 0
    group: Nodes = frozenset()


def requested(pod: Object, container: Object) -> dict[str, int]:
    """What a container gets a part of the machine for; nothing: it takes what there is."""
    if pod["spec"].get("resources") or qos_class(pod["spec"]) != "Guaranteed":
        return {}
    requests = (container.get("resources") or {}).get("requests") or {}
    return {
        name: as_value(amount)
        for name, amount in sorted(requests.items())
        if name == "memory" or name.startswith(HUGE_PAGES)
    }


class StaticMemory:
    """`reserved`: by node and kind, bytes that are the system's."""

    def __init__(self, topology: Topology, reserved: Mapping[int, Amounts]) -> None:
        self._topology = topology
        self._reserved = reserved
        self.blocks: dict[str, dict[str, tuple[Block, ...]]] = {}

    def restore(self, machine: Mapping[str, Any], entries: Mapping[str, Any]) -> None:
        """What was kept. Raises BadState."""
        self.blocks = {
            uid: {
                name: tuple(
                    Block(block["type"], tuple(block["numaAffinity"]), block["size"]) for block in blocks
                )
                for name, blocks in containers.items()
            }
            for uid, containers in entries.items()
        }
        if machine and machine != self.machine():
            self.blocks = {}
            raise BadState("[memorymanager] the expected machine state is different from the real one")

    # What there is

    def _nodes(self) -> dict[int, _Node]:
        found = {
            node: _Node(
                {
                    kind: _Table(total, self._reserved.get(node, {}).get(kind, 0))
                    for kind, total in sorted(self._topology.memory.get(node, {}).items())
                },
                group=frozenset({node}),
            )
            for node in self._topology.nodes
        }
        for containers in self.blocks.values():
            for blocks in containers.values():
                for block in blocks:
                    _put(found, block)
        return found

    def machine(self) -> dict[str, Any]:
        """As it is kept."""
        return {
            str(node): {
                "numberOfAssignments": state.assignments,
                "memoryMap": {
                    kind: {
                        "total": table.total,
                        "systemReserved": table.reserved_by_system,
                        "allocatable": table.allocatable,
                        "reserved": table.reserved,
                        "free": table.free,
                    }
                    for kind, table in state.tables.items()
                },
                "cells": sorted(state.group),
            }
            for node, state in self._nodes().items()
        }

    def entries(self) -> dict[str, dict[str, list[dict[str, Any]]]]:
        """As they are kept."""
        return {
            uid: {
                name: [
                    {"numaAffinity": list(block.nodes), "type": block.kind, "size": block.size_bytes}
                    for block in blocks
                ]
                for name, blocks in containers.items()
            }
            for uid, containers in self.blocks.items()
        }

    def nodes_of(self, uid: str, container: str) -> Nodes:
        """Where its memory comes from; empty: from anywhere."""
        blocks = self.blocks.get(uid, {}).get(container, ())
        return frozenset(node for block in blocks for node in block.nodes)

    def keep_only(self, uids: Collection[str]) -> bool:
        """Pods that are over give back what they had; whether any did."""
        kept = {uid: containers for uid, containers in self.blocks.items() if uid in uids}
        has_changed = len(kept) != len(self.blocks)
        self.blocks = kept
        return has_changed

    # Giving

    def allocate(self, pod: Object, container: Object, nodes: Nodes | None) -> bool:
        """Gives a container of a pod that is being admitted its memory, from `nodes` and more if these are not enough. Raises Refused."""
        wanted = requested(pod, container)
        uid, name = meta.uid(pod), container["name"]
        if not wanted or name in self.blocks.get(uid, {}):
            return False
        reusable = self._reusable(pod, container)
        chosen = self._choose(self._hints(wanted, self._left(uid, reusable)), nodes)
        blocks = tuple(Block(kind, tuple(sorted(chosen)), size) for kind, size in wanted.items())
        has = self.blocks.setdefault(uid, {})
        again = {(block.kind, block.nodes): block.size_bytes for block in blocks}
        for earlier in reusable:
            has[earlier] = tuple(_without(has[earlier], again))
        has[name] = blocks
        return True

    def _choose(self, hints: list[Hint], nodes: Nodes | None) -> Nodes:
        if nodes is not None:
            if any(hint.nodes == nodes for hint in hints):
                return nodes
            hints = [hint for hint in hints if hint.nodes is not None and hint.nodes > nodes]
            problem = "failed to find NUMA nodes to extend the current topology hint"
        else:
            problem = "failed to get the default NUMA affinity, no NUMA nodes with enough memory is available"
        best = min(hints, key=_closeness, default=None)
        if best is None or best.nodes is None:
            raise Refused.unexpectedly(f"[memorymanager] {problem}")
        return best.nodes

    def _reusable(self, pod: Object, container: Object) -> list[str]:
        """Init containers that have ended when this one begins."""
        found = []
        for earlier in (*spec.containers(pod, "init"), *spec.containers(pod)):
            if earlier["name"] == container["name"]:
                break
            if spec.is_passing(pod, earlier) and earlier["name"] in self.blocks.get(meta.uid(pod), {}):
                found.append(earlier["name"])
        return found

    def _left(self, uid: str, names: Iterable[str]) -> list[Block]:
        return [block for name in names for block in self.blocks[uid][name]]

    # Hints

    def hints(self, pod: Object, container: Object) -> Hints:
        wanted = requested(pod, container)
        blocks = self.blocks.get(meta.uid(pod), {}).get(container["name"])
        if blocks is not None:
            return {block.kind: [Hint(frozenset(block.nodes), is_preferred=True)] for block in blocks}
        hints = self._hints(wanted, self._left(meta.uid(pod), self._reusable(pod, container)))
        return dict.fromkeys(wanted, hints) if wanted else {}

    def pod_hints(self, pod: Object) -> Hints:
        """Of all its containers together."""
        for blocks in self.blocks.get(meta.uid(pod), {}).values():
            return {block.kind: [Hint(frozenset(block.nodes), is_preferred=True)] for block in blocks}
        lasting: dict[str, int] = {}
        most: dict[str, int] = {}
        for container in (*spec.containers(pod, "init"), *spec.containers(pod)):
            for kind, size in requested(pod, container).items():
                if spec.is_passing(pod, container):
                    most[kind] = max(most.get(kind, 0), lasting.get(kind, 0) + size)
                else:
                    lasting[kind] = lasting.get(kind, 0) + size
        wanted = {kind: max(size, most.get(kind, 0)) for kind, size in lasting.items()}
        return dict.fromkeys(wanted, self._hints(wanted, ())) if wanted else {}

    def _hints(self, wanted: Amounts, left: Iterable[Block]) -> list[Hint]:
        """`left`: what may be used again, by whoever takes it from the same nodes."""
        nodes = self._nodes()

        def has(mask: Nodes, kind: str) -> int:
            again = sum(b.size_bytes for b in left if b.kind == kind and frozenset(b.nodes) == mask)
            return again + sum(_free(nodes[node], kind) for node in mask)

        def could_have(mask: Nodes, kind: str) -> int:
            return sum(_allocatable(nodes[node], kind) for node in mask)

        def free(mask: Nodes) -> int | None:
            if any(nodes[node].assignments and nodes[node].group != mask for node in mask):
                return None
            return all(has(mask, kind) >= size for kind, size in wanted.items())

        def capacity(mask: Nodes) -> int:
            return all(could_have(mask, kind) >= size for kind, size in wanted.items())

        return hints_for(self._topology.masks(), capacity, free, 1)


def _free(node: _Node, kind: str) -> int:
    return node.tables[kind].free if kind in node.tables else 0


def _allocatable(node: _Node, kind: str) -> int:
    return node.tables[kind].allocatable if kind in node.tables else 0


def _put(nodes: dict[int, _Node], block: Block) -> None:
    """On the first of its nodes as far as that reaches, then on the next ones."""
    left = block.size_bytes
    for id in block.nodes:
        node = nodes.get(id)
        if node is None:
            raise BadState(f"[memorymanager] (pod memory): NUMA node {id} is not there")
        tables = dict(node.tables)
        if block.kind in tables:
            part = min(left, tables[block.kind].free)
            tables[block.kind] = replace(tables[block.kind], reserved=tables[block.kind].reserved + part)
            left -= part
        nodes[id] = _Node(tables, node.assignments + 1, frozenset(block.nodes))


def _without(blocks: Iterable[Block], again: dict[tuple[str, tuple[int, ...]], int]) -> Iterable[Block]:
    """What of an init container's blocks is left when another container uses their memory; `again` becomes what it still needs."""
    for block in blocks:
        used = min(again.get((block.kind, block.nodes), 0), block.size_bytes)
        if used:
            again[block.kind, block.nodes] -= used
        yield replace(block, size_bytes=block.size_bytes - used)


def _closeness(hint: Hint) -> tuple[bool, int, list[int]]:
    nodes = sorted(hint.nodes or ())
    return not hint.is_preferred, len(nodes), nodes
