"""A fair queue in simulated time: requests arrive, run for as long as they say, and what happened is written down."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from itertools import count

from tiphys.apiserver.fairness.matching import hash_of
from tiphys.apiserver.fairness.queueset import (
    EXECUTING,
    REJECTED,
    WAITING,
    QueueSet,
    Queuing,
    Seat,
    Work,
    deal,
)

CHECKED = 100
"""With more requests than this, the whole state is not looked at after each event."""


@dataclass
class Sent:
    """One request of a flow."""

    flow: str
    at: float
    seconds: float
    work: Work = field(default_factory=Work)


@dataclass
class Fate:
    sent: Sent
    seat: Seat
    started: float | None = None
    ended: float | None = None


class World:
    def __init__(self, queuing: Queuing, limit: int) -> None:
        self.queues = QueueSet(queuing, limit=limit, now=0.0)
        self.fates: list[Fate] = []
        self.now = 0.0
        self._ends: list[tuple[float, int, Fate]] = []
        self._order = count()
        self._by_seat: dict[Seat, Fate] = {}

    def run(self, requests: list[Sent], *, until: float = float("inf")) -> None:
        waiting = sorted(requests, key=lambda one: one.at)
        while waiting or self._ends:
            arrival = waiting[0].at if waiting else float("inf")
            end = self._ends[0][0] if self._ends else float("inf")
            self.now = min(arrival, end)
            if self.now > until:
                return
            if end <= arrival:
                _, _, fate = heapq.heappop(self._ends)
                fate.ended = self.now
                self._started(self.queues.finish(fate.seat, self.now))
            else:
                self._arrive(waiting.pop(0))
            if len(requests) <= CHECKED:
                self.check()

    def _arrive(self, sent: Sent) -> None:
        queuing = self.queues.queuing
        hand = deal(hash_of("schema", sent.flow), queuing.queues, queuing.hand_size)
        seat = Seat(self.queues, sent.work)
        fate = self._by_seat[seat] = Fate(sent, seat)
        self.fates.append(fate)
        others = self.queues.arrive(seat, hand, self.now)
        if seat.state == EXECUTING:
            self._started([seat])
        self._started(others)

    def _started(self, seats: object) -> None:
        for seat in seats:  # type: ignore[attr-defined]
            fate = self._by_seat[seat]
            fate.started = self.now
            heapq.heappush(self._ends, (self.now + fate.sent.seconds, next(self._order), fate))

    def check(self) -> None:
        """What must hold at every moment."""
        queues = self.queues
        running = [fate for fate in self.fates if fate.started is not None and fate.ended is None]
        assert sum(fate.seat.seats for fate in running) == queues.seats_in_use
        assert queues.seats_in_use <= queues.limit or len(running) == 1
        waiting = [fate for fate in self.fates if fate.seat.state == WAITING]
        assert len(waiting) == queues.waiting == sum(len(queue.waiting) for queue in queues.queues)
        if waiting:  # work conservation: nobody waits for seats that are free, but behind one that needs more
            narrowest_turn = min(queue.waiting[0].seats for queue in queues.queues if queue.waiting)
            widest_turn = max(queue.waiting[0].seats for queue in queues.queues if queue.waiting)
            free = queues.limit - queues.seats_in_use
            assert free < widest_turn
            if narrowest_turn == widest_turn:
                assert free < narrowest_turn

    def served(self, flow: str, until: float) -> float:
        """Seat-seconds that a flow has got."""
        return sum(
            (min(fate.ended or until, until) - fate.started) * fate.seat.seats
            for fate in self.fates
            if fate.sent.flow == flow and fate.started is not None and fate.started < until
        )

    @property
    def rejected(self) -> list[Fate]:
        return [fate for fate in self.fates if fate.seat.state == REJECTED]
