"""The CPU manager's static policy: who has CPUs alone, what the others share, and what a kubelet that comes back believes."""

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
from tiphys.kubelet.managers import checkpoint, cpusets
from tiphys.kubelet.managers.checkpoint import CannotStart
from tiphys.kubelet.managers.cpus import CPUOptions, StaticCPUs
from tiphys.kubelet.managers.hints import Hint
from tiphys.kubelet.managers.pinning import CPUManager

Object = dict[str, Any]
FOUR_CORES = machine(cores=4)
"""0,4 1,5 2,6 3,7"""


def static(reserved: str = "0,4", **options: Any) -> StaticCPUs:
    return StaticCPUs(FOUR_CORES, cpusets.parse(reserved), CPUOptions(**options))


def give(cpus: StaticCPUs, given: Object) -> list[str]:
    """What its containers have, by their order."""
    containers = [*given["spec"]["initContainers"], *given["spec"]["containers"]]
    for each in containers:
        cpus.allocate(given, each, None)
    return [cpusets.text(cpus.of(given["metadata"]["uid"], each["name"])) for each in containers]


def test_whole_cpus_of_guaranteed_pods_are_theirs_alone() -> None:
    cpus = static()
    assert give(cpus, pod("own", container("c", "2"), container("d", "1"))) == ["1,5", "2"]
    assert cpusets.text(cpus.shared) == "0,3-4,6-7"
    assert cpusets.text(cpus.allocatable) == "1-3,5-7"


@pytest.mark.parametrize(
    "shares",
    [
        pod("fraction", container("c", "1500m")),
        pod("burstable", {"name": "c", "resources": {"requests": {"cpu": "2"}}}),
        pod("best-effort", {"name": "c"}),
        pod("as-a-whole", container("c", "2"), resources={"requests": {"cpu": "4"}}),
    ],
)
def test_all_others_share(shares: Object) -> None:
    assert give(static(), shares) == ["0-7"]


def test_what_is_strictly_reserved_is_not_shared_either() -> None:
    cpus = static(strict_reservation=True)
    assert cpusets.text(cpus.shared) == "1-3,5-7"
    assert give(cpus, pod("own", container("c", "2"))) == ["1,5"]
    assert cpusets.text(cpus.shared) == "2-3,6-7"


def test_reserved_cpus_are_never_given_away() -> None:
    cpus = static()
    give(cpus, pod("most", container("c", "6")))
    with pytest.raises(Refused) as refused:
        give(cpus, pod("more", container("c", "1")))
    assert refused.value.reason == "UnexpectedAdmissionError"
    assert str(refused.value) == (
        "Allocate failed due to not enough cpus available to satisfy request: requested=1, available=0, "
        "which is unexpected"
    )
    assert cpusets.text(cpus.shared) == "0,4"


def test_containers_take_what_init_containers_leave_and_sidecars_keep_theirs() -> None:
    cpus = static()
    init = (
        container("first", "4"),
        container("sidecar", "2", restartPolicy="Always"),
        container("last", "2"),
    )
    assert give(cpus, pod("own", container("main", "2"), init=init)) == ["1-2,5-6", "1,5", "2,6", "2,6"]
    assert cpusets.text(cpus.shared) == "0,3-4,7"
    assert cpus.keep_only(())
    assert cpusets.text(cpus.shared) == "0-7"
    assert not cpus.keep_only(())


def test_a_container_keeps_its_cpus_when_it_is_asked_for_again() -> None:
    cpus, own = static(), pod("own", container("c", "2"))
    assert give(cpus, own) == give(cpus, own) == ["1,5"]


def test_cpus_near_to_what_else_a_container_has_are_taken_first() -> None:
    two = StaticCPUs(machine(nodes=2, cores=2), frozenset({0}))
    own = pod("own", container("c", "2"))
    assert two.allocate(own, own["spec"]["containers"][0], frozenset({1}))
    assert cpusets.text(two.of("own", "c")) == "2,6"
    wide = pod("wide", container("c", "4"))
    two.allocate(wide, wide["spec"]["containers"][0], frozenset({1}))
    assert cpusets.text(two.of("wide", "c")) == "1,3,5,7"


def test_only_whole_cores_are_given_if_that_is_asked_for() -> None:
    cpus = static(reserved="0", full_physical_only=True)
    with pytest.raises(Refused) as refused:
        give(cpus, pod("half", container("c", "3")))
    assert refused.value.reason == "SMTAlignmentError"
    assert str(refused.value) == "SMT Alignment Error: requested 3 cpus not multiple cpus per core = 2"
    with pytest.raises(Refused) as refused:
        give(cpus, pod("all", container("c", "8")))
    assert str(refused.value) == (
        "SMT Alignment Error: not enough free physical CPUs: "
        "available physical CPUs = 6, requested CPUs = 8, CPUs per core = 2"
    )
    assert give(cpus, pod("whole", container("c", "6"))) == ["1-3,5-7"]


def test_hints_say_where_a_containers_cpus_could_come_from() -> None:
    two = StaticCPUs(machine(nodes=2, cores=2), frozenset({0}))
    own = pod("own", container("c", "4"), container("d", "1"))
    first = own["spec"]["containers"][0]
    both, second = frozenset({0, 1}), frozenset({1})
    assert two.hints(own, first) == {"cpu": [Hint(second, True), Hint(both, False)]}
    assert two.pod_hints(own) == {"cpu": [Hint(both, True)]}
    two.allocate(own, first, second)
    assert two.hints(own, first) == {"cpu": [Hint(second, True), Hint(both, False)]}
    assert two.hints(pod("shares", container("c", "500m")), container("c", "500m")) == {}
    other = pod("own", container("c", "2"))
    assert two.hints(other, other["spec"]["containers"][0]) == {"cpu": []}


# What is kept


def test_what_was_given_is_on_disk_as_upstream_writes_it(tmp_path: Path) -> None:
    path = tmp_path / checkpoint.CPU_STATE
    checkpoint.write_cpus(path, "none", "4-6", {})
    assert json.loads(path.read_text())["checksum"] == 354655845
    checkpoint.write_cpus(path, "none", "1-3", {"pod": {"container2": "1-3", "container1": "4-6"}})
    assert path.read_text() == (
        '{"policyName":"none","defaultCpuSet":"1-3",'
        '"entries":{"pod":{"container1":"4-6","container2":"1-3"}},"checksum":3610638499}'
    )
    assert checkpoint.read_cpus(path, "none") == ("1-3", {"pod": {"container1": "4-6", "container2": "1-3"}})


async def test_a_kubelet_that_comes_back_knows_who_has_what(tmp_path: Path) -> None:
    path = tmp_path / checkpoint.CPU_STATE
    own = pod("own", container("c", "2"))
    before = CPUManager(static(), path)
    await before.allocate(own, own["spec"]["containers"][0], None)
    after = CPUManager(static(), path)
    assert cpusets.text(after.static.of("own", "c")) == "1,5"
    assert cpusets.text(after.static.shared) == "0,2-4,6-7"
    after.keep_only(())
    assert json.loads(path.read_text())["defaultCpuSet"] == "0-7"


def test_another_policy_than_that_of_the_pods_that_run_is_refused(tmp_path: Path) -> None:
    path = tmp_path / checkpoint.CPU_STATE
    assert checkpoint.read_cpus(path, "none") == ("", {})
    with pytest.raises(CannotStart) as refused:
        CPUManager(static(), path)
    assert str(refused.value) == (
        "start cpu manager error: could not restore state from checkpoint: "
        'configured policy "static" differs from state checkpoint policy "none", please drain this node and delete '
        f'the CPU manager checkpoint file "{path}" before restarting Kubelet'
    )


def test_a_file_that_somebody_has_touched_is_refused(tmp_path: Path) -> None:
    path = tmp_path / checkpoint.CPU_STATE
    checkpoint.write_cpus(path, "static", "0-7", {})
    path.write_text(path.read_text().replace("0-7", "0-6"))
    with pytest.raises(CannotStart, match="checkpoint is corrupted"):
        CPUManager(static(), path)
    path.write_text("{")
    with pytest.raises(CannotStart, match="please drain this node"):
        CPUManager(static(), path)


@pytest.mark.parametrize(
    ("shared", "entries", "options", "problem"),
    [
        ("", {"p": {"c": "1"}}, {}, "default cpuset cannot be empty"),
        ("1-7", {"p": {"c": "0"}}, {}, 'not all reserved cpus: "0,4" are present in defaultCpuSet: "1-7"'),
        (
            "0-3,5-7",
            {},
            {"strict_reservation": True},
            'some of strictly reserved cpus: "0" are present in defaultCpuSet: "0-3,5-7"',
        ),
        ("0-7", {"p": {"c": "1"}}, {}, 'pod: p, container: c cpuset: "1" overlaps with default cpuset "0-7"'),
        ("0-6", {}, {}, 'current set of available CPUs "0-7" doesn\'t match with CPUs in state "0-6"'),
        ("0-8", {}, {}, 'current set of available CPUs "0-7" doesn\'t match with CPUs in state "0-8"'),
    ],
)
def test_what_does_not_fit_the_machine_is_refused(
    tmp_path: Path, shared: str, entries: Object, options: Object, problem: str
) -> None:
    path = tmp_path / checkpoint.CPU_STATE
    checkpoint.write_cpus(path, "static", shared, entries)
    with pytest.raises(CannotStart) as refused:
        CPUManager(static(**options), path)
    assert str(refused.value) == f"start cpu manager error: {problem}"


# Whatever happens


class Comings(RuleBasedStateMachine):
    """Pods come and go in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.cpus = StaticCPUs(machine(nodes=2, cores=3), frozenset({0, 6}))
        self.pods: dict[str, Object] = {}
        self.count = 0

    @rule(
        counts=st.lists(st.integers(1, 4), min_size=1, max_size=3),
        init=st.lists(st.integers(1, 6), max_size=2),
        nodes=st.sampled_from([None, frozenset({0}), frozenset({1}), frozenset({0, 1})]),
    )
    def come(self, counts: list[int], init: list[int], nodes: frozenset[int] | None) -> None:
        self.count += 1
        uid = f"p{self.count}"
        wanted = pod(
            uid,
            *(container(f"c{number}", str(count)) for number, count in enumerate(counts)),
            init=tuple(container(f"i{number}", str(count)) for number, count in enumerate(init)),
        )
        try:
            for each in (*wanted["spec"]["initContainers"], *wanted["spec"]["containers"]):
                self.cpus.allocate(wanted, each, nodes)
        except Refused:
            self.cpus.keep_only(set(self.pods))
        else:
            self.pods[uid] = wanted

    @rule(data=st.data())
    def go(self, data: st.DataObject) -> None:
        if self.pods:
            del self.pods[data.draw(st.sampled_from(sorted(self.pods)))]
            self.cpus.keep_only(set(self.pods))

    @invariant()
    def no_cpu_is_given_twice(self) -> None:
        main = [
            self.cpus.exclusive(uid, each["name"])
            for uid, wanted in self.pods.items()
            for each in wanted["spec"]["containers"]
        ]
        assert sum(map(len, main)) == len(frozenset().union(*main))
        assert not frozenset().union(*main) & (self.cpus.shared | self.cpus.reserved)

    @invariant()
    def all_come_back(self) -> None:
        held = [cpus for of in self.cpus.assigned.values() for cpus in of.values()]
        assert self.cpus.shared | frozenset().union(*held) == frozenset(range(12))
        assert not self.cpus.shared & frozenset().union(*held)

    @invariant()
    def everybody_has_what_he_asked_for(self) -> None:
        for uid, wanted in self.pods.items():
            for each in wanted["spec"]["containers"]:
                count = int(each["resources"]["requests"]["cpu"])
                assert len(self.cpus.exclusive(uid, each["name"])) == count


TestComings = Comings.TestCase
TestComings.settings = settings(max_examples=40, stateful_step_count=15, deadline=None)
