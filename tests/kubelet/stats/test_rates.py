"""How much processor something uses now, from questions at arbitrary times."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tiphys.kubelet.stats.rates import Rates
from tiphys.kubelet.stats.usage import CPUUsage

NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)
LONG_AGO = NOON - timedelta(hours=1)
CORE = 10**9


def at(seconds: float, used_seconds: float) -> CPUUsage:
    return CPUUsage(NOON + timedelta(seconds=seconds), round(used_seconds * CORE))


def test_the_first_look_at_something_old_says_nothing_the_second_does() -> None:
    rates = Rates()
    assert rates.nano_cores("a", at(0, 100), LONG_AGO) is None
    assert rates.nano_cores("a", at(1, 100.5), LONG_AGO) == CORE // 2


def test_what_began_lately_is_known_at_once() -> None:
    assert Rates().nano_cores("a", at(10, 2), NOON) == CORE // 5


def test_within_seconds_the_last_answer_stands() -> None:
    rates = Rates()
    rates.nano_cores("a", at(0, 0), LONG_AGO)
    assert rates.nano_cores("a", at(10, 10), LONG_AGO) == CORE
    assert rates.nano_cores("a", at(12, 10), LONG_AGO) == CORE
    assert rates.nano_cores("a", at(15, 10), LONG_AGO) == 0


def test_a_look_of_long_ago_does_not_count() -> None:
    rates = Rates()
    rates.nano_cores("a", at(0, 0), LONG_AGO)
    assert rates.nano_cores("a", at(10, 10), LONG_AGO) == CORE
    assert rates.nano_cores("a", at(1000, 500), LONG_AGO) is None
    assert rates.nano_cores("a", at(1001, 500.25), LONG_AGO) == CORE // 4


def test_a_group_that_was_made_anew_begins_at_nothing() -> None:
    rates = Rates()
    rates.nano_cores("a", at(0, 100), LONG_AGO)
    assert rates.nano_cores("a", at(10, 1), NOON + timedelta(seconds=5)) == CORE // 5


def test_what_began_just_now_is_not_guessed() -> None:
    assert Rates().nano_cores("a", at(0.01, 0.01), NOON) is None


def test_what_is_not_measured_has_no_rate() -> None:
    assert Rates().nano_cores("a", None, NOON) is None


def test_things_do_not_mix_and_are_forgotten() -> None:
    rates = Rates()
    rates.nano_cores("a", at(0, 0), LONG_AGO)
    rates.nano_cores("b", at(30, 0), LONG_AGO)
    rates.forget_before(NOON + timedelta(seconds=20))
    assert rates.nano_cores("a", at(40, 10), LONG_AGO) is None
    assert rates.nano_cores("b", at(40, 10), LONG_AGO) == CORE
