"""What a pod costs beyond the containers that it is made of."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from bench.cluster import Cluster, Ours
from bench.table import Figure, NotMeasured, Row
from tiphys.client import kubeconfig
from tiphys.client.client import Client
from tiphys.client.https import HTTPSTransport
from tiphys.client.resources import PODS, SERVICEACCOUNTS
from tiphys.cluster.blueprint import node_cgroup
from tiphys.cluster.containerd import socket_path
from tiphys.cluster.images import BUSYBOX_IMAGE
from tiphys.cluster.layout import read_config
from tiphys.cluster.namespaces import find_node
from tiphys.kubelet.runtimes.cri.runtime import ContainerdRuntime
from tiphys.kubelet.runtimes.interface import ContainerConfig, SandboxConfig
from tiphys.machinery.errors import StatusError

ROUNDS = 12
COMMAND = ("sleep", "3600")


def start(ours: Ours) -> Figure:
    """Alternately: a Pod from create to the watch event that says Running, and its sandbox and container by bare CRI calls."""
    with ours.cluster() as made:
        made.up()
        return asyncio.run(_compare(made))


async def _compare(made: Cluster) -> Figure:
    async with api_client(made) as client, bare_runtime(made) as bare:
        whole, parts = [], []
        for number in range(ROUNDS + 1):
            parts.append(await bare.start(f"bare-{number}"))
            whole.append(await _pod_seconds(client, f"pod-{number}"))
    # The first of each kind finds nothing in any cache.
    pod, calls = statistics.median(whole[1:]), statistics.median(parts[1:])
    return Figure(pod / calls, f"{pod * 1e3:.0f} ms, bare {calls * 1e3:.0f} ms")


@asynccontextmanager
async def api_client(made: Cluster) -> AsyncIterator[Client]:
    transport = HTTPSTransport(kubeconfig.access(made.kubeconfig))
    try:
        client = Client(transport)
        await _wait_for_service_account(client)
        yield client
    finally:
        await transport.close()


async def _wait_for_service_account(client: Client) -> None:
    async with asyncio.timeout(10):
        while True:
            try:
                await client.get(SERVICEACCOUNTS, "default", "default")
                return
            except StatusError:
                await asyncio.sleep(0.05)


async def _pod_seconds(client: Client, name: str) -> float:
    """Until Running; then it is deleted and waited for."""
    listing = await client.list(PODS, "default")
    watch = client.watch(PODS, "default", resource_version=listing.resource_version)
    container = {
        "name": "main",
        "image": BUSYBOX_IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": list(COMMAND),
    }
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"containers": [container]},
    }
    following = asyncio.ensure_future(_running(watch))
    begun = time.perf_counter()
    await client.create(PODS, body)
    try:
        async with asyncio.timeout(30):
            seconds = await following - begun
    except TimeoutError:
        raise NotMeasured(f"pod {name} is not Running after 30 s") from None
    await client.delete(PODS, name, "default", grace_period_seconds=0)
    return seconds


async def _running(watch: AsyncIterator[object]) -> float:
    async for event in watch:
        if event.object["status"].get("phase") == "Running":  # type: ignore[attr-defined]
            return time.perf_counter()
    raise NotMeasured("the watch has ended")


class Bare:
    """The calls that a kubelet cannot do without."""

    def __init__(self, runtime: ContainerdRuntime, node: Path, cgroup: str) -> None:
        self._runtime = runtime
        self._logs = node / "bare"
        self._cgroup = cgroup

    async def start(self, name: str) -> float:
        """How long it takes; what was made is unmade."""
        begun = time.perf_counter()
        made = await self.make(name)
        seconds = time.perf_counter() - begun
        await self.unmake(*made)
        return seconds

    async def make(self, name: str) -> tuple[str, str]:
        """A sandbox and its container, which runs."""
        image = await self._runtime.image_status(BUSYBOX_IMAGE)
        if image is None:
            raise NotMeasured(f"{BUSYBOX_IMAGE} is not on the node")
        logs = self._logs / name
        logs.mkdir(parents=True)
        # It has none of the labels by which kubelets know their own: ours lets it be.
        sandbox_config = SandboxConfig(
            name=name,
            namespace="default",
            uid=name,
            hostname=name,
            log_directory=str(logs),
            cgroup_parent=f"{self._cgroup}/{name}",
        )
        config = ContainerConfig(name="main", image=image.id, command=COMMAND, log_path="0.log")
        sandbox = await self._runtime.run_sandbox(sandbox_config)
        container = await self._runtime.create_container(sandbox, config, sandbox_config)
        await self._runtime.start_container(container)
        return sandbox, container

    async def unmake(self, sandbox: str, container: str) -> None:
        await self._runtime.stop_container(container, 0)
        await self._runtime.remove_container(container)
        await self._runtime.stop_sandbox(sandbox)
        await self._runtime.remove_sandbox(sandbox)


@asynccontextmanager
async def bare_runtime(made: Cluster) -> AsyncIterator[Bare]:
    config = read_config(made.layout)
    name = config.node_name(1)
    node = find_node(made.layout.node(name))
    if node is None:
        raise NotMeasured(f"{name} does not run")
    runtime = ContainerdRuntime(socket_path(node), root=node.root)
    try:
        yield Bare(runtime, made.layout.node(name), node_cgroup(made.layout, config, name))
    finally:
        await runtime.close()


ROWS = [Row("pod create to Running, to bare CRI calls", "x", start, goal=1.5, needs_containers=True)]
