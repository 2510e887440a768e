"""What is counted of the watch cache: what it has taken in, and who reads from it."""

from __future__ import annotations

from tiphys.api.resource import Resource
from tiphys.apiserver.cache import HISTORY_MAXIMUM, WatchCache
from tiphys.machinery.metrics import BETA, Buckets, Registry, Value

_RESOURCE = ("group", "resource")
_WAITS = (0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0)
_DIGITS = 10**15
"""A larger number would lose its last digits in a double."""


class _Lists:
    """The series of one resource's lists."""

    __slots__ = ("consistent", "fetched", "lists", "returned")

    def __init__(self, lists: Value, fetched: Value, returned: Value, consistent: Value) -> None:
        self.lists = lists
        self.fetched = fetched
        self.returned = returned
        self.consistent = consistent


class CacheMetrics:
    def __init__(self, registry: Registry, cache: WatchCache) -> None:
        self._cache = cache
        self._known: dict[tuple[str, str], _Lists] = {}
        self._lists = registry.counter(
            "apiserver_cache_list_total", "Lists that were read from the watch cache.", (*_RESOURCE, "index")
        )
        self._fetched = registry.counter(
            "apiserver_cache_list_fetched_objects_total",
            "Objects that lists looked at in the watch cache.",
            (*_RESOURCE, "index"),
        )
        self._returned = registry.counter(
            "apiserver_cache_list_returned_objects_total",
            "Objects that lists from the watch cache returned.",
            _RESOURCE,
        )
        self._history = [
            registry.counter(f"apiserver_storage_list_{name}", text, _RESOURCE)
            for name, text in (
                ("total", "Lists of an earlier state, which were read from the store."),
                ("fetched_objects_total", "Objects that lists read from the store."),
                ("evaluated_objects_total", "Objects of the store that lists looked at."),
                ("returned_objects_total", "Objects that lists from the store returned."),
            )
        ]
        self._consistent = registry.counter(
            "apiserver_watch_cache_consistent_read_total",
            "Lists of the newest state from the watch cache.",
            (*_RESOURCE, "success", "fallback"),
        )
        self._waits = registry.histogram(
            "apiserver_watch_cache_read_wait_seconds",
            "How long reads waited for the watch cache to be fresh enough.",
            _WAITS,
            _RESOURCE,
        )
        self._stored = registry.counter(
            "apiserver_storage_events_received_total",
            "Changes that came from the store.",
            _RESOURCE,
            stability=BETA,
        )
        self._received = registry.counter(
            "apiserver_watch_cache_events_received_total", "Changes that the watch cache took in.", _RESOURCE
        )
        self._dispatched = registry.counter(
            "apiserver_watch_cache_events_dispatched_total",
            "Changes that the watch cache passed on to watches.",
            _RESOURCE,
        )
        self._loads = registry.counter(
            "apiserver_watch_cache_initializations_total",
            "How often the watch cache of a resource was filled.",
            _RESOURCE,
        )
        self._revision = registry.gauge(
            "apiserver_watch_cache_resource_version",
            "The resourceVersion that the watch cache is at (the last 15 digits).",
            _RESOURCE,
        )
        self._capacity = registry.gauge(
            "watch_cache_capacity", "Most changes that the watch cache remembers.", _RESOURCE
        )
        self._cut_off = registry.counter(
            "apiserver_terminated_watchers_total",
            "Watches that were cut off because they took too little.",
            _RESOURCE,
        )
        registry.before_scrape(self._collect)

    def listed(self, row: Resource, fetched: int, returned: int, *, consistent: bool) -> None:
        """A list was answered from the cache; `consistent`: the client named no resourceVersion."""
        key = (row.group, row.plural)
        series = self._known.get(key) or self._find(key)
        series.lists.value += 1
        series.fetched.value += fetched
        series.returned.value += returned
        series.consistent.value += consistent

    def listed_before(self, row: Resource, fetched: int, returned: int) -> None:
        """A list was answered from the store: of what was."""
        for family, count in zip(self._history, (1, fetched, fetched, returned), strict=True):
            family.labels(row.group, row.plural).value += count

    def _find(self, key: tuple[str, str]) -> _Lists:
        series = self._known[key] = _Lists(
            self._lists.labels(*key, ""),
            self._fetched.labels(*key, ""),
            self._returned.labels(*key),
            self._consistent.labels(*key, "true", "false"),
        )
        return series

    def waits(self, row: Resource) -> Buckets:
        return self._waits.labels(row.group, row.plural)

    def cut_off(self, row: Resource) -> None:
        self._cut_off.inc(row.group, row.plural)

    def _collect(self) -> None:
        for family in (self._revision, self._capacity):
            family.clear()
        for prefix, loads in self._cache.loads.items():
            group, resource = prefix.strip("/").split("/")[1:3]
            labels = ("" if group == "core" else group, resource)
            self._loads.labels(*labels).value = loads
            if (cache := self._cache.known(prefix)) is None:
                continue
            self._received.labels(*labels).value = cache.received
            self._stored.labels(*labels).value = cache.received
            self._dispatched.labels(*labels).value = cache.received
            self._revision.set(self._cache.revision % _DIGITS, *labels)
            self._capacity.set(HISTORY_MAXIMUM, *labels)
