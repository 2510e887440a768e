"""A transport over the network: JSON over HTTPS, with a client certificate or a token.

Lists come in pages of 500 objects. A server that is too busy (429, or 5xx with Retry-After) is asked again after the time it
names, at most ten times, as client-go does. Watches are lines of JSON over one streamed response; the server ends them after a few
minutes, which is no failure.
"""

from __future__ import annotations

import ssl
import tempfile
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Sequence
from copy import copy
from pathlib import Path
from random import Random
from socket import socket
from typing import Any
from urllib.parse import urlsplit

import orjson

from tiphys.api.resource import Resource
from tiphys.client.kubeconfig import Access
from tiphys.client.request_metrics import NO_ANSWER, RequestMetrics
from tiphys.client.transport import (
    ERROR,
    JSON,
    Listing,
    Object,
    Query,
    WatchEvent,
    decode_answer,
    resource_path,
    target,
)
from tiphys.machinery.clock import Clock, SystemClock
from tiphys.machinery.errors import StatusError
from tiphys.machinery.metrics import Registry
from tiphys.net.client import ClientResponse, HTTPClient, HTTPClientError

PAGE_SIZE = 500
RETRIES = 10
SHORTEST_WATCH_SECONDS = 300
"""A watch is asked to last this long and up to twice as long, so that all of them do not come back at once."""
HEAD_TIMEOUT_SECONDS = 30.0


def ssl_context(access: Access) -> ssl.SSLContext:
    """Trust in the kubeconfig's authority, and its client certificate."""
    context = ssl.create_default_context(cadata=access.certificate_authority.decode() or None)
    if access.insecure_skip_tls_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if access.client_certificate:
        _load_client_certificate(context, access)
    # Streams and writes use HTTP/1.1; a server that is offered nothing else need not guess.
    context.set_alpn_protocols(["http/1.1"])
    return context


def _load_client_certificate(context: ssl.SSLContext, access: Access) -> None:
    """OpenSSL wants files: they exist, readable by nobody else, for the moment it takes."""
    with tempfile.TemporaryDirectory(prefix="tiphys-") as folder:
        certificate, key = Path(folder, "certificate.pem"), Path(folder, "key.pem")
        certificate.write_bytes(access.client_certificate)
        key.touch(mode=0o600)
        key.write_bytes(access.client_key)
        context.load_cert_chain(certificate, key)


class HTTPSTransport:
    """`Transport` to the server of a kubeconfig's context (`kubeconfig.access`)."""

    def __init__(
        self,
        access: Access,
        *,
        clock: Clock | None = None,
        dial: Callable[[], Awaitable[socket]] | None = None,
        user_agent: str = "tiphys",
        random: Random | None = None,
        metrics: Registry | None = None,
    ) -> None:
        self._access = access
        self._clock = clock or SystemClock()
        self._user_agent = user_agent
        self._random = random or Random()
        self.ssl_context = ssl_context(access) if access.server.startswith("https:") else None
        """What is loaded into it holds for connections made from then on."""
        self.http = HTTPClient(access.server, ssl_context=self.ssl_context, dial=dial)
        """The client itself, for what is not JSON: logs, exec, port-forward (with `headers()`)."""
        self._metrics = RequestMetrics(metrics or Registry(), self._clock, urlsplit(access.server).netloc)
        self._acting: dict[str, str] = {}

    def acting_as(self, user: str, group: str) -> HTTPSTransport:
        """The same connections in somebody else's name (impersonation): who has the certificate must be allowed to."""
        other = copy(self)
        other._acting = {"Impersonate-User": user, "Impersonate-Group": group}
        return other

    def headers(self, content_type: str = "") -> dict[str, str]:
        headers = {"Accept": JSON, "User-Agent": self._user_agent, **self._acting}
        if content_type:
            headers["Content-Type"] = content_type
        token = self._access.token
        if self._access.token_file:
            # Read anew each time: a service account's token is renewed in place.
            token = Path(self._access.token_file).read_text().strip()
        if token:
            headers["Authorization"] = f"Bearer {token}"
        return headers

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: Object | Sequence[Any] | None = None,
        content_type: str = JSON,
        timeout_seconds: float | None = None,
    ) -> Object:
        data = b"" if body is None else orjson.dumps(body)
        for attempt in range(RETRIES + 1):
            headers = self.headers(content_type if data else "")
            response = await self._send(method, target(path, query), headers, data, timeout_seconds)
            delay = _retry_after(response.status, response.headers)
            if delay is None or attempt == RETRIES:
                break
            self._metrics.retries(method, response.status)
            await self._clock.sleep(delay)
        return decode_answer(response.status, response.body, method)

    async def list(
        self, resource: Resource, namespace: str | None = None, *, query: Query | None = None
    ) -> Listing:
        items: list[Object] = []
        page = {**(query or {}), "limit": str(PAGE_SIZE)}
        while True:
            answer = await self.request("GET", resource_path(resource, namespace), query=page)
            for item in answer.get("items") or ():
                # Items of a list do not repeat what the list says of all of them.
                items.append({"apiVersion": resource.api_version, "kind": resource.kind, **item})
            metadata = answer.get("metadata") or {}
            if not metadata.get("continue"):
                return Listing(items, metadata.get("resourceVersion", ""))
            page["continue"] = metadata["continue"]

    async def watch(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        resource_version: str,
        query: Query | None = None,
    ) -> AsyncGenerator[WatchEvent, None]:
        seconds = int(SHORTEST_WATCH_SECONDS * (1 + self._random.random()))
        parameters = {
            **(query or {}),
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(seconds),
        }
        where = target(resource_path(resource, namespace), parameters)
        began = self._metrics.now()
        try:
            async with self.http.stream("GET", where, self.headers(), b"", HEAD_TIMEOUT_SECONDS) as response:
                self._metrics.answered("GET", str(response.status), began)
                if response.status != 200:
                    decode_answer(response.status, await response.read_all(), "GET")
                async for line in lines(response):
                    yield watch_event(line)
        except HTTPClientError as error:
            raise ConnectionError(str(error)) from error

    async def close(self) -> None:
        await self.http.close()

    async def _send(
        self, method: str, where: str, headers: dict[str, str], data: bytes, timeout_seconds: float | None
    ) -> ClientResponse:
        metrics = self._metrics
        began = metrics.now()
        try:
            response = await self.http.request(method, where, headers, data, timeout_seconds)
        except HTTPClientError as error:
            metrics.answered(method, NO_ANSWER, began, len(data))
            if isinstance(error, TimeoutError):
                raise
            raise ConnectionError(str(error)) from error
        metrics.answered(method, str(response.status), began, len(data), len(response.body))
        return response


async def lines(pieces: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """The lines of a stream, whatever pieces it comes in; what stands behind the last line end is not a line."""
    rest = b""
    async for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            if line:
                yield line


def watch_event(line: bytes) -> WatchEvent:
    """One line. An ERROR raises the Status it carries."""
    event = orjson.loads(line)
    if event["type"] == ERROR:
        raise StatusError.from_status(event["object"])
    return WatchEvent(event["type"], event["object"])


def _retry_after(status: int, headers: dict[str, str]) -> float | None:
    """Seconds to wait before the same request again; None when the answer stands."""
    if status != 429 and not (status >= 500 and "retry-after" in headers):
        return None
    text = headers.get("retry-after", "1")
    return float(text) if text.isdecimal() else 1.0
