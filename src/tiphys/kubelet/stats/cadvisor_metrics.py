"""/metrics/cadvisor: what every control group of the node uses, under cAdvisor's names and labels, which dashboards are made of.

Left out, as they need a look at every process or device of the machine: sockets, file descriptors, states of tasks, load averages,
and what of a disk's own counters is not a container's.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from datetime import datetime

from tiphys.kubelet.machine import Machine
from tiphys.kubelet.stats.exposition import COUNTER, GAUGE, Exposition, Labels
from tiphys.kubelet.stats.usage import (
    CPUUsage,
    DeviceIO,
    FilesystemUsage,
    GroupUsage,
    InterfaceUsage,
    MemoryUsage,
    Pressure,
    PressureLine,
)

_FAMILIES = (
    ("container_blkio_device_usage_total", COUNTER, "Blkio Device bytes usage"),
    ("container_cpu_cfs_periods_total", COUNTER, "Number of elapsed enforcement period intervals."),
    ("container_cpu_cfs_throttled_periods_total", COUNTER, "Number of throttled period intervals."),
    ("container_cpu_cfs_throttled_seconds_total", COUNTER, "Total time duration the container has been throttled."),
    ("container_cpu_system_seconds_total", COUNTER, "Cumulative system cpu time consumed in seconds."),
    ("container_cpu_usage_seconds_total", COUNTER, "Cumulative cpu time consumed in seconds."),
    ("container_cpu_user_seconds_total", COUNTER, "Cumulative user cpu time consumed in seconds."),
    ("container_fs_inodes_free", GAUGE, "Number of available Inodes"),
    ("container_fs_inodes_total", GAUGE, "Number of Inodes"),
    ("container_fs_limit_bytes", GAUGE, "Number of bytes that can be consumed by the container on this filesystem."),
    ("container_fs_reads_bytes_total", COUNTER, "Cumulative count of bytes read"),
    ("container_fs_reads_total", COUNTER, "Cumulative count of reads completed"),
    ("container_fs_usage_bytes", GAUGE, "Number of bytes that are consumed by the container on this filesystem."),
    ("container_fs_writes_bytes_total", COUNTER, "Cumulative count of bytes written"),
    ("container_fs_writes_total", COUNTER, "Cumulative count of writes completed"),
    ("container_last_seen", GAUGE, "Last time a container was seen by the exporter"),
    ("container_memory_cache", GAUGE, "Number of bytes of page cache memory."),
    ("container_memory_failcnt", COUNTER, "Number of memory usage hits limits"),
    ("container_memory_failures_total", COUNTER, "Cumulative count of memory allocation failures."),
    ("container_memory_mapped_file", GAUGE, "Size of memory mapped files in bytes."),
    ("container_memory_max_usage_bytes", GAUGE, "Maximum memory usage recorded in bytes"),
    ("container_memory_rss", GAUGE, "Size of RSS in bytes."),
    ("container_memory_swap", GAUGE, "Container swap usage in bytes."),
    ("container_memory_usage_bytes", GAUGE, "Current memory usage in bytes, including all memory regardless of when it was accessed"),
    ("container_memory_working_set_bytes", GAUGE, "Current working set in bytes."),
    ("container_network_receive_bytes_total", COUNTER, "Cumulative count of bytes received"),
    ("container_network_receive_errors_total", COUNTER, "Cumulative count of errors encountered while receiving"),
    ("container_network_receive_packets_dropped_total", COUNTER, "Cumulative count of packets dropped while receiving"),
    ("container_network_receive_packets_total", COUNTER, "Cumulative count of packets received"),
    ("container_network_transmit_bytes_total", COUNTER, "Cumulative count of bytes transmitted"),
    ("container_network_transmit_errors_total", COUNTER, "Cumulative count of errors encountered while transmitting"),
    ("container_network_transmit_packets_dropped_total", COUNTER, "Cumulative count of packets dropped while transmitting"),
    ("container_network_transmit_packets_total", COUNTER, "Cumulative count of packets transmitted"),
    ("container_oom_events_total", COUNTER, "Count of out of memory events observed for the container"),
    ("container_pressure_cpu_stalled_seconds_total", COUNTER, "Total time duration no tasks in the container could make progress due to CPU congestion."),
    ("container_pressure_cpu_waiting_seconds_total", COUNTER, "Total time duration tasks in the container have waited due to CPU congestion."),
    ("container_pressure_io_stalled_seconds_total", COUNTER, "Total time duration no tasks in the container could make progress due to IO congestion."),
    ("container_pressure_io_waiting_seconds_total", COUNTER, "Total time duration tasks in the container have waited due to IO congestion."),
    ("container_pressure_memory_stalled_seconds_total", COUNTER, "Total time duration no tasks in the container could make progress due to memory congestion."),
    ("container_pressure_memory_waiting_seconds_total", COUNTER, "Total time duration tasks in the container have waited due to memory congestion."),
    ("container_processes", GAUGE, "Number of processes running inside the container."),
    ("container_scrape_error", GAUGE, "1 if there was an error while getting container metrics, 0 otherwise"),
    ("container_spec_cpu_period", GAUGE, "CPU period of the container."),
    ("container_spec_cpu_quota", GAUGE, "CPU quota of the container."),
    ("container_spec_cpu_shares", GAUGE, "CPU share of the container."),
    ("container_spec_memory_limit_bytes", GAUGE, "Memory limit for the container."),
    ("container_spec_memory_reservation_limit_bytes", GAUGE, "Memory reservation limit for the container."),
    ("container_spec_memory_swap_limit_bytes", GAUGE, "Memory swap limit for the container."),
    ("container_start_time_seconds", GAUGE, "Start time of the container since unix epoch in seconds."),
    ("container_threads", GAUGE, "Number of threads running inside the container"),
    ("machine_cpu_cores", GAUGE, "Number of logical CPU cores."),
    ("machine_memory_bytes", GAUGE, "Amount of memory installed on the machine."),
    ("machine_scrape_error", GAUGE, "1 if there was an error while getting machine metrics, 0 otherwise."),
    ("machine_swap_bytes", GAUGE, "Amount of swap memory available on the machine."),
    ("cadvisor_version_info", GAUGE, "A metric with a constant '1' value labeled by kernel version, OS version, docker version, cadvisor version & cadvisor revision."),
)  # fmt: skip

_Sample = tuple[str, Labels, float]


def cadvisor_metrics(
    machine: Machine, groups: Iterable[GroupUsage], disk: FilesystemUsage, now: datetime
) -> bytes:
    text = Exposition()
    for family in _FAMILIES:
        text.declare(*family)
    _machine(text, machine)
    for group in groups:
        if group.cpu is None and group.memory is None:
            continue
        whose = {
            "container": group.container,
            "id": group.path,
            "image": group.image,
            "name": group.id,
            "namespace": group.namespace,
            "pod": group.pod,
        }
        for name, labels, value in _samples(group, now):
            text.add(name, {**whose, **labels}, value, now)
        if group.path == "/":
            for name, value in _disk(disk):
                text.add(name, {**whose, "device": "/"}, value, now)
    text.add("container_scrape_error", {}, 0)
    return text.render()


def _machine(text: Exposition, machine: Machine) -> None:
    ids = {"boot_id": machine.boot_id, "machine_id": machine.machine_id, "system_uuid": machine.system_uuid}
    text.add("machine_cpu_cores", ids, machine.cpus)
    text.add("machine_memory_bytes", ids, machine.memory_bytes)
    text.add("machine_scrape_error", {}, 0)
    about = {"cadvisorRevision": "", "cadvisorVersion": "", "dockerVersion": ""}
    about |= {"kernelVersion": machine.kernel_version, "osVersion": machine.os_image}
    text.add("cadvisor_version_info", about, 1)


def _samples(group: GroupUsage, now: datetime) -> Iterator[_Sample]:
    yield "container_last_seen", {}, int(now.timestamp())
    if group.started_at is not None:
        yield "container_start_time_seconds", {}, int(group.started_at.timestamp())
    if group.cpu is not None:
        yield from _cpu(group.cpu)
    if group.throttling is not None:
        found = group.throttling
        yield "container_cpu_cfs_periods_total", {}, found.periods
        yield "container_cpu_cfs_throttled_periods_total", {}, found.throttled_periods
        yield "container_cpu_cfs_throttled_seconds_total", {}, found.throttled_nanoseconds / 1e9
    if group.memory is not None:
        yield from _memory(group, group.memory)
    if group.network is not None:
        for interface in group.network.interfaces:
            yield from _network(interface)
    yield from _devices(group.io)
    yield from _stalls("io", group.io_pressure)
    yield "container_oom_events_total", {}, group.out_of_memory_kills
    yield "container_processes", {}, group.processes
    yield "container_threads", {}, group.threads
    yield from _limits(group)


def _cpu(usage: CPUUsage) -> Iterator[_Sample]:
    yield "container_cpu_usage_seconds_total", {"cpu": "total"}, usage.usage_nanoseconds / 1e9
    yield "container_cpu_user_seconds_total", {}, usage.user_nanoseconds / 1e9
    yield "container_cpu_system_seconds_total", {}, usage.system_nanoseconds / 1e9
    yield from _stalls("cpu", usage.pressure)


def _memory(group: GroupUsage, usage: MemoryUsage) -> Iterator[_Sample]:
    yield "container_memory_usage_bytes", {}, usage.usage_bytes
    yield "container_memory_working_set_bytes", {}, usage.working_set_bytes
    yield "container_memory_rss", {}, usage.rss_bytes
    yield "container_memory_cache", {}, usage.cache_bytes
    yield "container_memory_mapped_file", {}, usage.mapped_file_bytes
    yield "container_memory_swap", {}, usage.swap_bytes or 0
    yield "container_memory_failcnt", {}, group.memory_failures
    yield "container_memory_max_usage_bytes", {}, group.memory_peak_bytes or 0
    for scope in ("container", "hierarchy"):
        for kind, count in (("pgfault", usage.page_faults), ("pgmajfault", usage.major_page_faults)):
            yield "container_memory_failures_total", {"failure_type": kind, "scope": scope}, count
    yield from _stalls("memory", usage.pressure)


def _network(usage: InterfaceUsage) -> Iterator[_Sample]:
    labels = {"interface": usage.name}
    for name, value in (
        ("receive_bytes", usage.received_bytes),
        ("receive_errors", usage.receive_errors),
        ("receive_packets", usage.received_packets),
        ("receive_packets_dropped", usage.receive_drops),
        ("transmit_bytes", usage.sent_bytes),
        ("transmit_errors", usage.send_errors),
        ("transmit_packets", usage.sent_packets),
        ("transmit_packets_dropped", usage.send_drops),
    ):
        yield f"container_network_{name}_total", labels, value


def _devices(io: DeviceIO) -> Iterator[_Sample]:
    for name, counts in (
        ("reads_bytes", io.read_bytes),
        ("writes_bytes", io.written_bytes),
        ("reads", io.reads),
        ("writes", io.writes),
    ):
        for device, value in counts.items():
            yield f"container_fs_{name}_total", {"device": device_name(device)}, value
    for operation, counts in (("Read", io.read_bytes), ("Write", io.written_bytes)):
        for device, value in counts.items():
            major, _, minor = device.partition(":")
            labels = {"device": device_name(device), "major": major, "minor": minor, "operation": operation}
            yield "container_blkio_device_usage_total", labels, value


def device_name(numbers: str) -> str:
    """ "/dev/sda" of "8:0", as the kernel tells; the numbers where it does not."""
    try:
        return f"/dev/{os.path.basename(os.readlink(f'/sys/dev/block/{numbers}'))}"
    except OSError:
        return numbers


def _stalls(resource: str, pressure: Pressure | None) -> Iterator[_Sample]:
    def seconds(line: PressureLine) -> float:
        return line.total_microseconds / 1e6

    if pressure is not None:
        yield f"container_pressure_{resource}_waiting_seconds_total", {}, seconds(pressure.some)
        yield f"container_pressure_{resource}_stalled_seconds_total", {}, seconds(pressure.full)


def _limits(group: GroupUsage) -> Iterator[_Sample]:
    limits = group.limits
    if limits.cpu_period_microseconds is not None:
        yield "container_spec_cpu_period", {}, limits.cpu_period_microseconds
    if limits.cpu_quota_microseconds is not None:
        yield "container_spec_cpu_quota", {}, limits.cpu_quota_microseconds
    if limits.cpu_shares is not None:
        yield "container_spec_cpu_shares", {}, limits.cpu_shares
    yield "container_spec_memory_limit_bytes", {}, limits.memory_bytes or 0
    yield "container_spec_memory_reservation_limit_bytes", {}, 0
    yield "container_spec_memory_swap_limit_bytes", {}, 0


def _disk(disk: FilesystemUsage) -> Iterator[tuple[str, float]]:
    yield "container_fs_usage_bytes", disk.used_bytes or 0
    yield "container_fs_limit_bytes", disk.capacity_bytes
    yield "container_fs_inodes_total", disk.inodes
    yield "container_fs_inodes_free", disk.inodes_free
