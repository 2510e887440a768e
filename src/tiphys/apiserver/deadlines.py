"""How long a request may take: 60 s, or what `?timeout=` asks for if that is less; long-running ones have no end.

Only a request that waits can be late, so only those are held to it. What is late is answered 504; the write that it waited
for may still happen, as with any client that goes.
"""

from __future__ import annotations

import asyncio
from functools import partial

from tiphys.apiserver.call import Call
from tiphys.apiserver.longrunning import is_long_running
from tiphys.machinery import errors
from tiphys.machinery.clock import Clock, Timer
from tiphys.net.http import Response

EARLY_SECONDS = 0.002
"""A loop keeps its clock in milliseconds: a timer may go off before its time."""
_WRITING = frozenset({"create", "update", "patch", "delete", "deletecollection"})


def read_timeout(call: Call) -> None:
    """Sets `call.timeout_seconds` from the query. Raises 400 for one that is no duration."""
    if "timeout=" not in call.request.target or is_long_running(call.info):
        return
    text = call.request.query.get("timeout", ("",))[0]
    if not text:
        return
    from tiphys.machinery.cel.times import parse_duration

    try:
        seconds = parse_duration(text).nanos / 1e9
    except ValueError:
        raise errors.bad_request(f"invalid timeout specified in the request URL - {_reason(text)}") from None
    if seconds:
        call.timeout_seconds = min(seconds, call.timeout_seconds)


def _reason(text: str) -> str:
    if text.lstrip("+-").replace(".", "", 1).isdigit():
        return f'time: missing unit in duration "{text}"'
    return f'time: invalid duration "{text}"'


def too_late(call: Call) -> errors.StatusError:
    """504, in the words of whoever notices upstream: the handler of a write, else the filter around all handlers."""
    if call.info.is_resource and call.info.verb in _WRITING:
        return errors.timeout("request did not complete within requested timeout - context deadline exceeded")
    return errors.timeout("request did not complete within the allotted timeout")


class Deadlines:
    """When the calls that wait are late. Nearly all may take equally long, so that they stand in the order of their times, and
    one timer serves them: it is set for the first, and looks who is still there. Who asks for less has a timer of its own.
    """

    def __init__(self, clock: Clock, timeout_seconds: float) -> None:
        self._clock = clock
        self._timeout_seconds = timeout_seconds
        self._waiting: dict[Call, tuple[asyncio.Task[Response], float]] = {}
        self._timer: Timer | None = None

    def hold(self, call: Call, task: asyncio.Task[Response]) -> None:
        """Has the task that answers the call cancelled when the call's time is up, if it is not let go before."""
        seconds = self._timeout_seconds
        if call.timeout_seconds != seconds:
            call.timer = self._clock.call_later(call.timeout_seconds, partial(_expire, call, task))
            return
        self._waiting[call] = task, self._clock.monotonic() + seconds
        if self._timer is None:
            self._timer = self._clock.call_later(seconds, self._look)

    def let_go(self, call: Call) -> None:
        """The call is over; harmless when repeated, and for one that was never held."""
        if self._waiting.pop(call, None) is None and call.timer is not None:
            call.timer.cancel()

    def _look(self) -> None:
        self._timer = None
        now = self._clock.monotonic()
        while self._waiting:
            call, (task, due_at) = next(iter(self._waiting.items()))
            if due_at > now + EARLY_SECONDS:
                self._timer = self._clock.call_later(due_at - now, self._look)
                return
            del self._waiting[call]
            _expire(call, task)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()


def _expire(call: Call, task: asyncio.Task[Response]) -> None:
    call.late = task
    task.cancel()


def was_late(call: Call) -> bool:
    """Whether a cancellation only means that the time is up: then it is over with, else it is the client's or the server's."""
    return call.late is not None and call.late.uncancel() == 0
