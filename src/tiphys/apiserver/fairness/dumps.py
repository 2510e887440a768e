"""The tables of /debug/api_priority_and_fairness/: levels, queues and requests, in upstream's columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

from tiphys.apiserver.fairness.controller import Fairness, Level
from tiphys.apiserver.fairness.queueset import CANCELLED, CONCURRENCY_LIMIT, QUEUE_FULL, TIME_OUT, Seat
from tiphys.machinery.clock import Clock

_LEVELS = (
    "PriorityLevelName", "ActiveQueues", "IsIdle", "IsQuiescing", "WaitingRequests", "ExecutingRequests",
    "DispatchedRequests", "RejectedRequests", "TimedoutRequests", "CancelledRequests",
)  # fmt: skip
_QUEUES = (
    "PriorityLevelName", "Index", "PendingRequests", "ExecutingRequests", "SeatsInUse", "NextDispatchR",
    "InitialSeatsSum", "MaxSeatsSum", "TotalWorkSum",
)  # fmt: skip
_REQUESTS = (
    "PriorityLevelName", "FlowSchemaName", "QueueIndex", "RequestIndexInQueue", "FlowDistingsher", "ArriveTime",
    "InitialSeats", "FinalSeats", "AdditionalLatency", "StartTime",
)  # fmt: skip
_DETAILS = ("UserName", "Verb", "APIPath", "Namespace", "Name", "APIVersion", "Resource", "SubResource")
_NEVER = "0001-01-01T00:00:00Z"
_LEAST_WIDTH = 8


def _levels(fairness: Fairness) -> Iterator[tuple[str, Level]]:
    for name in sorted(fairness.levels):
        yield name, fairness.levels[name]


def priority_levels(fairness: Fairness) -> str:
    rows = [_LEVELS]
    for name, level in _levels(fairness):
        queues, refused = level.queues, level.queues.refused
        active = sum(1 for queue in queues.queues if queue.waiting)
        figures = (
            queues.waiting,
            len(queues.running),
            queues.dispatched,
            refused.get(QUEUE_FULL, 0) + refused.get(CONCURRENCY_LIMIT, 0),
            refused.get(TIME_OUT, 0),
            refused.get(CANCELLED, 0),
        )
        words = (name, str(active), _truth(yes=queues.idle), _truth(yes=level.quiescing))
        rows.append((*words, *map(str, figures)))  # type: ignore[arg-type]
    return table(rows)


def queues(fairness: Fairness) -> str:
    rows: list[Sequence[str]] = [_QUEUES]
    for name, level in _levels(fairness):
        for queue in level.queues.queues:
            initial = sum(seat.work.initial_seats for seat in queue.waiting)
            widest = sum(seat.seats for seat in queue.waiting)
            figures = (queue.index, len(queue.waiting), queue.executing, queue.seats_in_use)
            rows.append(
                (
                    name,
                    *map(str, figures),
                    f"{queue.next_dispatch_r:.8f}ss",
                    str(initial),
                    str(widest),
                    f"{queue.waiting_work:.8f}ss",
                )
            )
    return table(rows)


def requests(fairness: Fairness, clock: Clock, *, details: bool) -> str:
    rows: list[Sequence[str]] = [(*_REQUESTS, *_DETAILS) if details else _REQUESTS]
    began = clock.now() - timedelta(seconds=clock.monotonic())
    for name, level in _levels(fairness):
        for seat in level.queues.running:
            rows.append(_request(name, seat, -1, -1, began) + (_details(seat) if details else ()))
        for queue in level.queues.queues:
            for position, seat in enumerate(queue.waiting):
                row = _request(name, seat, queue.index, position, began)
                rows.append(row + (_details(seat) if details else ()))
    return table(rows)


def _request(level: str, seat: Seat, queue: int, position: int, began: datetime) -> tuple[str, ...]:
    flow = seat.flow
    work = seat.work
    return (
        level,
        flow.schema.name,
        str(queue),
        str(position),
        flow.distinguisher,
        _time(began, seat.arrived_at),
        str(work.initial_seats),
        str(work.final_seats),
        _duration(work.additional_seconds),
        _time(began, seat.started_at) if seat.started_at else _NEVER,
    )


def _details(seat: Seat) -> tuple[str, ...]:
    call = seat.call
    info = call.info
    version = f"{info.group}/{info.version}" if info.group else info.version
    return (
        call.user.name,
        info.verb,
        info.path,
        info.namespace,
        info.name,
        version,
        info.resource,
        info.subresource,
    )


def _time(began: datetime, seconds: float) -> str:
    at = (began + timedelta(seconds=seconds)).astimezone(UTC)
    fraction = f".{at.microsecond:06d}".rstrip("0").rstrip(".")
    return f"{at:%Y-%m-%dT%H:%M:%S}{fraction}Z"


def _duration(seconds: float) -> str:
    """As Go writes one that is shorter than a minute."""
    if not seconds:
        return "0s"
    return f"{round(seconds * 1000, 6):g}ms" if seconds < 1 else f"{round(seconds, 9):g}s"


def _truth(*, yes: bool) -> str:
    return "true" if yes else "false"


def table(rows: Sequence[Sequence[str]]) -> str:
    """Cells with commas, in columns as Go's tabwriter aligns them: at least eight wide, one blank between, the last one ragged."""
    widths = [max(_LEAST_WIDTH, *(len(row[at]) + 2 for row in rows)) for at in range(max(map(len, rows)) - 1)]
    lines = []
    for row in rows:
        cells = [f"{cell},".ljust(widths[at]) for at, cell in enumerate(row[:-1])]
        lines.append("".join(cells) + row[-1] + "\n")
    return "".join(lines)
