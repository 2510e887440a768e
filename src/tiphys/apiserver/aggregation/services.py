"""Which APIServices there are: an index of the watch cache's objects by group version, always up to date."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tiphys.api.resource import Object
from tiphys.apiserver.aggregation.priorities import Priority
from tiphys.apiserver.cache import DELETED, Event, ResourceCache
from tiphys.machinery.gvk import GroupVersion
from tiphys.machinery.meta import conditions, find_condition

GROUP, PLURAL = "apiregistration.k8s.io", "apiservices"


class APIServices:
    """Objects are the cache's own: read-only. `revision` rises with every change of one."""

    namespace = ""

    def __init__(self, cache: ResourceCache) -> None:
        self.revision = 0
        self._by_version: dict[GroupVersion, Object] = {}
        self._listeners: list[Callable[[GroupVersion], None]] = []
        for record in cache.records.values():
            self._by_version[version_of(record.object)] = record.object
        self._stop = cache.watch(self)

    def deliver(self, event: Event) -> None:
        """As a Watcher of the cache."""
        version = version_of(event.record.object)
        if event.type == DELETED:
            self._by_version.pop(version, None)
        else:
            self._by_version[version] = event.record.object
        self.revision += 1
        for listener in self._listeners:
            listener(version)

    def on_change(self, listener: Callable[[GroupVersion], None]) -> None:
        """Calls `listener` with the group version of every APIService that changes."""
        self._listeners.append(listener)

    def get(self, version: GroupVersion) -> Object | None:
        return self._by_version.get(version)

    def __iter__(self) -> Iterator[tuple[GroupVersion, Object]]:
        return iter(list(self._by_version.items()))

    def remote(self, group: str, version: str) -> Object | None:
        """The APIService of a group version that another server serves; None when it is ours, or nobody's."""
        found = self._by_version.get(GroupVersion(group, version))
        return found if found is not None and is_remote(found) else None

    def close(self) -> None:
        self._stop()


def version_of(service: Object) -> GroupVersion:
    spec = service["spec"]
    return GroupVersion(spec.get("group") or "", spec.get("version") or "")


def is_remote(service: Object) -> bool:
    return service["spec"].get("service") is not None


def is_available(service: Object) -> bool:
    condition = find_condition(conditions(service), "Available")
    return condition is not None and condition.get("status") == "True"


def priority_of(service: Object) -> Priority:
    spec = service["spec"]
    return Priority(spec.get("groupPriorityMinimum") or 0, spec.get("versionPriority") or 0)
