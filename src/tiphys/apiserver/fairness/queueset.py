"""The fair queue of one priority level. Pure: time is an argument, and what may run now is returned.

A request takes seats while it runs. When none are free it waits in one of the level's queues; the queue is dealt by the
request's flow (shuffle sharding), so that a flow that floods fills its own hand of queues and leaves the others'. Which
queue goes next is decided as in packet scheduling: in virtual time R, which runs at the seats that each busy queue would
get if all were served bit by bit, every waiting request has a time at which it would end; the earliest goes first. A
request is charged a guess (SERVICE_SECONDS) when it begins, and what it really took when it ends.

The names are KEP-1040's; the road not taken is upstream's epochs: a float keeps R exact enough for centuries.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tiphys.machinery.frozen import frozen

SERVICE_SECONDS = 0.003
"""What a request is taken to need until it has ended (upstream's estimate)."""
QUEUE_FULL, CONCURRENCY_LIMIT, TIME_OUT, CANCELLED = (
    "queue-full",
    "concurrency-limit",
    "time-out",
    "cancelled",
)
NEW, WAITING, EXECUTING, REJECTED, FINISHED = range(5)


@frozen
class Work:
    """What a request needs: seats while it runs, and seats for some time after that (its events are being sent)."""

    initial_seats: int = 1
    final_seats: int = 0
    additional_seconds: float = 0.0

    @property
    def seats(self) -> int:
        return max(self.initial_seats, self.final_seats)

    @property
    def total(self) -> float:
        """In seat-seconds, with the guess for the first part."""
        return self.initial_seats * SERVICE_SECONDS + self.final_seats * self.additional_seconds


ONE = Work()
_NOBODY: Sequence[Seat] = ()


@frozen
class Queuing:
    """No queues: what finds no seat is rejected."""

    queues: int = 0
    hand_size: int = 0
    queue_length_limit: int = 0


def deal(entropy: int, queues: int, hand_size: int) -> tuple[int, ...]:
    """A hand of different queues for a hash: every hand is equally likely, and one hash always gets the same."""
    cards: list[int] = []
    for dealt in range(hand_size):
        entropy, card = divmod(entropy, queues - dealt)
        for earlier in sorted(cards):
            if card >= earlier:
                card += 1
        cards.append(card)
    return tuple(cards)


class Queue:
    __slots__ = ("executing", "index", "next_dispatch_r", "seats_in_use", "waiting", "waiting_work")

    def __init__(self, index: int) -> None:
        self.index = index
        self.waiting: deque[Seat] = deque()
        self.waiting_work = 0.0
        self.executing = 0
        self.seats_in_use = 0
        self.next_dispatch_r = 0.0
        """The virtual time at which the queue's next request would begin."""

    @property
    def busy(self) -> bool:
        return bool(self.waiting) or self.executing > 0


class Seat:
    """One request at one level. `go` is the caller's: called by whoever acts on what the queue returns.

    What only some requests need is a default of the class: most seats are made, held and given back in one turn of the loop.
    """

    reason = ""
    queue: Queue | None = None
    leaving = False
    """It has been answered, and keeps its seats for the rest of its work."""
    go: Callable[[], None] | None = None
    arrived_at = 0.0
    arrived_r = 0.0
    started_at = 0.0
    state = NEW
    work = ONE
    seats = 1

    def __init__(self, queues: QueueSet, work: Work = ONE, flow: Any = None, call: Any = None) -> None:
        self.queues = queues
        if work is not ONE:
            self.work = work
            self.seats = work.seats
        self.flow = flow
        self.call = call


def statistics(spent: Mapping[int, float]) -> tuple[float, float, int]:
    """Average, standard deviation and maximum of what was wanted, by how long each number of seats was."""
    high, span = max(spent), sum(spent.values())
    if span <= 0:
        return float(high), 0.0, high
    average = sum(wanted * seconds for wanted, seconds in spent.items()) / span
    square = sum(wanted * wanted * seconds for wanted, seconds in spent.items()) / span
    return average, max(square - average * average, 0.0) ** 0.5, high


class QueueSet:
    """All requests of one level. `exempt` ones are counted and never held back."""

    def __init__(self, queuing: Queuing, *, limit: int, now: float, exempt: bool = False) -> None:
        self.exempt = exempt
        self.limit = limit
        self.queuing = queuing
        self.queues = [Queue(index) for index in range(queuing.queues)]
        self.waiting = 0
        self.running: dict[Seat, None] = {}
        self.seats_in_use = 0
        self.seats_waiting = 0
        self.r = 0.0
        self.dispatched = 0
        self.refused: dict[str, int] = {}
        """How many were turned away, by reason."""
        self._spent: defaultdict[int, float] = defaultdict(float)
        """The seats that were wanted since the last measurement, had all got what they asked for: how long each number was."""
        self._last = now
        self._busy_queues = 0
        self._nonempty: dict[Queue, None] = {}

    @property
    def idle(self) -> bool:
        return not self.running and not self.waiting

    # Time

    def advance(self, now: float) -> None:
        """Lets virtual time run, and the demand be counted, up to now; before every change of it, even in the same moment."""
        span = now - self._last
        self._last = now
        wanted = self.seats_in_use + self.seats_waiting
        self._spent[wanted] += span
        if self._busy_queues:
            self.r += span * (wanted if wanted < self.limit else self.limit) / self._busy_queues

    def measure(self, now: float) -> tuple[float, float, int]:
        """The demand since the last measurement."""
        self.advance(now)
        found = statistics(self._spent)
        self._spent.clear()
        return found

    # Requests

    def arrive(self, seat: Seat, hand: tuple[int, ...], now: float) -> Sequence[Seat]:
        """Gives it seats, has it wait, or rejects it: see its `state`. Returns others that may run now.

        `hand`: the queues of its flow; none where the level has none.
        """
        self.advance(now)
        seats, seat.arrived_at = seat.seats, now
        if not self.waiting and (self.exempt or self._fits(seats)):
            if hand:
                seat.queue = queue = self.queues[hand[0]]
                if not queue.executing:
                    queue.next_dispatch_r = self.r
                    self._busy_queues += 1
                self._charge(queue, seat)
            seat.state = EXECUTING  # as in _execute, which this saves a call
            seat.started_at = now
            self.running[seat] = None
            self.dispatched += 1
            self.seats_in_use += seats
            return _NOBODY
        if hand:
            return self._enqueue(seat, hand, now)
        self._refuse(seat, CONCURRENCY_LIMIT)
        return _NOBODY

    def _enqueue(self, seat: Seat, hand: tuple[int, ...], now: float) -> list[Seat]:
        queue = min((self.queues[index] for index in hand), key=lambda one: one.waiting_work)
        if len(queue.waiting) >= self.queuing.queue_length_limit and not self._fits(seat.seats):
            self._refuse(seat, QUEUE_FULL)
            return []
        if not queue.busy:
            queue.next_dispatch_r = self.r
            self._busy_queues += 1
        seat.queue, seat.state = queue, WAITING
        seat.arrived_r = self.r
        queue.waiting.append(seat)
        _bound(queue)
        queue.waiting_work += seat.work.total
        self._nonempty[queue] = None
        self.waiting += 1
        self.seats_waiting += seat.seats
        return [other for other in self.dispatch(now) if other is not seat]

    def finish(self, seat: Seat, now: float) -> Sequence[Seat]:
        """A running request has ended (and what it left to do, too). Returns those that may run now."""
        self.advance(now)
        seat.state = FINISHED
        del self.running[seat]
        self.seats_in_use -= seat.seats
        queue = seat.queue
        if queue is not None:
            queue.executing -= 1
            queue.seats_in_use -= seat.seats
            took = now - seat.started_at - seat.work.additional_seconds
            queue.next_dispatch_r += (took - SERVICE_SECONDS) * seat.work.initial_seats
            if not queue.executing and not queue.waiting:
                self._busy_queues -= 1
            if queue.waiting:
                _bound(queue)
        return self.dispatch(now) if self.waiting else _NOBODY

    def withdraw(self, seat: Seat, reason: str, now: float) -> list[Seat]:
        """A waiting request waits no longer: its client has gone, or its time is up."""
        self.advance(now)
        queue = seat.queue
        assert queue is not None
        assert seat.state == WAITING
        queue.waiting.remove(seat)
        self._left_queue(seat, queue)
        if not queue.busy:
            self._busy_queues -= 1
        self._refuse(seat, reason)
        return self.dispatch(now)

    def set_limit(self, limit: int, now: float) -> list[Seat]:
        """Another number of seats. Returns those that may run now."""
        self.advance(now)
        self.limit = limit
        return self.dispatch(now)

    def reconfigure(self, queuing: Queuing) -> None:
        """More or fewer queues: those that are too many stay until they are empty, but are dealt to nobody."""
        self.queuing = queuing
        self.queues += [Queue(index) for index in range(len(self.queues), queuing.queues)]
        while len(self.queues) > queuing.queues and not self.queues[-1].busy:
            self.queues.pop()

    # Dispatching

    def dispatch(self, now: float) -> list[Seat]:
        """Starts as many waiting requests as fit."""
        started: list[Seat] = []
        while self._nonempty:
            queue = min(self._nonempty, key=_virtual_finish)
            seat = queue.waiting[0]
            if not self._fits(seat.seats):
                break  # It is its turn: others that are narrower must not starve it.
            queue.waiting.popleft()
            self._left_queue(seat, queue)
            self._charge(queue, seat)
            _bound(queue)
            self._execute(seat, now)
            started.append(seat)
        return started

    def _left_queue(self, seat: Seat, queue: Queue) -> None:
        queue.waiting_work = queue.waiting_work - seat.work.total if queue.waiting else 0.0
        if not queue.waiting:
            del self._nonempty[queue]
        self.waiting -= 1
        self.seats_waiting -= seat.seats

    def _charge(self, queue: Queue, seat: Seat) -> None:
        queue.executing += 1
        queue.seats_in_use += seat.seats
        queue.next_dispatch_r += SERVICE_SECONDS if seat.work is ONE else seat.work.total

    def _execute(self, seat: Seat, now: float) -> None:
        seat.state = EXECUTING
        seat.started_at = now
        self.running[seat] = None
        self.dispatched += 1
        self.seats_in_use += seat.seats

    def _refuse(self, seat: Seat, reason: str) -> None:
        seat.state, seat.reason = REJECTED, reason
        self.refused[reason] = self.refused.get(reason, 0) + 1

    def _fits(self, seats: int) -> bool:
        """A request that is wider than the level runs alone."""
        return self.exempt or self.seats_in_use + seats <= self.limit or (not self.seats_in_use and seats > 0)


def _bound(queue: Queue) -> None:
    """In virtual time too, nothing begins before it has arrived: a queue that always has a little waiting would else save up
    a right to go first."""
    if queue.waiting:
        queue.next_dispatch_r = max(queue.next_dispatch_r, queue.waiting[0].arrived_r)


def _virtual_finish(queue: Queue) -> float:
    return queue.next_dispatch_r + queue.waiting[0].work.total
