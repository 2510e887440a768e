"""The simulated nodes of a test cluster: kubelets without containers, whose power a test can switch."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable
from pathlib import Path

from tiphys.apiserver.local import LocalAPI
from tiphys.client.client import Client
from tiphys.client.inprocess import InProcessTransport
from tiphys.client.reflector import Reflector
from tiphys.client.resources import NODES, PODS
from tiphys.kubelet.access import KubeletAccess, ServerReviews
from tiphys.kubelet.hollow import HollowNode, hollow_kubelet
from tiphys.kubelet.kubelet import Dispatcher, Kubelet
from tiphys.kubelet.metrics import KubeletMetrics
from tiphys.kubelet.runtimes.behaviour import Behaviours
from tiphys.kubelet.runtimes.simulated import SimulatedRuntime
from tiphys.kubelet.server import KubeletServer
from tiphys.kubelet.stats.endpoints import StatsEndpoints
from tiphys.machinery.clock import Clock
from tiphys.net.server import Server
from tiphys.testing.scripted_prober import ScriptedProber

ADDRESS = "127.0.0.1"


class _Powered:
    """One node that is on."""

    def __init__(self, kubelet: Kubelet, runtime: SimulatedRuntime) -> None:
        self.kubelet = kubelet
        self.runtime = runtime
        self.task = asyncio.get_running_loop().create_task(kubelet.run(), name=f"kubelet {kubelet.host.node}")


class Nodes:
    """On the loop of the control plane. Nothing runs, and no port is open, until the first node is added."""

    def __init__(
        self, local: LocalAPI, clock: Clock, behaviours: Behaviours, tls: ssl.SSLContext, logs: Path
    ) -> None:
        self._local = local
        self._clock = clock
        self._behaviours = behaviours
        self._tls = tls
        self._logs = logs
        self._numbers: dict[str, int] = {}
        self._powered: dict[str, _Powered] = {}
        self._dispatcher = Dispatcher()
        self._metrics = KubeletMetrics()
        self._server: Server | None = None
        self._port = 0
        self._pods: Reflector | None = None
        self._pods_task: asyncio.Task[None] | None = None
        behaviours.on_change = self._wake_all

    @property
    def names(self) -> list[str]:
        return list(self._numbers)

    @property
    def powered(self) -> list[str]:
        return list(self._powered)

    def _client(self, name: str) -> Client:
        groups = ("system:nodes", "system:authenticated")
        return Client(
            InProcessTransport(self._local, f"system:node:{name}", groups, user_agent="kubelet/v1.36.2")
        )

    async def add(self, names: Iterable[str]) -> None:
        """New nodes, switched on."""
        for name in names:
            if name in self._numbers:
                raise ValueError(f"there is a node {name!r} already")
            self._numbers[name] = len(self._numbers)
            await self.power_on(name)

    async def power_on(self, name: str) -> None:
        """The node comes up with empty hands: what ran on it before is gone."""
        if name not in self._numbers:
            raise LookupError(f"there is no node {name!r}; there are: {', '.join(self._numbers)}")
        if name in self._powered:
            return
        pods = await self._start()
        runtime = SimulatedRuntime(self._clock, number=self._numbers[name], behaviours=self._behaviours)
        prober = ScriptedProber(runtime, self._clock, lambda uid: kubelet.wake(uid))
        node = HollowNode(name, self._numbers[name], (ADDRESS,), self._port)
        client = self._client(name)
        kubelet = hollow_kubelet(
            node,
            client,
            pods.cache,
            self._clock,
            runtime=runtime,
            metrics=self._metrics,
            prober=prober,
            logs=self._logs / name,
        )
        self._dispatcher.add(kubelet)
        self._powered[name] = _Powered(kubelet, runtime)

    async def power_off(self, name: str) -> None:
        """As if the cable were pulled: no goodbye, no more signs of life."""
        powered = self._powered.pop(name, None)
        if powered is None:
            return
        self._dispatcher.remove(name)
        powered.task.cancel()
        await asyncio.gather(powered.task, return_exceptions=True)
        await powered.runtime.close()

    async def remove(self, name: str) -> None:
        """Switches the node off and deletes it."""
        await self.power_off(name)
        self._numbers.pop(name, None)
        administrator = ("system:masters", "system:authenticated")
        await Client(InProcessTransport(self._local, "tiphys-testing", administrator)).delete(NODES, name)

    async def close(self) -> None:
        for name in self.powered:
            await self.power_off(name)
        if self._pods_task is not None:
            self._pods_task.cancel()
            await asyncio.gather(self._pods_task, return_exceptions=True)
        if self._server is not None:
            await self._server.shutdown(grace_seconds=0.2)

    # Pods

    def running(self, namespace: str, pod: str, container: str) -> list[tuple[SimulatedRuntime, str]]:
        """The running containers of a pod, with the runtime that each is in. LookupError when there are none."""
        found = [
            (powered.runtime, id)
            for powered in self._powered.values()
            for id in powered.runtime.running_containers(namespace, pod, container)
        ]
        if not found:
            what = f"container {container!r} of pod" if container else "container of pod"
            raise LookupError(f"no {what} {namespace}/{pod} is running")
        return found

    def _wake_all(self) -> None:
        for powered in self._powered.values():
            powered.kubelet.wake_all()

    # What all nodes share

    async def _start(self) -> Reflector:
        if self._pods is None:
            access = KubeletAccess(ServerReviews(self._client("all")), self._clock)
            stats = StatsEndpoints(self._dispatcher, self._clock, self._metrics)
            handle = KubeletServer(self._dispatcher, self._clock, access, pages=stats.pages).handle
            self._server = Server(handle, ssl_context=self._tls)
            self._port = (await self._server.listen(host=ADDRESS, port=0)).port
            self._pods = Reflector(self._client("all"), PODS, clock=self._clock)
            self._pods.cache.add_handler(self._dispatcher.changed)
            self._pods_task = asyncio.get_running_loop().create_task(
                self._pods.run(), name="pods of all nodes"
            )
            await self._pods.wait_synced()
        return self._pods
