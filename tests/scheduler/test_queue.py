"""Who is tried when: priorities, back-off, and what wakes a pod that fits nowhere."""

import asyncio
from typing import Any

import pytest

from tiphys.scheduler.plugins.interface import NODE_ADDED, NODE_LABELS, POD_DELETED
from tiphys.scheduler.queue import QueuedPod, SchedulingQueue, backoff_seconds
from tiphys.scheduler.snapshot import PodInfo
from tiphys.testing.clock import FakeClock

FIT = frozenset({"NodeResourcesFit"})


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def queue(clock: FakeClock) -> SchedulingQueue:
    return SchedulingQueue(clock)


def pod(name: str, priority: int = 0, **labels: Any) -> PodInfo:
    return PodInfo(
        {"metadata": {"name": name, "uid": name, "labels": labels}, "spec": {"priority": priority}}
    )


async def names(queue: SchedulingQueue, count: int) -> list[str]:
    return [(await queue.pop()).pod.uid for _ in range(count)]


def idle(queue: SchedulingQueue) -> bool:
    return queue.waiting["active"] == 0


async def test_the_highest_priority_comes_first_then_the_first(queue: SchedulingQueue) -> None:
    for each in (pod("a"), pod("b", 10), pod("c"), pod("d", 10)):
        queue.add(each)
    assert await names(queue, 4) == ["b", "d", "a", "c"]


async def test_a_priority_that_changes_while_waiting_counts(queue: SchedulingQueue) -> None:
    queue.add(pod("a", 1))
    queue.add(pod("b", 2))
    queue.add(pod("a", 3))
    assert await names(queue, 2) == ["a", "b"]


async def test_a_pod_that_is_gone_is_not_given_out(queue: SchedulingQueue) -> None:
    queue.add(pod("a"))
    queue.add(pod("b"))
    queue.remove("a")
    assert await names(queue, 1) == ["b"]


async def test_it_waits_for_a_pod(queue: SchedulingQueue) -> None:
    waiting = asyncio.create_task(queue.pop())
    await asyncio.sleep(0)
    queue.add(pod("a"))
    assert (await waiting).pod.uid == "a"


async def reject(queue: SchedulingQueue, by: frozenset[str] = FIT) -> QueuedPod:
    queued = await queue.pop()
    queue.unschedulable(queued, by)
    return queued


async def test_only_changes_that_may_help_wake_a_rejected_pod(
    queue: SchedulingQueue, clock: FakeClock
) -> None:
    queue.add(pod("a"))
    await reject(queue)
    queue.happened(NODE_LABELS)
    await clock.advance(20)
    assert queue.waiting == {"active": 0, "backoff": 0, "unschedulable": 1}
    queue.happened(POD_DELETED)
    assert queue.waiting["active"] == 1


async def test_a_woken_pod_backs_off_first(queue: SchedulingQueue, clock: FakeClock) -> None:
    queue.add(pod("a"))
    waits = []
    for _ in range(5):
        await reject(queue)
        queue.happened(NODE_ADDED)
        waits.append(clock.next_due)
        await clock.advance(waits[-1] or 0)
    assert waits == [1, 2, 4, 8, 10]


async def test_a_change_during_the_attempt_is_not_lost(queue: SchedulingQueue, clock: FakeClock) -> None:
    queue.add(pod("a"))
    queued = await queue.pop()
    queue.happened(NODE_ADDED)
    queue.unschedulable(queued, FIT)
    assert queue.waiting["unschedulable"] == 0
    await clock.advance(1)
    assert not idle(queue)


async def test_after_five_minutes_it_is_tried_in_any_case(queue: SchedulingQueue, clock: FakeClock) -> None:
    queue.add(pod("a"))
    await reject(queue)
    await clock.advance(299)
    assert idle(queue)
    await clock.advance(1)
    assert not idle(queue)


async def test_an_update_of_the_pod_itself_wakes_it_but_its_status_does_not(
    queue: SchedulingQueue, clock: FakeClock
) -> None:
    queue.add(pod("a"))
    await reject(queue)
    await clock.advance(5)
    queue.add(pod("a"))
    assert idle(queue)
    queue.add(pod("a", app="web"))
    assert not idle(queue)


async def test_a_failed_attempt_is_repeated_after_the_back_off(
    queue: SchedulingQueue, clock: FakeClock
) -> None:
    queue.add(pod("a"))
    queue.failed(await queue.pop())
    assert queue.waiting["backoff"] == 1
    await clock.advance(1)
    assert not idle(queue)


async def test_what_happens_to_a_removed_pod_does_not_matter(
    queue: SchedulingQueue, clock: FakeClock
) -> None:
    queue.add(pod("a"))
    queued = await queue.pop()
    queue.remove("a")
    queue.unschedulable(queued, FIT)
    queue.failed(queued)
    queue.done(queued)
    await clock.advance(600)
    assert len(queue) == 0
    assert idle(queue)


def test_back_off_doubles_to_ten_seconds() -> None:
    assert [backoff_seconds(attempts) for attempts in (1, 2, 3, 4, 5, 50)] == [1, 2, 4, 8, 10, 10]
