"""Leases (coordination.k8s.io): who leads, and which nodes are alive.

`LeaderElector` follows client-go's `tools/leaderelection` (15 s lease, 10 s to renew, a try every 2 s); time passed is
judged by when *we* saw the record change, never by the other's clock. `Heartbeat` renews a node's lease in
`kube-node-lease` every 10 s with a duration of 40 s, as upstream's kubelet does.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from random import Random
from typing import Any

from tiphys.client.client import Client
from tiphys.client.resources import LEASES
from tiphys.client.transport import Object
from tiphys.machinery import meta
from tiphys.machinery.clock import Clock
from tiphys.machinery.errors import StatusError, is_already_exists, is_conflict, is_not_found
from tiphys.machinery.frozen import frozen
from tiphys.machinery.metrics import Registry

log = logging.getLogger(__name__)

NODE_LEASE_NAMESPACE = "kube-node-lease"
LATE_SECONDS = 40.0
"""Between two signs of life; the control plane gives a node up after 50 s."""
FAILURES = (StatusError, OSError, TimeoutError)


@frozen
class ElectionTimes:
    lease_seconds: float = 15.0
    renew_deadline_seconds: float = 10.0
    retry_seconds: float = 2.0
    renew_seconds: float = 2.0
    """After a renewal that went well; one that failed is tried again after `retry_seconds`."""


class ElectionMetrics:
    """Of one lease, of one that would like to have it."""

    def __init__(self, registry: Registry, name: str) -> None:
        self.leads = registry.gauge(
            "leader_election_master_status", "Whether we have the lease of that name (1).", ("name",)
        ).labels(name)
        self.slow = registry.counter(
            "leader_election_slowpath_total",
            "Renewals for which the lease had to be looked at first.",
            ("name",),
        ).labels(name)


class LeaderElector:
    """Holds a lease for one identity. `run(lead)` waits for leadership, leads, and returns when it is lost."""

    def __init__(
        self,
        client: Client,
        name: str,
        namespace: str,
        identity: str,
        *,
        clock: Clock,
        times: ElectionTimes | None = None,
        random: Random | None = None,
        metrics: Registry | None = None,
    ) -> None:
        self._metrics = ElectionMetrics(metrics or Registry(), name)
        self._client = client
        self._name = name
        self._namespace = namespace
        self._identity = identity
        self._clock = clock
        self._times = times or ElectionTimes()
        self._random = random or Random()
        self._seen: Object | None = None
        self._seen_at = 0.0
        self.is_leader = False

    async def acquire(self) -> None:
        """Until the lease is ours."""
        self._metrics.leads.value = 0
        while not await self._try():
            await self._clock.sleep(self._times.retry_seconds * (1 + 1.2 * self._random.random()))
        self.is_leader = True
        self._metrics.leads.value = 1

    async def hold(self) -> None:
        """Renews until that has failed for the whole renew deadline: then we lead no more."""
        renewed_at = self._clock.monotonic()
        pause = self._times.renew_seconds
        while self._clock.monotonic() - renewed_at < self._times.renew_deadline_seconds:
            await self._clock.sleep(pause)
            pause = self._times.retry_seconds
            if await self._try():
                renewed_at = self._clock.monotonic()
                pause = self._times.renew_seconds
            elif self._holder() not in ("", self._identity):
                break
        self.is_leader = False
        self._metrics.leads.value = 0

    @property
    def reference(self) -> Object:
        """The lease, as events name it."""
        metadata = {"name": self._name, "namespace": self._namespace, "uid": meta.uid(self._seen or {})}
        return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata}

    async def release(self) -> None:
        """Gives the lease up so that another need not wait for its end."""
        self.is_leader = False
        self._metrics.leads.value = 0
        try:
            # A write that we did not wait for may have come after what we saw.
            found = await self._client.get(LEASES, self._name, self._namespace)
            spec = found.get("spec") or {}
            if spec.get("holderIdentity") == self._identity:
                now = meta.format_micro_time(self._clock.now())
                free = {"holderIdentity": "", "leaseDurationSeconds": 1, "acquireTime": now, "renewTime": now}
                await self._client.update(LEASES, {**found, "spec": {**spec, **free}})
        except FAILURES as error:
            log.info("the lease %s was not released: %s", self._name, error)

    def _holder(self) -> str:
        return str(((self._seen or {}).get("spec") or {}).get("holderIdentity") or "")

    async def _try(self) -> bool:
        """One attempt to get or renew the lease."""
        try:
            return await self._renewed_at_once() or await self._get_or_renew()
        except FAILURES as error:
            log.info("lease %s/%s: %s", self._namespace, self._name, error)
            if is_conflict(error) or is_already_exists(error):
                self._seen = None
            return False

    async def _renewed_at_once(self) -> bool:
        """Without a look at it: who leads and hears of nobody else knows what stands there."""
        is_valid = self._clock.monotonic() < self._seen_at + self._times.lease_seconds
        if self._seen is None or self._holder() != self._identity or not is_valid:
            return False
        record = {**self._seen, "spec": self._record(self._seen["spec"], self._transitions())["spec"]}
        try:
            self._saw(await self._client.update(LEASES, record))
        except StatusError as error:
            if not (is_conflict(error) or is_not_found(error)):
                raise
            self._metrics.slow.value += 1
            return False
        return True

    def _transitions(self) -> int:
        return int(((self._seen or {}).get("spec") or {}).get("leaseTransitions") or 0)

    async def _get_or_renew(self) -> bool:
        try:
            found = await self._client.get(LEASES, self._name, self._namespace)
        except StatusError as error:
            if not is_not_found(error):
                raise
            self._saw(await self._client.create(LEASES, self._record({}, 0)))
            return True
        if self._seen is None or meta.resource_version(found) != meta.resource_version(self._seen):
            self._saw(found)
        spec = found.get("spec") or {}
        holder = spec.get("holderIdentity") or ""
        duration = spec.get("leaseDurationSeconds") or self._times.lease_seconds
        if holder not in ("", self._identity) and self._clock.monotonic() < self._seen_at + duration:
            return False
        transitions = (spec.get("leaseTransitions") or 0) + (holder != self._identity)
        record = self._record(spec, transitions)
        record["metadata"] = found["metadata"]
        self._saw(await self._client.update(LEASES, record))
        return True

    def _saw(self, lease: Object) -> None:
        self._seen = lease
        self._seen_at = self._clock.monotonic()

    def _record(self, earlier: Mapping[str, Any], transitions: int) -> Object:
        now = meta.format_micro_time(self._clock.now())
        ours = earlier.get("holderIdentity") == self._identity
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": self._name, "namespace": self._namespace},
            "spec": {
                "holderIdentity": self._identity,
                "leaseDurationSeconds": int(self._times.lease_seconds),
                "acquireTime": earlier["acquireTime"] if ours and earlier.get("acquireTime") else now,
                "renewTime": now,
                "leaseTransitions": transitions,
            },
        }


class Heartbeat:
    """A node's sign of life: its Lease, renewed every `lease_seconds` / 4, with the node as owner."""

    def __init__(
        self,
        client: Client,
        node: str,
        *,
        clock: Clock,
        lease_seconds: int = 40,
        random: Random | None = None,
    ) -> None:
        self._client = client
        self._node = node
        self._clock = clock
        self._lease_seconds = lease_seconds
        self._random = random or Random()
        self._lease: Object | None = None
        self.owner: Object | None = None
        """The Node object, once it is registered: the lease goes when the node goes."""
        self.on_missing: Callable[[], Awaitable[None]] | None = None
        """Awaited before a lease that we had is made again: somebody has deleted it, or its node, or the server forgot both."""
        self.on_late: Callable[[], Awaitable[None]] | None = None
        """Awaited after a sign of life that came so late that the node may count as lost."""
        self._had_lease = False
        self._alive_at = clock.monotonic()

    async def run(self, *, on_failure: Callable[[Exception], Awaitable[None]] | None = None) -> None:
        """Renews until cancelled. A failure is tried again sooner: 0.2 s, doubling to 7 s, as upstream."""
        delay = 0.2
        while True:
            try:
                await self.renew()
                await self._check_late()
                delay = 0.2
                await self._clock.sleep(self._lease_seconds / 4 * (1 + 0.04 * self._random.random()))
            except FAILURES as error:
                self._lease = None
                log.warning("cannot renew the lease of node %s: %s", self._node, error)
                if on_failure is not None:
                    await on_failure(error)
                await self._clock.sleep(delay)
                delay = min(delay * 2, 7.0)

    async def _check_late(self) -> None:
        """The last sign counts from now on only once its lateness was seen to."""
        now = self._clock.monotonic()
        if now - self._alive_at >= LATE_SECONDS and self.on_late is not None:
            await self.on_late()
        self._alive_at = now

    async def renew(self) -> None:
        """One sign of life."""
        if self._lease is None:
            self._lease = await self._find_or_create()
            self._had_lease = True
            return
        spec = {**self._lease["spec"], "renewTime": meta.format_micro_time(self._clock.now())}
        lease = {**self._lease, "spec": spec}
        if self.owner is not None and not meta.owner_references(lease):
            lease["metadata"] = {**lease["metadata"], "ownerReferences": self._owner_references()}
        try:
            self._lease = await self._client.update(LEASES, lease)
        except StatusError as error:
            if not (is_conflict(error) or is_not_found(error)):
                raise
            self._lease = await self._find_or_create()

    async def _find_or_create(self) -> Object:
        now = meta.format_micro_time(self._clock.now())
        spec = {
            "holderIdentity": self._node,
            "leaseDurationSeconds": self._lease_seconds,
            "renewTime": now,
        }
        try:
            found = await self._client.get(LEASES, self._node, NODE_LEASE_NAMESPACE)
        except StatusError as error:
            if not is_not_found(error):
                raise
            if self._had_lease and self.on_missing is not None:
                await self.on_missing()
            return await self._client.create(LEASES, self._new(spec))
        return await self._client.update(LEASES, {**found, "spec": {**(found.get("spec") or {}), **spec}})

    def _new(self, spec: dict[str, Any]) -> Object:
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {
                "name": self._node,
                "namespace": NODE_LEASE_NAMESPACE,
                "ownerReferences": self._owner_references(),
            },
            "spec": spec,
        }

    def _owner_references(self) -> list[dict[str, Any]]:
        if self.owner is None:
            return []
        return [{"apiVersion": "v1", "kind": "Node", "name": self._node, "uid": meta.uid(self.owner)}]
