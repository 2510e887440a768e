"""One request passed on to another server, and its answer passed back: what API aggregation and the `proxy` subresources share.

No hop-by-hop headers go through (RFC 9110 §7.6.1), bodies come as they come, an upgraded connection is joined with ours. As
upstream's (apimachinery `util/proxy` UpgradeAwareHandler).
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import field

from tiphys.apiserver.streams import splice
from tiphys.machinery.frozen import frozen
from tiphys.net.client import ConnectError, HTTPClient, HTTPClientError, RequestTimeout, StreamedResponse
from tiphys.net.http import ByteStream, Request, Response

_WHOLE_BYTES = 64 << 10
"""A body that is said to be smaller is given back whole, so that its length can be said again."""
_HOP_BY_HOP = frozenset(
    {
        "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer",
        "transfer-encoding", "upgrade",
    }
)  # fmt: skip
_SAID_ANEW = frozenset({"authorization", "content-length", "x-forwarded-for"})
_CORS = frozenset(f"access-control-allow-{name}" for name in ("credentials", "headers", "methods", "origin"))

Headers = list[tuple[str, str]]
Rewrite = Callable[[Headers, bytes], bytes]
"""(headers, to be changed in place; a whole HTML page, or nothing) → the page as it is given back."""


@frozen
class Passage:
    """Where a request goes and what it is there. `unreachable(text)` is the answer when nobody does: a Response, or raises."""

    client: HTTPClient
    target: str
    headers: Headers
    unreachable: Callable[[str], Response]
    timeout_seconds: float | None = None
    rewrite: Rewrite | None = None
    """For servers that do not know that they are below a path of ours: changes links and redirects."""
    resources: AsyncExitStack = field(default_factory=AsyncExitStack)
    """Ended with the exchange."""


async def relay(request: Request, passage: Passage) -> Response:
    """The other server's answer."""
    if is_upgrade(request.headers):
        return await _upgrade(request, passage)
    stack = passage.resources
    try:
        answer = await stack.enter_async_context(
            passage.client.stream(
                request.method,
                passage.target,
                passage.headers,
                request.body,
                timeout_seconds=passage.timeout_seconds,
            )
        )
        headers = _given_back(answer.headers)
        is_page = answer.headers.get("content-type", "").partition(";")[0].strip() == "text/html"
        if request.method == "HEAD" or answer.status in (204, 304):
            whole: bytes | None = b""
        elif (is_page and passage.rewrite is not None) or _length(answer) < _WHOLE_BYTES:
            whole = await answer.read_all()
        else:
            whole = None
    except HTTPClientError as error:
        await stack.aclose()
        return passage.unreachable(f"error trying to reach service: {describe(error)}")
    except BaseException:
        await stack.aclose()
        raise
    if passage.rewrite is not None:
        page = passage.rewrite(headers, whole if is_page and whole else b"")
        whole = page or whole
    if whole is not None:
        await stack.aclose()
        return Response(answer.status, headers, whole)
    return Response(answer.status, headers, _Body(answer, stack))


def _length(answer: StreamedResponse) -> int:
    text = answer.headers.get("content-length", "")
    return int(text) if text.isdecimal() else _WHOLE_BYTES


class _Body(AsyncIterator[bytes]):
    """The body on its way; whoever ends reading it ends the exchange with the other server."""

    def __init__(self, answer: StreamedResponse, stack: AsyncExitStack) -> None:
        self._answer = answer
        self._stack = stack
        self._loop = asyncio.get_running_loop()
        self._ended = False

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
        self._ended = True
        await self._stack.aclose()

    def __del__(self) -> None:
        # A client may go before the first piece is asked for: then nobody was there to end the exchange.
        if not self._ended:
            self._loop.create_task(self._stack.aclose())


def is_upgrade(headers: dict[str, str]) -> bool:
    return "upgrade" in headers.get("connection", "").lower()


async def _upgrade(request: Request, passage: Passage) -> Response:
    """The same upgrade at the other server; then the two connections are one."""
    wanted = [("Connection", "Upgrade"), ("Upgrade", request.headers.get("upgrade", ""))]
    async with passage.resources:
        try:
            answer, backend = await passage.client.upgrade(
                request.method, passage.target, [*passage.headers, *wanted], request.body
            )
        except HTTPClientError as error:
            return passage.unreachable(f"error dialing backend: {describe(error)}")
    if backend is None:
        if answer.status < 400:
            return passage.unreachable(f"invalid upgrade response: status code {answer.status}")
        return Response(answer.status, _given_back(answer.headers), answer.body)

    async def join(client_stream: ByteStream) -> None:
        await splice(client_stream, backend)

    kept = [(name, value) for name, value in answer.headers.items() if name not in ("date", "content-length")]
    return Response(101, kept, upgrade=join)


def passed_on(request: Request) -> Headers:
    """The headers of a request that the other server is told too."""
    headers = request.headers
    dropped = _HOP_BY_HOP | _SAID_ANEW | _named_in(headers.get("connection", ""))
    kept = [
        (name, value)
        for name, value in headers.items()
        if name not in dropped and not name.startswith("impersonate-")
    ]
    peer = request.connection.peer_address.host
    chain = [headers["x-forwarded-for"]] if "x-forwarded-for" in headers else []
    if peer or chain:
        kept.append(("X-Forwarded-For", ", ".join([*chain, *([peer] if peer else [])])))
    return kept


def _given_back(headers: dict[str, str]) -> Headers:
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
