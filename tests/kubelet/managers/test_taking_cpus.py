"""Machines as sysfs shows them, and which CPUs are taken of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from machines import machine, write_system

from tiphys.kubelet.managers import cpusets
from tiphys.kubelet.managers.taking import NotEnoughCPUs, take, take_spread
from tiphys.kubelet.managers.topology import CPU, Topology, read_topology


@pytest.mark.parametrize("text", ["", "0", "0-3", "0-1,4,6-7"])
def test_sets_are_spelt_as_the_kernel_does(text: str) -> None:
    assert cpusets.text(cpusets.parse(text)) == text


@given(st.frozensets(st.integers(0, 200)))
def test_every_set_can_be_spelt(cpus: frozenset[int]) -> None:
    assert cpusets.parse(cpusets.text(cpus)) == cpus


@pytest.mark.parametrize("text", ["a", "1-", "-", "1,,2"])
def test_what_is_no_set_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        cpusets.parse(text)


def test_a_machine_is_read_as_it_lies(tmp_path: Path) -> None:
    original = machine(nodes=2, cores=4)
    found = read_topology(write_system(tmp_path, original))
    assert found.cpus == original.cpus
    assert found.nodes == (0, 1)
    assert found.memory[1] == {"memory": 8 << 30, "hugepages-2Mi": 8 << 20}
    assert found.distances == {0: (10, 20), 1: (20, 10)}
    assert (found.threads_per_core, found.sockets) == (2, 2)


def test_a_machine_without_numa_is_one_node(tmp_path: Path) -> None:
    system = write_system(tmp_path, machine())
    for file in (system / "node" / "node0").rglob("*"):
        if file.is_file():
            file.unlink()
    (system / "node").rename(system / "elsewhere")
    found = read_topology(system)
    assert found.nodes == (0,)
    assert found.of_nodes([0]) == {0, 1, 2, 3}


@pytest.mark.parametrize(
    ("topology", "free", "count", "expected"),
    [
        # One node, four cores of two threads: 0,4 1,5 2,6 3,7
        (machine(cores=4), "0-7", 1, "0"),
        (machine(cores=4), "0-7", 2, "0,4"),
        (machine(cores=4), "0-7", 3, "0-1,4"),
        (machine(cores=4), "0-7", 8, "0-7"),
        # A core that is in use already goes before one that is whole.
        (machine(cores=4), "0-2,4,6", 1, "1"),
        (machine(cores=4), "0-2,4,6", 3, "0-1,4"),
        # Two nodes of two cores: 0,4 1,5 | 2,6 3,7
        (machine(nodes=2, cores=2), "0-7", 4, "0-1,4-5"),
        (machine(nodes=2, cores=2), "1-7", 4, "2-3,6-7"),
        (machine(nodes=2, cores=2), "1-7", 2, "1,5"),
        (machine(nodes=2, cores=2), "0-7", 6, "0-2,4-6"),
        # Sockets that are larger than NUMA nodes go first.
        (machine(nodes=4, cores=1, sockets=2), "0-7", 4, "0-1,4-5"),
    ],
)
def test_cpus_are_taken_as_close_together_as_can_be(
    topology: Topology, free: str, count: int, expected: str
) -> None:
    assert cpusets.text(take(topology, cpusets.parse(free), count)) == expected


def test_what_is_not_there_is_not_taken() -> None:
    with pytest.raises(NotEnoughCPUs, match="requested=3, available=2"):
        take(machine(), cpusets.parse("0,2"), 3)


def test_cpus_that_share_a_cache_go_before_others_if_that_is_asked_for() -> None:
    cpus = {id: CPU(id, 0, 0, cache=id // 4) for id in range(12)}
    topology = Topology(cpus)
    free = cpusets.parse("1-11")
    assert cpusets.text(take(topology, free, 4)) == "1-4"
    assert cpusets.text(take(topology, free, 4, by_cache=True)) == "4-7"
    assert cpusets.text(take(topology, free, 3, by_cache=True)) == "1-3"
    assert cpusets.text(take(topology, free, 6, by_cache=True)) == "1-2,4-7"


def test_cpus_are_spread_evenly_over_nodes_if_that_is_asked_for() -> None:
    topology = machine(nodes=2, cores=4)
    everything = topology.all
    assert cpusets.text(take_spread(topology, everything, 4, 1)) == "0-1,8-9"
    evenly = take_spread(topology, everything, 10, 1)
    assert {node: len(cpus) for node, cpus in topology.group(evenly, lambda cpu: cpu.node).items()} == {
        0: 5,
        1: 5,
    }
    by_core = take_spread(topology, everything, 10, 2)
    assert sorted(len(cpus) for cpus in topology.group(by_core, lambda cpu: cpu.node).values()) == [4, 6]
    assert all(len(cpus) == 2 for cpus in topology.group(by_core, lambda cpu: cpu.core).values())


MACHINES = st.builds(
    machine, nodes=st.integers(1, 4), cores=st.integers(1, 4), threads=st.integers(1, 2), sockets=st.none()
)


@given(MACHINES, st.data())
def test_exactly_what_is_asked_for_is_taken_of_what_is_free(topology: Topology, data: st.DataObject) -> None:
    free = frozenset(data.draw(st.sets(st.sampled_from(sorted(topology.all)), min_size=1)))
    count = data.draw(st.integers(1, len(free)))
    for by_cache in (False, True):
        taken = take(topology, free, count, by_cache=by_cache)
        assert taken <= free
        assert len(taken) == count
    for size in (1, topology.threads_per_core):
        spread = take_spread(topology, free, count, size)
        assert spread <= free
        assert len(spread) == count


@given(MACHINES, st.data())
def test_whole_cores_are_taken_as_long_as_there_are_some(topology: Topology, data: st.DataObject) -> None:
    cores = topology.group(topology.all, lambda cpu: cpu.core)
    chosen = data.draw(st.sets(st.sampled_from(sorted(cores)), min_size=1))
    free = frozenset().union(*(cores[core] for core in chosen))
    count = data.draw(st.integers(1, len(chosen))) * topology.threads_per_core
    taken = take(topology, free, count)
    assert topology.siblings(taken) == taken
