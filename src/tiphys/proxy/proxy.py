"""The service proxy of one node: keeps the packet filter's rules as Services and EndpointSlices are.

Level-triggered: a change marks a Service, and its part of the rules is made again from all that is known of it. What differs between
the rules as they are and as they should be is one transaction. After a start, or when a step failed, the whole table is made anew,
whatever an earlier life has left there. It sleeps when nothing changes; when it ends, the rules stay, and so do connections.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from random import Random
from typing import Any, Protocol

from tiphys.client.cache import Cache, Index
from tiphys.client.reflector import Backoff, Informers
from tiphys.client.resources import ENDPOINTSLICES, SERVICES
from tiphys.machinery import meta
from tiphys.machinery.clock import Clock
from tiphys.proxy import rules, ruleset
from tiphys.proxy.flows import Flow, stale_flows
from tiphys.proxy.health import ProxyHealth
from tiphys.proxy.health_ports import HealthPorts
from tiphys.proxy.local_endpoints import EXTERNAL, INTERNAL, Local, local_of
from tiphys.proxy.metrics import FAMILY, ProxyMetrics
from tiphys.proxy.packet_filter import PacketFilterError
from tiphys.proxy.ruleset import Ruleset

log = logging.getLogger(__name__)

Object = dict[str, Any]
SERVICE_NAME = "kubernetes.io/service-name"
PROXY_NAME = "service.kubernetes.io/service-proxy-name"
"""Whose Service it is, if not ours."""
ZONE = "topology.kubernetes.io/zone"
LAST_CHANGE = "endpoints.kubernetes.io/last-change-trigger-time"
PAUSE_SECONDS = 0.1
"""Between two transactions: a Deployment's pods do not become ready at the same moment."""
_FIRST_DELAY_SECONDS, _LONGEST_DELAY_SECONDS = 0.5, 30.0


class Filter(Protocol):
    async def apply(self, text: str) -> None: ...
    async def forget(self, flow: Flow) -> None: ...


def _service_of(slice: Object) -> str:
    name = meta.labels(slice).get(SERVICE_NAME)
    return f"{meta.namespace(slice)}/{name}" if name else ""


def _changed_at(slice: Object | None) -> datetime | None:
    """When what it says has come to be, if its controller says so."""
    written = (meta.annotations(slice) if slice is not None else {}).get(LAST_CHANGE)
    try:
        return datetime.fromisoformat(written) if written else None
    except ValueError:
        return None


BY_SERVICE = Index("slices by service", lambda slice: (_service_of(slice),))


class Proxy:
    """`run()` ends only by cancellation."""

    def __init__(
        self,
        informers: Informers,
        node: rules.Node,
        filter: Filter,
        *,
        clock: Clock,
        random: Random | None = None,
        metrics: ProxyMetrics | None = None,
        health: ProxyHealth | None = None,
        nodes: Cache | None = None,
        ports: HealthPorts | None = None,
    ) -> None:
        """`nodes`: with the node itself in it, whose zone and leave-taking are followed. `ports`: for load balancers; else none are
        opened."""
        self._informers = informers
        self._node = node
        self._filter = filter
        self._clock = clock
        self._started = clock.now()
        self._metrics = metrics or ProxyMetrics()
        self._health = health or ProxyHealth(clock, self._metrics)
        self._nodes = nodes
        self._ports = ports
        self._local: dict[str, Local] = {}
        self._triggers: list[datetime] = []
        """Since when what has changed is as it is, as far as somebody says it."""
        self._base = rules.base(node)
        self._parts: dict[str, Ruleset] = {}
        self._changed: set[str] = set()
        self._wake = asyncio.Event()
        self._applied: Ruleset | None = None
        """None: nobody knows what is there."""
        self._backoff = Backoff(
            random or Random(), first=_FIRST_DELAY_SECONDS, longest=_LONGEST_DELAY_SECONDS
        )

    async def run(self) -> None:
        detach = self._follow()
        try:
            await self._informers.wait_synced()
            while True:
                await self._wake.wait()
                self._wake.clear()
                await self._clock.sleep(await self._sync())
        finally:
            for each in detach:
                each()
            if self._ports is not None:
                await self._ports.close()

    def _follow(self) -> list[Callable[[], None]]:
        def mark_service(type: str, old: Object | None, new: Object | None) -> None:
            self._metrics.service_changed()
            for obj in (old, new):
                if obj is not None:
                    self._mark(meta.namespaced_name(obj))

        def mark_slice(type: str, old: Object | None, new: Object | None) -> None:
            self._metrics.endpoints_changed()
            for obj in (old, new):
                if obj is not None and (key := _service_of(obj)):
                    self._mark(key)
            since = _changed_at(new)
            if since is not None and since >= self._started and since != _changed_at(old):
                self._triggers.append(since)

        services = self._informers.cache(SERVICES).add_handler(mark_service)
        slices = self._informers.cache(ENDPOINTSLICES).add_handler(mark_slice)
        self._wake.set()
        nodes = [] if self._nodes is None else [self._nodes.add_handler(self._see_node)]
        return [services, slices, *nodes]

    def _see_node(self, type: str, old: Object | None, new: Object | None) -> None:
        self._health.see(new)
        zone = meta.labels(new).get(ZONE, "") if new is not None else ""
        if zone != self._node.place.zone:
            self._node = replace(self._node, place=replace(self._node.place, zone=zone))
            for service in self._informers.cache(SERVICES):
                self._mark(meta.namespaced_name(service))

    def _mark(self, key: str) -> None:
        if not self._wake.is_set():
            self._metrics.queued(self._clock.now())
        self._health.queued()
        self._changed.add(key)
        self._wake.set()

    async def _sync(self) -> float:
        """How long to wait before the next one, in seconds."""
        started, triggers = self._clock.monotonic(), self._triggers
        self._triggers = []
        self._metrics.taken_up()
        self._make_parts()
        wanted = ruleset.merged([self._base, *(self._parts[key] for key in sorted(self._parts))])
        known = self._applied
        text = ruleset.whole(wanted) if known is None else ruleset.changes(known, wanted)
        try:
            if text:
                self._applied = None
                await self._filter.apply(text)
            self._applied = wanted
            for flow in stale_flows(known or Ruleset(), wanted):
                await self._filter.forget(flow)
        except (PacketFilterError, OSError) as error:
            delay = self._backoff.next_seconds()
            log.error("cannot change the packet filter: %s; trying again in %.1f s", error, delay)
            self._metrics.failed()
            self._triggers = [*triggers, *self._triggers]
            self._wake.set()
            return delay
        self._backoff.reset()
        now = self._clock.now()
        self._metrics.synced(now, self._clock.monotonic() - started, is_full=known is None)
        for trigger in triggers:
            self._metrics.programmed((now - trigger).total_seconds())
        await self._tell()
        self._health.updated()
        if self._changed:
            self._health.queued()
        return PAUSE_SECONDS

    async def _tell(self) -> None:
        """Load balancers, and who watches over the cluster."""
        for policy in (INTERNAL, EXTERNAL):
            lacking = sum(policy in local.lacks for local in self._local.values())
            self._metrics.no_local_endpoints.set(lacking, FAMILY, policy)
        if self._ports is not None:
            await self._ports.follow(self._local)

    def _make_parts(self) -> None:
        """The parts of the Services that have changed."""
        for key in self._changed:
            service = self._informers.cache(SERVICES).get(key)
            if service is None or PROXY_NAME in meta.labels(service):
                self._parts.pop(key, None)
                self._local.pop(key, None)
                continue
            slices = self._informers.cache(ENDPOINTSLICES).by(BY_SERVICE, key)
            self._parts[key] = rules.part_of(service, slices, self._node)
            local = local_of(service, slices, self._node.place)
            if local.health_port or local.lacks:
                self._local[key] = local
            else:
                self._local.pop(key, None)
        self._changed.clear()
