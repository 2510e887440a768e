"""Asks kubelets what their nodes use, every fifteen seconds as metrics-server does; but only while somebody wants to know.

Whoever asks first waits for the first answers. When nobody has asked for a few minutes, nothing is asked and nothing kept any more: a
cluster that rests costs nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

import orjson

from tiphys.api.core.kubelet_requests import NODE_HEADER
from tiphys.apiserver.usage.readings import NodeReading, read_summary
from tiphys.machinery.clock import Clock
from tiphys.machinery.frozen import frozen
from tiphys.net.client import HTTPClient, HTTPClientError

log = logging.getLogger("tiphys.apiserver")

RESOLUTION_SECONDS = 15.0
IDLE_SECONDS = 180.0
TIMEOUT_SECONDS = 10.0
PATIENCE_SECONDS = 8.0
"""So long does a request wait for kubelets that do not answer; the others are told then."""
AGAIN_SECONDS = 1.0
"""A pod that is too young to be known has its node asked again after that."""
PARALLEL = 32
TARGET = "/stats/summary?only_cpu_and_memory=true"


@frozen
class Kubelet:
    node: str
    client: HTTPClient
    is_ready: bool = True
    """Else it is asked, too, but nobody waits for its answer."""


class Scraper:
    """`kubelets()`: of the nodes that there are now; `spawn` runs something until the server is closed."""

    def __init__(
        self,
        kubelets: Callable[[], Iterable[Kubelet]],
        clock: Clock,
        spawn: Callable[[Coroutine[Any, Any, None]], None],
        *,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self._patience_seconds = patience_seconds
        self._kubelets = kubelets
        self._clock = clock
        self._spawn = spawn
        self._readings: dict[str, NodeReading] = {}
        self._asking: dict[str, asyncio.Future[None]] = {}
        self._limit = asyncio.Semaphore(PARALLEL)
        self._wanted_at = -IDLE_SECONDS
        self._is_running = False

    def reading(self, node: str) -> NodeReading | None:
        return self._readings.get(node)

    async def want(self, nodes: Iterable[str], is_known: Callable[[str, NodeReading], bool]) -> None:
        """Somebody wants to know about these nodes: until each was asked, lately enough for `is_known(node, reading)`."""
        self._wanted_at = now = self._clock.monotonic()
        if not self._is_running:
            self._is_running = True
            self._spawn(self._run())
        stale = {node for node in nodes if not self._is_fresh(node, now, is_known)}
        kubelets = [kubelet for kubelet in self._kubelets() if kubelet.node in stale] if stale else []
        if kubelets:
            asked = [(self._ask(kubelet), kubelet.is_ready) for kubelet in kubelets]
            waited_for = [answer for answer, is_ready in asked if is_ready]
            if waited_for:
                # Real time: a kubelet that is silent is so whatever the cluster's clock says.
                await asyncio.wait(waited_for, timeout=self._patience_seconds)

    def _is_fresh(self, node: str, now: float, is_known: Callable[[str, NodeReading], bool]) -> bool:
        reading = self._readings.get(node)
        if reading is None or now - reading.at_seconds > 2 * RESOLUTION_SECONDS:
            return False
        return now - reading.at_seconds < AGAIN_SECONDS or is_known(node, reading)

    async def _run(self) -> None:
        try:
            while self._clock.monotonic() - self._wanted_at < IDLE_SECONDS:
                await self._clock.sleep(RESOLUTION_SECONDS)
                kubelets = list(self._kubelets())
                names = {kubelet.node for kubelet in kubelets}
                self._readings = {node: found for node, found in self._readings.items() if node in names}
                if kubelets:
                    await asyncio.wait([self._ask(kubelet) for kubelet in kubelets])
        finally:
            self._is_running = False
            self._readings.clear()

    def _ask(self, kubelet: Kubelet) -> asyncio.Future[None]:
        """Once at a time; the future never fails."""
        known = self._asking.get(kubelet.node)
        if known is None:
            done = asyncio.get_running_loop().create_future()
            known = self._asking[kubelet.node] = done
            self._spawn(self._ask_now(kubelet, done))
        return known

    async def _ask_now(self, kubelet: Kubelet, done: asyncio.Future[None]) -> None:
        node = kubelet.node
        try:
            async with self._limit:
                answer = await kubelet.client.request(
                    "GET", TARGET, {NODE_HEADER: node}, timeout_seconds=TIMEOUT_SECONDS
                )
            if answer.status != 200:
                raise ValueError(f"status {answer.status}")
            previous, now = self._readings.get(node), self._clock.monotonic()
            self._readings[node] = read_summary(orjson.loads(answer.body), now, previous)
        except (HTTPClientError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            log.info("what node %s uses is not known: %s", node, error)
        finally:
            self._asking.pop(node, None)
            if not done.done():
                done.set_result(None)
