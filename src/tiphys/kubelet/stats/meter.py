"""Measures a node, its pods and their containers, whenever somebody asks: the one place that knows what is used.

Processor, memory, processes and network are read from the kernel's files at each question (well below a millisecond a pod); disks
are slower and kept for a minute. Nothing runs in between.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from os import getpid
from typing import Protocol

from tiphys.kubelet.machine import Machine
from tiphys.kubelet.resources import cgroup_path
from tiphys.kubelet.runtimes.interface import ContainerStatus
from tiphys.kubelet.stats.cgroup_usage import CgroupUsage
from tiphys.kubelet.stats.disk_usage import KEPT_SECONDS, DiskMeter
from tiphys.kubelet.stats.machine_usage import MachineUsage
from tiphys.kubelet.stats.measured import MeasuredPod
from tiphys.kubelet.stats.rates import LONGEST_SECONDS, Rates
from tiphys.kubelet.stats.usage import (
    ContainerUsage,
    GroupUsage,
    NetworkUsage,
    NodeDisks,
    NodeUsage,
    PodDisks,
    PodUsage,
)
from tiphys.machinery import meta
from tiphys.machinery.clock import Clock


class Meter(Protocol):
    """Of one node."""

    @property
    def machine(self) -> Machine: ...

    def node(self) -> NodeUsage: ...

    def pods(self, pods: Iterable[MeasuredPod]) -> dict[str, PodUsage]:
        """By uid. `cpu_nano_cores` is None where it needs another look, a second later."""

    def groups(self, pods: Iterable[MeasuredPod]) -> Iterable[GroupUsage]:
        """Every control group in full: of the node, of all pods, of each, of their sandboxes and containers."""

    async def node_disks(self) -> NodeDisks: ...

    async def pod_disks(
        self, pods: Iterable[MeasuredPod], *, max_age_seconds: float = KEPT_SECONDS
    ) -> dict[str, PodDisks]:
        """By uid; measured within `max_age_seconds`."""


class NodeMeter:
    """Of a node with containers. `cgroup`: the group below which all of its pods' are."""

    def __init__(
        self,
        cgroup: str,
        disks: DiskMeter,
        clock: Clock,
        *,
        machine: Machine,
        sandbox_image: str = "",
        cgroups: CgroupUsage | None = None,
        proc: MachineUsage | None = None,
    ) -> None:
        self.machine = machine
        self._sandbox_image = sandbox_image
        self._cgroup = cgroup
        self._disks = disks
        self._clock = clock
        self.cgroups = cgroups or CgroupUsage()
        self._proc = proc or MachineUsage()
        self._rates = Rates()

    def node(self) -> NodeUsage:
        machine, now = self._proc, self._clock.now()
        started_at, cpu = machine.started_at(), machine.cpu(now)
        processes, limit = machine.processes()
        return NodeUsage(
            started_at,
            cpu,
            machine.memory(now),
            cpu_nano_cores=self._rates.nano_cores("/", cpu, started_at),
            network=machine.network(now),
            processes=processes,
            process_limit=limit,
            io_pressure=machine.io_pressure(),
            pods=self._all_pods(now),
            kubelet=machine.process("kubelet", getpid(), now),
        )

    def _all_pods(self, now: datetime) -> PodUsage:
        path = f"{self._cgroup}/kubepods"
        cpu = self.cgroups.cpu(path, now)
        return PodUsage(
            cpu=cpu,
            cpu_nano_cores=self._rates.nano_cores(path, cpu, None),
            memory=self.cgroups.memory(path, now),
        )

    def pods(self, pods: Iterable[MeasuredPod]) -> dict[str, PodUsage]:
        now = self._clock.now()
        self._rates.forget_before(now - timedelta(seconds=LONGEST_SECONDS))
        return {pod.uid: self._pod(pod, now) for pod in pods}

    def _pod(self, pod: MeasuredPod, now: datetime) -> PodUsage:
        path = self.path(pod)
        cpu = self.cgroups.cpu(path, now)
        return PodUsage(
            tuple(self._container(f"{path}/{status.id}", status, now) for status in pod.containers),
            cpu,
            self._rates.nano_cores(path, cpu, pod.sandbox.created_at),
            self.cgroups.memory(path, now),
            self._network(pod, path, now),
            self.cgroups.process_count(path),
            self.cgroups.io_pressure(path),
        )

    def path(self, pod: MeasuredPod) -> str:
        """Of the pod's group; those of its containers lie in it under their ids."""
        return cgroup_path(self._cgroup, pod.pod, pod.uid)

    def _container(self, path: str, status: ContainerStatus, now: datetime) -> ContainerUsage:
        cpu = self.cgroups.cpu(path, now)
        return ContainerUsage(
            status.name,
            status.id,
            status.started_at,
            cpu,
            self._rates.nano_cores(path, cpu, status.started_at),
            self.cgroups.memory(path, now),
            self.cgroups.io_pressure(path),
        )

    def _network(self, pod: MeasuredPod, path: str, now: datetime) -> NetworkUsage | None:
        """As the sandbox's own process sees it."""
        processes = self.cgroups.processes(f"{path}/{pod.sandbox.id}")
        return self._proc.network(now, processes[0]) if processes else None

    # As cAdvisor sees it

    def groups(self, pods: Iterable[MeasuredPod]) -> Iterable[GroupUsage]:
        now, machine = self._clock.now(), self._proc
        yield GroupUsage(
            "/",
            started_at=machine.started_at(),
            cpu=machine.cpu(now),
            memory=machine.memory(now),
            network=machine.network(now),
            io_pressure=machine.io_pressure(),
            io=self.cgroups.io("/"),
            threads=machine.processes()[0],
        )
        kubepods = f"{self._cgroup}/kubepods"
        for path in (kubepods, f"{kubepods}/besteffort", f"{kubepods}/burstable"):
            yield self._group(GroupUsage(path), now)
        for pod in pods:
            path, sandbox = self.path(pod), pod.sandbox
            whose = GroupUsage(
                path,
                pod=meta.name(pod.pod),
                namespace=meta.namespace(pod.pod),
                started_at=sandbox.created_at,
            )
            yield self._group(whose, now)
            network = self._network(pod, path, now)
            own = replace(whose, path=f"{path}/{sandbox.id}", id=sandbox.id, image=self._sandbox_image)
            yield replace(self._group(own, now), network=network)
            for status in pod.containers:
                of_container = replace(
                    whose,
                    path=f"{path}/{status.id}",
                    container=status.name,
                    id=status.id,
                    image=status.image,
                    started_at=status.started_at,
                )
                yield self._group(of_container, now)

    def _group(self, whose: GroupUsage, now: datetime) -> GroupUsage:
        """Its path is told as a node that has the machine for itself sees it."""
        cgroups, path = self.cgroups, whose.path
        return replace(
            whose,
            path=path.removeprefix(self._cgroup),
            cpu=cgroups.cpu(path, now),
            memory=cgroups.memory(path, now),
            throttling=cgroups.throttling(path),
            io=cgroups.io(path),
            io_pressure=cgroups.io_pressure(path),
            memory_peak_bytes=cgroups.memory_peak_bytes(path),
            memory_failures=cgroups.memory_failures(path),
            out_of_memory_kills=cgroups.out_of_memory_kills(path),
            processes=len(cgroups.processes(path)),
            threads=cgroups.threads(path),
            limits=cgroups.limits(path),
        )

    # Disks

    async def node_disks(self) -> NodeDisks:
        return await self._disks.node()

    async def pod_disks(
        self, pods: Iterable[MeasuredPod], *, max_age_seconds: float = KEPT_SECONDS
    ) -> dict[str, PodDisks]:
        return await self._disks.pods(pods, max_age_seconds=max_age_seconds)
