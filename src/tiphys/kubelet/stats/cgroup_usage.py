"""What a control group has used, from its files: cgroup v1 (one directory a controller) and v2 (one directory)."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

from tiphys.kubelet.stats.kernel_files import fields, pressure, read, read_number
from tiphys.kubelet.stats.usage import CPUUsage, DeviceIO, GroupLimits, MemoryUsage, Pressure, Throttling

TOP = Path("/sys/fs/cgroup")
UNLIMITED_BYTES = 1 << 62
"""What version 1 says for "no limit" is more than that."""
_TICK_NANOSECONDS = 10**9 // os.sysconf("SC_CLK_TCK")
_MICROSECOND = 1000


class CgroupUsage:
    """`path` is a group's, from the root of the hierarchy: "/tiphys-default/node-1/kubepods/pod…". None: there is no such group."""

    def __init__(self, top: Path = TOP) -> None:
        self._top = str(top)
        self._is_unified = (top / "cgroup.controllers").exists()

    def _file(self, controller: str, path: str, name: str) -> str:
        directory = self._top if self._is_unified else f"{self._top}/{controller}"
        return f"{directory}/{path.strip('/')}/{name}"

    # CPU

    def cpu(self, path: str, now: datetime) -> CPUUsage | None:
        return self._cpu_v2(path, now) if self._is_unified else self._cpu_v1(path, now)

    def _cpu_v1(self, path: str, now: datetime) -> CPUUsage | None:
        usage = read_number(self._file("cpuacct", path, "cpuacct.usage"))
        if usage is None:
            return None
        shares = fields(read(self._file("cpuacct", path, "cpuacct.stat")))
        user, system = (shares.get(name, 0) * _TICK_NANOSECONDS for name in ("user", "system"))
        return CPUUsage(now, usage, user, system)

    def _cpu_v2(self, path: str, now: datetime) -> CPUUsage | None:
        stat = fields(read(self._file("", path, "cpu.stat")))
        if "usage_usec" not in stat:
            return None
        usage, user, system = (
            stat.get(f"{name}_usec", 0) * _MICROSECOND for name in ("usage", "user", "system")
        )
        return CPUUsage(now, usage, user, system, self._pressure(path, "cpu"))

    def throttling(self, path: str) -> Throttling | None:
        """None for a group without a quota."""
        stat = fields(read(self._file("cpu", path, "cpu.stat")))
        if not stat.get("nr_periods"):
            return None
        throttled = stat.get("throttled_time", stat.get("throttled_usec", 0) * _MICROSECOND)
        return Throttling(stat["nr_periods"], stat.get("nr_throttled", 0), throttled)

    # Memory

    def memory(self, path: str, now: datetime) -> MemoryUsage | None:
        return self._memory_v2(path, now) if self._is_unified else self._memory_v1(path, now)

    def _memory_v1(self, path: str, now: datetime) -> MemoryUsage | None:
        usage = read_number(self._file("memory", path, "memory.usage_in_bytes"))
        if usage is None:
            return None
        stat = fields(read(self._file("memory", path, "memory.stat")))
        limit = _limit(read_number(self._file("memory", path, "memory.limit_in_bytes")))
        both = _limit(read_number(self._file("memory", path, "memory.memsw.limit_in_bytes")))
        return MemoryUsage(
            now,
            usage,
            working_set_bytes=max(usage - stat.get("total_inactive_file", 0), 0),
            rss_bytes=stat.get("total_rss", 0),
            cache_bytes=stat.get("total_cache", 0),
            mapped_file_bytes=stat.get("total_mapped_file", 0),
            page_faults=stat.get("total_pgfault", 0),
            major_page_faults=stat.get("total_pgmajfault", 0),
            limit_bytes=limit,
            swap_bytes=stat.get("total_swap", 0),
            swap_limit_bytes=None if limit is None or both is None else max(both - limit, 0),
        )

    def _memory_v2(self, path: str, now: datetime) -> MemoryUsage | None:
        usage = read_number(self._file("", path, "memory.current"))
        if usage is None:
            return None
        stat = fields(read(self._file("", path, "memory.stat")))
        return MemoryUsage(
            now,
            usage,
            working_set_bytes=max(usage - stat.get("inactive_file", 0), 0),
            rss_bytes=stat.get("anon", 0),
            cache_bytes=stat.get("file", 0),
            mapped_file_bytes=stat.get("file_mapped", 0),
            page_faults=stat.get("pgfault", 0),
            major_page_faults=stat.get("pgmajfault", 0),
            limit_bytes=read_number(self._file("", path, "memory.max")),
            swap_bytes=read_number(self._file("", path, "memory.swap.current")) or 0,
            swap_limit_bytes=read_number(self._file("", path, "memory.swap.max")),
            pressure=self._pressure(path, "memory"),
        )

    def memory_peak_bytes(self, path: str) -> int | None:
        return read_number(
            self._file("memory", path, "memory.peak" if self._is_unified else "memory.max_usage_in_bytes")
        )

    def memory_failures(self, path: str) -> int:
        """How often its limit was in the way."""
        if self._is_unified:
            return fields(read(self._file("", path, "memory.events"))).get("max", 0)
        return read_number(self._file("memory", path, "memory.failcnt")) or 0

    def out_of_memory_kills(self, path: str) -> int:
        name = "memory.events" if self._is_unified else "memory.oom_control"
        return fields(read(self._file("memory", path, name))).get("oom_kill", 0)

    def limits(self, path: str) -> GroupLimits:
        if self._is_unified:
            quota, _, period = (read(self._file("", path, "cpu.max")) or "").strip().partition(" ")
            weight = read_number(self._file("", path, "cpu.weight"))
            return GroupLimits(
                None if weight is None else shares(weight),
                int(period) if period.isdecimal() else None,
                int(quota) if quota.isdecimal() else None,
                read_number(self._file("", path, "memory.max")),
            )
        return GroupLimits(
            read_number(self._file("cpu", path, "cpu.shares")),
            read_number(self._file("cpu", path, "cpu.cfs_period_us")),
            read_number(self._file("cpu", path, "cpu.cfs_quota_us")),
            _limit(read_number(self._file("memory", path, "memory.limit_in_bytes"))),
        )

    # Processes, disks, stalls

    def processes(self, path: str) -> list[int]:
        """Their ids, as this process sees them; those of groups below are not among them."""
        return [int(line) for line in (read(self._file("memory", path, "cgroup.procs")) or "").split()]

    def process_count(self, path: str) -> int:
        """With the groups below."""
        directory = os.path.dirname(self._file("memory", path, "cgroup.procs"))
        found = 0
        for place, _, _ in os.walk(directory):
            found += (read(f"{place}/cgroup.procs") or "").count("\n")
        return found

    def threads(self, path: str) -> int:
        return read_number(self._file("pids", path, "pids.current")) or 0

    def io(self, path: str) -> DeviceIO:
        return self._io_v2(path) if self._is_unified else self._io_v1(path)

    def _io_v1(self, path: str) -> DeviceIO:
        amounts = _by_device(read(self._file("blkio", path, "blkio.throttle.io_service_bytes_recursive")))
        counts = _by_device(read(self._file("blkio", path, "blkio.throttle.io_serviced_recursive")))
        return DeviceIO(amounts["Read"], amounts["Write"], counts["Read"], counts["Write"])

    def _io_v2(self, path: str) -> DeviceIO:
        found: dict[str, dict[str, int]] = {"rbytes": {}, "wbytes": {}, "rios": {}, "wios": {}}
        for line in (read(self._file("", path, "io.stat")) or "").splitlines():
            device, *pairs = line.split()
            for name, _, value in (pair.partition("=") for pair in pairs):
                if name in found:
                    found[name][device] = int(value)
        return DeviceIO(found["rbytes"], found["wbytes"], found["rios"], found["wios"])

    def io_pressure(self, path: str) -> Pressure | None:
        return self._pressure(path, "io") if self._is_unified else None

    def _pressure(self, path: str, resource: str) -> Pressure | None:
        return pressure(read(self._file("", path, f"{resource}.pressure")))


def shares(weight: int) -> int:
    """cgroup v1's cpu.shares for v2's cpu.weight."""
    return 2 + (max(weight, 1) - 1) * 262_142 // 9999


def _limit(value: int | None) -> int | None:
    return None if value is None or value > UNLIMITED_BYTES else value


def _by_device(text: str | None) -> dict[str, dict[str, int]]:
    """Lines such as "8:0 Read 4096"."""
    found: dict[str, dict[str, int]] = {"Read": {}, "Write": {}}
    for line in (text or "").splitlines():
        words = line.split()
        if len(words) == 3 and words[1] in found:
            found[words[1]][words[0]] = int(words[2])
    return found
