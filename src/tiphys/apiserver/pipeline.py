"""The way of a request through the API server, read from top to bottom.

Each step looks at the Call and either answers (a Response), refuses (raises a StatusError), or lets it pass (None). A step
that must wait returns an awaitable of the same; until one does, a request is served without a task of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from inspect import isawaitable
from typing import TYPE_CHECKING

from tiphys.api.types import schema_of
from tiphys.apiserver.authentication import authenticate, impersonate
from tiphys.apiserver.authorization import authorize
from tiphys.apiserver.call import Call
from tiphys.apiserver.cors import answer_preflight
from tiphys.apiserver.deadlines import read_timeout, too_late, was_late
from tiphys.apiserver.endings import end, give_back
from tiphys.apiserver.handlers import serve
from tiphys.apiserver.longrunning import is_long_running
from tiphys.apiserver.negotiation import SERVED, WITHOUT_PROTOBUF, accepted
from tiphys.apiserver.nonresource import serve_path
from tiphys.apiserver.responses import failure
from tiphys.machinery import errors
from tiphys.machinery.errors import StatusError
from tiphys.net.http import Request, Response

if TYPE_CHECKING:
    from tiphys.apiserver.server import APIServer

Answer = Response | Awaitable[Response | None] | None
Step = Callable[[Call], Answer]


def audit(call: Call) -> Answer:
    """Begins to write the request down, where a policy asks for it."""
    return None if call.server.auditor is None else call.server.auditor.begin(call)


def delegate(call: Call) -> Awaitable[Response] | None:
    """Passes on what another API server serves, in the name of who asks: what a path means and who may do it is for that to say."""
    remote = call.server.aggregator.remote_of(call)
    return None if remote is None else remote.serve(call)


def find_resource(call: Call) -> None:
    """Which row and subresource the path means; to those who may not use it, an unknown one is as forbidden as a known one."""
    info = call.info
    if not info.is_resource:
        return
    row = call.server.scheme.by_resource(info.group, info.version, info.resource)
    if row is None or (info.namespace and not row.namespaced and row.plural != "namespaces"):
        raise errors.StatusError(404, "NotFound", "the server could not find the requested resource", {})
    if (
        row.reading is not None
        and row.namespaced
        and not info.namespace
        and info.verb not in ("list", "watch")
    ):
        raise errors.StatusError(404, "NotFound", "the server could not find the requested resource", {})
    if info.subresource:
        call.subresource = row.subresource(info.subresource)
        if call.subresource is None and row.reading is not None:
            raise errors.not_found(row.group_resource, info.name)
        if call.subresource is None or (len(info.parts) > 3 and info.subresource != "proxy"):
            raise errors.StatusError(404, "NotFound", "the server could not find the requested resource", {})
    if not info.verb and info.subresource != "proxy":
        raise errors.generic_server_response(405, call.request.method)
    if row.plural == "namespaces" and not row.namespaced:
        info.namespace = ""
    for warning in row.warnings:
        call.warn(warning)
    call.row = row


def negotiate(call: Call) -> None:
    """What the client wants to read; streams and logs choose for themselves, and what is passed on is chosen by who answers it."""
    if call.info.subresource == "proxy":
        return
    row, below = call.row, call.subresource
    if below is not None and below.kind is not None:  # a Scale has protobuf, whatever it is of
        served: tuple[str, ...] = SERVED
        tables = below.kind.kind == "Scale"
    else:
        served = SERVED if schema_of(row).struct is not None else WITHOUT_PROTOBUF
        # Reviews, bindings and the like are answers to a question: nobody prints them in columns.
        tables = not row.virtual or "list" in row.verbs
    call.representation = accepted(call.request.headers.get("accept", ""), served, tables=tables)


def take_seat(call: Call) -> Answer:
    """Fairness, or the plain limits: a request that finds no place waits for one, or is turned away with 429."""
    return call.server.gate.enter(call)


STEPS: tuple[Step, ...] = (
    answer_preflight,
    read_timeout,
    authenticate,
    audit,
    impersonate,
    take_seat,
    authorize,
    delegate,
    find_resource,
    serve_path,
    negotiate,
    serve,
)
"""The pipeline. `serve_path` answers what is no resource (/healthz, /apis, /openapi); `serve` answers the rest."""


def steps_of(server: APIServer) -> tuple[Step, ...]:
    """Those of STEPS that a server needs, as it is set up."""
    unneeded: dict[Step, bool] = {
        answer_preflight: server.cross_origin is None,
        audit: server.auditor is None,
    }
    directly: dict[Step, Step] = {take_seat: server.gate.enter}
    return tuple(directly.get(step, step) for step in STEPS if not unneeded.get(step))


def handle(call: Call) -> Response | Awaitable[Response]:
    """Runs a call through the steps."""
    steps = call.server.steps
    answer: Answer = None
    try:
        for step in steps:
            answer = step(call)
            if answer is not None:
                break
    except StatusError as error:
        return _ended(call, failure(call, error))
    except Exception as error:
        return _ended(call, call.server.crashed(call.request, error))
    assert answer is not None, "the last step answers every call"
    if isinstance(answer, Response):
        return _ended(call, answer)
    return _later(call, answer, steps.index(step) + 1)


def _ended(call: Call, response: Response) -> Response | Awaitable[Response]:
    response = end(call, response)
    if call.audit is None or call.audit.stored is None:
        return response
    return call.server.loop.create_task(_written_down(response, call.audit.stored))


async def _written_down(response: Response, stored: Awaitable[object]) -> Response:
    """Sends nothing before those who must know of it do (audit's mode `blocking`)."""
    await stored
    return response


def _later(call: Call, waiting: Awaitable[Response | None], position: int) -> asyncio.Task[Response]:
    """A task and no bare coroutine: one that is cancelled before it has begun would never give its seat back."""
    server = call.server
    task = server.loop.create_task(_end_later(call, waiting, position))
    task.add_done_callback(partial(_over, call, waiting))
    if not is_long_running(call.info):
        server.deadlines.hold(call, task)
    return task


def _over(call: Call, waiting: Awaitable[Response | None], task: asyncio.Task[Response]) -> None:
    """Gives back what a task cannot that was cancelled before it had begun, or while it wrote down its end."""
    if not task.cancelled():
        return
    if isinstance(waiting, Coroutine):
        waiting.close()
    call.server.deadlines.let_go(call)
    give_back(call)


async def _end_later(call: Call, waiting: Awaitable[Response | None], position: int) -> Response:
    try:
        answer = await waiting
        while answer is None:
            passed = call.server.steps[position](call)
            position += 1
            answer = await passed if isawaitable(passed) else passed
        response = end(call, answer)
    except StatusError as error:
        response = _refused(call, error)
    except asyncio.CancelledError:
        if not was_late(call):
            raise
        response = _refused(call, too_late(call))
    except Exception as error:
        response = end(call, call.server.crashed(call.request, error))
    finally:
        call.server.deadlines.let_go(call)
    if call.audit is not None and call.audit.stored is not None:
        await call.audit.stored
    return response


def _refused(call: Call, error: StatusError) -> Response:
    if error.code == 504:
        call.server.request_metrics.refused(call, 504)
    return end(call, failure(call, error))


def too_large(request: Request) -> Response:
    """The server's answer to a body beyond its limit, given before the pipeline sees the request."""
    error = errors.request_entity_too_large("limit is 3145728")
    del request
    return failure(None, error)
