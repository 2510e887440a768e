"""What is measured: amounts at a moment. Cumulative ones grow from a beginning that the kernel chose; None is what it does not tell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime

from tiphys.machinery.frozen import frozen


@frozen
class PressureLine:
    """Stalls: percentages of the last 10, 60 and 300 seconds, and all of them together."""

    avg10: float = 0.0
    avg60: float = 0.0
    avg300: float = 0.0
    total_microseconds: int = 0


@frozen
class Pressure:
    """PSI of one resource: some or all tasks were stalled."""

    some: PressureLine = PressureLine()
    full: PressureLine = PressureLine()


@frozen
class CPUUsage:
    time: datetime
    usage_nanoseconds: int
    """Cumulative, over all cores."""
    user_nanoseconds: int = 0
    system_nanoseconds: int = 0
    pressure: Pressure | None = None


@frozen
class MemoryUsage:
    time: datetime
    usage_bytes: int
    working_set_bytes: int
    """Usage without what the kernel can drop at once (inactive files): what evictions go by."""
    rss_bytes: int
    cache_bytes: int = 0
    mapped_file_bytes: int = 0
    page_faults: int = 0
    major_page_faults: int = 0
    limit_bytes: int | None = None
    """None: none but the node's."""
    swap_bytes: int | None = None
    swap_limit_bytes: int | None = None
    pressure: Pressure | None = None

    @property
    def available_bytes(self) -> int | None:
        return None if self.limit_bytes is None else max(self.limit_bytes - self.working_set_bytes, 0)

    @property
    def swap_available_bytes(self) -> int | None:
        if self.swap_limit_bytes is None:
            return None
        return max(self.swap_limit_bytes - (self.swap_bytes or 0), 0)


@frozen
class Throttling:
    """Of a group with a CPU quota: cumulative periods."""

    periods: int
    throttled_periods: int
    throttled_nanoseconds: int


@frozen
class DeviceIO:
    """Cumulative, by device ("8:0")."""

    read_bytes: Mapping[str, int] = field(default_factory=dict)
    written_bytes: Mapping[str, int] = field(default_factory=dict)
    reads: Mapping[str, int] = field(default_factory=dict)
    writes: Mapping[str, int] = field(default_factory=dict)


@frozen
class InterfaceUsage:
    """Cumulative."""

    name: str
    received_bytes: int
    received_packets: int
    receive_errors: int
    receive_drops: int
    sent_bytes: int
    sent_packets: int
    send_errors: int
    send_drops: int


@frozen
class NetworkUsage:
    time: datetime
    interfaces: tuple[InterfaceUsage, ...]


@frozen
class FilesystemUsage:
    """`used_*` is what the thing in question uses there; the rest is the whole filesystem's."""

    time: datetime
    capacity_bytes: int
    available_bytes: int
    inodes: int
    inodes_free: int
    used_bytes: int | None = None
    inodes_used: int | None = None


@frozen
class ContainerUsage:
    """None where the container has no group (any more). `cpu_nano_cores`: over the time since it was last asked for."""

    name: str
    id: str
    started_at: datetime | None
    cpu: CPUUsage | None = None
    cpu_nano_cores: int | None = None
    memory: MemoryUsage | None = None
    io_pressure: Pressure | None = None


@frozen
class PodUsage:
    """Of its whole group: all containers and what it costs to have a pod."""

    containers: tuple[ContainerUsage, ...] = ()
    cpu: CPUUsage | None = None
    cpu_nano_cores: int | None = None
    memory: MemoryUsage | None = None
    network: NetworkUsage | None = None
    processes: int | None = None
    io_pressure: Pressure | None = None


@frozen
class GroupLimits:
    """What a control group may use; None: as much as there is."""

    cpu_shares: int | None = None
    cpu_period_microseconds: int | None = None
    cpu_quota_microseconds: int | None = None
    memory_bytes: int | None = None


@frozen
class GroupUsage:
    """One control group in full, as cAdvisor sees it. Whose it is: a container's, a sandbox's (no container name), a pod's (no id)."""

    path: str
    container: str = ""
    id: str = ""
    image: str = ""
    pod: str = ""
    namespace: str = ""
    started_at: datetime | None = None
    cpu: CPUUsage | None = None
    memory: MemoryUsage | None = None
    throttling: Throttling | None = None
    io: DeviceIO = DeviceIO()
    io_pressure: Pressure | None = None
    network: NetworkUsage | None = None
    memory_peak_bytes: int | None = None
    memory_failures: int = 0
    out_of_memory_kills: int = 0
    processes: int = 0
    threads: int = 0
    limits: GroupLimits = GroupLimits()


@frozen
class NodeUsage:
    started_at: datetime
    cpu: CPUUsage
    memory: MemoryUsage
    cpu_nano_cores: int | None = None
    network: NetworkUsage | None = None
    processes: int = 0
    process_limit: int = 0
    io_pressure: Pressure | None = None
    pods: PodUsage = PodUsage()
    """Of the group that all pods are in."""
    kubelet: ContainerUsage | None = None


@frozen
class NodeDisks:
    """The filesystems of a node's own files, of its images, and of its containers' writable layers; they may be one."""

    node: FilesystemUsage
    images: FilesystemUsage | None = None
    containers: FilesystemUsage | None = None


@frozen
class VolumeUsage:
    name: str
    kind: str
    """The field of the volume: "emptyDir"."""
    usage: FilesystemUsage
    is_ephemeral: bool
    """Counts as the pod's own use of the node's disk."""
    claim: str = ""


@frozen
class PodDisks:
    """What a pod has on its node's disks; containers by name."""

    root_filesystems: Mapping[str, FilesystemUsage] = field(default_factory=dict)
    logs: Mapping[str, FilesystemUsage] = field(default_factory=dict)
    volumes: tuple[VolumeUsage, ...] = ()
    ephemeral: FilesystemUsage | None = None
    """Writable layers, logs and ephemeral volumes together: what ephemeral-storage limits are about."""
