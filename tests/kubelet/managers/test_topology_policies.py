"""The topology manager's decisions: hints of several resources become one choice of NUMA nodes."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiphys.kubelet.managers.hints import POLICIES, Hint, Hints, TopologyPolicy, hints_for

TWO = frozenset({0, 1})


def hint(*nodes: int, preferred: bool = True) -> Hint:
    return Hint(frozenset(nodes), preferred)


BOTH = hint(0, 1, preferred=False)
EITHER: Sequence[Hint] = (hint(0), hint(1), BOTH)


def decide(name: str, *providers: Hints, all: frozenset[int] = TWO) -> tuple[set[int] | None, bool, bool]:
    best, is_welcome = TopologyPolicy(name, all).decide(providers)
    return (None if best.nodes is None else set(best.nodes)), best.is_preferred, is_welcome


@pytest.mark.parametrize(
    ("name", "providers", "expected"),
    [
        # Nobody minds.
        ("best-effort", [{}, {"gpu": None}], ({0, 1}, True, True)),
        ("single-numa-node", [{}, {"gpu": None}], (None, True, True)),
        # All can be had from node 1 only.
        ("restricted", [{"cpu": EITHER}, {"gpu": (hint(1), BOTH)}], ({1}, True, True)),
        ("single-numa-node", [{"cpu": EITHER}, {"gpu": (hint(1), BOTH)}], ({1}, True, True)),
        # The lowest of those that are as good.
        ("best-effort", [{"cpu": EITHER}], ({0}, True, True)),
        # Each from another node.
        ("best-effort", [{"cpu": (hint(0), BOTH)}, {"gpu": (hint(1), BOTH)}], ({0}, False, True)),
        ("restricted", [{"cpu": (hint(0), BOTH)}, {"gpu": (hint(1), BOTH)}], ({0}, False, False)),
        ("single-numa-node", [{"cpu": (hint(0),)}, {"gpu": (hint(1),)}], (None, False, False)),
        # It takes both nodes, and would on an empty machine.
        ("restricted", [{"cpu": (hint(0, 1),)}], ({0, 1}, True, True)),
        ("single-numa-node", [{"cpu": (hint(0, 1),)}], (None, False, False)),
        # It takes both nodes only because somebody else is there.
        ("restricted", [{"cpu": (BOTH,)}], ({0, 1}, False, False)),
        ("best-effort", [{"cpu": (BOTH,)}], ({0, 1}, False, True)),
        # It can be had from nowhere.
        ("restricted", [{"cpu": ()}], ({0, 1}, False, False)),
        ("best-effort", [{"cpu": ()}], ({0, 1}, False, True)),
    ],
)
def test_hints_become_one_choice(
    name: str, providers: list[Hints], expected: tuple[set[int] | None, bool, bool]
) -> None:
    assert decide(name, *providers) == expected


def test_a_resource_that_needs_two_nodes_is_not_served_from_one_where_nothing_is_preferred() -> None:
    four = frozenset(range(4))
    wide = [hint(0, 1, preferred=False), hint(0, 1, 2, preferred=False)]
    narrow = [hint(1, preferred=False), hint(0, 1, 2, 3, preferred=False)]
    assert decide("best-effort", {"cpu": wide}, {"gpu": narrow}, all=four) == ({0, 1}, False, True)


def test_near_nodes_are_preferred_if_that_is_asked_for() -> None:
    four = frozenset(range(4))
    far, near = hint(0, 1), hint(2, 3)
    distances = {0: (10, 30, 20, 20), 1: (30, 10, 20, 20), 2: (20, 20, 10, 12), 3: (20, 20, 12, 10)}
    assert TopologyPolicy("restricted", four).decide([{"cpu": (far, near)}])[0] == far
    assert TopologyPolicy("restricted", four, distances).decide([{"cpu": (far, near)}])[0] == near


def test_hints_are_choices_with_room_and_the_smallest_that_could_ever_do_is_preferred() -> None:
    size, free = {0: 4, 1: 4}, {0: 1, 1: 3}
    masks = [frozenset({0}), frozenset({1}), TWO]

    def hints(count: int) -> list[Hint]:
        return hints_for(
            masks, lambda mask: sum(size[n] for n in mask), lambda mask: sum(free[n] for n in mask), count
        )

    assert hints(2) == [hint(1), BOTH]
    assert hints(4) == [BOTH]
    assert hints(5) == []


HINTS = (
    st.lists(st.builds(Hint, st.frozensets(st.integers(0, 2), min_size=1), st.booleans()), max_size=4)
    | st.none()
)


@given(st.sampled_from(POLICIES[1:]), st.lists(st.dictionaries(st.sampled_from("abc"), HINTS), max_size=3))
def test_whoever_is_let_in_gets_nodes_of_the_machine(name: str, providers: list[Hints]) -> None:
    all = frozenset(range(3))
    best, is_welcome = TopologyPolicy(name, all).decide(providers)
    assert best.nodes is None or (best.nodes and best.nodes <= all)
    assert is_welcome == (name == "best-effort" or best.is_preferred)
    if name == "single-numa-node" and best.nodes is not None:
        assert len(best.nodes) == 1 or not is_welcome
