"""The kubelet's Summary API (stats/v1alpha1), made of what was measured. Pure; the fields are upstream's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any

from tiphys.kubelet.stats.measured import MeasuredPod
from tiphys.kubelet.stats.usage import (
    ContainerUsage,
    CPUUsage,
    FilesystemUsage,
    InterfaceUsage,
    MemoryUsage,
    NetworkUsage,
    NodeDisks,
    NodeUsage,
    PodDisks,
    PodUsage,
    Pressure,
    PressureLine,
    VolumeUsage,
)
from tiphys.machinery import meta
from tiphys.machinery.frozen import frozen

Fields = dict[str, Any]
DEFAULT_INTERFACE = "eth0"


@frozen
class Measurements:
    """All of one moment. Without disks it is what `only_cpu_and_memory` asks for."""

    node_name: str
    node: NodeUsage
    pods: Sequence[MeasuredPod]
    usages: Mapping[str, PodUsage]
    node_disks: NodeDisks | None = None
    pod_disks: Mapping[str, PodDisks] = field(default_factory=dict)

    @property
    def has_disks(self) -> bool:
        return self.node_disks is not None


def summary(found: Measurements) -> Fields:
    pods = [_pod(pod, found) for pod in found.pods if pod.uid in found.usages]
    return {"node": _node(found), "pods": pods}


def _node(found: Measurements) -> Fields:
    node, disks = found.node, found.node_disks
    fields: Fields = {
        "nodeName": found.node_name,
        "systemContainers": _system_containers(node),
        "startTime": meta.format_time(node.started_at),
        **_basic(node.cpu, node.cpu_nano_cores, node.memory, node.io_pressure),
    }
    if disks is not None:
        fields["network"] = _network(node.network)
        fields["fs"] = filesystem(disks.node)
        fields["runtime"] = _present(
            imageFs=_file_system(disks.images), containerFs=_file_system(disks.containers)
        )
        fields["rlimit"] = {
            "time": meta.format_time(node.cpu.time),
            "maxpid": node.process_limit,
            "curproc": node.processes,
        }
    return _present(**fields)


def _system_containers(node: NodeUsage) -> list[Fields]:
    found = []
    if node.kubelet is not None:
        found.append(_container(node.kubelet, None))
    if node.pods.cpu is not None:
        pods = ContainerUsage(
            "pods", "", node.started_at, node.pods.cpu, node.pods.cpu_nano_cores, node.pods.memory
        )
        found.append(_container(pods, None))
    return found


def _pod(pod: MeasuredPod, found: Measurements) -> Fields:
    usage, disks = found.usages[pod.uid], found.pod_disks.get(pod.uid)
    fields: Fields = {
        "podRef": {"name": meta.name(pod.pod), "namespace": meta.namespace(pod.pod), "uid": pod.uid},
        "startTime": meta.format_time(pod.sandbox.created_at),
        "containers": [_container(container, disks) for container in usage.containers],
        **_basic(usage.cpu, usage.cpu_nano_cores, usage.memory, usage.io_pressure),
    }
    if found.has_disks:
        fields["network"] = _network(usage.network)
        if usage.processes is not None:
            fields["process_stats"] = {"process_count": usage.processes}
    if disks is not None:
        fields["volume"] = [_volume(volume, meta.namespace(pod.pod)) for volume in disks.volumes] or None
        fields["ephemeral-storage"] = _file_system(disks.ephemeral)
    return _present(**fields)


def _container(usage: ContainerUsage, disks: PodDisks | None) -> Fields:
    fields: Fields = {
        "name": usage.name,
        "startTime": meta.format_time(usage.started_at) if usage.started_at else None,
        **_basic(usage.cpu, usage.cpu_nano_cores, usage.memory, usage.io_pressure),
    }
    if disks is not None:
        fields["rootfs"] = _file_system(disks.root_filesystems.get(usage.name))
        fields["logs"] = _file_system(disks.logs.get(usage.name))
    return {"startTime": None, **_present(**fields)}


def _basic(
    cpu: CPUUsage | None, nano_cores: int | None, memory: MemoryUsage | None, io: Pressure | None
) -> Fields:
    time = cpu.time if cpu is not None else memory.time if memory is not None else None
    return {
        "cpu": _cpu(cpu, nano_cores),
        "memory": _memory(memory),
        "io": {"time": meta.format_time(time), "psi": _pressure(io)} if io and time else None,
        "swap": _swap(memory),
    }


def _cpu(usage: CPUUsage | None, nano_cores: int | None) -> Fields | None:
    if usage is None:
        return None
    return _present(
        time=meta.format_time(usage.time),
        usageNanoCores=nano_cores,
        usageCoreNanoSeconds=usage.usage_nanoseconds,
        psi=_pressure(usage.pressure),
    )


def _memory(usage: MemoryUsage | None) -> Fields | None:
    if usage is None:
        return None
    return _present(
        time=meta.format_time(usage.time),
        availableBytes=usage.available_bytes,
        usageBytes=usage.usage_bytes,
        workingSetBytes=usage.working_set_bytes,
        rssBytes=usage.rss_bytes,
        pageFaults=usage.page_faults,
        majorPageFaults=usage.major_page_faults,
        psi=_pressure(usage.pressure),
    )


def _swap(usage: MemoryUsage | None) -> Fields | None:
    if usage is None or usage.swap_bytes is None:
        return None
    return _present(
        time=meta.format_time(usage.time),
        swapAvailableBytes=usage.swap_available_bytes,
        swapUsageBytes=usage.swap_bytes,
    )


def _pressure(pressure: Pressure | None) -> Fields | None:
    if pressure is None:
        return None
    return {"full": _line(pressure.full), "some": _line(pressure.some)}


def _line(line: PressureLine) -> Fields:
    return {
        "total": line.total_microseconds,
        "avg10": line.avg10,
        "avg60": line.avg60,
        "avg300": line.avg300,
    }


def _network(usage: NetworkUsage | None) -> Fields | None:
    """The default interface's counts once more beside all of them."""
    if usage is None:
        return None
    interfaces = [_interface(interface) for interface in usage.interfaces]
    default = next((found for found in interfaces if found["name"] == DEFAULT_INTERFACE), {"name": ""})
    return _present(time=meta.format_time(usage.time), **default, interfaces=interfaces or None)


def _interface(usage: InterfaceUsage) -> Fields:
    return {
        "name": usage.name,
        "rxBytes": usage.received_bytes,
        "rxErrors": usage.receive_errors,
        "txBytes": usage.sent_bytes,
        "txErrors": usage.send_errors,
    }


def _volume(volume: VolumeUsage, namespace: str) -> Fields:
    claim = {"name": volume.claim, "namespace": namespace} if volume.claim else None
    return _present(**filesystem(volume.usage), name=volume.name, pvcRef=claim)


def _file_system(usage: FilesystemUsage | None) -> Fields | None:
    return filesystem(usage) if usage is not None else None


def filesystem(usage: FilesystemUsage) -> Fields:
    return _present(
        time=meta.format_time(usage.time),
        availableBytes=usage.available_bytes,
        capacityBytes=usage.capacity_bytes,
        usedBytes=usage.used_bytes,
        inodesFree=usage.inodes_free,
        inodes=usage.inodes,
        inodesUsed=usage.inodes_used,
    )


def _present(**fields: Any) -> Fields:
    return {name: value for name, value in fields.items() if value is not None}
