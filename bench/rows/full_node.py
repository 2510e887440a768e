"""A node that is nearly full: how soon its pods run, what its kubelet needs then, and how soon a pod is gone."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from bench.cluster import Cluster, Ours
from bench.processes import Cost, idle_costs
from bench.rows.pods import api_client, bare_runtime
from bench.table import Figure, NotMeasured, Row
from tiphys.client.client import Client
from tiphys.client.resources import PODS
from tiphys.cluster.images import BUSYBOX_IMAGE
from tiphys.machinery import meta

COUNT = 100
PATIENCE_SECONDS = 600.0
SETTLE_SECONDS, IDLE_SECONDS = 15.0, 30.0
DELETED = 5
OBEYS = "trap 'exit 0' TERM; while true; do sleep 3600 & wait $!; done"


@dataclass(frozen=True)
class _FullNode:
    ready_seconds: float
    bare_seconds: float
    idle: Cost
    delete_seconds: float


@cache
def full_node(ours: Ours) -> _FullNode:
    """Measured once for all rows: it takes minutes."""
    with ours.cluster() as made:
        made.up()
        bare = asyncio.run(_bare(made))
        ready = asyncio.run(_ready(made))
        kubelet = next(pid for name, pid in made.pids().items() if name.startswith("kubelet"))
        idle = idle_costs({"kubelet": kubelet}, settle_seconds=SETTLE_SECONDS, seconds=IDLE_SECONDS)
        return _FullNode(ready, bare, idle["kubelet"], asyncio.run(_delete(made)))


async def _bare(made: Cluster) -> float:
    """The same sandboxes and containers, as many at once as the runtime takes."""
    async with bare_runtime(made) as bare:
        begun = time.perf_counter()
        started = await asyncio.gather(*(bare.make(f"bare-{number}") for number in range(COUNT)))
        seconds = time.perf_counter() - begun
        await asyncio.gather(*(bare.unmake(*each) for each in started))
        return seconds


async def _ready(made: Cluster) -> float:
    async with api_client(made) as client:
        begun = time.perf_counter()
        await asyncio.gather(*(client.create(PODS, _pod(f"pod-{number}")) for number in range(COUNT)))
        await _until(client, lambda pods: sum(map(_is_ready, pods)) == COUNT, "all are Ready")
        return time.perf_counter() - begun


async def _delete(made: Cluster) -> float:
    """Median time from the request until the object is gone."""
    times = []
    async with api_client(made) as client:
        for number in range(DELETED):
            name = f"pod-{number}"
            begun = time.perf_counter()
            await client.delete(PODS, name, "default")
            await _until(client, lambda pods, name=name: name not in map(meta.name, pods), f"{name} is gone")  # type: ignore[misc]
            times.append(time.perf_counter() - begun)
    return statistics.median(times)


async def _until(client: Client, is_so: Callable[[list[Any]], bool], what: str) -> None:
    """Follows all pods by one watch."""
    listing = await client.list(PODS, "default")
    pods = {meta.name(pod): pod for pod in listing.items}
    watch = client.watch(PODS, "default", resource_version=listing.resource_version)
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not is_so(list(pods.values())):
                event = await anext(watch)
                pods[meta.name(event.object)] = event.object
                if event.type == "DELETED":
                    del pods[meta.name(event.object)]
    except TimeoutError:
        raise NotMeasured(f"not within {PATIENCE_SECONDS:.0f} s: {what}") from None
    finally:
        await watch.aclose()


def _is_ready(pod: Any) -> bool:
    return meta.is_condition_true(meta.conditions(pod), "Ready")


def _pod(name: str) -> dict[str, Any]:
    container = {
        "name": "main",
        "image": BUSYBOX_IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": ["sh", "-c", OBEYS],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"containers": [container]},
    }


def ready(ours: Ours) -> Figure:
    found = full_node(ours)
    return Figure(
        found.ready_seconds / found.bare_seconds,
        f"{found.ready_seconds:.1f} s, bare {found.bare_seconds:.1f} s",
    )


def memory(ours: Ours) -> Figure:
    return Figure(full_node(ours).idle.resident_mib)


def idle(ours: Ours) -> Figure:
    return Figure(full_node(ours).idle.cpu_percent)


def delete(ours: Ours) -> Figure:
    return Figure(full_node(ours).delete_seconds, f"with {COUNT} others")


ROWS = [
    Row(f"{COUNT} pods, none to all Ready, to bare CRI calls", "x", ready, goal=1.3, needs_containers=True),
    Row(f"kubelet with {COUNT} pods", "MiB", memory, goal=60, needs_containers=True),
    Row(f"kubelet with {COUNT} quiet pods", "% of a core", idle, goal=1, needs_containers=True),
    Row("delete of a pod that obeys", "s", delete, goal=1.0, needs_containers=True),
]
