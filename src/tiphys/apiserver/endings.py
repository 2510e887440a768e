"""The end of every call: what its answer carries, what is counted of it, and when its seat is free again.

A seat is held, and the time of a request runs, until the answer is on the wire when that takes longer than one write (upstream's
handlers return when they have written all); a watch gives its seat back when it has sent what it begins with.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial

from tiphys.apiserver.call import Call
from tiphys.apiserver.request_metrics import size_of
from tiphys.apiserver.responses import finish, restate
from tiphys.net.exchange import SLICE_BYTES
from tiphys.net.http import Gradual, Response, Sink


def end(call: Call, response: Response) -> Response:
    """The answer as it goes out."""
    server = call.server
    finish(call, response)
    if server.auditor is not None:
        server.auditor.end(call, response)
    if call.statement is not None:
        restate(call, response)
    headers = response.headers
    record = call.audit
    identifier = record.identifier if record is not None else call.request.headers.get("audit-id")
    headers.append(("audit-id", identifier or server.new_audit_id()))
    if server.cross_origin is not None:
        headers += server.cross_origin.headers(call.request)
    seat = call.seat
    if seat is not None:
        headers += server.gate.headers(seat)
    if response.start is not None:
        server.request_metrics.follow(call, response)
        if seat is not None:
            _give_back_when_begun(call, response)
        return response
    if response.upgrade is not None or (seat is None and isinstance(response.body, AsyncIterator)):
        server.request_metrics.follow(call, response)
        return response
    status, body = response.status, response.body
    # What goes out in one slice (`net.exchange.small_body`) is as good as sent; what a client in this process is given has arrived.
    is_small = isinstance(body, bytes) and len(body) <= SLICE_BYTES and response.on_sent is None
    if not is_small and call.request.context is None:
        # Without the response itself: in a ring with it, its body would outlive it.
        response.on_sent = partial(_sent, call, status, body if isinstance(body, Gradual) else size_of(body))
        return response
    seconds = server.clock.monotonic() - call.received_at
    size_bytes = len(body) if isinstance(body, bytes) else size_of(body)
    server.request_metrics.answered(call, status, size_bytes, seconds)
    if seat is not None:
        server.gate.leave(seat)
    return response


def _sent(call: Call, status: int, body: Gradual | int) -> None:
    server, seconds = call.server, call.server.clock.monotonic() - call.received_at
    server.request_metrics.answered(call, status, body if isinstance(body, int) else body.size_bytes, seconds)
    give_back(call)


def give_back(call: Call) -> None:
    """Frees the call's seat, if it has one; harmless when repeated."""
    if call.seat is not None:
        call.server.gate.leave(call.seat)


def _give_back_when_begun(call: Call, response: Response) -> None:
    start = response.start
    assert start is not None

    def started(sink: Sink) -> None:
        try:
            start(sink)
        finally:
            if not call.initializing:
                give_back(call)

    response.start = started
    response.on_sent = lambda: give_back(call)  # where nobody starts it: HEAD, or a client that has gone
