"""What simulated pods use: what rules or the pod's annotations say, else half of what they request; steadily, from their start."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any

from tiphys.kubelet import spec
from tiphys.kubelet.machine import Machine
from tiphys.kubelet.runtimes.behaviour import Behaviour
from tiphys.kubelet.runtimes.interface import ContainerStatus, NotFound
from tiphys.kubelet.runtimes.simulated import IMAGE_BYTES, LAYER_BYTES, SimulatedRuntime
from tiphys.kubelet.spec import Object
from tiphys.kubelet.stats.disk_usage import KEPT_SECONDS
from tiphys.kubelet.stats.measured import MeasuredPod
from tiphys.kubelet.stats.usage import (
    ContainerUsage,
    CPUUsage,
    FilesystemUsage,
    GroupUsage,
    InterfaceUsage,
    MemoryUsage,
    NetworkUsage,
    NodeDisks,
    NodeUsage,
    PodDisks,
    PodUsage,
)
from tiphys.machinery import meta
from tiphys.machinery.clock import Clock
from tiphys.machinery.quantity import parse

CPU_ANNOTATION = "simulated.tiphys/cpu-usage"
MEMORY_ANNOTATION = "simulated.tiphys/memory-usage"
"""On a pod: what each of its containers uses, as quantities."""
SHARE = 0.5
"""Of what a container requests."""
LEAST_MILLI_CPU, LEAST_MEMORY_BYTES = 1, 16 << 20
NODE_MILLI_CPU, NODE_MEMORY_BYTES = 100, 1 << 30
"""What a node uses for itself."""
_PROCESS_LIMIT = 1 << 22


class SimulatedMeter:
    """Of one node over a SimulatedRuntime."""

    def __init__(self, runtime: SimulatedRuntime, machine: Machine, clock: Clock) -> None:
        self._runtime = runtime
        self.machine = machine
        self._clock = clock
        self._began_at = self._looked_at = clock.now()
        self._node_used = 0
        self._used: dict[str, tuple[datetime, int]] = {}
        self._last: dict[str, PodUsage] = {}

    def pods(self, pods: Iterable[MeasuredPod]) -> dict[str, PodUsage]:
        now, known = self._clock.now(), self._used
        self._used = {}
        self._last = {pod.uid: self._pod(pod, now, known) for pod in pods}
        return self._last

    def _pod(self, pod: MeasuredPod, now: datetime, known: dict[str, tuple[datetime, int]]) -> PodUsage:
        containers = tuple(self._container(pod.pod, status, now, known) for status in pod.containers)
        cpu, cores, memory = _sum(containers, now)
        interface = InterfaceUsage("eth0", 0, 0, 0, 0, 0, 0, 0, 0)
        return PodUsage(
            containers, cpu, cores, memory, NetworkUsage(now, (interface,)), processes=len(containers) + 1
        )

    def _container(
        self, pod: Object, status: ContainerStatus, now: datetime, known: dict[str, tuple[datetime, int]]
    ) -> ContainerUsage:
        container = spec.find_container(pod, status.name) or {}
        milli, memory = amounts(pod, container, self._behaviour(status.id))
        began_at = status.started_at or now
        since, used = known.get(status.id, (began_at, 0))
        used += round(milli * 1e6 * (now - since).total_seconds())
        self._used[status.id] = (now, used)
        limit = ((container.get("resources") or {}).get("limits") or {}).get("memory")
        return ContainerUsage(
            status.name,
            status.id,
            began_at,
            CPUUsage(now, used, used),
            round(milli * 1e6),
            MemoryUsage(
                now, memory, memory, memory, limit_bytes=parse(limit).value if limit else None, swap_bytes=0
            ),
        )

    def _behaviour(self, id: str) -> Behaviour:
        try:
            return self._runtime.behaviour_of(id)
        except NotFound:
            return Behaviour()

    def node(self) -> NodeUsage:
        """With what its pods used when they were last asked for."""
        now = self._clock.now()
        pods = self._last.values()
        cores = round(NODE_MILLI_CPU * 1e6) + sum(pod.cpu_nano_cores or 0 for pod in pods)
        self._node_used += round(cores * (now - self._looked_at).total_seconds())
        self._looked_at = now
        memory = NODE_MEMORY_BYTES + sum(pod.memory.working_set_bytes for pod in pods if pod.memory)
        whole = self.machine.memory_bytes
        return NodeUsage(
            self._began_at,
            CPUUsage(now, self._node_used, self._node_used),
            MemoryUsage(now, memory, memory, memory, limit_bytes=whole, swap_bytes=0, swap_limit_bytes=0),
            cpu_nano_cores=cores,
            network=NetworkUsage(now, (InterfaceUsage("eth0", 0, 0, 0, 0, 0, 0, 0, 0),)),
            processes=sum(pod.processes or 0 for pod in pods),
            process_limit=_PROCESS_LIMIT,
        )

    def groups(self, pods: Iterable[MeasuredPod]) -> Iterable[GroupUsage]:
        pods = list(pods)
        usages, node = self.pods(pods), self.node()
        yield GroupUsage(
            "/", started_at=node.started_at, cpu=node.cpu, memory=node.memory, network=node.network
        )
        for pod in pods:
            usage = usages[pod.uid]
            whose = GroupUsage(
                f"/kubepods/pod{pod.uid}",
                pod=meta.name(pod.pod),
                namespace=meta.namespace(pod.pod),
                started_at=pod.sandbox.created_at,
            )
            yield replace(whose, cpu=usage.cpu, memory=usage.memory)
            for status, found in zip(pod.containers, usage.containers, strict=True):
                yield replace(
                    whose,
                    path=f"{whose.path}/{status.id}",
                    container=status.name,
                    id=status.id,
                    image=status.image,
                    started_at=status.started_at,
                    cpu=found.cpu,
                    memory=found.memory,
                    processes=1,
                    threads=1,
                )

    async def node_disks(self) -> NodeDisks:
        images = sum(image.size_bytes for image in await self._runtime.list_images())
        own, of_images = (
            self._filesystem(self.machine.disk_bytes // 10),
            self._filesystem(images or IMAGE_BYTES),
        )
        return NodeDisks(own, of_images, of_images)

    async def pod_disks(
        self, pods: Iterable[MeasuredPod], *, max_age_seconds: float = KEPT_SECONDS
    ) -> dict[str, PodDisks]:
        layer = self._filesystem(LAYER_BYTES)
        found = {}
        for pod in pods:
            layers = {status.name: layer for status in pod.containers}
            found[pod.uid] = PodDisks(layers, layers, (), self._filesystem(2 * LAYER_BYTES * len(layers)))
        return found

    def _filesystem(self, used: int) -> FilesystemUsage:
        whole, inodes = self.machine.disk_bytes, 1 << 26
        return FilesystemUsage(self._clock.now(), whole, whole * 9 // 10, inodes, inodes - 1000, used, 1)


def amounts(pod: Object, container: Object, behaviour: Behaviour) -> tuple[int, int]:
    """(milli-CPU, bytes) that a container uses."""
    requests = (container.get("resources") or {}).get("requests") or {}
    told = meta.annotations(pod)
    milli = _first(behaviour.cpu, told.get(CPU_ANNOTATION))
    memory = _first(behaviour.memory, told.get(MEMORY_ANNOTATION))
    return (
        milli.milli if milli else max(round(SHARE * _amount(requests, "cpu").milli), LEAST_MILLI_CPU),
        memory.value if memory else max(round(SHARE * _amount(requests, "memory").value), LEAST_MEMORY_BYTES),
    )


def _amount(requests: Any, resource: str) -> Any:
    return parse(requests.get(resource) or "0")


def _first(*texts: str | None) -> Any:
    """The first that is a quantity."""
    for text in texts:
        if text:
            try:
                return parse(text)
            except ValueError:
                continue
    return None


def _sum(containers: Iterable[ContainerUsage], now: datetime) -> tuple[CPUUsage, int, MemoryUsage]:
    used = cores = memory = 0
    for container in containers:
        used += container.cpu.usage_nanoseconds if container.cpu else 0
        cores += container.cpu_nano_cores or 0
        memory += container.memory.working_set_bytes if container.memory else 0
    return CPUUsage(now, used, used), cores, MemoryUsage(now, memory, memory, memory, swap_bytes=0)
