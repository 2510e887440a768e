"""Reads from the kernel and the distribution's files what a node has."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from tiphys.kubelet.node import Machine


def read_machine(directory: Path) -> Machine:
    """`directory` lies on the disk that pods use."""
    disk = os.statvfs(directory)
    return Machine(
        cpus=os.cpu_count() or 1,
        memory_bytes=_memory_bytes(),
        disk_bytes=disk.f_blocks * disk.f_frsize,
        kernel_version=platform.release(),
        os_image=_os_image(),
        architecture=platform.machine(),
        machine_id=_read("/etc/machine-id"),
        system_uuid=_read("/sys/class/dmi/id/product_uuid") or _read("/etc/machine-id"),
        boot_id=_read("/proc/sys/kernel/random/boot_id"),
    )


def simulated_machine() -> Machine:
    """What a node has that does not exist."""
    return Machine(
        cpus=32,
        memory_bytes=256 << 30,
        disk_bytes=1 << 40,
        kernel_version=platform.release(),
        os_image="Tiphys simulated node",
        architecture=platform.machine(),
    )


def _memory_bytes() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    return 0


def _os_image() -> str:
    for line in _read("/etc/os-release").splitlines():
        name, _, value = line.partition("=")
        if name == "PRETTY_NAME":
            return value.strip('"')
    return "Linux"


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""
