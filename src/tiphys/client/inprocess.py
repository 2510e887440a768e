"""A transport for components that live in the API server's own process: calls instead of connections.

Writes and single reads go through the same pipeline as any request (authorization, admission, validation); lists and
watches hand out the API server's own decoded objects, so that a second copy of the cluster is never made. They are
read-only for that reason.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from inspect import isawaitable
from typing import Any, Protocol

import orjson

from tiphys.api.resource import Resource
from tiphys.client.request_metrics import RequestMetrics
from tiphys.client.transport import (
    DELETED,
    ERROR,
    JSON,
    Listing,
    Object,
    Query,
    WatchEvent,
    decode_answer,
    target,
)
from tiphys.machinery import meta
from tiphys.machinery.errors import StatusError
from tiphys.machinery.frozen import frozen
from tiphys.machinery.selectors import parse_field_selector, parse_label_selector
from tiphys.net.http import Request, Response

Deliver = Callable[[str, Object], None]
"""(event type, object): ADDED, MODIFIED, DELETED, BOOKMARK; ERROR with a Status ends the watch."""


@frozen
class LocalIdentity:
    """Who is calling. The pipeline finds it in `Request.context` in place of a certificate or a token."""

    user: str
    groups: tuple[str, ...] = ("system:authenticated",)


class LocalAPI(Protocol):
    """What the API server offers inside its process (`tiphys.apiserver.local.LocalAPI`)."""

    def handle(self, request: Request) -> Response | Awaitable[Response]:
        """The pipeline; `request.context` is a LocalIdentity."""

    def row(self, resource: Resource) -> Resource:
        """The server's own row of a kind, with all rules. StatusError 404."""

    async def list_objects(self, resource: Resource, namespace: str | None) -> tuple[list[Object], str]:
        """All current objects, decoded once and shared, and the resourceVersion to watch from."""

    def watch_objects(
        self, resource: Resource, namespace: str | None, resource_version: str, callback: Deliver
    ) -> Callable[[], None]:
        """Delivers every change after that version, in order, on the event loop. StatusError 410 when it is too old."""


class InProcessTransport:
    """`Transport` over a LocalAPI, as one user. What it writes is owned by the program that `user_agent` names."""

    def __init__(
        self,
        api: LocalAPI,
        user: str,
        groups: Sequence[str] = ("system:authenticated",),
        *,
        user_agent: str = "tiphys",
        metrics: RequestMetrics | None = None,
    ) -> None:
        self._api = api
        self._metrics = metrics
        self._user_agent = user_agent
        self._identity = LocalIdentity(user, tuple(groups))

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
        headers = {"accept": JSON, "content-type": content_type, "user-agent": self._user_agent}
        data = b"" if body is None else orjson.dumps(body)
        request = Request(method, target(path, query), headers, data)
        request.context = self._identity
        metrics = self._metrics
        began = metrics.now() if metrics is not None else 0.0
        async with asyncio.timeout(timeout_seconds):
            answer = self._api.handle(request)
            response = await answer if isawaitable(answer) else answer
            content = await _content(response)
        if metrics is not None:
            metrics.answered(method, str(response.status), began, len(data), len(content))
        return decode_answer(response.status, content, method)

    async def list(
        self, resource: Resource, namespace: str | None = None, *, query: Query | None = None
    ) -> Listing:
        metrics = self._metrics
        began = metrics.now() if metrics is not None else 0.0
        items, resource_version = await self._api.list_objects(resource, namespace)
        if metrics is not None:
            metrics.answered("GET", "200", began)
        if query:
            accepts = _acceptor(self._api.row(resource), query)
            items = [item for item in items if accepts(item)]
        return Listing(items, resource_version)

    async def watch(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        resource_version: str,
        query: Query | None = None,
    ) -> AsyncGenerator[WatchEvent, None]:
        accepts = _acceptor(self._api.row(resource), query) if query else None
        events: deque[WatchEvent] = deque()
        arrived = asyncio.Event()

        def deliver(type: str, obj: Object) -> None:
            # An object that no longer matches has left the selection: DELETED to the watcher, as over the wire.
            # One that never matched is deleted once more, which changes nothing in a cache.
            if accepts is not None and type not in (ERROR, "BOOKMARK") and not accepts(obj):
                type = DELETED
            events.append(WatchEvent(type, obj))
            arrived.set()

        metrics = self._metrics
        began = metrics.now() if metrics is not None else 0.0
        cancel = self._api.watch_objects(resource, namespace, resource_version, deliver)
        if metrics is not None:
            metrics.answered("GET", "200", began)
        try:
            while True:
                await arrived.wait()
                arrived.clear()
                while events:
                    event = events.popleft()
                    if event.type == ERROR:
                        raise StatusError.from_status(event.object)
                    yield event
        finally:
            cancel()

    async def close(self) -> None:
        """Nothing is open."""


async def _content(response: Response) -> bytes:
    body = response.body
    if isinstance(body, bytes):
        return body
    if isinstance(body, AsyncIterator):
        return b"".join([piece async for piece in body])
    return b"".join(body)


def _acceptor(resource: Resource, query: Query) -> Callable[[Object], bool]:
    """Whether an object is selected by the labelSelector and fieldSelector of a query."""
    labels = parse_label_selector(query.get("labelSelector", ""))
    fields = parse_field_selector(query.get("fieldSelector", ""))

    def accepts(obj: Object) -> bool:
        values = selectable_fields(resource, obj)
        return labels.matches(meta.labels(obj)) and fields.matches(lambda path: values.get(path, ""))

    return accepts


def selectable_fields(resource: Resource, obj: Object) -> dict[str, str]:
    return {
        "metadata.name": meta.name(obj),
        "metadata.namespace": meta.namespace(obj),
        **{path: read(obj) for path, read in resource.selectable_fields.items()},
    }
