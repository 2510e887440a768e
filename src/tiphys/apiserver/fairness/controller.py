"""Puts fairness before the pipeline: `enter` gives a call its seat, now or later, or the answer 429; `leave` takes it back.

Made by the API server, which says how to look at objects; what is decided is decided in the pure modules beside this one.
A call that finds a free seat costs some microseconds and no task. In one event loop a read is over before the next
request is looked at: seats are held by what waits (writes, proxied requests) and by large answers until they are sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Protocol

from tiphys.apiserver.call import Call, User
from tiphys.apiserver.fairness import work as estimates
from tiphys.apiserver.fairness.configuration import Configuration, LevelConfig, digest
from tiphys.apiserver.fairness.limits import ADJUSTMENT_SECONDS, Demanded, current_limits
from tiphys.apiserver.fairness.matching import Schema, hash_of, is_spoken_of, match
from tiphys.apiserver.fairness.metrics import FairnessMetrics, Series
from tiphys.apiserver.fairness.queueset import (
    CANCELLED,
    EXECUTING,
    ONE,
    REJECTED,
    TIME_OUT,
    WAITING,
    QueueSet,
    Seat,
    Work,
    deal,
)
from tiphys.apiserver.fairness.retry_after import Dropped
from tiphys.apiserver.fairness.work import WATCHES_PER_SEAT, mutating_work
from tiphys.apiserver.inflight import TOO_MANY, Inflight, Inflights, kind_of
from tiphys.apiserver.longrunning import is_long_running
from tiphys.apiserver.requests import RequestInfo
from tiphys.apiserver.responses import plain_error
from tiphys.machinery.clock import Clock, Timer
from tiphys.machinery.metrics import PENDING_LIMIT
from tiphys.net.http import Response

Object = dict[str, Any]
FLOWS_LIMIT = 10_000
"""Classifications that are remembered; then all are forgotten, which is cheaper than to know the oldest."""
WAIT_LIMIT_SECONDS = 60.0


class Objects(Protocol):
    """What is asked of the API server about what it stores."""

    def size(self, info: RequestInfo) -> tuple[int, int]:
        """How many objects of a resource there are, and their average size in bytes."""

    def watches(self, info: RequestInfo) -> Callable[[], int]:
        """Says, whenever it is called, how many watch a resource."""


class Level:
    """One priority level that is in use."""

    def __init__(self, config: LevelConfig, now: float) -> None:
        self.config = config
        self.queues = QueueSet(config.queuing, limit=config.bounds.nominal, now=now, exempt=config.exempt)
        self.demanded = Demanded()
        self.dropped = Dropped()
        self.quiescing = False
        self.widest = estimates.seats_limit(config.bounds.nominal)


class Flow:
    """What a request was classified as; found again by the request's attributes."""

    __slots__ = (
        *("distinguisher", "estimate", "hand", "headers", "inflight", "level", "queues", "schema", "series"),
    )

    def __init__(
        self, schema: Schema, distinguisher: str, level: Level, series: Series, inflight: Inflight
    ) -> None:
        self.schema = schema
        self.distinguisher = distinguisher
        self.level = level
        self.queues = level.queues
        self.series = series
        self.inflight = inflight
        self.estimate: Callable[[Call, Level], Work] | None = None
        queuing = level.config.queuing
        self.hand = deal(hash_of(schema.name, distinguisher), queuing.queues, queuing.hand_size)
        self.headers = (
            ("x-kubernetes-pf-prioritylevel-uid", level.config.uid),
            ("x-kubernetes-pf-flowschema-uid", schema.uid),
        )


def _one(call: Call, level: Level) -> Work:
    del call, level
    return ONE


def _mutating_work(count_watches: Callable[[], int]) -> Callable[[Call, Level], Work]:
    def work(call: Call, level: Level) -> Work:
        watches = count_watches()
        return ONE if watches < WATCHES_PER_SEAT else mutating_work(watches, limit=level.widest)

    return work


class Fairness:
    """`seats`: how many requests of one seat the server runs at once."""

    def __init__(
        self, objects: Objects, metrics: FairnessMetrics, inflights: Inflights, *, seats: int, clock: Clock
    ) -> None:
        self._objects = objects
        self._inflights = inflights
        self._metrics = metrics
        self._seats = seats
        self._clock = clock
        self._flows: dict[tuple[Any, ...], Flow] = {}
        self._matched: dict[tuple[Any, ...], Schema] = {}
        self._named: frozenset[str] = frozenset()
        self._series: dict[tuple[str, str], Series] = {}
        self._stored: dict[str, Object] = {}
        self._timer: Timer | None = None
        self.levels: dict[str, Level] = {}
        self.schemas: list[Schema] = []
        self.configure((), ())

    # The pipeline's side

    def enter(self, call: Call) -> Response | Awaitable[Response | None] | None:
        """Gives the call its seat. A Response turns it away; an awaitable says later which of both it is."""
        info, user = call.info, call.user
        if info.is_resource:
            key: tuple[Any, ...] = (
                user.name, user.groups, info.verb, info.namespace, info.resource, info.subresource, info.group
            )  # fmt: skip
        else:
            key = (user.name, user.groups, info.verb, info.path)
        flow = self._flows.get(key) or self._classify(key, user, info)
        estimate, queues = flow.estimate, flow.queues
        if estimate is None:
            return None
        work = ONE if estimate is _one else estimate(call, flow.level)
        seat = call.seat = Seat(queues, work, flow, call)
        others = queues.arrive(seat, flow.hand, self._clock.monotonic())
        if seat.state == EXECUTING:
            inflight = flow.inflight  # as in its `begin`, which this saves a call
            inflight.executing = executing = inflight.executing + 1
            if executing > inflight.most:
                inflight.most = executing
            if work is ONE:
                flow.series.at_once += 1
            else:
                flow.series.begin(seat.seats, 0.0)
            return None
        for other in others:
            self._go(other)
        if seat.state == REJECTED:
            return self._refusal(seat)
        return self._queued(seat, call)

    # How much a request needs, by its verb

    def _estimate(self, info: RequestInfo) -> Callable[[Call, Level], Work] | None:
        """None: it takes no seat at all."""
        if info.verb == "watch":
            return self._watch_work
        if is_long_running(info):
            return None
        if info.is_resource and info.verb == "list":
            return self._list_work
        if info.is_resource and estimates.is_mutating(info):
            return _mutating_work(self._objects.watches(info))
        return _one

    def _list_work(self, call: Call, level: Level) -> Work:
        info = call.info
        count, size = self._objects.size(info)
        return estimates.list_work(info, call.request.query, count=count, size_bytes=size, limit=level.widest)

    def _watch_work(self, call: Call, level: Level) -> Work:
        return self._list_work(call, level) if estimates.sends_initial_events(call.request.query) else ONE

    def _queued(self, seat: Seat, call: Call) -> Awaitable[Response | None]:
        # The future is there before the waiting begins: the seat's turn may come in this same turn of the loop.
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        seat.go = lambda: None if future.done() else future.set_result(None)
        return self._wait(seat, call, future)

    async def _wait(self, seat: Seat, call: Call, future: asyncio.Future[None]) -> Response | None:
        """Until its turn has come, or it has waited for too long; a client that goes gives its place up."""
        flow = seat.flow
        series = flow.series
        series.in_queue.value += 1
        series.in_queue_seats.value += seat.seats
        if seat.queue is not None:
            series.length.observe(len(seat.queue.waiting))
        flow.inflight.waiting += 1
        timer = self._clock.call_later(
            min(call.timeout_seconds / 4, WAIT_LIMIT_SECONDS), lambda: self._withdraw(seat, TIME_OUT)
        )
        try:
            await future
        finally:
            timer.cancel()
            call.excused_seconds += self._clock.monotonic() - seat.arrived_at
            flow.inflight.waiting -= 1
            series.in_queue.value -= 1
            series.in_queue_seats.value -= seat.seats
        if seat.state == REJECTED:
            return self._refusal(seat)
        return None

    def _go(self, seat: Seat) -> None:
        """A waiting seat has become one that runs."""
        flow = seat.flow
        flow.inflight.begin()
        flow.series.begin(seat.seats, seat.started_at - seat.arrived_at)
        if seat.go is not None:
            seat.go()

    def _withdraw(self, seat: Seat, reason: str) -> None:
        if seat.state != WAITING:
            return
        now = self._clock.monotonic()
        for other in seat.queues.withdraw(seat, reason, now):
            self._go(other)
        seat.call = None
        seat.flow.series.waited_in_vain.observe(now - seat.arrived_at)
        if seat.go is not None:
            seat.go()

    def _refusal(self, seat: Seat) -> Response:
        seat.call = None
        flow = seat.flow
        dropped = flow.level.dropped
        dropped.record(int(self._clock.now().timestamp()))
        self._metrics.rejected.inc(*flow.series.names, seat.reason)
        response = plain_error(TOO_MANY, 429)
        response.headers.append(("retry-after", str(dropped.retry_after_seconds)))
        return response

    @staticmethod
    def headers(seat: Seat) -> tuple[tuple[str, str], tuple[str, str]]:
        """What an answer says of how its request was classified."""
        flow: Flow = seat.flow
        return flow.headers

    def leave(self, seat: Seat) -> None:
        """The call is over, or its client has gone; harmless when repeated."""
        if seat.state == EXECUTING:
            if seat.work is ONE or not seat.work.additional_seconds:
                self._end(seat)
            elif not seat.leaving:
                seat.leaving = True
                self._clock.call_later(seat.work.additional_seconds, lambda: self._end(seat))
        elif seat.state == WAITING:
            seat.go = None
            self._withdraw(seat, CANCELLED)
            self._metrics.rejected.inc(*seat.flow.series.names, CANCELLED)

    def _end(self, seat: Seat) -> None:
        seat.call = None  # the call knows its seat: in a ring, both would wait for the collector, with the request's body
        now = self._clock.monotonic()
        started = seat.queues.finish(seat, now)
        flow: Flow = seat.flow
        flow.inflight.executing -= 1
        took = flow.series.took
        took.pending.append(now - seat.started_at)
        if len(took.pending) >= PENDING_LIMIT:
            took.fold()
        for other in started:
            self._go(other)

    # Classification

    def _classify(self, key: tuple[Any, ...], user: User, info: RequestInfo) -> Flow:
        if len(self._flows) >= FLOWS_LIMIT:
            self._flows.clear()
        schema = self._schema(key, user, info)
        level = self.levels[schema.level]
        names = (level.config.name, schema.name)
        series = self._series.get(names)
        if series is None:
            series = self._series[names] = self._metrics.series(*names)
        flow = self._flows[key] = Flow(
            schema, schema.flow(user, info), level, series, self._inflights[kind_of(info)]
        )
        flow.estimate = self._estimate(info)
        return flow

    def _schema(self, key: tuple[Any, ...], user: User, info: RequestInfo) -> Schema:
        """Looked up for a thousand nodes once: they differ in their names, of which no schema speaks."""
        others = key if is_spoken_of(user, self._named) else key[1:]
        schema = self._matched.get(others)
        if schema is None:
            if len(self._matched) >= FLOWS_LIMIT:
                self._matched.clear()
            schema = self._matched[others] = match(self.schemas, user, info)
        return schema

    # Configuration

    def configure(self, levels: Iterable[Object], schemas: Iterable[Object]) -> Configuration:
        """Runs on these objects from now on. Says which conditions are to be written."""
        stored = {obj["metadata"]["name"]: obj for obj in levels}
        lingering = [
            self._stored[name]
            for name, level in self.levels.items()
            if name not in stored and name in self._stored and not level.queues.idle
        ]
        found = digest(stored.values(), schemas, seats=self._seats, lingering=lingering)
        now = self._clock.monotonic()
        for name in self.levels.keys() - found.levels.keys():
            del self.levels[name]
            self._metrics.forget_level(name)
        for name, config in found.levels.items():
            self._use(name, config, now)
        gone = {obj["metadata"]["name"] for obj in lingering}
        for name, level in self.levels.items():
            level.quiescing = name in gone
        self.schemas = found.schemas
        self._stored = {**stored, **{obj["metadata"]["name"]: obj for obj in lingering}}
        self._flows.clear()
        self._matched.clear()
        self._named = frozenset(name for schema in self.schemas for name in schema.users)
        self._adjust(now)
        return found

    def _use(self, name: str, config: LevelConfig, now: float) -> None:
        level = self.levels.get(name)
        if level is None or level.config.exempt != config.exempt:
            self.levels[name] = Level(config, now)
            return
        if level.config.queuing != config.queuing:
            level.queues.reconfigure(config.queuing)
        level.config = config
        level.widest = estimates.seats_limit(config.bounds.nominal)

    # Borrowing

    def start(self) -> None:
        """Begins to adjust the levels' seats to the demand."""
        self._timer = self._clock.call_later(ADJUSTMENT_SECONDS, self._tick)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _tick(self) -> None:
        self._adjust(self._clock.monotonic())
        for name in [name for name, level in self.levels.items() if level.quiescing and level.queues.idle]:
            del self.levels[name]
            self._stored.pop(name, None)
            self._metrics.forget_level(name)
        self.start()

    def _adjust(self, now: float) -> None:
        for name, level in self.levels.items():
            average, deviation, high = level.queues.measure(now)
            level.demanded = level.demanded.after(average, deviation, high)
            self._metrics.level(
                name,
                demand_seats_high_watermark=high,
                demand_seats_average=average,
                demand_seats_stdev=deviation,
                demand_seats_smoothed=level.demanded.smoothed,
            )
        limits = current_limits(
            {name: level.config.bounds for name, level in self.levels.items()},
            {name: level.demanded for name, level in self.levels.items()},
        )
        for name, limit in limits.items():
            for seat in self.levels[name].queues.set_limit(limit, now):
                self._go(seat)

    def collect(self) -> None:
        """Brings what is not counted as it happens up to date, before it is read."""
        for series in self._series.values():
            series.collect()
        for level in self.levels.values():
            for seat in level.queues.running:
                series = seat.flow.series
                series.executing.value += 1
                series.executing_seats.value += seat.seats
        for name, level in self.levels.items():
            bounds = level.config.bounds
            self._metrics.level(
                name,
                nominal_limit_seats=bounds.nominal,
                lower_limit_seats=bounds.least,
                upper_limit_seats=bounds.most,
                current_limit_seats=level.queues.limit,
                current_r=level.queues.r,
            )
            self._metrics.retry_after.set(level.dropped.retry_after_seconds, name)
