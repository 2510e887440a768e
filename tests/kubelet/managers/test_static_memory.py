"""The memory manager's Static policy: which NUMA nodes memory comes from, and what a kubelet that comes back believes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from machines import container, machine, pod

from tiphys.kubelet.admission import Refused
from tiphys.kubelet.allocation_metrics import ManagerMetrics
from tiphys.kubelet.configuration_values import MemoryReservation
from tiphys.kubelet.managers import checkpoint
from tiphys.kubelet.managers.checkpoint import CannotStart
from tiphys.kubelet.managers.hints import Hint
from tiphys.kubelet.managers.memory import StaticMemory
from tiphys.kubelet.managers.memory_manager import MemoryManager, reservations
from tiphys.machinery.metrics import Registry
from tiphys.machinery.quantity import parse

Object = dict[str, Any]
TWO = machine(nodes=2)
"""Two nodes of 8Gi; of each 1Gi is the system's."""
GIB = 1 << 30
RESERVED = {0: {"memory": GIB}, 1: {"memory": GIB}}


def static() -> StaticMemory:
    return StaticMemory(TWO, RESERVED)


def one(uid: str, memory: str) -> Object:
    return pod(uid, container("c", "1", memory))


def give(memory: StaticMemory, wanted: Object, nodes: frozenset[int] | None = None) -> list[list[int]]:
    containers = [*wanted["spec"]["initContainers"], *wanted["spec"]["containers"]]
    for each in containers:
        memory.allocate(wanted, each, nodes)
    return [sorted(memory.nodes_of(wanted["metadata"]["uid"], each["name"])) for each in containers]


def free(memory: StaticMemory) -> list[float]:
    return [state["memoryMap"]["memory"]["free"] / GIB for state in memory.machine().values()]


def test_memory_of_guaranteed_pods_comes_from_one_node_as_long_as_it_fits() -> None:
    memory = static()
    assert give(memory, one("a", "5Gi")) == [[0]]
    assert give(memory, one("b", "5Gi")) == [[1]]
    assert free(memory) == [2, 2]
    with pytest.raises(Refused) as refused:
        give(memory, one("c", "3Gi"))
    assert str(refused.value) == (
        "Allocate failed due to [memorymanager] failed to get the default NUMA affinity, "
        "no NUMA nodes with enough memory is available, which is unexpected"
    )
    assert memory.keep_only({"b"})
    assert free(memory) == [7, 2]


def test_what_fits_on_no_node_comes_from_several_that_serve_together_from_then_on() -> None:
    memory = static()
    assert give(memory, one("wide", "10Gi")) == [[0, 1]]
    assert free(memory) == [0, 4]
    assert give(memory, one("narrow", "1Gi")) == [[0, 1]]
    memory.keep_only(())
    assert give(memory, one("narrow", "1Gi")) == [[0]]
    with pytest.raises(Refused):
        give(memory, one("wide", "10Gi"))


def test_all_others_take_what_there_is() -> None:
    memory = static()
    assert give(memory, pod("burstable", {"name": "c", "resources": {"requests": {"memory": "1Gi"}}})) == [[]]
    assert give(memory, pod("whole", container("c", "1"), resources={"requests": {"cpu": "4"}})) == [[]]
    assert free(memory) == [7, 7]


def test_containers_use_again_what_init_containers_had() -> None:
    memory = static()
    init = (container("i", "1", "6Gi"), container("side", "1", "1Gi", restartPolicy="Always"))
    wanted = pod("p", container("c", "1", "4Gi"), container("d", "1", "1Gi"), init=init)
    assert give(memory, wanted) == [[0], [0], [0], [0]]
    assert free(memory) == [1, 7]
    assert sum(block["size"] for of in memory.entries()["p"].values() for block in of) == 6 * GIB


def test_memory_lies_where_the_rest_does_and_beyond_if_it_must() -> None:
    assert give(static(), one("a", "2Gi"), frozenset({1})) == [[1]]
    assert give(static(), one("a", "9Gi"), frozenset({1})) == [[0, 1]]
    with pytest.raises(Refused, match="failed to find NUMA nodes to extend the current topology hint"):
        give(static(), one("a", "20Gi"), frozenset({1}))


def test_hints_say_where_memory_could_come_from() -> None:
    memory, wanted = static(), one("a", "5Gi")
    each = wanted["spec"]["containers"][0]
    zero, second, both = frozenset({0}), frozenset({1}), frozenset({0, 1})
    narrow = [Hint(zero, True), Hint(second, True), Hint(both, False)]
    assert memory.hints(wanted, each) == memory.pod_hints(wanted) == {"memory": narrow}
    give(memory, one("b", "5Gi"))
    # Node 0 has something on it alone, so it serves in no group.
    assert memory.hints(wanted, each) == {"memory": [Hint(second, True)]}
    give(memory, wanted)
    assert memory.hints(wanted, each) == memory.pod_hints(wanted) == {"memory": [Hint(second, True)]}
    assert memory.hints(pod("x", {"name": "c"}), {"name": "c"}) == {}


# What is kept


def test_what_was_given_is_on_disk_as_upstream_writes_it(tmp_path: Path) -> None:
    path = tmp_path / checkpoint.MEMORY_STATE
    assert checkpoint.read_memory(path, "None") is None
    assert path.read_text() == '{"policyName":"None","machineState":{},"checksum":4236770233}'
    table = {"total": 2048, "systemReserved": 512, "allocatable": 1536, "reserved": 512, "free": 1024}
    node = {"numberOfAssignments": 0, "memoryMap": {"memory": table}, "cells": []}
    blocks = [{"numaAffinity": [0], "type": "memory", "size": 512}]
    checkpoint.write_memory(path, "static", {"0": node}, {"pod": {"container1": blocks}})
    assert json.loads(path.read_text())["checksum"] == 4215593881


async def test_a_kubelet_that_comes_back_knows_who_has_what(tmp_path: Path) -> None:
    path, metrics = tmp_path / checkpoint.MEMORY_STATE, ManagerMetrics(Registry())
    wanted = one("wide", "10Gi")
    await MemoryManager(static(), path, metrics).allocate(wanted, wanted["spec"]["containers"][0], None)
    after = MemoryManager(static(), path, metrics)
    assert after.static.nodes_of("wide", "c") == {0, 1}
    assert free(after.static) == [0, 4]
    after.keep_only(())
    assert "entries" not in json.loads(path.read_text())
    larger = StaticMemory(machine(nodes=2), {0: {"memory": GIB}, 1: {"memory": 2 * GIB}})
    with pytest.raises(CannotStart) as refused:
        MemoryManager(larger, path, metrics)
    assert str(refused.value) == (
        "start memory manager error: [memorymanager] the expected machine state is different from the real one"
    )


def test_another_policy_than_that_of_the_pods_that_run_is_refused(tmp_path: Path) -> None:
    checkpoint.read_none(tmp_path)
    path = tmp_path / checkpoint.MEMORY_STATE
    with pytest.raises(CannotStart) as refused:
        MemoryManager(static(), path, ManagerMetrics(Registry()))
    assert str(refused.value) == (
        "start memory manager error: could not restore state from checkpoint: "
        'configured policy "Static" differs from state checkpoint policy "None", please drain this node and delete '
        f'the memory manager checkpoint file "{path}" before restarting Kubelet'
    )


def test_what_is_reserved_by_node_is_what_is_reserved() -> None:
    given = [MemoryReservation(0, {"memory": parse("1Gi")}), MemoryReservation(1, {"memory": parse("512Mi")})]
    total = {"memory": parse("1536Mi"), "cpu": parse("1")}
    assert reservations(given, total, TWO) == {0: {"memory": GIB}, 1: {"memory": GIB // 2}}
    with pytest.raises(CannotStart) as refused:
        reservations(given, {"memory": parse("1Gi")}, TWO)
    assert str(refused.value) == (
        'the total amount "1536Mi" of type "memory" is not equal to the value "1Gi" '
        "determined by Node Allocatable feature"
    )
    with pytest.raises(CannotStart, match="references a NUMA node 2 that does not exist on this machine"):
        reservations([MemoryReservation(2, {"memory": parse("1Gi")})], {}, TWO)


# Whatever happens


class Comings(RuleBasedStateMachine):
    """Pods come and go in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.memory = static()
        self.pods: dict[str, Object] = {}
        self.count = 0

    @rule(
        sizes=st.lists(st.integers(1, 9), min_size=1, max_size=3),
        init=st.lists(st.integers(1, 9), max_size=2),
        nodes=st.sampled_from([None, frozenset({0}), frozenset({1}), frozenset({0, 1})]),
    )
    def come(self, sizes: list[int], init: list[int], nodes: frozenset[int] | None) -> None:
        self.count += 1
        uid = f"p{self.count}"
        wanted = pod(
            uid,
            *(container(f"c{number}", "1", f"{size}Gi") for number, size in enumerate(sizes)),
            init=tuple(container(f"i{number}", "1", f"{size}Gi") for number, size in enumerate(init)),
        )
        try:
            give(self.memory, wanted, nodes)
        except Refused:
            self.memory.keep_only(set(self.pods))
        else:
            self.pods[uid] = wanted

    @rule(data=st.data())
    def go(self, data: st.DataObject) -> None:
        if self.pods:
            del self.pods[data.draw(st.sampled_from(sorted(self.pods)))]
            self.memory.keep_only(set(self.pods))

    @invariant()
    def nothing_is_given_twice_and_all_comes_back(self) -> None:
        given = sum(
            block["size"]
            for of in self.memory.entries().values()
            for blocks in of.values()
            for block in blocks
        )
        assert min(free(self.memory)) >= 0
        assert sum(free(self.memory)) == 14 - given / GIB

    @invariant()
    def a_node_serves_alone_or_in_one_group(self) -> None:
        groups = {
            frozenset(block["numaAffinity"])
            for of in self.memory.entries().values()
            for blocks in of.values()
            for block in blocks
        }
        assert sum(map(len, groups)) == len(frozenset().union(*groups))


TestComings = Comings.TestCase
TestComings.settings = settings(max_examples=40, stateful_step_count=15, deadline=None)
