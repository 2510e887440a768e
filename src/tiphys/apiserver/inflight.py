"""How many requests run at once: counted always, limited here when fairness is off (--max-requests-inflight)."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, Protocol

from tiphys.apiserver.call import Call
from tiphys.apiserver.longrunning import is_long_running
from tiphys.apiserver.requests import RequestInfo
from tiphys.apiserver.responses import plain_error
from tiphys.net.http import Response

TOO_MANY = "Too many requests, please try again later."
RETRY_AFTER_SECONDS = 1
PRIVILEGED = "system:masters"
READ_ONLY, MUTATING = 0, 1
KINDS = ("readOnly", "mutating")
_READING = frozenset({"get", "list", "watch"})


def kind_of(info: RequestInfo) -> int:
    """READ_ONLY or MUTATING, by the verb alone."""
    return READ_ONLY if info.verb in _READING else MUTATING


class Inflight:
    """Requests that run now, of both kinds, and the most that ran at once since that was last asked."""

    __slots__ = ("executing", "most", "waiting")

    def __init__(self) -> None:
        self.executing = [0, 0]
        self.waiting = [0, 0]
        self.most = [0, 0]

    def begin(self, kind: int) -> None:
        self.executing[kind] += 1
        if self.executing[kind] > self.most[kind]:
            self.most[kind] = self.executing[kind]

    def end(self, kind: int) -> None:
        self.executing[kind] -= 1

    def take_most(self) -> list[int]:
        found, self.most = self.most, list(self.executing)
        return found


class Gate(Protocol):
    """What a call passes once it is known who asks. `call.seat` is the gate's, from `enter` to `leave`."""

    def enter(self, call: Call) -> Response | Awaitable[Response | None] | None:
        """None: it may go on; a Response turns it away; an awaitable says later which."""

    def leave(self, seat: Any) -> None:
        """The call has been answered, or its client has gone; harmless when repeated."""

    def headers(self, seat: Any) -> tuple[tuple[str, str], ...]:
        """What the answer says of the call's classification."""


class Ticket:
    """A place among those that run."""

    __slots__ = ("kind",)

    def __init__(self, kind: int) -> None:
        self.kind = kind


class InflightLimits:
    """The gate without fairness: so many that read, so many that write, and administrators always. 0: no limit."""

    def __init__(self, inflight: Inflight, *, read_only: int, mutating: int) -> None:
        self._inflight = inflight
        self._limits = (read_only, mutating)

    def enter(self, call: Call) -> Response | None:
        if is_long_running(call.info):
            return None
        kind = kind_of(call.info)
        limit = self._limits[kind]
        if limit and self._inflight.executing[kind] >= limit and PRIVILEGED not in call.user.groups:
            response = plain_error(TOO_MANY, 429)
            response.headers.append(("retry-after", str(RETRY_AFTER_SECONDS)))
            return response
        self._inflight.begin(kind)
        call.seat = Ticket(kind)
        return None

    def leave(self, seat: Ticket) -> None:
        if seat.kind >= 0:
            self._inflight.end(seat.kind)
            seat.kind = -1

    def headers(self, seat: Ticket) -> tuple[tuple[str, str], ...]:
        return ()
