"""The fair queue in simulated time: what must hold whatever comes, and who gets how much."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from queue_world import Sent, World

from tiphys.apiserver.fairness.matching import hash_of
from tiphys.apiserver.fairness.queueset import (
    CANCELLED,
    CONCURRENCY_LIMIT,
    EXECUTING,
    FINISHED,
    QUEUE_FULL,
    REJECTED,
    TIME_OUT,
    WAITING,
    QueueSet,
    Queuing,
    Seat,
    Work,
    deal,
)

MANY = Queuing(64, 6, 10_000)
FLOWS = st.sampled_from(["a", "b", "c", "d"])
REQUESTS = st.lists(
    st.builds(
        Sent,
        flow=FLOWS,
        at=st.floats(0, 5),
        seconds=st.floats(0, 2),
        work=st.builds(Work, st.integers(1, 12)),
    ),
    max_size=60,
)


@settings(max_examples=200, deadline=None)
@given(REQUESTS, st.integers(1, 10))
def test_everybody_is_served_and_no_seat_stays_free(requests: list[Sent], limit: int) -> None:
    world = World(MANY, limit)
    world.run(requests)  # World.check: work conservation, and never more seats than there are
    assert all(fate.seat.state == FINISHED for fate in world.fates)
    assert world.queues.idle
    assert (world.queues.seats_in_use, world.queues.seats_waiting, world.queues.waiting) == (0, 0, 0)
    assert not any(queue.busy or queue.waiting_work for queue in world.queues.queues)


@settings(max_examples=100, deadline=None)
@given(REQUESTS, st.integers(1, 4), st.integers(1, 3))
def test_queues_are_never_longer_than_they_may_be(requests: list[Sent], limit: int, length: int) -> None:
    world = World(Queuing(4, 2, length), limit)
    world.run(requests)
    assert all(fate.seat.reason == QUEUE_FULL for fate in world.rejected)
    assert all(fate.seat.state in (FINISHED, REJECTED) for fate in world.fates)
    assert max((len(queue.waiting) for queue in world.queues.queues), default=0) == 0


@pytest.mark.parametrize("limit", [1, 4, 7])
@pytest.mark.parametrize(
    ("first", "second", "width"), [(0.05, 0.05, 1), (0.2, 0.02, 1), (0.02, 0.2, 1), (0.05, 0.05, 4)]
)
def test_two_floods_get_the_same(first: float, second: float, width: int, limit: int) -> None:
    """However long or wide each one's requests are: seat-seconds are shared, not requests."""
    until, width = 20.0, min(width, limit)
    hands = [set(deal(hash_of("schema", flow), MANY.queues, MANY.hand_size)) for flow in ("a", "c")]
    assert not hands[0] & hands[1]  # flows that share queues share what these get
    requests = [Sent("a", 0.0, first) for _ in range(int(until * limit / first))]
    requests += [Sent("c", 0.0, second, Work(width)) for _ in range(int(until * limit / second / width))]
    world = World(MANY, limit)
    world.run(requests, until=until)
    a, b = world.served("a", until), world.served("c", until)
    assert a + b > 0.7 * until * limit  # wide ones may leave a seat free
    # Each of a flow's queues may be one request ahead of its time, and so may who came first.
    assert abs(a - b) <= (MANY.hand_size + limit) * (first + second * width)


def test_a_flood_does_not_starve_who_asks_now_and_then() -> None:
    flood = [Sent("flood", 0.0, 0.1) for _ in range(5000)]
    modest = [Sent("modest", 1.0 + 0.5 * number, 0.1) for number in range(30)]
    world = World(MANY, 4)
    world.run(flood + modest, until=20.0)
    waits = [
        fate.started - fate.sent.at
        for fate in world.fates
        if fate.sent.flow == "modest" and fate.started is not None
    ]
    assert len(waits) == 30
    assert max(waits) <= 0.2 + 1e-6  # at the latest when each of the flood's queues has had one more turn


def test_what_was_not_used_is_not_saved_up() -> None:
    """A flow that was quiet for long gets its share from now on, and no more."""
    early = [Sent("busy", 0.0, 0.1) for _ in range(1000)]
    late = [Sent("quiet", 10.0, 0.1) for _ in range(1000)]
    world = World(MANY, 2)
    world.run(early + late, until=20.0)
    got = world.served("busy", 20.0) - world.served("busy", 10.0)
    assert got == pytest.approx(10.0, abs=0.5)


def test_a_wide_request_gets_its_turn() -> None:
    narrow = [Sent("narrow", 0.001 * number, 1.0) for number in range(400)]
    wide = [Sent("wide", 0.5, 1.0, Work(10))]
    world = World(MANY, 10)
    world.run(narrow + wide, until=30.0)
    [fate] = [fate for fate in world.fates if fate.sent.flow == "wide"]
    assert fate.started is not None
    assert fate.started <= 12.0  # when narrow has had as much as it takes


def test_wider_than_the_level_runs_alone() -> None:
    world = World(MANY, 2)
    world.run([Sent("a", 0.0, 1.0), Sent("b", 0.1, 1.0, Work(7)), Sent("a", 0.2, 1.0)])
    assert [fate.started for fate in world.fates] == [0.0, 1.0, 2.0]


def test_without_queues_what_finds_no_seat_is_rejected() -> None:
    queues = QueueSet(Queuing(), limit=1, now=0.0)
    first, second = Seat(queues), Seat(queues)
    queues.arrive(first, (), 0.0)
    queues.arrive(second, (), 0.0)
    assert (first.state, second.state, second.reason) == (EXECUTING, REJECTED, CONCURRENCY_LIMIT)
    assert queues.refused == {CONCURRENCY_LIMIT: 1}


def test_exempt_requests_are_counted_and_never_held_back() -> None:
    queues = QueueSet(Queuing(), limit=0, now=0.0, exempt=True)
    seats = [Seat(queues, Work(5)) for _ in range(100)]
    for seat in seats:
        queues.arrive(seat, (), 0.0)
    assert queues.seats_in_use == 500
    queues.finish(seats[0], 1.0)
    assert queues.measure(2.0) == (pytest.approx((500 + 495) / 2), pytest.approx(2.5), 500)


def test_the_most_that_was_wanted_at_once_may_have_been_for_a_moment() -> None:
    queues = QueueSet(Queuing(1, 1, 9), limit=2, now=0.0)
    assert queues.measure(0.0) == (0.0, 0.0, 0)
    seats = [Seat(queues) for _ in range(3)]
    for seat in seats:
        queues.arrive(seat, (0,), 1.0)
    for seat in seats:
        queues.finish(seat, 1.0)
    assert queues.idle
    assert queues.measure(4.0) == (0.0, 0.0, 3)
    assert queues.measure(5.0) == (0.0, 0.0, 0)


def test_what_a_flow_had_before_anybody_waited_counts_when_somebody_does() -> None:
    queues = QueueSet(Queuing(2, 1, 9), limit=2, now=0.0)
    greedy, other = (0,), (1,)
    before = Seat(queues)
    queues.arrive(before, greedy, 0.0)
    for moment in range(1, 20):  # never in want of a seat, for one request overlaps the next
        seat = Seat(queues)
        queues.arrive(seat, greedy, float(moment))
        assert seat.state == EXECUTING
        queues.finish(before, float(moment))
        before = seat
    second, waiting, late = Seat(queues), Seat(queues), Seat(queues)
    queues.arrive(second, greedy, 20.0)
    queues.arrive(waiting, greedy, 20.0)
    queues.arrive(late, other, 20.5)
    assert (second.state, waiting.state, late.state) == (EXECUTING, WAITING, WAITING)
    assert list(queues.finish(before, 21.0)) == [late], "who has had nothing yet goes before who has had much"
    assert list(queues.finish(second, 22.0)) == [waiting]


def test_who_leaves_the_queue_frees_its_place() -> None:
    queues = QueueSet(Queuing(1, 1, 2), limit=1, now=0.0)
    running, wide, narrow = Seat(queues), Seat(queues, Work(3)), Seat(queues)
    for seat in (running, wide, narrow):
        queues.arrive(seat, (0,), 0.0)
    full = Seat(queues)
    queues.arrive(full, (0,), 0.0)
    assert (wide.state, narrow.state, full.reason) == (WAITING, WAITING, QUEUE_FULL)
    assert queues.withdraw(wide, TIME_OUT, 1.0) == []
    assert (wide.state, wide.reason) == (REJECTED, TIME_OUT)
    assert queues.finish(running, 2.0) == [narrow]
    assert queues.finish(narrow, 3.0) == ()
    assert queues.idle
    again, waiting = Seat(queues), Seat(queues)
    queues.arrive(again, (0,), 4.0)
    queues.arrive(waiting, (0,), 4.0)
    queues.withdraw(waiting, CANCELLED, 5.0)
    queues.finish(again, 6.0)
    assert queues.idle
    assert queues.refused == {QUEUE_FULL: 1, TIME_OUT: 1, CANCELLED: 1}


def test_more_seats_start_more() -> None:
    queues = QueueSet(Queuing(2, 1, 10), limit=1, now=0.0)
    seats = [Seat(queues) for _ in range(5)]
    for seat in seats:
        queues.arrive(seat, (0,), 0.0)
    assert queues.set_limit(3, 1.0) == seats[1:3]
    assert queues.set_limit(1, 1.0) == []


def test_fewer_queues_stay_until_they_are_empty() -> None:
    queues = QueueSet(Queuing(4, 1, 10), limit=1, now=0.0)
    first, second = Seat(queues), Seat(queues)
    queues.arrive(first, (3,), 0.0)
    queues.arrive(second, (3,), 0.0)
    queues.reconfigure(Queuing(2, 1, 10))
    assert len(queues.queues) == 4
    assert queues.finish(first, 1.0) == [second]
    queues.finish(second, 2.0)
    queues.reconfigure(Queuing(2, 1, 10))
    assert len(queues.queues) == 2


@given(st.integers(0, 2**64 - 1), st.integers(1, 128), st.integers(1, 10))
def test_a_hand_has_different_queues(entropy: int, queues: int, hand: int) -> None:
    cards = deal(entropy, queues, min(hand, queues))
    assert len(set(cards)) == len(cards) == min(hand, queues)
    assert all(0 <= card < queues for card in cards)


def test_every_hand_is_as_likely() -> None:
    hands = Counter(deal(entropy, 5, 2) for entropy in range(20 * 100))
    assert len(hands) == 20
    assert set(hands.values()) == {100}
