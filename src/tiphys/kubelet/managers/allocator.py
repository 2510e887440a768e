"""Gives pods that are admitted what only one of them can have: devices, CPUs and memory, together and from the same NUMA nodes. One a node.

Providers are asked in upstream's order. What was given is written down by the provider before the pod is let in, and comes back when
the pod is over.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

from tiphys.kubelet import spec
from tiphys.kubelet.admission import Refused, Rejection
from tiphys.kubelet.allocation_metrics import ManagerMetrics
from tiphys.kubelet.managers.hints import NONE, Hints, Nodes, TopologyPolicy
from tiphys.kubelet.spec import Object
from tiphys.machinery import meta

REFUSED = Rejection("TopologyAffinityError", "Resources cannot be allocated with Topology locality")


class Provider(Protocol):
    def hints(self, pod: Object, container: Object) -> Hints: ...

    def pod_hints(self, pod: Object) -> Hints:
        """Of all its containers together."""

    async def allocate(self, pod: Object, container: Object, nodes: Nodes | None) -> None:
        """Raises Refused."""

    def keep_only(self, uids: Collection[str]) -> None:
        """Others are over."""


class Devices(Provider, Protocol):
    @property
    def offered(self) -> Mapping[str, int]: ...


class Allocator:
    """`holders()`: the uids of pods that may hold something; None: they are not all known yet."""

    def __init__(
        self,
        policy: TopologyPolicy,
        devices: Devices,
        others: Sequence[Provider],
        holders: Callable[[], Collection[str] | None],
        *,
        per_pod: bool = False,
        metrics: ManagerMetrics,
    ) -> None:
        self._policy = policy
        self._devices = devices
        self._providers: tuple[Provider, ...] = (devices, *others)
        self._holders = holders
        self._per_pod = per_pod
        self._metrics = metrics
        self._lock = asyncio.Lock()

    @property
    def offered(self) -> Mapping[str, int]:
        return self._devices.offered

    async def admit(self, pod: Object) -> Rejection | None:
        async with self._lock:
            holders = self._holders()
            if holders is not None:
                self._keep_only({meta.uid(pod), *holders})
            began = time.monotonic()
            try:
                found = await self._allocate(pod)
            except Refused as error:
                found = Rejection(error.reason, str(error))
            self._metrics.admitted(time.monotonic() - began, refused=found is REFUSED)
            if found is not None and holders is not None:
                self._keep_only({uid for uid in self._holders() or holders if uid != meta.uid(pod)})
            return found

    def _keep_only(self, uids: Collection[str]) -> None:
        for provider in self._providers:
            provider.keep_only(uids)

    async def _allocate(self, pod: Object) -> Rejection | None:
        nodes: Nodes | None = None
        if self._per_pod and self._policy.name != NONE:
            best, is_welcome = self._policy.decide([provider.pod_hints(pod) for provider in self._providers])
            if not is_welcome:
                return REFUSED
            nodes = best.nodes
        for container in (*spec.containers(pod, "init"), *spec.containers(pod)):
            if not self._per_pod and self._policy.name != NONE:
                hints = [provider.hints(pod, container) for provider in self._providers]
                best, is_welcome = self._policy.decide(hints)
                if not is_welcome:
                    return REFUSED
                nodes = best.nodes
            for provider in self._providers:
                await provider.allocate(pod, container, nodes)
        return None
