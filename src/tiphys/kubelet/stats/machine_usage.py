"""What the whole machine uses, from /proc: the node's own amounts, which allocatable and evictions are about."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

from tiphys.kubelet.stats.kernel_files import fields, interfaces, pressure, read, read_number
from tiphys.kubelet.stats.usage import ContainerUsage, CPUUsage, MemoryUsage, NetworkUsage, Pressure

PROC = Path("/proc")
_TICK_NANOSECONDS = 10**9 // os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_BUSY = (0, 1, 2, 5, 6, 7)
"""Of /proc/stat: user, nice, system, irq, softirq, steal; not idle and iowait, and guests are in user already."""
_USER = (0, 1)


class MachineUsage:
    """`proc`: /proc of the node; another place in tests."""

    def __init__(self, proc: Path = PROC) -> None:
        self._proc = str(proc)

    def started_at(self) -> datetime:
        """When the machine was booted."""
        return datetime.fromtimestamp(fields(read(f"{self._proc}/stat")).get("btime", 0), UTC)

    def cpu(self, now: datetime) -> CPUUsage:
        words = (read(f"{self._proc}/stat") or "").partition("\n")[0].split()[1:]
        ticks = [int(word) for word in words] + [0] * 8
        busy, user = (sum(ticks[at] for at in places) * _TICK_NANOSECONDS for places in (_BUSY, _USER))
        return CPUUsage(now, busy, user, busy - user, self._pressure("cpu"))

    def memory(self, now: datetime) -> MemoryUsage:
        kilobytes = fields(read(f"{self._proc}/meminfo"))
        amounts = {name: value * 1024 for name, value in kilobytes.items()}
        faults = fields(read(f"{self._proc}/vmstat"))
        total = amounts.get("MemTotal", 0)
        usage = total - amounts.get("MemFree", 0)
        return MemoryUsage(
            now,
            usage,
            working_set_bytes=max(usage - amounts.get("Inactive(file)", 0), 0),
            rss_bytes=amounts.get("AnonPages", 0),
            cache_bytes=amounts.get("Cached", 0),
            mapped_file_bytes=amounts.get("Mapped", 0),
            page_faults=faults.get("pgfault", 0),
            major_page_faults=faults.get("pgmajfault", 0),
            limit_bytes=total,
            swap_bytes=amounts.get("SwapTotal", 0) - amounts.get("SwapFree", 0),
            swap_limit_bytes=amounts.get("SwapTotal", 0),
            pressure=self._pressure("memory"),
        )

    def network(self, now: datetime, pid: int | None = None) -> NetworkUsage | None:
        """Of the network namespace that a process is in; None: that of this process."""
        text = read(f"{self._proc}/{'self' if pid is None else pid}/net/dev")
        return NetworkUsage(now, interfaces(text)) if text is not None else None

    def processes(self) -> tuple[int, int]:
        """(tasks that there are, the most that there may be)."""
        # "0.52 0.58 0.59 3/1234 5678": running and existing tasks.
        words = (read(f"{self._proc}/loadavg") or "").split()
        existing = int(words[3].partition("/")[2]) if len(words) > 3 else 0
        limits = [read_number(f"{self._proc}/sys/kernel/{name}") for name in ("pid_max", "threads-max")]
        return existing, min((limit for limit in limits if limit is not None), default=0)

    def process(self, name: str, pid: int, now: datetime) -> ContainerUsage | None:
        """One process of the node's own."""
        text = read(f"{self._proc}/{pid}/stat")
        if text is None:
            return None
        # The second word, in parentheses, may contain anything.
        words = text.rpartition(")")[2].split()
        user, system, began = (int(words[at]) for at in (11, 12, 19))
        rss = int(words[21]) * _PAGE_BYTES
        started_at = datetime.fromtimestamp(
            self.started_at().timestamp() + began / os.sysconf("SC_CLK_TCK"), UTC
        )
        user, system = user * _TICK_NANOSECONDS, system * _TICK_NANOSECONDS
        cpu = CPUUsage(now, user + system, user, system)
        memory = MemoryUsage(now, rss, rss, rss, page_faults=int(words[7]), major_page_faults=int(words[9]))
        return ContainerUsage(name, str(pid), started_at, cpu=cpu, memory=memory)

    def io_pressure(self) -> Pressure | None:
        return self._pressure("io")

    def _pressure(self, resource: str) -> Pressure | None:
        return pressure(read(f"{self._proc}/pressure/{resource}"))
