"""containerd's and CNI's configuration for one node, as text. Pure, but for probe(), which looks at the machine.

Paths are the node's own (its mount namespace): /run is private to it, so that every node may use the same ones.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tiphys.kubelet.machine import has_apparmor
from tiphys.machinery.frozen import frozen

CAP_SYS_RESOURCE = 24
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
STATE_DIRECTORY = "/run/containerd"
SOCKET = f"{STATE_DIRECTORY}/containerd.sock"
CNI_PLUGIN_DIRECTORIES = ("/usr/lib/cni", "/opt/cni/bin")
OCI_RUNTIMES = ("crun", "runc")
"""By preference. A RuntimeClass may name, as its handler, each that is installed."""
CNI_PLUGINS = ("bridge", "host-local", "loopback", "portmap")
POD_BRIDGE = "cni0"
UNUSED_PLUGINS = [
    "io.containerd.internal.v1.opt",
    "io.containerd.internal.v1.tracing",
    "io.containerd.snapshotter.v1.aufs",
    "io.containerd.snapshotter.v1.btrfs",
    "io.containerd.snapshotter.v1.devmapper",
    "io.containerd.snapshotter.v1.zfs",
    "io.containerd.tracing.processor.v1.otlp",
]
CRI = "io.containerd.grpc.v1.cri"


class MissingPrograms(Exception):
    """What a node needs is not installed; `names` says what."""

    def __init__(self, names: list[str]) -> None:
        super().__init__(f"not installed: {', '.join(names)}")
        self.names = names


@frozen
class Machine:
    """What this machine has and may do."""

    runtime: str
    """Path of crun or, where that is not installed, runc."""
    cni_plugins: str
    may_lower_oom_scores: bool
    """Without CAP_SYS_RESOURCE nothing may get an oom_score_adj below our own, and every sandbox would fail trying."""
    has_apparmor: bool
    """Without, containerd would fail every container that it cannot confine."""
    other_runtimes: tuple[str, ...] = ()
    """Paths of further ones, for RuntimeClasses that name them."""


def probe() -> Machine:
    """Raises MissingPrograms."""
    runtimes = [path for name in OCI_RUNTIMES if (path := shutil.which(name, path=PATH))]
    plugins = next((path for path in CNI_PLUGIN_DIRECTORIES if Path(path, "bridge").exists()), "")
    missing = [
        name for name in ("containerd", "ip", "nsenter", "unshare") if not shutil.which(name, path=PATH)
    ]
    if not runtimes:
        missing.append("crun")
    missing += [f"CNI plugin {name}" for name in CNI_PLUGINS if not Path(plugins, name).exists()]
    if missing:
        raise MissingPrograms(missing)
    return Machine(
        runtime=runtimes[0],
        cni_plugins=plugins,
        may_lower_oom_scores=has_capability(Path("/proc/self/status").read_text(), CAP_SYS_RESOURCE),
        has_apparmor=has_apparmor(),
        other_runtimes=tuple(runtimes[1:]),
    )


def has_capability(status: str, number: int) -> bool:
    """Whether a /proc/<pid>/status shows the capability as effective."""
    effective = next(line for line in status.splitlines() if line.startswith("CapEff:"))
    return bool(int(effective.split()[1], 16) >> number & 1)


@frozen
class Settings:
    """One node's containerd."""

    directory: Path
    """On the node's disk: images, layers, and these files."""
    sandbox_image: str
    pod_cidr: str
    mirror: str = ""
    """URL of the registry that is asked first for every image: "http://127.0.0.83:5000"."""

    @property
    def config_path(self) -> Path:
        return self.directory / "config.toml"

    @property
    def log_path(self) -> Path:
        return self.directory / "containerd.log"


def files(settings: Settings, machine: Machine) -> dict[Path, str]:
    """Everything to write before containerd starts: path → text."""
    texts = {
        settings.config_path: config_toml(settings, machine),
        settings.directory / "net.d" / "10-tiphys.conflist": conflist(settings.pod_cidr),
    }
    if settings.mirror:
        texts[settings.directory / "certs.d" / "_default" / "hosts.toml"] = hosts_toml(settings.mirror)
    return texts


def config_toml(settings: Settings, machine: Machine) -> str:
    """Version 2 of containerd's configuration, which 1.6 up to 2.x read."""
    runtimes = {
        os.path.basename(path): {"runtime_type": "io.containerd.runc.v2", "options": {"BinaryName": path}}
        for path in (machine.runtime, *machine.other_runtimes)
    }
    return toml(
        {
            "version": 2,
            "root": str(settings.directory / "root"),
            "state": STATE_DIRECTORY,
            "disabled_plugins": UNUSED_PLUGINS,
            "grpc": {"address": SOCKET},
            "plugins": {
                CRI: {
                    "sandbox_image": settings.sandbox_image,
                    "restrict_oom_score_adj": not machine.may_lower_oom_scores,
                    "disable_apparmor": not machine.has_apparmor,
                    # For attach only; inside the node, on a port of the kernel's choice.
                    "disable_tcp_service": True,
                    "stream_server_address": "127.0.0.1",
                    "stream_server_port": "0",
                    "netns_mounts_under_state_dir": True,
                    "enable_unprivileged_ports": True,
                    "enable_unprivileged_icmp": True,
                    "containerd": {
                        "snapshotter": "overlayfs",
                        "default_runtime_name": os.path.basename(machine.runtime),
                        "runtimes": runtimes,
                    },
                    "cni": {"bin_dir": machine.cni_plugins, "conf_dir": str(settings.directory / "net.d")},
                    "registry": {"config_path": str(settings.directory / "certs.d")},
                }
            },
        }
    )


def hosts_toml(mirror: str) -> str:
    """For every registry: ask the mirror first, and the registry itself for what that lacks."""
    return toml({"host": {mirror: {"capabilities": ["pull", "resolve"]}}})


def conflist(pod_cidr: str) -> str:
    """The pods' network: a bridge, addresses of the node's range, hostPorts. Packets keep their source (no masquerade)."""
    bridge = {
        "type": "bridge",
        "bridge": POD_BRIDGE,
        "isGateway": True,
        "ipMasq": False,
        # A pod may reach itself by a service's address.
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "ranges": [[{"subnet": pod_cidr}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    portmap = {"type": "portmap", "capabilities": {"portMappings": True}, "snat": True}
    return (
        json.dumps({"cniVersion": "0.4.0", "name": "tiphys", "plugins": [bridge, portmap]}, indent=1) + "\n"
    )


def toml(table: Mapping[str, Any], *path: str) -> str:
    """The little of TOML that is needed here: strings, numbers, booleans, lists of strings, and tables. A JSON string is a TOML string."""
    lines = [f"[{'.'.join(map(json.dumps, path))}]"] if path else []
    lines += [
        f"{json.dumps(key)} = {json.dumps(value)}"
        for key, value in table.items()
        if not isinstance(value, Mapping)
    ]
    tables = [toml(value, *path, key) for key, value in table.items() if isinstance(value, Mapping)]
    return "\n".join(lines) + "\n" + "".join(tables)
