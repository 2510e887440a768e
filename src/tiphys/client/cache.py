"""What a component knows of the cluster: one cache a kind, read-only, indexed, and a View over all of them.

A cache is filled by a Reflector (or, in a test, by hand with `replace` and `apply`). It makes no copies: whoever wants
to change an object copies it first. An index is built the first time somebody asks for it and kept up to date from then.
"""

from __future__ import annotations

import heapq
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count

from tiphys.api.resource import Resource
from tiphys.client.parts import ALL, EXISTENCE, LABELS, OWNERS, SPEC, changed_parts
from tiphys.client.transport import ADDED, DELETED, MODIFIED, Object
from tiphys.machinery import meta
from tiphys.machinery.gvk import GroupVersionResource

log = logging.getLogger(__name__)

Handler = Callable[[str, Object | None, Object | None], None]
"""(ADDED | MODIFIED | DELETED, old, new): old is None on ADDED, new is None on DELETED. Called on the event loop."""


@dataclass(frozen=True)
class Index:
    """A way to find objects: `values(obj)` are the words under which one is filed, which go by these parts of it (and by its name).

    Compared by identity of its function.
    """

    name: str
    values: Callable[[Object], Iterable[str]]
    parts: int = ALL


def _namespace_of(obj: Object) -> Iterable[str]:
    return (meta.namespace(obj),)


def _controller_of(obj: Object) -> Iterable[str]:
    owner = meta.controller_of(obj)
    return (owner["uid"] if owner else f"orphan/{meta.namespace(obj)}",)


def _owners_of(obj: Object) -> Iterable[str]:
    return [owner["uid"] for owner in meta.owner_references(obj)]


def _node_of(obj: Object) -> Iterable[str]:
    return ((obj.get("spec") or {}).get("nodeName") or "",)


BY_NAMESPACE = Index("namespace", _namespace_of, EXISTENCE)
BY_CONTROLLER = Index("controller", _controller_of, OWNERS)
"""The uid of the controlling owner; `orphan/<namespace>` for an object without one."""
BY_OWNER = Index("owner", _owners_of, OWNERS)
BY_NODE = Index("node", _node_of, SPEC)
"""`spec.nodeName` of pods; "" for those that are not bound."""


def by_label(label: str) -> Index:
    """An index over the values of one label. Keep the result: an index is found again by identity."""
    return Index(
        f"label {label}", lambda obj: [meta.labels(obj)[label]] if label in meta.labels(obj) else (), LABELS
    )


class Cache:
    """Objects of one kind by key (`namespace/name`, or `name`)."""

    def __init__(self, resource: Resource) -> None:
        self.resource = resource
        self.has_synced = False
        self.resource_version = 0
        """Everything up to this version of the cluster is in the cache, as far as this kind is concerned."""
        self._objects: dict[str, Object] = {}
        self._indexes: dict[Index, dict[str, dict[str, None]]] = {}
        """Keys by word."""
        self._handlers: list[tuple[int, Handler]] = []
        self._concerned: dict[int, tuple[Handler, ...]] = {}
        """Those of the handlers that go by one of these parts."""
        self._goes_by_parts = False
        """Whether anybody here asks which parts of an object an update has changed."""
        self._waiting: list[tuple[int, int, Callable[[], None]]] = []
        self._waiting_for_key: dict[str, list[Callable[[], None]]] = {}
        self._order = count()

    # Reading

    def get(self, key: str) -> Object | None:
        return self._objects.get(key)

    def list(self, namespace: str | None = None) -> Sequence[Object]:
        """All objects, or those of one namespace, in no particular order."""
        if namespace is None:
            return [*self._objects.values()]
        return self.by(BY_NAMESPACE, namespace)

    def by(self, index: Index, value: str) -> Sequence[Object]:
        """The objects filed under `value`."""
        table = self._indexes.get(index)
        if table is None:
            table = self._indexes[index] = {}
            self._goes_by_parts = self._goes_by_parts or index.parts != ALL
            for key, obj in self._objects.items():
                _file(table, index, key, obj)
        return [*map(self._objects.__getitem__, table.get(value, ()))]

    def __len__(self) -> int:
        return len(self._objects)

    def __iter__(self) -> Iterator[Object]:
        return iter([*self._objects.values()])

    # Following

    def add_handler(self, handler: Handler, parts: int = ALL) -> Callable[[], None]:
        """Calls it for every change from now on, and for what is there already as ADDED. The result takes it off again.

        `parts`: an update that changes none of them (`client.parts`) is none to this handler.
        """
        follower = parts | EXISTENCE, handler
        self._handlers.append(follower)
        self._concerned.clear()
        self._goes_by_parts = self._goes_by_parts or parts != ALL
        for obj in [*self._objects.values()]:
            handler(ADDED, None, obj)

        def detach() -> None:
            self._handlers.remove(follower)
            self._concerned.clear()

        return detach

    def when_seen(self, resource_version: int, callback: Callable[[], None]) -> None:
        """Calls back once a write of that version must be in the cache (at once when it is)."""
        if self.resource_version >= resource_version:
            callback()
        else:
            heapq.heappush(self._waiting, (resource_version, next(self._order), callback))

    def when_changed(self, key: str, callback: Callable[[], None]) -> None:
        """Calls back once, after the next change of that key."""
        self._waiting_for_key.setdefault(key, []).append(callback)

    # Filling (the reflector's side)

    def replace(self, objects: Iterable[Object], resource_version: str) -> None:
        """What a list found: handlers hear only of the differences."""
        found = {meta.namespaced_name(obj): obj for obj in objects}
        for key in [key for key in self._objects if key not in found]:
            self._set(key, None)
        for key, obj in found.items():
            old = self._objects.get(key)
            if old is not None and meta.uid(old) != meta.uid(obj):
                # Deleted and made again while nobody looked: two things happened.
                self._set(key, None)
            if old is None or meta.resource_version(old) != meta.resource_version(obj):
                self._set(key, obj)
        self.has_synced = True
        self.advance(resource_version)

    def apply(self, type: str, obj: Object) -> None:
        """One watch event: ADDED, MODIFIED or DELETED."""
        self._set(meta.namespaced_name(obj), None if type == DELETED else obj)
        self.advance(meta.resource_version(obj))

    def advance(self, resource_version: str) -> None:
        """Nothing older than this will come (a bookmark)."""
        number = version_number(resource_version)
        if number > self.resource_version:
            self.resource_version = number
        while self._waiting and self._waiting[0][0] <= self.resource_version:
            heapq.heappop(self._waiting)[2]()

    def _set(self, key: str, new: Object | None) -> None:
        old = self._objects.get(key)
        if new is None:
            if old is None:
                return
            del self._objects[key]
        else:
            self._objects[key] = new
        changed = ALL
        if self._goes_by_parts and old is not None and new is not None:
            changed = changed_parts(old, new)
        for index, table in self._indexes.items():
            if changed & index.parts:
                if old is not None:
                    _unfile(table, index, key, old)
                if new is not None:
                    _file(table, index, key, new)
        if self._waiting_for_key:
            for callback in self._waiting_for_key.pop(key, ()):
                callback()
        self._tell(DELETED if new is None else ADDED if old is None else MODIFIED, old, new, changed)

    def _tell(self, type: str, old: Object | None, new: Object | None, changed: int) -> None:
        concerned = self._concerned.get(changed)
        if concerned is None:
            concerned = tuple([handler for parts, handler in self._handlers if changed & parts])
            self._concerned[changed] = concerned
        for handler in concerned:
            try:
                handler(type, old, new)
            except Exception:
                # A broken handler must not stop the others, nor the reflector.
                log.exception("a handler of %s failed", self.resource.plural)


def _file(table: dict[str, dict[str, None]], index: Index, key: str, obj: Object) -> None:
    for value in index.values(obj):
        table.setdefault(value, {})[key] = None


def _unfile(table: dict[str, dict[str, None]], index: Index, key: str, obj: Object) -> None:
    for value in index.values(obj):
        filed = table.get(value)
        if filed is not None:
            filed.pop(key, None)
            if not filed:
                del table[value]


def version_number(resource_version: str) -> int:
    """resourceVersions are one ordered counter (KEP-5504); 0 for one that is missing or not a number."""
    return int(resource_version) if resource_version.isdecimal() else 0


class View:
    """A read-only window on several caches: all that a controller's `observe` may look at."""

    def __init__(self, caches: Mapping[GroupVersionResource, Cache] | Iterable[Cache]) -> None:
        if not isinstance(caches, Mapping):
            caches = {cache.resource.gvr: cache for cache in caches}
        self._caches = caches

    def cache(self, resource: Resource) -> Cache:
        try:
            return self._caches[resource.gvr]
        except KeyError:
            raise LookupError(f"{resource.plural} are not watched here: name them in `watches`") from None

    def get(self, resource: Resource, name: str, namespace: str = "") -> Object | None:
        return self.cache(resource).get(f"{namespace}/{name}" if namespace else name)

    def list(self, resource: Resource, namespace: str | None = None) -> Sequence[Object]:
        return self.cache(resource).list(namespace)

    def by(self, resource: Resource, index: Index, value: str) -> Sequence[Object]:
        return self.cache(resource).by(index, value)
