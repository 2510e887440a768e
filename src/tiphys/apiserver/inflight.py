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
    """Requests of one kind: those that run now, the most that ran at once since that was last asked, and those that wait."""

    __slots__ = ("executing", "most", "waiting")

    def __init__(self) -> None:
        self.executing = self.most = self.waiting = 0

    def begin(self) -> None:
        self.executing = executing = self.executing + 1
        if executing > self.most:
            self.most = executing

    def take_most(self) -> int:
        found, self.most = self.most, self.executing
        return found


Inflights = tuple[Inflight, Inflight]
"""Of all requests: READ_ONLY, MUTATING."""


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

    __slots__ = ("inflight",)

    def __init__(self, inflight: Inflight) -> None:
        self.inflight: Inflight | None = inflight


class InflightLimits:
    """The gate without fairness: so many that read, so many that write, and administrators always. 0: no limit."""

    def __init__(self, inflights: Inflights, *, read_only: int, mutating: int) -> None:
        self._inflights = inflights
        self._limits = (read_only, mutating)

    def enter(self, call: Call) -> Response | None:
        if is_long_running(call.info):
            return None
        kind = kind_of(call.info)
        limit, inflight = self._limits[kind], self._inflights[kind]
        if limit and inflight.executing >= limit and PRIVILEGED not in call.user.groups:
            response = plain_error(TOO_MANY, 429)
            response.headers.append(("retry-after", str(RETRY_AFTER_SECONDS)))
            return response
        inflight.begin()
        call.seat = Ticket(inflight)
        return None

    def leave(self, seat: Ticket) -> None:
        if seat.inflight is not None:
            seat.inflight.executing -= 1
            seat.inflight = None

    def headers(self, seat: Ticket) -> tuple[tuple[str, str], ...]:
        return ()
