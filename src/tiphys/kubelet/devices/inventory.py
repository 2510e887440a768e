"""The devices of a node that plugins have told of, and which container has which. Pure: no plugin is asked here.

A plugin that goes away takes the health of its devices with it; after five minutes they are no more than a name with nothing behind
it (upstream's `cm/devicemanager`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from tiphys.machinery.frozen import frozen

if TYPE_CHECKING:
    from tiphys.kubelet.managers.hints import Hint, Nodes

GRACE_SECONDS = 300.0
HEALTHY, UNHEALTHY, UNKNOWN = "Healthy", "Unhealthy", "Unknown"
Holder = tuple[str, str]
"""The uid of a pod, and the name of a container."""


class AllocationError(Exception):
    """Why a container does not get its devices."""


@frozen
class Device:
    id: str
    is_healthy: bool = True
    nodes: tuple[int, ...] = ()
    """NUMA nodes that it is near to."""


@frozen
class Grant:
    """What one container has of one resource, and what its plugin wants the container to be given for it."""

    ids: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    mounts: tuple[tuple[str, str, bool], ...] = ()
    """Path in the container, path on the node, whether it is read-only."""
    devices: tuple[tuple[str, str, str], ...] = ()
    """Path in the container, path on the node, permissions."""


@dataclass(slots=True)
class _Resource:
    devices: dict[str, Device] = field(default_factory=dict)
    stopped_at: datetime | None = None
    """Since when its plugin is away; None: it is there."""
    is_removed: bool = False


class Inventory:
    def __init__(self) -> None:
        self._resources: dict[str, _Resource] = {}
        self.grants: dict[Holder, dict[str, Grant]] = {}

    # Plugins

    def set_devices(self, resource: str, devices: Iterable[Device]) -> None:
        """All that the plugin has now."""
        self._resources[resource] = _Resource({device.id: device for device in devices})

    def stop(self, resource: str, now: datetime) -> None:
        """Its plugin is away; of devices that it had nobody knows how they are."""
        known = self._resources.setdefault(resource, _Resource())
        if known.stopped_at is None:
            known.stopped_at = now

    def forget_old(self, now: datetime) -> bool:
        """Whether a resource has now been without a plugin for too long."""
        has_changed = False
        for resource in self._resources.values():
            since = resource.stopped_at
            if (
                since is not None
                and not resource.is_removed
                and now - since >= timedelta(seconds=GRACE_SECONDS)
            ):
                resource.devices.clear()
                resource.is_removed = has_changed = True
        return has_changed

    def is_known(self, resource: str) -> bool:
        """Some plugin has, or had, to do with it."""
        return resource in self._resources or any(resource in of for of in self.grants.values())

    def amounts(self) -> dict[str, tuple[int, int]]:
        """resource → how many there are, and how many of them are well."""
        return {
            name: (len(resource.devices), len(self._healthy(name)))
            for name, resource in self._resources.items()
        }

    def healthy_devices(self) -> Iterator[tuple[str, Device]]:
        for name, resource in self._resources.items():
            healthy = self._healthy(name)
            yield from ((name, device) for device in resource.devices.values() if device.id in healthy)

    def device(self, resource: str, id: str) -> Device | None:
        known = self._resources.get(resource)
        return known.devices.get(id) if known else None

    def _healthy(self, resource: str) -> set[str]:
        known = self._resources.get(resource)
        if known is None or known.stopped_at is not None:
            return set()
        return {device.id for device in known.devices.values() if device.is_healthy}

    def health(self, resource: str, id: str) -> str:
        known = self._resources.get(resource)
        if known is None or known.stopped_at is not None or id not in known.devices:
            return UNKNOWN
        return HEALTHY if known.devices[id].is_healthy else UNHEALTHY

    # Containers

    def granted(self, resource: str) -> set[str]:
        return {id for of in self.grants.values() if resource in of for id in of[resource].ids}

    def keep_only(self, uids: Collection[str]) -> bool:
        """Pods that are over hold nothing; whether any did."""
        kept = {holder: grants for holder, grants in self.grants.items() if holder[0] in uids}
        has_changed = len(kept) != len(self.grants)
        self.grants = kept
        return has_changed

    def still_needed(self, holder: Holder, resource: str, count: int) -> int:
        """0 when the container has its devices already: it is started again. Raises AllocationError when they cannot serve it."""
        has = self.grants.get(holder, {}).get(resource)
        if has is None:
            return count
        if len(has.ids) != count:
            uid, container = holder
            raise AllocationError(
                f"pod {uid} container {container} changed request for resource {resource} from {len(has.ids)} to {count}"
            )
        if not self._healthy(resource):
            raise AllocationError(f"no healthy devices present; cannot allocate unhealthy devices {resource}")
        if not set(has.ids) <= self._healthy(resource):
            raise AllocationError(
                f"previously allocated devices are no longer healthy; cannot allocate unhealthy devices {resource}"
            )
        return 0

    def available(
        self, resource: str, count: int, reusable: Collection[str], nodes: Nodes | None = None
    ) -> list[str]:
        """Devices to choose from, those first that the pod's earlier containers have left, then those near `nodes`. Raises AllocationError."""
        if not self._healthy(resource):
            raise AllocationError(f"no healthy devices present; cannot allocate unhealthy devices {resource}")
        again = sorted(self._healthy(resource) & set(reusable))
        free = sorted(self._healthy(resource) - self.granted(resource))
        if len(again) + len(free) < count:
            needed = count - len(again)
            raise AllocationError(
                f"requested number of devices unavailable for {resource}. Requested: {needed}, Available: {len(free)}"
            )
        near = set(self.near(resource, free, nodes))
        free.sort(key=lambda id: id not in near)
        return [*again, *(id for id in free if id not in again)]

    def near(self, resource: str, ids: Iterable[str], nodes: Nodes | None) -> list[str]:
        """Those that lie at one of these NUMA nodes."""
        devices = ((id, self.device(resource, id)) for id in ids)
        return [id for id, device in devices if device and nodes and nodes.intersection(device.nodes)]

    def ids(self, uid: str, container: str, resource: str) -> set[str]:
        grant = self.grants.get((uid, container), {}).get(resource)
        return set(grant.ids) if grant else set()

    # Where they lie

    def hints(
        self, holder: Holder, resource: str, count: int, reusable: Collection[str]
    ) -> Sequence[Hint] | None:
        """None: its devices lie nowhere in particular."""
        has = self.ids(*holder, resource)
        if has:
            return self._hints(resource, has, (), count) if len(has) == count else []
        return self._hints(resource, self._healthy(resource) - self.granted(resource), reusable, count)

    def pod_hints(self, uid: str, counts: Mapping[str, int]) -> dict[str, Sequence[Hint] | None]:
        found: dict[str, Sequence[Hint] | None] = {}
        for resource, count in counts.items():
            held = [self.ids(*holder, resource) for holder in self.grants if holder[0] == uid]
            has: set[str] = set().union(*held)
            free = has or self._healthy(resource) - self.granted(resource)
            found[resource] = self._hints(resource, free, (), count)
        return found

    def _hints(
        self, resource: str, free: Collection[str], reusable: Collection[str], count: int
    ) -> Sequence[Hint] | None:
        from itertools import combinations

        from tiphys.kubelet.managers.hints import hints_for

        devices = self._resources[resource].devices if resource in self._resources else {}
        nodes = sorted({node for device in devices.values() for node in device.nodes})
        if not nodes:
            return None
        choices = {*free, *reusable}

        def among(ids: Iterable[str], mask: Nodes) -> set[str]:
            return {id for id in ids if id in devices and mask.intersection(devices[id].nodes)}

        def room(mask: Nodes) -> int | None:
            there = among(choices, mask)
            return len(there) if there >= set(reusable) else None

        masks = (frozenset(c) for size in range(1, len(nodes) + 1) for c in combinations(nodes, size))
        return hints_for(masks, lambda mask: len(among(devices, mask)), room, count)

    def grant(self, holder: Holder, resource: str, grant: Grant) -> None:
        self.grants.setdefault(holder, {})[resource] = grant
