"""Hollow nodes: kubelets over the simulated runtime, thousands of them in one process, on one connection and one cache of pods."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tiphys.api.resource import Resource
from tiphys.client.cache import Cache
from tiphys.client.client import Client
from tiphys.client.events import EventRecorder
from tiphys.client.transport import JSON, Listing, Query, Transport, WatchEvent
from tiphys.kubelet.hooks import Hooks
from tiphys.kubelet.host import Host
from tiphys.kubelet.kubelet import Kubelet
from tiphys.kubelet.machine import simulated_machine
from tiphys.kubelet.node import Machine, NodeFacts
from tiphys.kubelet.node_agent import NodeAgent
from tiphys.kubelet.probes.handlers import Handlers
from tiphys.kubelet.pulling import ImagePuller
from tiphys.kubelet.runtimes.interface import ContainerStatus
from tiphys.kubelet.runtimes.simulated import SimulatedRuntime
from tiphys.kubelet.seen import Health
from tiphys.kubelet.simulated_provisions import SimulatedProvisions
from tiphys.kubelet.spec import Object
from tiphys.machinery.clock import Clock

START_DELAY_SECONDS = 0.05
REQUEST_LIMIT = 16
LEASE_SECONDS = 120
"""Renewed every 30 s, well within the 50 s after which a node counts as lost: a thousand nodes cost 33 writes a second."""


@dataclass(frozen=True, slots=True)
class HollowNode:
    """`number` keeps its pods' addresses apart from those of others."""

    name: str
    number: int
    addresses: tuple[str, ...]
    port: int


class NoProber:
    """Containers without processes are well."""

    def update(self, pod: Object, running: Mapping[str, ContainerStatus], ips: tuple[str, ...]) -> None:
        pass

    def health(self, uid: str) -> Mapping[str, Health]:
        return {}

    def forget(self, uid: str) -> None:
        pass


def hollow_kubelet(
    node: HollowNode,
    client: Client,
    pods: Cache,
    clock: Clock,
    *,
    runtime: SimulatedRuntime | None = None,
    recorder: EventRecorder | None = None,
    machine: Machine | None = None,
) -> Kubelet:
    """A kubelet that is not started yet."""
    runtime = runtime or SimulatedRuntime(clock, number=node.number, start_delay_seconds=START_DELAY_SECONDS)
    machine = machine or simulated_machine()

    async def look() -> NodeFacts:
        return NodeFacts(
            node.name, node.addresses, node.port, machine, await runtime.version(), await runtime.status()
        )

    host = Host(
        node=node.name,
        ips=node.addresses,
        client=client,
        runtime=runtime,
        recorder=recorder or EventRecorder(client, "kubelet", clock=clock, host=node.name),
        images=ImagePuller(runtime, clock),
        provisions=SimulatedProvisions(),
        prober=NoProber(),
        hooks=Hooks(Handlers(runtime), clock),
        clock=clock,
    )
    agent = NodeAgent(client, look, clock, check_seconds=0, lease_seconds=LEASE_SECONDS)
    return Kubelet(host, pods, agent, relist_seconds=0)


class LimitedTransport:
    """A transport that lets only so many requests out at a time: a thousand nodes do not open a thousand connections."""

    def __init__(self, transport: Transport, limit: int = REQUEST_LIMIT) -> None:
        self._transport = transport
        self._slots = asyncio.Semaphore(limit)

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: dict[str, Any] | Sequence[Any] | None = None,
        content_type: str = JSON,
        timeout_seconds: float | None = None,
    ) -> dict[str, Any]:
        async with self._slots:
            return await self._transport.request(
                method,
                path,
                query=query,
                body=body,
                content_type=content_type,
                timeout_seconds=timeout_seconds,
            )

    async def list(
        self, resource: Resource, namespace: str | None = None, *, query: Query | None = None
    ) -> Listing:
        return await self._transport.list(resource, namespace, query=query)

    def watch(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        resource_version: str,
        query: Query | None = None,
    ) -> AsyncGenerator[WatchEvent, None]:
        return self._transport.watch(resource, namespace, resource_version=resource_version, query=query)

    async def close(self) -> None:
        await self._transport.close()
