"""What the kernel knows of this process, read when somebody scrapes: process_*."""

from __future__ import annotations

import os
import resource
from pathlib import Path

from tiphys.machinery.metrics import INTERNAL, Registry

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class ProcessMetrics:
    """`proc`: the process's folder in /proc."""

    def __init__(self, registry: Registry, proc: Path) -> None:
        self._proc = proc
        gauge = registry.gauge
        self._cpu = registry.counter(
            "process_cpu_seconds_total", "User and system CPU time in seconds.", stability=INTERNAL
        )
        self._resident = gauge(
            "process_resident_memory_bytes", "Memory that is in RAM, in bytes.", stability=INTERNAL
        )
        self._virtual = gauge("process_virtual_memory_bytes", "Address space in bytes.", stability=INTERNAL)
        self._open = gauge("process_open_fds", "Open file descriptors.", stability=INTERNAL)
        self._most = gauge("process_max_fds", "Most file descriptors that may be open.", stability=INTERNAL)
        self._started = gauge(
            "process_start_time_seconds", "Start of the process in seconds since 1970.", stability=INTERNAL
        )
        registry.before_scrape(self.collect)

    def collect(self) -> None:
        # The name, in parentheses, may hold anything: count from behind it.
        fields = (self._proc / "stat").read_text().rpartition(")")[2].split()
        user, system, started, size, pages = (int(fields[at]) for at in (11, 12, 19, 20, 21))
        self._cpu.labels().value = (user + system) / _TICKS
        self._virtual.set(size)
        self._resident.set(pages * _PAGE_BYTES)
        self._open.set(len(os.listdir(self._proc / "fd")))
        self._most.set(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        self._started.set(self._booted() + started / _TICKS)

    def _booted(self) -> int:
        text = (self._proc.parent / "stat").read_text()
        return int(text.partition("btime ")[2].split()[0])
