"""The API server as clients in its own process see it: the same pipeline for requests, shared objects for lists and watches."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from tiphys.api.resource import Object, Resource
from tiphys.apiserver.cache import Event, ResourceCache
from tiphys.apiserver.registry.versions import convert_from_stored
from tiphys.apiserver.server import APIServer
from tiphys.machinery import errors
from tiphys.net.http import Request, Response
from tiphys.store.interface import Compacted

Deliver = Callable[[str, Object], None]


class LocalAPI:
    """Lists and watches give the cache's decoded objects: read-only, never a second copy, and without managedFields, as
    upstream's components drop them from their caches."""

    def __init__(self, server: APIServer) -> None:
        self._server = server

    def handle(self, request: Request) -> Response | Awaitable[Response]:
        return self._server.handle(request)

    def _cache(self, resource: Resource) -> ResourceCache:
        return self._server.reads.cache_of(resource)

    def list_objects(self, resource: Resource, namespace: str | None) -> tuple[list[Object], str]:
        records, _ = self._cache(resource).page(namespace or "")
        revision = self._server.cache.revision
        return [convert_from_stored(resource, record.object) for record in records], str(revision)

    def watch_objects(
        self, resource: Resource, namespace: str | None, resource_version: str, callback: Deliver
    ) -> Callable[[], None]:
        """Delivers every change after a resourceVersion; the result ends the watch. Raises 410 when it is too old."""
        cache = self._cache(resource)
        watcher = _Local(resource, namespace or "", callback)
        stop = cache.watch(watcher)
        try:
            for event in self._server.cache.events_after(cache, int(resource_version or "0")):
                if watcher.namespace in ("", event.record.namespace):
                    watcher.deliver(event)
        except Compacted as error:
            stop()
            raise errors.expired(
                f"too old resource version: {resource_version} ({error.compact_revision})"
            ) from None
        return stop


class _Local:
    def __init__(self, resource: Resource, namespace: str, callback: Deliver) -> None:
        self.namespace = namespace
        self._resource = resource
        self._callback: Any = callback

    def deliver(self, event: Event) -> None:
        self._callback(event.type, convert_from_stored(self._resource, event.record.object))
