"""Requests for a group version of another server, passed on: as they are, but in the name of who asks.

What is said when that cannot be reached is as upstream's aggregator says it (kube-aggregator `handler_proxy.go`): plain texts
under 503.
"""

from __future__ import annotations

from urllib.parse import quote

from tiphys.apiserver.aggregation.identity import identity_headers, is_identity_header
from tiphys.apiserver.call import Call
from tiphys.apiserver.relay import Passage, passed_on, relay
from tiphys.net.client import HTTPClient
from tiphys.net.http import Response

DISCOVERY_TIMEOUT_SECONDS = 5.0
_IN_PATHS = "/:@!$&'()*+,;=~-._"


def plain_error(text: str, status: int) -> Response:
    """An error of the proxy itself, which knows no Status."""
    headers = [("content-type", "text/plain; charset=utf-8"), ("x-content-type-options", "nosniff")]
    return Response(status, headers, f"{text}\n".encode())


async def forward(call: Call, client: HTTPClient) -> Response:
    """The other server's answer to a request."""
    request = call.request
    kept = [
        (name, value)
        for name, value in passed_on(request)
        if name != "host" and not is_identity_header(name.lower())
    ]
    forwarded = [("X-Forwarded-Uri", request.path), ("X-Forwarded-Proto", "https")]
    is_discovery = not call.info.is_resource and len(request.path.strip("/").split("/")) == 3
    passage = Passage(
        client,
        _target(call),
        [*kept, *forwarded, *identity_headers(call.user)],
        unreachable=lambda text: plain_error(text, 503),
        timeout_seconds=DISCOVERY_TIMEOUT_SECONDS if is_discovery else None,
    )
    return await relay(request, passage)


def _target(call: Call) -> str:
    """The path as it was understood here, and authorized: were it passed on as it was written, the other server might read an
    escaped slash in it as something else."""
    path, query = call.request.path, call.request.target.partition("?")[2]
    return quote(path, safe=_IN_PATHS) + (f"?{query}" if query else "")
