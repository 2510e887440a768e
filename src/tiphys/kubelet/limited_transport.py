"""A bound on requests under way: a burst of pods, or a thousand nodes, must not become as many connections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from tiphys.api.resource import Resource
from tiphys.client.transport import JSON, Listing, Query, Transport, WatchEvent

REQUEST_LIMIT = 8


class LimitedTransport:
    """A transport that lets only so many requests out at a time. Watches are not counted: they last."""

    def __init__(self, transport: Transport, limit: int = REQUEST_LIMIT) -> None:
        self._transport = transport
        self._slots = asyncio.Semaphore(limit)

    def sharing(self, transport: Transport) -> LimitedTransport:
        """Another transport within the same bound."""
        other = LimitedTransport(transport)
        other._slots = self._slots
        return other

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: dict[str, Any] | Sequence[Any] | None = None,
        content_type: str = JSON,
        timeout_seconds: float | None = None,
    ) -> dict[str, Any]:
        async with self._slots:
            return await self._transport.request(
                method,
                path,
                query=query,
                body=body,
                content_type=content_type,
                timeout_seconds=timeout_seconds,
            )

    async def list(
        self, resource: Resource, namespace: str | None = None, *, query: Query | None = None
    ) -> Listing:
        return await self._transport.list(resource, namespace, query=query)

    def watch(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        resource_version: str,
        query: Query | None = None,
    ) -> AsyncGenerator[WatchEvent, None]:
        return self._transport.watch(resource, namespace, resource_version=resource_version, query=query)

    async def close(self) -> None:
        await self._transport.close()
