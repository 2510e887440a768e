"""How long a request may take: 60 s, or what `?timeout=` asks for if that is less; long-running ones have no end.

Only a request that waits can be late, so only those have a timer. What is late is answered 504; the write that it waited
for may still happen, as with any client that goes.
"""

from __future__ import annotations

import asyncio

from tiphys.apiserver.call import Call
from tiphys.apiserver.longrunning import is_long_running
from tiphys.machinery import errors
from tiphys.net.http import Response

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


def hold_to_time(call: Call, task: asyncio.Task[Response]) -> None:
    """Has the task that answers the call cancelled when the call's time is up. Who ends the call cancels `call.timer`."""
    if is_long_running(call.info):
        return

    def expire() -> None:
        call.late = task
        task.cancel()

    call.timer = call.server.clock.call_later(call.timeout_seconds, expire)


def was_late(call: Call) -> bool:
    """Whether a cancellation only means that the time is up: then it is over with, else it is the client's or the server's."""
    return call.late is not None and call.late.uncancel() == 0
