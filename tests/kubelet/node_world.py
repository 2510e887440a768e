"""One simulated node over an API in memory: a kubelet as it is, with a clock that stands still."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from tiphys.api.core.validation.pods import pod_status
from tiphys.api.resource import Resource
from tiphys.api.types import TYPES
from tiphys.client.client import Client
from tiphys.client.events import EventRecorder
from tiphys.client.reflector import Reflector
from tiphys.client.resources import EVENTS, NODES, PODS
from tiphys.client.transport import JSON, STRATEGIC_MERGE_PATCH
from tiphys.kubelet.configuration import KubeletConfiguration
from tiphys.kubelet.hollow import HollowNode, hollow_kubelet
from tiphys.kubelet.host import Provisions
from tiphys.kubelet.kubelet import Dispatcher, Kubelet
from tiphys.kubelet.runtimes.behaviour import Behaviours
from tiphys.kubelet.runtimes.simulated import SimulatedRuntime
from tiphys.kubelet.static_pods.sources import Source
from tiphys.machinery import meta
from tiphys.machinery.clock import Clock
from tiphys.machinery.patches.strategic import apply_strategic_patch
from tiphys.machinery.schema import patch_schema
from tiphys.testing.api import FakeAPI
from tiphys.testing.clock import FakeClock

Object = dict[str, Any]
NODE = "node-1"


class StrategicAPI(FakeAPI):
    """Merges strategic patches by the types of the kinds, as the real one does. `complaints`: what that would say of statuses of pods."""

    def __init__(self, *, clock: Clock) -> None:
        super().__init__(clock=clock)
        self.complaints: list[str] = []

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Object | Sequence[Any] | None = None,
        content_type: str = JSON,
        timeout_seconds: float | None = None,
    ) -> Object:
        if method == "PATCH" and content_type == STRATEGIC_MERGE_PATCH:
            base = path.removesuffix("/status")
            old = await super().request("GET", base)
            body = self._patched(path, old, body)
            if body["kind"] == "Pod" and path.endswith("/status"):
                self.complaints += map(str, pod_status(body, old))
            method = "PUT"
        return await super().request(method, path, query=query, body=body, content_type=content_type)

    def _patched(self, path: str, old: Object, patch: Any) -> Object:
        resource: Resource = self._target(path)[0]
        schema = patch_schema(TYPES.struct(resource.type))
        return apply_strategic_patch(old, patch, schema)


class NodeWorld:
    """`start` brings the node up; `settle` lets it work until nothing is left to do at this moment."""

    def __init__(self, *sources: Source, configuration: KubeletConfiguration | None = None) -> None:
        self.clock = FakeClock()
        self._configuration = configuration
        self._sources = sources
        self.api = StrategicAPI(clock=self.clock)
        self.client = Client(self.api)
        self.behaviours = Behaviours()
        self.runtime = SimulatedRuntime(self.clock, behaviours=self.behaviours)
        self.kubelet: Kubelet = None  # type: ignore[assignment]
        self.provisions: Provisions | None = None
        """Others than a simulated node has, from the next start on."""
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        recorder = EventRecorder(self.client, "kubelet", clock=self.clock, host=NODE)
        reflector = Reflector(self.client, PODS, clock=self.clock)
        dispatcher = Dispatcher()
        node = HollowNode(NODE, 0, ("127.90.0.11",), 10250)
        self.kubelet = hollow_kubelet(
            node,
            self.client,
            reflector.cache,
            self.clock,
            runtime=self.runtime,
            recorder=recorder,
            configuration=self._configuration,
            sources=self._sources,
            until_known=reflector.wait_synced if self._sources else None,
        )
        if self.provisions is not None:
            self.kubelet.host.provisions = self.provisions
        dispatcher.add(self.kubelet)
        reflector.cache.add_handler(dispatcher.changed)
        self._tasks.append(asyncio.create_task(reflector.run()))
        if not self._sources:
            await reflector.wait_synced()
        self._tasks.append(asyncio.create_task(self.kubelet.run()))
        await self.settle()

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        assert self.api.complaints == []

    async def settle(self, seconds: float = 0.01) -> None:
        await self.clock.advance(seconds)
        version = -1
        while version != self.api.resource_version:
            version = self.api.resource_version
            for _ in range(5):
                await self.clock.advance(0)

    def create(self, spec: Object | None = None, **metadata: Any) -> Object:
        """A pod bound to the node, as the scheduler would leave it."""
        container = {"name": "main", "image": "busybox", "imagePullPolicy": "IfNotPresent"}
        whole = {"nodeName": NODE, "restartPolicy": "Always", "containers": [container], **(spec or {})}
        name = metadata.pop("name", "web")
        return self.api.put(
            PODS,
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": name, "namespace": "default", **metadata},
                "spec": {"terminationGracePeriodSeconds": 30, **whole},
                "status": {"phase": "Pending"},
            },
        )

    def pod(self, name: str = "web") -> Object:
        found = [pod for pod in self.api.objects(PODS) if meta.name(pod) == name]
        assert found, f"there is no pod {name}"
        return found[0]

    def pods(self) -> list[Object]:
        return self.api.objects(PODS)

    def node(self) -> Object:
        return self.api.objects(NODES)[0]

    def events(self) -> list[tuple[str, str]]:
        """(reason, message), in the order in which they were recorded."""
        found = sorted(
            self.api.objects(EVENTS), key=lambda event: int(meta.name(event).rpartition(".")[2], 16)
        )
        return [(event["reason"], event["message"]) for event in found]
