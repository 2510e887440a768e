"""How seats are divided among levels, lent, and what each request needs of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiphys.apiserver.fairness.configuration import digest
from tiphys.apiserver.fairness.limits import Bounds, Demanded, Share, current_limits, spread
from tiphys.apiserver.fairness.objects import SUGGESTED_LEVELS, SUGGESTED_SCHEMAS
from tiphys.apiserver.fairness.queueset import ONE, Work
from tiphys.apiserver.fairness.retry_after import Dropped
from tiphys.apiserver.fairness.work import list_work, mutating_work, seats_limit
from tiphys.apiserver.requests import read_request

SHARES = st.lists(
    st.tuples(st.floats(0, 100), st.floats(0, 100), st.floats(0, 300)).map(
        lambda three: Share(min(three[:2]), max(three[:2]), three[2])
    ),
    min_size=1,
    max_size=8,
)


@given(SHARES, st.floats(0, 1))
def test_an_amount_is_spread_within_bounds(shares: list[Share], part: float) -> None:
    least, most = sum(share.lower for share in shares), sum(share.upper for share in shares)
    amount = least + part * (most - least)
    found = spread(amount, shares)
    assert sum(found) == pytest.approx(amount, abs=1e-6)
    for got, share in zip(found, shares, strict=True):
        assert share.lower - 1e-6 <= got <= share.upper + 1e-6


def test_in_proportion_to_the_target() -> None:
    assert spread(30, [Share(0, 100, 10), Share(0, 100, 20)]) == pytest.approx([10, 20])
    assert spread(30, [Share(0, 5, 10), Share(0, 100, 20)]) == pytest.approx([5, 25])
    assert spread(30, [Share(25, 100, 1), Share(0, 100, 20)]) == pytest.approx([25, 5])


NOMINAL = {
    "system": (74, 50), "node-high": (98, 73), "leader-election": (25, 25), "workload-high": (98, 49),
    "workload-low": (245, 24), "global-default": (49, 24), "catch-all": (13, 13), "exempt": (0, 0),
}  # fmt: skip
"""Seats of 600 that upstream's levels have (nominal, and the least of it that they keep)."""


def test_nominal_seats_of_the_suggested_levels() -> None:
    found = digest(SUGGESTED_LEVELS, SUGGESTED_SCHEMAS, seats=600)
    assert {
        name: (level.bounds.nominal, level.bounds.least) for name, level in found.levels.items()
    } == NOMINAL
    assert found.levels["system"].bounds.most == 74 + 600


def _limits(**demands: int) -> dict[str, int]:
    levels = {
        name: level.bounds
        for name, level in digest(SUGGESTED_LEVELS, SUGGESTED_SCHEMAS, seats=600).levels.items()
    }
    wanted = {name.replace("_", "-"): high for name, high in demands.items()}
    return current_limits(
        levels, {name: Demanded().after(wanted.get(name, 0), 0, wanted.get(name, 0)) for name in levels}
    )


def test_who_needs_more_borrows() -> None:
    found = _limits(global_default=500)
    assert found["global-default"] > 300
    for name, (_, least) in NOMINAL.items():
        assert found[name] >= least
    assert sum(found.values()) == pytest.approx(602, abs=4)


def test_what_is_in_use_is_not_lent() -> None:
    found = _limits(global_default=500, workload_low=245)
    assert found["workload-low"] >= 245


def test_exempt_requests_take_from_all() -> None:
    found = _limits(exempt=400, workload_low=200)
    assert found["exempt"] == 400
    assert sum(seats for name, seats in found.items() if name != "exempt") <= 260


def test_demand_fades_slowly() -> None:
    demanded = Demanded().after(100, 0, 100)
    for _ in range(6):
        demanded = demanded.after(0, 0, 0)
    assert demanded.smoothed == pytest.approx(100 * 0.977**6)
    assert demanded.after(200, 10, 250) == Demanded(210, 250)


def test_bounds_of_one_level() -> None:
    level = digest(
        [
            {
                "metadata": {"name": "mine"},
                "spec": {
                    "type": "Limited",
                    "limited": {
                        "nominalConcurrencyShares": 5,
                        "lendablePercent": 30,
                        "borrowingLimitPercent": 50,
                        "limitResponse": {"type": "Reject"},
                    },
                },
            }
        ],
        (),
        seats=100,
    ).levels["mine"]
    assert level.bounds == Bounds(50, 35, 75)


# Work


def _list(target: str, count: int, size_bytes: int, limit: int = 100) -> int:
    path, _, query = target.partition("?")
    parsed = dict(pair.split("=") for pair in query.split("&")) if query else {}
    values = {name: [value] for name, value in parsed.items()}
    info = read_request("GET", path, values)
    return list_work(info, values, count=count, size_bytes=size_bytes, limit=limit).seats


@pytest.mark.parametrize(
    ("target", "count", "size", "limit", "seats"),
    [
        ("/api/v1/pods", 0, 0, 100, 1),
        ("/api/v1/pods", 99, 1010, 100, 1),
        ("/api/v1/pods", 600, 1000, 100, 6),
        ("/api/v1/pods", 5000, 3000, 100, 10),
        ("/api/v1/pods", 5000, 3000, 4, 4),
        ("/api/v1/pods?limit=500", 5000, 1000, 100, 5),
        ("/api/v1/pods?fieldSelector=metadata.name=x", 5000, 3000, 100, 10),
    ],
)
def test_seats_of_lists(target: str, count: int, size: int, limit: int, seats: int) -> None:
    if "=x" in target:
        values = {"fieldSelector": ["metadata.name=x"]}
        info = read_request("GET", "/api/v1/pods", values)
        assert list_work(info, values, count=count, size_bytes=size, limit=limit).seats == 1
        return
    assert _list(target, count, size, limit) == seats


def test_seats_of_writes() -> None:
    assert mutating_work(9, limit=10) is ONE
    assert mutating_work(29, limit=10) == Work(1, 3, 0.005)
    wide = mutating_work(500, limit=10)
    assert (wide.initial_seats, wide.final_seats) == (1, 10)
    assert wide.additional_seconds == pytest.approx(0.025)
    assert (seats_limit(245), seats_limit(13), seats_limit(0)) == (37, 2, 1)


# Retry-After


def test_clients_are_told_to_wait_longer_while_many_are_turned_away() -> None:
    dropped = Dropped()
    seen = []
    for second in range(1000, 1120):
        for _ in range(10):
            dropped.record(second)
        seen.append(dropped.retry_after_seconds)
    assert seen[0] == 1
    assert seen[1:3] == [2, 2]
    assert seen[-1] == 32
    for second in range(1200, 1400, 20):
        dropped.record(second)
    assert dropped.retry_after_seconds == 22


def test_one_now_and_then_changes_nothing() -> None:
    dropped = Dropped()
    for second in range(0, 1000, 3):
        dropped.record(second)
    assert dropped.retry_after_seconds == 1
