"""The registry of metrics, and the text that Prometheus reads."""

from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiphys.machinery.metrics import PENDING_LIMIT, Buckets, Registry, exponential, number

EXPECTED = """\
# HELP doors_open Doors.
# TYPE doors_open gauge
doors_open 3
# HELP requests_total [STABLE] Requests.
# TYPE requests_total counter
requests_total{code="200",verb="GET"} 2
requests_total{code="404",verb="GET"} 1
requests_total{code="5\\"\\\\\\n",verb="PUT"} 1e+06
# HELP waits_seconds [ALPHA] Waits.
# TYPE waits_seconds histogram
waits_seconds_bucket{kind="a",le="0.1"} 1
waits_seconds_bucket{kind="a",le="1"} 2
waits_seconds_bucket{kind="a",le="+Inf"} 5
waits_seconds_sum{kind="a"} 7.6
waits_seconds_count{kind="a"} 5
"""


def test_the_text() -> None:
    registry = Registry()
    waits = registry.histogram("waits_seconds", "Waits.", (0.1, 1.0), ("kind",))
    waits.observe(0.1, "a")
    waits.observe(0.5, "a")
    waits.labels("a").add(2.0, 2)
    waits.observe(3.0, "a")
    requests = registry.counter("requests_total", "Requests.", ("verb", "code"), stability="STABLE")
    requests.inc("GET", "404")
    requests.labels("GET", "200").value += 2
    requests.labels("PUT", '5"\\\n').value = 1e6
    registry.counter("nothing_total", "Never counted.", ("of",))
    doors = registry.gauge("doors_open", "Doors.", stability="")
    registry.before_scrape(lambda: doors.set(3))
    assert registry.render().decode() == EXPECTED


BOUNDS = (0.1, 1.0, 5.0)


@given(st.lists(st.sampled_from([0.0, 0.05, 0.1, 0.5, 1.0, 1.5, 5.0, 5.5, 1e9]), max_size=3 * PENDING_LIMIT))
def test_observations_are_counted_together_as_they_would_be_one_by_one(values: list[float]) -> None:
    together, one_by_one = Buckets(BOUNDS), Buckets(BOUNDS)
    for value in values:
        together.observe(value)
        one_by_one.add(value, 1)
        assert len(together.pending) < PENDING_LIMIT
    at_once = Buckets(BOUNDS)
    at_once.observe_all(values)
    for found in (together, at_once):
        assert (found.counts, found.sum, found.count) == (one_by_one.counts, one_by_one.sum, len(values))
        assert not found.pending


def test_one_name_is_one_family() -> None:
    registry = Registry()
    first = registry.counter("a_total", "A.", ("x",))
    assert registry.counter("a_total", "A.", ("x",)) is first
    first.inc("1")
    first.remove("1")
    assert registry.render() == b""


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"), (1.0, "1"), (-3.0, "-3"), (0.005, "0.005"), (0.0001, "0.0001"), (0.00001, "1e-05"), (100000, "100000"),
        (1000000, "1e+06"), (1234567.5, "1.2345675e+06"), (1764298379.5, "1.7642983795e+09"), (inf, "+Inf"), (-inf, "-Inf"),
        (nan, "NaN"), (999999.5, "999999.5"), (0.30000000000000004, "0.30000000000000004"),
    ],
)  # fmt: skip
def test_numbers_as_go_writes_them(value: float, text: str) -> None:
    assert number(value) == text


@given(st.floats(allow_nan=False))
def test_numbers_read_back(value: float) -> None:
    assert float(number(value)) == value


def test_exponential_buckets() -> None:
    assert exponential(1000, 10, 3) == (1000, 10000, 100000)
