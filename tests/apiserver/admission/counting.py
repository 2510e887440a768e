"""The controller that counts what quotas limit, beside the API server of a test and with its own rights only."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from served import Client

from tiphys.apiserver.local import LocalAPI
from tiphys.apiserver.server import APIServer
from tiphys.client.client import Client as KindClient
from tiphys.client.inprocess import InProcessTransport
from tiphys.client.reflector import Informers
from tiphys.controllers.resourcequota import QuotaController
from tiphys.testing.clock import FakeClock

NAMESPACE = "/api/v1/namespaces/default"
QUOTAS = f"{NAMESPACE}/resourcequotas"
PODS = f"{NAMESPACE}/pods"
ACCOUNT = "system:serviceaccount:kube-system:resourcequota-controller"
GROUPS = ("system:serviceaccounts", "system:serviceaccounts:kube-system", "system:authenticated")
Object = dict[str, Any]


class Counting:
    """`settle` lets the controller see and write everything that follows from what has happened."""

    def __init__(self, server: APIServer, clock: FakeClock) -> None:
        self.clock = clock
        self.client = Client(server)
        kinds = KindClient(InProcessTransport(LocalAPI(server), ACCOUNT, GROUPS))
        self._informers = Informers(kinds, clock=clock)
        self._controller = QuotaController(self._informers, clock=clock)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._controller.run())
        await self.settle()

    async def stop(self) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self._informers.stop()

    async def settle(self, seconds: float = 2.0) -> None:
        for _ in range(4):
            await self.clock.advance(seconds / 4)
        while not self._controller.queue.is_idle:
            await self.clock.advance(0.1)

    async def add(self, name: str, hard: Object, **spec: Any) -> None:
        await self.client.create(QUOTAS, quota(name, hard, **spec))
        await self.settle()

    async def status(self, name: str) -> Object:
        found: Object = (await self.client.get(f"{QUOTAS}/{name}"))["status"]
        return found

    async def used(self, name: str) -> Object:
        used: Object = (await self.status(name)).get("used") or {}
        return used


@asynccontextmanager
async def counting(server: APIServer, clock: FakeClock) -> AsyncIterator[Counting]:
    counts = Counting(server, clock)
    await counts.start()
    try:
        yield counts
    finally:
        await counts.stop()


def quota(name: str, hard: Object, **spec: Any) -> Object:
    return {"metadata": {"name": name}, "spec": {"hard": hard, **spec}}


def pod(
    name: str, requests: Object | None = None, limits: Object | None = None, **spec: Any
) -> dict[str, Any]:
    resources = {kind: found for kind, found in (("requests", requests), ("limits", limits)) if found}
    container = {"name": "c", "image": "i", "resources": resources}
    return {"metadata": {"name": name}, "spec": {"containers": [container], **spec}}


def claim(name: str, size: str, **spec: Any) -> dict[str, Any]:
    wanted = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}
    return {"metadata": {"name": name}, "spec": {**wanted, **spec}}
