import asyncio
import threading

import pytest

from tiphys.store.writer import COMMITS_INLINE, COMMITS_THREADED, LARGE_BATCH, Worker, WriterChoice

QUICK, SLOW = 0.0002, 0.010


def observe(choice: WriterChoice, *seconds: float, writes: int = 1) -> bool:
    for each in seconds:
        choice.observe(each, writes)
    return choice.inline


def test_a_quick_disk_stays_inline() -> None:
    assert observe(WriterChoice("adaptive"), *[QUICK] * 1000)


def test_one_slow_commit_changes_nothing() -> None:
    assert observe(WriterChoice("adaptive"), *([QUICK] * (COMMITS_INLINE - 1) + [SLOW]) * 3)


def test_a_slow_disk_gets_the_thread_after_a_few_commits() -> None:
    choice = WriterChoice("adaptive")
    assert observe(choice, *[SLOW] * (COMMITS_INLINE - 1))
    assert not observe(choice, SLOW)


def test_many_writes_in_a_commit_do_not_make_the_disk_slow() -> None:
    assert observe(WriterChoice("adaptive"), *[0.0025] * 100, writes=64)


def test_it_returns_when_the_disk_is_quick_again_though_the_thread_waits_for_the_lock_at_times() -> None:
    choice = WriterChoice("adaptive")
    observe(choice, *[SLOW] * COMMITS_INLINE)
    half_disturbed = [QUICK, 0.005] * (COMMITS_THREADED // 2)
    assert not observe(choice, *half_disturbed[:-1])
    assert observe(choice, half_disturbed[-1])


@pytest.mark.parametrize("inline", [True, False])
def test_a_fixed_choice_is_not_changed(inline: bool) -> None:
    choice = WriterChoice("inline" if inline else "thread")
    assert observe(choice, *[SLOW if inline else QUICK] * 200) is inline


def test_a_large_batch_goes_to_the_thread_on_any_disk() -> None:
    choice = WriterChoice("adaptive")
    assert choice.runs_inline(LARGE_BATCH)
    assert not choice.runs_inline(LARGE_BATCH + 1)
    assert WriterChoice("inline").runs_inline(LARGE_BATCH + 1)
    assert not WriterChoice("thread").runs_inline(1)


async def test_a_worker_keeps_the_order_and_answers_on_the_loop() -> None:
    worker, answers = Worker("test-worker"), []
    ended = asyncio.get_running_loop().create_future()

    def done(result: object, error: Exception | None) -> None:
        assert threading.current_thread() is threading.main_thread()
        answers.append((result, type(error)))
        if len(answers) == 3:
            ended.set_result(None)

    worker.submit(lambda: threading.current_thread().name, done)
    worker.submit(lambda: 1 // 0, done)
    worker.submit(lambda: 3, done)
    await ended
    assert answers == [("test-worker", type(None)), (None, ZeroDivisionError), (3, type(None))]
    worker.close()
    assert "test-worker" not in [thread.name for thread in threading.enumerate()]


def test_a_worker_outlives_a_loop_that_was_closed_without_it() -> None:
    worker, gate = Worker("test-worker"), threading.Event()

    async def leave() -> None:
        worker.submit(gate.wait, lambda result, error: None)

    asyncio.run(leave())
    gate.set()
    worker.close()


def test_a_worker_that_never_worked_closes() -> None:
    Worker("test-worker").close()
