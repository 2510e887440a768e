"""The service proxy of one node: keeps the packet filter's rules as Services and EndpointSlices are.

Level-triggered: a change marks a Service, and its part of the rules is made again from all that is known of it. What differs between
the rules as they are and as they should be is one transaction. After a start, or when a step failed, the whole table is made anew,
whatever an earlier life has left there. It sleeps when nothing changes; when it ends, the rules stay, and so do connections.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from random import Random
from typing import Any, Protocol

from tiphys.client.cache import Index
from tiphys.client.reflector import Backoff, Informers
from tiphys.client.resources import ENDPOINTSLICES, SERVICES
from tiphys.machinery import meta
from tiphys.machinery.clock import Clock
from tiphys.proxy import rules, ruleset
from tiphys.proxy.flows import Flow, stale_flows
from tiphys.proxy.packet_filter import PacketFilterError
from tiphys.proxy.ruleset import Ruleset

log = logging.getLogger(__name__)

Object = dict[str, Any]
SERVICE_NAME = "kubernetes.io/service-name"
PROXY_NAME = "service.kubernetes.io/service-proxy-name"
"""Whose Service it is, if not ours."""
PAUSE_SECONDS = 0.1
"""Between two transactions: a Deployment's pods do not become ready at the same moment."""
_FIRST_DELAY_SECONDS, _LONGEST_DELAY_SECONDS = 0.5, 30.0


class Filter(Protocol):
    async def apply(self, text: str) -> None: ...
    async def forget(self, flow: Flow) -> None: ...


def _service_of(slice: Object) -> str:
    name = meta.labels(slice).get(SERVICE_NAME)
    return f"{meta.namespace(slice)}/{name}" if name else ""


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
    ) -> None:
        self._informers = informers
        self._node = node
        self._filter = filter
        self._clock = clock
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

    def _follow(self) -> list[Callable[[], None]]:
        def marks(key_of: Callable[[Object], str]) -> Callable[[str, Object | None, Object | None], None]:
            def mark(type: str, old: Object | None, new: Object | None) -> None:
                for obj in (old, new):
                    if obj is not None and (key := key_of(obj)):
                        self._changed.add(key)
                        self._wake.set()

            return mark

        services = self._informers.cache(SERVICES).add_handler(marks(meta.namespaced_name))
        slices = self._informers.cache(ENDPOINTSLICES).add_handler(marks(_service_of))
        self._wake.set()
        return [services, slices]

    async def _sync(self) -> float:
        """How long to wait before the next one, in seconds."""
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
            self._wake.set()
            return delay
        self._backoff.reset()
        return PAUSE_SECONDS

    def _make_parts(self) -> None:
        """The parts of the Services that have changed."""
        for key in self._changed:
            service = self._informers.cache(SERVICES).get(key)
            if service is None or PROXY_NAME in meta.labels(service):
                self._parts.pop(key, None)
                continue
            slices = self._informers.cache(ENDPOINTSLICES).by(BY_SERVICE, key)
            self._parts[key] = rules.part_of(service, slices, self._node)
        self._changed.clear()
