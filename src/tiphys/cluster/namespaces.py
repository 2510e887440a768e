"""Machines made of namespaces: a segment (the cable between nodes) and nodes on it.

A segment is a network namespace with a bridge. A node is a set of namespaces (mount, network, process, hostname, IPC) with an
interface on the bridge, in which containerd and everything it starts live. Neither has any link to the host's own
interfaces: what is not on the segment is unreachable from a node, by route.

    segment ── br0 10.90.0.1 ──┬── eth0 10.90.0.11  node-1 ── cni0 ── pods 10.91.1.0/24
                               └── eth0 10.90.0.12  node-2 ── cni0 ── pods 10.91.2.0/24

Making and unmaking are idempotent. A node leaves a file in its directory that says what it is made of, so that it can be unmade by
another process than the one that made it, whatever was killed in between. Everything here blocks for a few tens of milliseconds.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, field
from functools import partial
from ipaddress import IPv4Interface
from pathlib import Path

from tiphys.cluster import holder
from tiphys.cluster.holder import NamespaceError
from tiphys.cluster.leftovers import make_mount_points, remove_cgroups, remove_mount_points, unmount_below
from tiphys.machinery.frozen import frozen

__all__ = [
    "NamespaceError",
    "Node",
    "NodeSpec",
    "Segment",
    "create_node",
    "create_segment",
    "destroy_node",
    "destroy_segment",
    "find_node",
    "find_segment",
    "set_routes",
]

BRIDGE = "br0"
INTERFACE = "eth0"
LAST_RESORT_METRIC = 4000
STATE_FILE = "node.json"
CNI_STATE = "/var/lib/cni"
"""Where CNI plugins keep addresses and results; each node has its own."""
NODE_NAMESPACES = (
    "--mount", "--propagation=private", "--net", "--uts", "--ipc", "--pid", "--fork", "--kill-child", "--mount-proc",
)  # fmt: skip


@frozen
class Segment:
    """A segment that exists."""

    directory: Path
    pid: int

    @property
    def network_namespace(self) -> Path:
        return Path(f"/proc/{self.pid}/ns/net")


@frozen
class NodeSpec:
    """A node to be."""

    name: str
    """Its hostname."""
    directory: Path
    """Its own, on a disk that can hold overlays and run programs; not below /run."""
    address: str
    """With the segment's prefix: "10.90.0.11/24"."""
    service_cidr: str
    cgroup: str
    """Below which all its pods' groups are: "/tiphys-default/node-1". Gone with the node."""
    routes: Mapping[str, str] = field(default_factory=dict)
    """Other nodes' pods: {"10.91.2.0/24": "10.90.0.12"}."""
    binds: Mapping[str, str] = field(default_factory=dict)
    """More directories of its own in place of the host's: {path in the node: path on the host}."""


@frozen
class Node:
    """A node that exists: its holder's pid is the handle to all its namespaces."""

    directory: Path
    pid: int

    @property
    def root(self) -> Path:
        """The node's root directory, with its own mounts, as seen from outside."""
        return Path(f"/proc/{self.pid}/root")

    @property
    def network_namespace(self) -> Path:
        """For kubelet.runtimes.network_namespace: sockets inside the node."""
        return Path(f"/proc/{self.pid}/ns/net")

    @property
    def enter(self) -> list[str]:
        """The beginning of a command line that runs inside the node."""
        return ["nsenter", f"--target={self.pid}", "--mount", "--net", "--pid", "--uts", "--ipc", "--"]


# Segments


def create_segment(directory: Path, address: str) -> Segment:
    """Makes the segment, or finds it made. address: the bridge's own, with prefix ("10.90.0.1/24"). Raises NamespaceError."""
    segment = find_segment(directory)
    if segment is not None:
        return segment
    commands = [
        "link set lo up",
        f"link add {BRIDGE} type bridge",
        f"addr add {address} dev {BRIDGE}",
        f"link set {BRIDGE} up",
    ]
    script = _ip_batch_script(commands)
    return Segment(directory, holder.start_holder(directory, ["--net"], script))


def find_segment(directory: Path) -> Segment | None:
    pid = holder.find_holder(directory)
    return None if pid is None else Segment(directory, pid)


def destroy_segment(directory: Path) -> None:
    """Ends the segment; its nodes, if any are left, lose their link. Harmless when repeated."""
    holder.end_holder(directory)
    (directory / holder.PROGRAM).unlink(missing_ok=True)


# Nodes


def create_node(spec: NodeSpec, segment: Segment) -> Node:
    """Makes the node and wires it, or finds it made. What is half made is unmade first. Raises NamespaceError.

    A node that has outlived its segment gets a cable to the new one; its containers run on.
    """
    if _is_below(spec.directory, Path("/run")):
        raise NamespaceError(
            f"{spec.directory}: a node's directory cannot be below /run, which it has of its own"
        )
    node = find_node(spec.directory)
    if node is not None:
        if not _is_wired(spec, segment):
            _wire(spec, segment, node.pid)
        return node
    destroy_node(spec.directory)
    spec.directory.mkdir(parents=True, exist_ok=True)
    binds = {CNI_STATE: str(spec.directory / "cni"), **spec.binds}
    _write_state(spec.directory, _State(spec.cgroup, list(binds), is_ready=False))
    try:
        make_mount_points(binds)
        pid = holder.start_holder(spec.directory, NODE_NAMESPACES, node_script(spec, binds))
        _wire(spec, segment, pid)
    except BaseException:
        destroy_node(spec.directory)
        raise
    _write_state(spec.directory, _State(spec.cgroup, list(binds), is_ready=True))
    return Node(spec.directory, pid)


def find_node(directory: Path) -> Node | None:
    """The node, if it is alive and whole."""
    pid = holder.find_holder(directory)
    state = _read_state(directory)
    if pid is None or state is None or not state.is_ready:
        return None
    return Node(directory, pid)


def destroy_node(directory: Path) -> None:
    """Power off, and clean up on the host: needs nothing but the directory, where the node's data stay. Harmless when repeated."""
    holder.end_holder(directory)
    state = _read_state(directory)
    unmount_below(directory)
    if state is not None:
        stubborn = remove_cgroups(state.cgroup)
        if stubborn:
            raise NamespaceError(f"cannot remove {stubborn[0]}: something still runs in it")
        remove_mount_points(state.mount_points)
    (directory / holder.PROGRAM).unlink(missing_ok=True)
    (directory / STATE_FILE).unlink(missing_ok=True)


def set_routes(place: Node | Segment, routes: Mapping[str, str]) -> None:
    """Sends (other) nodes' pod networks to those nodes: {"10.91.2.0/24": "10.90.0.12"}. Adds or replaces, never removes.

    Of the segment: so that the API server, whose connections begin there, reaches pods.
    """
    if routes:
        _ip_batch(place.pid, [f"route replace {network} via {via}" for network, via in routes.items()])


def node_script(spec: NodeSpec, binds: Mapping[str, str]) -> str:
    """What is run first inside the new namespaces.

    /run is the node's own, as a machine's is: empty after power on, private to its containerd and CNI. The unified cgroup mount of a
    hybrid host goes, since crun refuses hybrids; v1 stays. Mounts are shared within the node, for mount propagation to work.
    """
    lines = [
        # crun makes directories there all the same: they must not land in the host's own file system, hidden by its mount.
        "if mountpoint -q /sys/fs/cgroup/unified; then umount /sys/fs/cgroup/unified",
        "mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup/unified; fi",
        *_run_directory_lines(os.path.realpath("/etc/resolv.conf")),
    ]
    for target, source in binds.items():
        lines.append(f"mkdir -p {shlex.quote(source)}")
        lines.append(f"mount --bind {shlex.quote(source)} {shlex.quote(target)}")
    return "\n".join(
        [
            *lines,
            "mount --make-rshared /",
            f"echo {shlex.quote(spec.name)} > /proc/sys/kernel/hostname",
            "echo 1 > /proc/sys/net/ipv4/ip_forward",
            # Pods of one node reach each other by service address only if bridged packets pass through the packet filter.
            "if [ -e /proc/sys/net/bridge ]; then echo 1 > /proc/sys/net/bridge/bridge-nf-call-iptables; fi",
            _ip_batch_script(["link set lo up"]),
        ]
    )


def _run_directory_lines(resolver: str) -> list[str]:
    """A /run of its own; where the host's resolv.conf leads into /run, a copy of it."""
    mount = "mount -t tmpfs -o mode=755,nosuid,nodev tmpfs /run"
    make = "mkdir -p /run/lock /run/netns"
    if not _is_below(Path(resolver), Path("/run")):
        return [mount, make]
    quoted, parent = shlex.quote(resolver), shlex.quote(os.path.dirname(resolver))
    return [
        f"resolver=$(cat {quoted} 2>/dev/null || true)",
        mount,
        make,
        f'mkdir -p {parent} && printf "%s\\n" "$resolver" > {quoted}',
    ]


def _is_below(path: Path, directory: Path) -> bool:
    resolved = path.resolve()
    return resolved == directory or directory in resolved.parents


def _wire(spec: NodeSpec, segment: Segment, pid: int) -> None:
    """The cable from the node to the segment, and the node's routes."""
    plug_in(port_name(spec.address), pid, partial(_ip_batch, segment.pid))
    _ip_batch(pid, node_link_commands(spec))


def plug_in(port: str, pid: int, ip: Callable[[Sequence[str]], None]) -> None:
    """Leads a cable from the segment, where `ip` runs commands, to a process's namespace. Raises NamespaceError."""
    plug = [
        f"link add {port} type veth peer name {INTERFACE} netns {pid}",
        f"link set {port} master {BRIDGE} up",
    ]
    try:
        ip(plug)
    except NamespaceError:
        # The cable of a node that was just ended goes only when the kernel gets to it, which may be this very moment.
        with suppress(NamespaceError):
            ip([f"link del {port}"])
        ip(plug)


def _is_wired(spec: NodeSpec, segment: Segment) -> bool:
    """An interface ends with either of its network namespaces: one that the segment has leads to the living node."""
    try:
        _ip_batch(segment.pid, [f"link show {port_name(spec.address)}"])
    except NamespaceError:
        return False
    return True


def port_name(address: str) -> str:
    """The bridge's port for a node of this address: "node0-11" for 10.90.0.11/24."""
    packed = IPv4Interface(address).ip.packed
    return f"node{packed[2]}-{packed[3]}"


def node_link_commands(spec: NodeSpec) -> list[str]:
    address = IPv4Interface(spec.address)
    return [
        f"addr add {address} dev {INTERFACE}",
        f"link set {INTERFACE} up",
        *(f"route add {network} via {via}" for network, via in spec.routes.items()),
        # Nothing leaves the segment.
        f"route add unreachable default metric {LAST_RESORT_METRIC}",
        # A packet from the node itself must have some route before the packet filter may send it elsewhere.
        f"route add {spec.service_cidr} dev lo src {address.ip}",
    ]


def _ip_batch(pid: int, commands: Sequence[str]) -> None:
    """Runs ip(8) commands in a process's network namespace."""
    # `ip netns exec` would hide the cgroup mounts; nsenter --net leaves them alone.
    result = subprocess.run(
        ["nsenter", f"--target={pid}", "--net", "--", "ip", "-batch", "-"],
        input="\n".join(commands) + "\n",
        capture_output=True,
        text=True,
        check=False,
        env=holder.ENVIRONMENT,
    )
    if result.returncode != 0:
        raise NamespaceError(f"ip: {result.stderr.strip()}")


def _ip_batch_script(commands: Sequence[str]) -> str:
    return "\n".join(["ip -batch - <<'end'", *commands, "end"])


@frozen
class _State:
    """What unmaking a node needs to know."""

    cgroup: str
    mount_points: list[str]
    """Directories on the host that the node mounts over in its own view."""
    is_ready: bool


def _write_state(directory: Path, state: _State) -> None:
    path = directory / STATE_FILE
    unfinished = path.with_suffix(".part")
    unfinished.write_text(json.dumps(asdict(state), indent=1))
    unfinished.replace(path)


def _read_state(directory: Path) -> _State | None:
    try:
        return _State(**json.loads((directory / STATE_FILE).read_text()))
    except FileNotFoundError:
        return None
