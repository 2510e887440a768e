"""Requests for a group version of another server, passed on: as they are, but in the name of who asks.

What is said when the other server cannot be reached, and which headers pass, is as upstream's aggregator has it
(kube-aggregator `handler_proxy.go`, apimachinery `util/proxy`): plain texts under 503, no hop-by-hop headers (RFC 9110 §7.6.1).
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from urllib.parse import quote

from tiphys.apiserver.aggregation.identity import identity_headers, is_identity_header
from tiphys.apiserver.call import Call
from tiphys.apiserver.streams import splice
from tiphys.net.client import ConnectError, HTTPClient, HTTPClientError, RequestTimeout, StreamedResponse
from tiphys.net.http import ByteStream, Response

DISCOVERY_TIMEOUT_SECONDS = 5.0
_WHOLE_BYTES = 64 << 10
"""A body that is said to be smaller is given back whole, so that its length can be said again."""
_IN_PATHS = "/:@!$&'()*+,;=~-._"
_HOP_BY_HOP = frozenset(
    {
        "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer",
        "transfer-encoding", "upgrade",
    }
)  # fmt: skip
_OWN = frozenset({"host", "authorization", "content-length", "x-forwarded-for"})
"""Of a request's headers, what is said anew or was meant for this server."""
_CORS = frozenset(f"access-control-allow-{name}" for name in ("credentials", "headers", "methods", "origin"))


def plain_error(text: str, status: int) -> Response:
    """An error of the proxy itself, which knows no Status."""
    headers = [("content-type", "text/plain; charset=utf-8"), ("x-content-type-options", "nosniff")]
    return Response(status, headers, f"{text}\n".encode())


async def forward(call: Call, client: HTTPClient) -> Response:
    """The other server's answer to a request; its body comes as it comes."""
    request = call.request
    if is_upgrade(request.headers):
        return await _upgrade(call, client)
    headers = [*_passed_on(call), ("X-Forwarded-Uri", request.path), ("X-Forwarded-Proto", "https")]
    is_discovery = not call.info.is_resource and len(request.path.strip("/").split("/")) == 3
    timeout_seconds = DISCOVERY_TIMEOUT_SECONDS if is_discovery else None
    stack = AsyncExitStack()
    try:
        answer = await stack.enter_async_context(
            client.stream(
                request.method, _target(call), headers, request.body, timeout_seconds=timeout_seconds
            )
        )
    except HTTPClientError as error:
        return plain_error(f"error trying to reach service: {describe(error)}", 503)
    if request.method == "HEAD" or answer.status in (204, 304):
        await stack.aclose()
        return Response(answer.status, _given_back(answer.headers))
    if int(answer.headers.get("content-length", _WHOLE_BYTES)) < _WHOLE_BYTES:
        async with stack:
            return Response(answer.status, _given_back(answer.headers), await answer.read_all())
    return Response(answer.status, _given_back(answer.headers), _Body(answer, stack))


class _Body(AsyncIterator[bytes]):
    """The body on its way; whoever ends reading it ends the exchange with the other server."""

    def __init__(self, answer: StreamedResponse, stack: AsyncExitStack) -> None:
        self._answer = answer
        self._stack = stack

    async def __anext__(self) -> bytes:
        try:
            piece = await self._answer.read()
        except HTTPClientError as error:
            raise ConnectionError(str(error)) from error
        if not piece:
            await self.aclose()
            raise StopAsyncIteration
        return piece

    async def aclose(self) -> None:
        await self._stack.aclose()


def is_upgrade(headers: dict[str, str]) -> bool:
    return "upgrade" in headers.get("connection", "").lower()


async def _upgrade(call: Call, client: HTTPClient) -> Response:
    """The same upgrade at the other server; then the two connections are one."""
    request = call.request
    wanted = [("Connection", "Upgrade"), ("Upgrade", request.headers.get("upgrade", ""))]
    try:
        answer, backend = await client.upgrade(
            request.method, _target(call), [*_passed_on(call), *wanted], request.body
        )
    except HTTPClientError as error:
        return plain_error(f"error dialing backend: {describe(error)}", 503)
    if backend is None:
        if answer.status < 400:
            return plain_error(f"invalid upgrade response: status code {answer.status}", 503)
        return Response(answer.status, _given_back(answer.headers), answer.body)

    async def join(client_stream: ByteStream) -> None:
        await splice(client_stream, backend)

    kept = [(name, value) for name, value in answer.headers.items() if name not in ("date", "content-length")]
    return Response(101, kept, upgrade=join)


def _target(call: Call) -> str:
    """The path as it was understood here, and authorized: were it passed on as it was written, the other server might read an
    escaped slash in it as something else."""
    path, query = call.request.path, call.request.target.partition("?")[2]
    return quote(path, safe=_IN_PATHS) + (f"?{query}" if query else "")


def _passed_on(call: Call) -> list[tuple[str, str]]:
    headers = call.request.headers
    dropped = _HOP_BY_HOP | _OWN | _named_in(headers.get("connection", ""))
    kept = [
        (name, value)
        for name, value in headers.items()
        if name not in dropped and not is_identity_header(name) and not name.startswith("impersonate-")
    ]
    peer = call.request.connection.peer_address.host
    chain = [headers["x-forwarded-for"]] if "x-forwarded-for" in headers else []
    if peer or chain:
        kept.append(("X-Forwarded-For", ", ".join([*chain, *([peer] if peer else [])])))
    return [*kept, *identity_headers(call.user)]


def _given_back(headers: dict[str, str]) -> list[tuple[str, str]]:
    dropped = _HOP_BY_HOP | _CORS | _named_in(headers.get("connection", ""))
    return [
        (name, value) for name, value in headers.items() if name not in dropped and name != "content-length"
    ]


def _named_in(connection: str) -> set[str]:
    return {name.strip().lower() for name in connection.split(",")}


def describe(error: HTTPClientError) -> str:
    """What went wrong, in the words of Go's net/http where it has some that people search for."""
    if isinstance(error, RequestTimeout):
        return "context deadline exceeded"
    if not isinstance(error, ConnectError):
        return f"EOF: {error}" if "closed the connection" in str(error) else str(error)
    cause = error.__cause__
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"tls: failed to verify certificate: x509: {_certificate_problem(cause)}"
    if isinstance(cause, ssl.SSLError) and cause.reason == "WRONG_VERSION_NUMBER":
        return "http: server gave HTTP response to HTTPS client"
    if isinstance(cause, ConnectionRefusedError):
        return f"dial tcp {error.address}: connect: connection refused"
    if "timed out" in error.reason:
        return f"dial tcp {error.address}: i/o timeout"
    return f"dial tcp {error.address}: {error.reason}"


def _certificate_problem(error: ssl.SSLCertVerificationError) -> str:
    if "mismatch" in error.verify_message or "not valid for" in error.verify_message:
        return "certificate is not valid for any names, but wanted to match the service's"
    if "expired" in error.verify_message:
        return "certificate has expired or is not yet valid"
    return "certificate signed by unknown authority"
