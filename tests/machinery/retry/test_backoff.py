"""Back-off of work queues and of crashing containers."""

from datetime import UTC, datetime, timedelta
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from tiphys.machinery.retry import CRASH_LOOP, WORK_QUEUE, Backoff, CrashLoop, ItemBackoff

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def test_the_work_queue_doubles_from_five_milliseconds_to_a_thousand_seconds() -> None:
    delays = [WORK_QUEUE.delay_seconds(failures) for failures in (0, 1, 2, 3, 18, 19, 100_000)]
    assert delays == [0, 0.005, 0.01, 0.02, 655.36, 1000, 1000]


def test_jitter_only_adds() -> None:
    backoff = Backoff(base_seconds=1, cap_seconds=10, jitter=0.1)
    assert backoff.delay_seconds(1) == 1
    assert 1 < backoff.delay_seconds(1, Random(1)) < 1.1


@given(st.integers(0, 2000), st.randoms(use_true_random=False))
def test_waits_never_shrink_and_never_pass_the_cap(failures: int, random: Random) -> None:
    backoff = Backoff(base_seconds=0.1, cap_seconds=60, factor=1.5, jitter=0.5)
    assert backoff.delay_seconds(failures) <= backoff.delay_seconds(failures + 1) <= 60
    assert backoff.delay_seconds(failures, random) <= 90


def test_each_item_has_its_own_count() -> None:
    items: ItemBackoff[str] = ItemBackoff()
    assert [items.failed("a"), items.failed("a"), items.failed("b")] == [0.005, 0.01, 0.005]
    assert (items.failures("a"), items.failures("b"), items.failures("c")) == (2, 1, 0)
    items.forget("a")
    items.forget("never seen")
    assert items.failed("a") == 0.005


def test_the_first_restart_is_immediate_and_the_next_ones_wait_longer() -> None:
    loop, finished, waits = CrashLoop(), at(0), []
    for _ in range(8):
        wait = loop.wait_seconds(finished, now=finished)
        waits.append(wait)
        loop = loop.restart(finished)
        finished += timedelta(seconds=wait + 1)
    assert waits == [0, 10, 20, 40, 80, 160, 300, 300]


def test_the_wait_runs_from_the_finish() -> None:
    loop = CrashLoop().restart(at(0))
    assert loop.wait_seconds(at(5), now=at(5)) == 10
    assert loop.wait_seconds(at(5), now=at(12)) == 3
    assert loop.wait_seconds(at(5), now=at(15)) == 0
    assert loop.wait_seconds(at(5), now=at(60)) == 0


def test_a_container_that_ran_for_ten_minutes_starts_from_the_beginning() -> None:
    loop = CrashLoop().restart(at(0)).restart(at(11)).restart(at(32))
    assert loop.delay_seconds == 40
    assert loop.wait_seconds(at(32 + 600), now=at(32 + 600)) == 40
    assert loop.wait_seconds(at(32 + 601), now=at(32 + 601)) == 0
    assert loop.restart(at(32 + 601)).delay_seconds == CRASH_LOOP.base_seconds


def test_a_shorter_cap_forgives_no_sooner() -> None:
    loop = CrashLoop(Backoff(base_seconds=2.0, cap_seconds=2.0)).restart(at(0)).restart(at(3))
    assert loop.wait_seconds(at(603), now=at(603)) == 2
    assert loop.wait_seconds(at(604), now=at(604)) == 0
