"""The API server as clients in its own process see it: the same pipeline for requests, shared objects for lists and watches."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from tiphys.api.resource import Object, Resource
from tiphys.apiserver.cache import Event, ResourceCache
from tiphys.apiserver.registry.translation import translate, translate_events
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

    def row(self, resource: Resource) -> Resource:
        """The server's own row of a kind: clients know no more of it than its names. Raises 404."""
        row = self._server.scheme.by_resource(resource.group, resource.version, resource.plural)
        if row is None:
            raise errors.StatusError(404, "NotFound", "the server could not find the requested resource", {})
        return row

    async def list_objects(self, resource: Resource, namespace: str | None) -> tuple[list[Object], str]:
        row = self.row(resource)
        records, _ = self._server.reads.cache_of(row).page(namespace or "")
        revision = self._server.cache.revision
        shown = await translate(row, records) if row.reading is not None else records
        return [convert_from_stored(row, record.object) for record in shown], str(revision)

    def watch_objects(
        self, resource: Resource, namespace: str | None, resource_version: str, callback: Deliver
    ) -> Callable[[], None]:
        """Delivers every change after a resourceVersion; the result ends the watch. Raises 410 when it is too old."""
        row = self.row(resource)
        cache = self._server.reads.cache_of(row)
        watcher = _Local(row, namespace or "", callback)
        if row.reading is not None:
            return self._watch_feed(row, cache, watcher, resource_version)
        stop = cache.watch(watcher, reads_objects=True)
        try:
            for event in self._events(cache, watcher, resource_version):
                watcher.deliver(event)
        except errors.StatusError:
            stop()
            raise
        return stop

    def _events(self, cache: ResourceCache, watcher: _Local, resource_version: str) -> list[Event]:
        try:
            events = self._server.cache.events_after(cache, int(resource_version or "0"))
        except Compacted as error:
            raise errors.expired(
                f"too old resource version: {resource_version} ({error.compact_revision})"
            ) from None
        return [event for event in events if watcher.namespace in ("", event.record.namespace)]

    def _watch_feed(
        self, row: Resource, cache: ResourceCache, watcher: _Local, resource_version: str
    ) -> Callable[[], None]:
        """A watch of a kind that was made at run time; its events may have to be converted before they are told."""
        events = self._events(cache, watcher, resource_version)
        feed = self._server.reads.feeds.of(row, cache, self._server.spawn)
        stop = feed.watch(watcher, self._server.cache.revision)
        if events:
            watcher.hold()
            self._server.spawn(self._begin(row, watcher, events))
        return stop

    @staticmethod
    async def _begin(row: Resource, watcher: _Local, events: Sequence[Event]) -> None:
        try:
            watcher.release(await translate_events(row, events))
        except errors.StatusError as error:
            watcher.error(error.status())


class _Local:
    """One watch of a client in this process."""

    def __init__(self, resource: Resource, namespace: str, callback: Deliver) -> None:
        self.namespace = namespace
        self._resource = resource
        self._callback: Any = callback
        self._held: list[Event] | None = None

    def hold(self) -> None:
        """Keeps events back until what came before them is told."""
        self._held = []

    def release(self, earlier: Sequence[Event]) -> None:
        held, self._held = self._held or (), None
        for event in (*earlier, *held):
            self.deliver(event)

    def deliver(self, event: Event) -> None:
        if self._held is not None:
            self._held.append(event)
            return
        self._callback(event.type, convert_from_stored(self._resource, event.record.object))

    def error(self, status: Object) -> None:
        self._callback("ERROR", status)

    def close(self) -> None:
        """The kind has changed or is gone: the client shall list again."""
        self._callback("ERROR", errors.expired("the watch has ended: its kind has changed").status())
