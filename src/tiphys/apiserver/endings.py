"""The end of every call: what its answer carries, what is counted of it, and when its seat is free again.

A seat is held, and the time of a request runs, until the answer is on the wire when that takes longer than one write (upstream's
handlers return when they have written all); a watch gives its seat back when it has sent what it begins with.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from tiphys.apiserver.call import Call
from tiphys.apiserver.responses import finish, restate
from tiphys.net.exchange import small_body
from tiphys.net.http import Response, Sink


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
    # What a client in this process is given has arrived.
    if call.request.context is None and small_body(response) is None:
        response.on_sent = lambda: _sent(call, response)
        return response
    server.request_metrics.answered(call, response, server.clock.monotonic() - call.received_at)
    if seat is not None:
        server.gate.leave(seat)
    return response


def _sent(call: Call, response: Response) -> None:
    server = call.server
    server.request_metrics.answered(call, response, server.clock.monotonic() - call.received_at)
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
