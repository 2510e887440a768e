"""Changes of one resource as watches of one version see them, for kinds that were made at run time.

A feed stands between the cache and the watches of its version. As long as it can tell what an event means at once, it hands it
on at once; otherwise events wait their turn in the feed while a webhook is asked, all that wait in one question, and
nobody else waits with them. A feed ends, and its watches with it, when its definition changes or goes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from tiphys.api.resource import Object, Resource
from tiphys.apiserver.cache import Event, ResourceCache
from tiphys.apiserver.registry.translation import translate_events, translated_event
from tiphys.machinery import errors
from tiphys.machinery.errors import StatusError
from tiphys.machinery.gvk import GroupVersionResource

Spawn = Callable[[Coroutine[Any, Any, None]], None]


class Listener(Protocol):
    """A watch at the end of a feed; `namespace` "" is all of them."""

    namespace: str

    def deliver(self, event: Event) -> None: ...

    def error(self, status: Object) -> None: ...

    def close(self) -> None: ...


class Feed:
    """Events of one row, in order. Made when its first watch comes, forgotten with its last."""

    namespace = ""

    def __init__(self, row: Resource, cache: ResourceCache, spawn: Spawn, ended: Callable[[], None]) -> None:
        self._row = row
        self._spawn = spawn
        self._ended = ended
        self._listeners: dict[Listener, int] = {}
        self._waiting: deque[Event] = deque()
        self._asking = False
        self._over = False
        self._stop = cache.watch(self)

    @property
    def is_behind(self) -> bool:
        """Something has happened that the watches have not been told yet."""
        return bool(self._waiting) or self._asking

    def watch(self, listener: Listener, after: int) -> Callable[[], None]:
        """Tells `listener` of what happens after a revision; the result ends that."""
        self._listeners[listener] = after

        def stop() -> None:
            self._listeners.pop(listener, None)
            if not self._listeners:
                self._end()

        return stop

    def deliver(self, event: Event) -> None:
        """The cache's call for every change."""
        if not self.is_behind:
            made = translated_event(self._row, event)
            if made is not None:
                self._tell(made)
                return
        self._waiting.append(event)
        if not self._asking:
            self._asking = True
            self._spawn(self._ask())

    async def _ask(self) -> None:
        while self._waiting:
            events = list(self._waiting)
            self._waiting.clear()
            try:
                made = await translate_events(self._row, events)
            except StatusError as error:
                self.fail(error)
                return
            except Exception as error:
                self.fail(errors.internal_error(error))
                raise
            for event in made:
                self._tell(event)
        self._asking = False

    def _tell(self, event: Event) -> None:
        namespace = event.record.namespace
        for listener, after in tuple(self._listeners.items()):
            if event.revision > after and listener.namespace in ("", namespace):
                listener.deliver(event)

    def fail(self, error: StatusError) -> None:
        """What happened cannot be told in this version: the watches end with that."""
        for listener in tuple(self._listeners):
            listener.error(error.status())
        self.close()

    def close(self) -> None:
        """Ends all watches; their clients begin again with what is true now."""
        for listener in tuple(self._listeners):
            listener.close()
        self._listeners.clear()
        self._end()

    def _end(self) -> None:
        if self._over:
            return
        self._over = True
        self._waiting.clear()
        self._stop()
        self._ended()


class Feeds:
    """The feeds of all rows that are watched."""

    def __init__(self) -> None:
        self._feeds: dict[GroupVersionResource, Feed] = {}

    @property
    def open(self) -> list[GroupVersionResource]:
        return list(self._feeds)

    def of(self, row: Resource, cache: ResourceCache, spawn: Spawn) -> Feed:
        feed = self._feeds.get(row.gvr)
        if feed is None:
            feed = self._feeds[row.gvr] = Feed(row, cache, spawn, lambda: self._forget(row.gvr))
        return feed

    def _forget(self, gvr: GroupVersionResource) -> None:
        self._feeds.pop(gvr, None)

    def end(self, gvr: GroupVersionResource) -> None:
        """Ends every watch of a version of a resource."""
        feed = self._feeds.get(gvr)
        if feed is not None:
            feed.close()
