"""Reads from the kernel and the distribution's files what a node has."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path

from tiphys.machinery.frozen import frozen
from tiphys.machinery.quantity import BINARY_SI, from_value

HUGE_PAGES = Path("/sys/kernel/mm/hugepages")
_SYSTEM_PATH = "/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin"


@frozen
class Machine:
    """What a node has, as its own kernel tells it."""

    cpus: int
    memory_bytes: int
    disk_bytes: int
    kernel_version: str
    os_image: str
    architecture: str
    """As uname spells it: "x86_64"."""
    machine_id: str = ""
    system_uuid: str = ""
    boot_id: str = ""
    huge_page_bytes: Mapping[str, int] = field(default_factory=dict)
    """All pages of a size together, by its name ("2Mi")."""
    process_limit: int = 0
    """How many tasks there may be at once."""
    has_apparmor: bool = False
    thermal_paths: tuple[str, ...] = ()
    """What tells how hot each CPU gets, which no container may read: its neighbours' work would show in it."""


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
        huge_page_bytes=huge_pages(),
        process_limit=_process_limit(),
        has_apparmor=has_apparmor(),
        thermal_paths=thermal_paths(),
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
        huge_page_bytes={"1Gi": 0, "2Mi": 0},
    )


def huge_pages(directory: Path = HUGE_PAGES) -> dict[str, int]:
    """Sizes that the kernel knows, and how many bytes of each are set aside."""
    found = {}
    for size in sorted(directory.glob("hugepages-*kB")):
        kibibytes = int(size.name.removeprefix("hugepages-").removesuffix("kB"))
        pages = int(_read(str(size / "nr_hugepages")) or 0)
        found[str(from_value(kibibytes << 10, BINARY_SI))] = pages * (kibibytes << 10)
    return found


def thermal_paths(directory: Path = Path("/sys/devices/system/cpu")) -> tuple[str, ...]:
    return tuple(sorted(map(str, directory.glob("cpu[0-9]*/thermal_throttle"))))


def has_apparmor() -> bool:
    """Whether the kernel enforces profiles, and there is what containerd loads its default one with."""
    return (
        _read("/sys/module/apparmor/parameters/enabled") == "Y"
        and os.path.exists("/sys/kernel/security/apparmor")
        and bool(shutil.which("apparmor_parser", path=_SYSTEM_PATH))
    )


def _process_limit() -> int:
    limits = (_read(f"/proc/sys/kernel/{name}") for name in ("pid_max", "threads-max"))
    return min((int(limit) for limit in limits if limit), default=0)


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
