"""A little cluster for controllers: the API in memory, and hands that play the kubelet."""

from __future__ import annotations

import asyncio
from typing import Any

from tiphys.client.client import Client
from tiphys.client.reflector import Informers
from tiphys.client.resources import EVENTS, PODS
from tiphys.client.workqueue import WorkQueue
from tiphys.controllers.garbage.collector import GarbageCollector
from tiphys.controllers.runner import Controller, Runner
from tiphys.machinery import meta
from tiphys.testing.api import FakeAPI
from tiphys.testing.clock import FakeClock

Object = dict[str, Any]


class World:
    """Controllers over one API in memory. `settle` lets them work until nothing is left to do at this moment."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.api = FakeAPI(clock=self.clock)
        self.client = Client(self.api)
        self.informers = Informers(self.client, clock=self.clock)
        self.runners: list[Runner] = []
        self.queues: list[WorkQueue[str]] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, *controllers: Controller[Any]) -> None:
        for controller in controllers:
            runner = Runner(controller, self.informers, clock=self.clock)
            self.runners.append(runner)
            self.queues.append(runner.queue)
            self._tasks.append(asyncio.create_task(runner.run()))
        await self.settle()

    async def collect_garbage(self) -> None:
        """Starts the garbage collector."""
        collector = GarbageCollector(self.informers, clock=self.clock)
        self.queues.append(collector.queue)
        self._tasks.append(asyncio.create_task(collector.run()))
        await self.settle()

    async def settle(self, seconds: float = 1) -> None:
        """Lets that much time pass, and then all that follows from it at that moment."""
        await self.clock.advance(seconds)
        version = -1
        while version != self.api.resource_version or not all(
            runner.queue.is_idle for runner in self.runners
        ):
            version = self.api.resource_version
            await self.clock.advance(0)

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.informers.stop()

    async def restart(self) -> None:
        """Kills the controllers wherever they are, and starts them anew: they know nothing but what the API says."""
        controllers = [runner.controller for runner in self.runners]
        await self.stop()
        for forgotten in (self.runners, self.queues, self._tasks):
            forgotten.clear()
        self.informers = Informers(self.client, clock=self.clock)
        await self.start(*controllers)

    # The kubelet's part

    def pods(self, **labels: str) -> list[Object]:
        found = self.api.objects(PODS)
        return [pod for pod in found if all(meta.labels(pod).get(name) == labels[name] for name in labels)]

    def set_pod(self, pod: Object, **changes: Any) -> None:
        self.api.put(PODS, {**pod, **changes})

    def make_ready(self, *pods: Object) -> None:
        for pod in pods or self.pods():
            now = meta.format_time(self.clock.now())
            condition = {"type": "Ready", "status": "True", "lastTransitionTime": now}
            self.set_pod(
                pod,
                spec={**pod.get("spec", {}), "nodeName": "node-1"},
                status={"phase": "Running", "conditions": [condition]},
            )

    async def remove_terminating(self) -> None:
        """What a kubelet does at the end of a graceful deletion."""
        for pod in self.pods():
            if meta.is_deleting(pod):
                await self.client.delete(PODS, meta.name(pod), meta.namespace(pod), grace_period_seconds=0)
        await self.settle()

    def events(self) -> list[tuple[str, str, str]]:
        """(name of the object, reason, message), in the order in which they were recorded."""
        found = sorted(
            self.api.objects(EVENTS), key=lambda event: int(meta.name(event).rpartition(".")[2], 16)
        )
        return [(event["involvedObject"]["name"], event["reason"], event["message"]) for event in found]
