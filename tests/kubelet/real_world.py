"""The kubelet over the real containerd of the tests' node, with an API in memory."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from node_world import NODE, StrategicAPI

from tiphys.client.client import Client
from tiphys.client.events import EventRecorder
from tiphys.client.reflector import Reflector
from tiphys.client.resources import EVENTS, NODES, PODS, SERVICES
from tiphys.client.transport import Object
from tiphys.kubelet.assembly import assemble
from tiphys.kubelet.cgroups import Cgroups
from tiphys.kubelet.configuration import KubeletConfiguration
from tiphys.kubelet.files import Files
from tiphys.kubelet.kubelet import Dispatcher, Kubelet
from tiphys.kubelet.logs import LogOptions, LogReader
from tiphys.kubelet.node_itself import NodeParts
from tiphys.kubelet.runtimes.interface import Runtime
from tiphys.kubelet.server import log_source
from tiphys.kubelet.volumes.mounting import NoMounter
from tiphys.machinery import meta
from tiphys.machinery.clock import SystemClock

PATIENCE_SECONDS = 120.0
FOREVER = "trap 'exit 0' TERM; while true; do sleep 1000 & wait $!; done"

UNCONCERNED = KubeletConfiguration(image_gc_high_threshold_percent=100, eviction_hard={})
"""How full this machine's disk is shall be no business of tests that do not ask."""


class RealWorld:
    """A kubelet outside of the node that it is the kubelet of: so no mounts, which the node would not see."""

    def __init__(
        self,
        runtime: Runtime,
        files: Files,
        cgroup: str,
        configuration: KubeletConfiguration | None = None,
        monitoring_seconds: float = 10.0,
    ) -> None:
        self.clock = SystemClock()
        self.api = StrategicAPI(clock=self.clock)
        self.client = Client(self.api)
        self.runtime = runtime
        self.files = files
        self._cgroup = cgroup
        self._configuration = configuration or UNCONCERNED
        self._monitoring_seconds = monitoring_seconds
        self.kubelet: Kubelet = None  # type: ignore[assignment]
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        pods, services = (Reflector(self.client, resource, clock=self.clock) for resource in (PODS, SERVICES))
        self._tasks = [asyncio.create_task(reflector.run()) for reflector in (pods, services)]
        await pods.wait_synced()
        await services.wait_synced()
        self.kubelet = assemble(
            NodeParts(NODE, ("10.90.0.11",), 10250, self._cgroup, self.files, plugins=self.files.directory),
            self.client,
            self.runtime,
            pods.cache,
            services=services.cache,
            recorder=EventRecorder(self.client, "kubelet", clock=self.clock, host=NODE),
            clock=self.clock,
            configuration=self._configuration,
            monitoring_seconds=self._monitoring_seconds,
            cgroups=Cgroups(),
            mounter=NoMounter(),
        )
        dispatcher = Dispatcher()
        dispatcher.add(self.kubelet)
        pods.cache.add_handler(dispatcher.changed)
        self._tasks.append(asyncio.create_task(self.kubelet.run()))

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def create(self, name: str, script: str, container: Object | None = None, **spec: Any) -> None:
        wanted = {
            "name": "main",
            "image": "docker.io/library/busybox:latest",
            "imagePullPolicy": "IfNotPresent",
            "command": ["sh", "-c", script],
            "terminationMessagePath": "/dev/termination-log",
            "terminationMessagePolicy": "File",
            **(container or {}),
        }
        self.api.put(
            PODS,
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": name, "namespace": "default", "uid": str(uuid.uuid4())},
                "spec": {
                    "nodeName": NODE,
                    "containers": [wanted],
                    "terminationGracePeriodSeconds": 5,
                    **spec,
                },
                "status": {"phase": "Pending"},
            },
        )

    def find(self, name: str) -> Object | None:
        return next((pod for pod in self.api.objects(PODS) if meta.name(pod) == name), None)

    async def until(self, name: str, is_so: Callable[[Object], bool]) -> Object:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                pod = self.find(name)
                if pod is not None and is_so(pod):
                    return pod
                await asyncio.sleep(0.01)

    async def event(self, name: str, reason: str) -> Object:
        """About a pod, once it is there."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                for event in self.api.objects(EVENTS):
                    if (event["involvedObject"]["name"], event["reason"]) == (name, reason):
                        return event
                await asyncio.sleep(0.01)

    async def until_node(self, is_so: Callable[[Object], bool]) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not any(is_so(node) for node in self.api.objects(NODES)):
                await asyncio.sleep(0.01)

    async def delete(self, name: str, grace_seconds: int | None = None) -> None:
        """Until nothing is left of it, here and there."""
        pod = self.find(name)
        assert pod is not None
        await self.client.delete(PODS, name, "default", grace_period_seconds=grace_seconds)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while self.find(name) is not None or self.kubelet.worker(meta.uid(pod)) is not None:
                await asyncio.sleep(0.01)

    async def log(self, pod: Object) -> str:
        life = log_source(self.kubelet, pod, "main", previous=False)

        async def is_over() -> bool:
            return True

        pieces = LogReader(Path(life.status.log_path), LogOptions(), is_over)()
        return b"".join([piece async for piece in pieces]).decode()
