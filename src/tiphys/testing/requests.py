"""What was asked of a test cluster's API, and by whom; and the ways in which a test lets it go wrong.

`ObservedAPIServer` is the API server with two more looks at each request: it is written down, and a fault may meet it. Faults are
data, so that they work the same in this process and in another one:

    Fault(verb="update", resource="deployments", code=409, times=1)          # one conflict, in upstream's words
    Fault(user="*:my-operator", delay_seconds=2)                             # slow answers
    Fault(method="GET", path="/api*", disconnect=True, probability=0.1)      # a bad network
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from random import Random
from typing import Any

from tiphys.apiserver.authentication import authenticate
from tiphys.apiserver.call import Call
from tiphys.apiserver.responses import failure, finish
from tiphys.apiserver.server import APIServer
from tiphys.machinery import errors
from tiphys.machinery.errors import StatusError
from tiphys.machinery.frozen import frozen
from tiphys.machinery.gvk import GroupResource
from tiphys.net.http import HANG_UP, Request, Response

KEPT_REQUESTS = 20_000
KEPT_BODY_BYTES = 256 << 10
_MATCHED = (
    "user",
    "verb",
    "method",
    "path",
    "group",
    "resource",
    "subresource",
    "namespace",
    "name",
    "user_agent",
)


@dataclass(slots=True)
class RecordedRequest:
    """One request. `status` is 0 until it is answered, and of one that was never answered."""

    time: str
    user: str
    verb: str
    method: str
    path: str
    query: str = ""
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    user_agent: str = ""
    acting_as: str = ""
    """Whom the user impersonates."""
    internal: bool = False
    """Asked by a part of the control plane itself, or by a simulated node."""
    status: int = 0
    fault: bool = False
    """A fault of the test has met it."""
    content_type: str = ""
    body: str = ""

    def json(self) -> Any:
        """The body decoded; None when it is no JSON."""
        try:
            return json.loads(self.body) if self.body else None
        except ValueError:
            return None

    def matches(self, patterns: Mapping[str, str]) -> bool:
        """Whether each named field is as its pattern (`*`, `?`, `[...]`) says."""
        return all(fnmatchcase(getattr(self, name), pattern) for name, pattern in patterns.items())


@frozen(kw_only=True)
class Fault:
    """Which requests go wrong (patterns as in a shell), how, and how often. Without `user` it meets no part of the control plane.

    `code` answers with an error; `delay_seconds` (of the cluster's time) comes before whatever the answer is; `disconnect` cuts the
    connection off without an answer; `after` cuts off, or refuses, only once the request was carried out.
    """

    user: str = ""
    verb: str = "*"
    method: str = "*"
    path: str = "*"
    group: str = "*"
    resource: str = "*"
    subresource: str = "*"
    namespace: str = "*"
    name: str = "*"
    user_agent: str = "*"

    code: int = 0
    reason: str = ""
    message: str = ""
    retry_after_seconds: int = 0
    delay_seconds: float = 0.0
    disconnect: bool = False
    after: bool = False
    times: int | None = None
    """So often, then never again; None: until it is removed."""
    probability: float = 1.0

    def concerns(self, asked: RecordedRequest) -> bool:
        if not self.user and asked.internal:
            return False
        patterns = {name: getattr(self, name) for name in _MATCHED}
        patterns["user"] = self.user or "*"
        return asked.matches(patterns)

    def error(self, asked: RecordedRequest) -> StatusError:
        """In upstream's words, unless the test has its own."""
        made = _error(self.code, asked, self.retry_after_seconds)
        reason, message = self.reason or made.reason, self.message or made.message
        return StatusError(self.code, reason, message, made.details)


def _error(code: int, asked: RecordedRequest, retry_after_seconds: int) -> StatusError:
    resource = GroupResource(asked.group, asked.resource)
    made: dict[int, Callable[[], StatusError]] = {
        401: errors.unauthorized,
        404: lambda: errors.not_found(resource, asked.name),
        409: lambda: errors.conflict(resource, asked.name),
        410: lambda: errors.expired("The provided continue parameter is too old."),
        429: lambda: errors.too_many_requests(
            "the server has received too many requests and has asked us to try again later",
            retry_after_seconds=retry_after_seconds or 1,
        ),
        500: lambda: errors.internal_error("a fault of the test"),
        503: lambda: errors.service_unavailable("the server is currently unable to handle the request"),
        504: lambda: errors.timeout(
            "request did not complete within the allotted timeout", retry_after_seconds=retry_after_seconds
        ),
    }
    if code in made:
        return made[code]()
    return errors.generic_server_response(code, asked.method)


@dataclass(slots=True)
class _Armed:
    fault: Fault
    left: int | None = field(default=None)


class Faults:
    """Those of one cluster; of several that concern a request the newest meets it."""

    def __init__(self, seed: int = 1) -> None:
        self._random = Random(seed)
        self._armed: dict[int, _Armed] = {}
        self._next = 0

    def add(self, fault: Fault) -> int:
        self._next += 1
        self._armed[self._next] = _Armed(fault, fault.times)
        return self._next

    def remove(self, number: int) -> None:
        self._armed.pop(number, None)

    def clear(self) -> None:
        self._armed.clear()

    def meet(self, asked: RecordedRequest) -> Fault | None:
        for number in reversed(self._armed):
            armed = self._armed[number]
            if not armed.fault.concerns(asked) or self._random.random() >= armed.fault.probability:
                continue
            if armed.left is not None:
                armed.left -= 1
                if armed.left <= 0:
                    del self._armed[number]
            return armed.fault
        return None


class ObservedAPIServer(APIServer):
    """See the module. `seen`: the newest requests, oldest first."""

    faults: Faults
    seen: deque[RecordedRequest]

    def observe(self) -> None:
        self.faults = Faults()
        self.seen = deque(maxlen=KEPT_REQUESTS)

    def handle(self, request: Request) -> Response | Awaitable[Response]:
        asked, call = self._write_down(request)
        fault = self.faults.meet(asked)
        if fault is not None:
            asked.fault = True
            return self._go_wrong(fault, asked, call)
        answer = super().handle(request)
        if isinstance(answer, Response):
            asked.status = answer.status
            return answer
        return _noted(answer, asked)

    def _write_down(self, request: Request) -> tuple[RecordedRequest, Call]:
        call = Call(self, request)
        try:
            authenticate(call)
            user = call.user.name
        except StatusError:
            user = ""
        info, headers = call.info, request.headers
        asked = RecordedRequest(
            time=self.clock.now().isoformat(),
            user=user,
            verb=info.verb,
            method=request.method,
            path=request.path,
            query=request.target.partition("?")[2],
            group=info.group,
            resource=info.resource,
            subresource=info.subresource,
            namespace=info.namespace,
            name=info.name,
            user_agent=headers.get("user-agent", ""),
            acting_as=headers.get("impersonate-user", ""),
            internal=request.context is not None,
            content_type=headers.get("content-type", ""),
            body=request.body[:KEPT_BODY_BYTES].decode(errors="replace"),
        )
        self.seen.append(asked)
        return asked, call

    async def _go_wrong(self, fault: Fault, asked: RecordedRequest, call: Call) -> Response:
        if fault.delay_seconds:
            await self.clock.sleep(fault.delay_seconds)
        answer: Response | None = None
        if fault.after or not (fault.code or fault.disconnect):
            done = super().handle(call.request)
            answer = done if isinstance(done, Response) else await done
        if fault.disconnect:
            return HANG_UP
        if fault.code:
            answer = finish(call, failure(call, fault.error(asked)))
        assert answer is not None
        asked.status = answer.status
        return answer


async def _noted(answer: Awaitable[Response], asked: RecordedRequest) -> Response:
    response = await answer
    asked.status = response.status
    return response


FAULT_FIELDS = tuple(entry.name for entry in fields(Fault))
