"""What is really there on a node with containers, whatever the API says: sandboxes, mounts, groups, addresses, processes. For tests that look for leaks."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from e2e_cluster import Cluster

from tiphys.cluster.containerd_config import POD_BRIDGE, SOCKET
from tiphys.cluster.namespaces import Node, find_node
from tiphys.kubelet.files import uid_of_logs
from tiphys.kubelet.runtimes.cri.runtime import ContainerdRuntime
from tiphys.kubelet.runtimes.interface import Container, SandboxStatus

NETWORK_NAMESPACES = "run/containerd/io.containerd.grpc.v1.cri/netns"


@dataclass(frozen=True)
class Truth:
    """Of one node at one moment. Pods go by their uids."""

    sandboxes: list[SandboxStatus]
    containers: list[Container]
    directories: set[str]
    """Pods with files: volumes, logs."""
    mounts: set[str]
    """Pods with volumes that are mounted."""
    groups: set[str]
    """Pods with a control group in any hierarchy."""
    addresses: set[str]
    """That the network plugin has given away."""
    network_namespaces: int
    cables: int
    """Interfaces on the pods' bridge."""
    shims: int

    @property
    def ready(self) -> list[SandboxStatus]:
        return [box for box in self.sandboxes if box.state == "Ready"]

    def leaks(self, pods: set[str]) -> list[str]:
        """What is there of pods that are not, and what there is too much of."""
        found = [
            f"{what} of pod {uid}"
            for what, uids in (
                ("sandbox", {box.uid for box in self.sandboxes}),
                ("files", self.directories),
                ("mounts", self.mounts),
                ("groups", self.groups),
            )
            for uid in uids - pods
        ]
        networked = [box for box in self.ready if not box.host_network]
        addresses = {ip for box in networked for ip in box.ips}
        if self.addresses != addresses:
            found.append(f"addresses {self.addresses ^ addresses}")
        counts = {
            "network namespaces": (self.network_namespaces, len(networked)),
            "cables": (self.cables, len(networked)),
            "shims": (self.shims, len(self.ready)),
        }
        found += [f"{is_so} {what}, not {due}" for what, (is_so, due) in counts.items() if is_so != due]
        alive = [container for container in self.containers if container.state == "Running"]
        names = [(container.sandbox_id, container.name) for container in alive]
        found += [f"{name} runs twice" for name in set(names) if names.count(name) > 1]
        ready = {box.id for box in self.ready}
        found += [f"{each.name} runs outside" for each in alive if each.sandbox_id not in ready]
        return found


def node_directory(cluster: Cluster, number: int = 1) -> Path:
    return cluster.home / "tiphys" / cluster.name / "nodes" / f"{cluster.name}-node-{number}"


def look(cluster: Cluster, number: int = 1) -> Truth:
    """Raises RuntimeFailure while containerd does not answer."""
    directory = node_directory(cluster, number)
    node = find_node(directory)
    assert node is not None, "the node is off"
    sandboxes, containers = asyncio.run(_runtime(node))
    kubelet = directory / "kubelet"
    networks = directory / "cni" / "networks" / "tiphys"
    return Truth(
        sandboxes=sandboxes,
        containers=containers,
        directories={*_names(kubelet / "pods"), *(uid_of_logs(name) for name in _names(kubelet / "logs"))},
        mounts=set(_mounted(node, str(kubelet / "pods"))),
        groups=set(_groups(directory.name)),
        addresses={name for name in _names(networks) if name[0].isdigit()},
        network_namespaces=len(_names(node.root / NETWORK_NAMESPACES)),
        cables=len(_cables(node)),
        shims=sum("containerd-shim" in line for _, line in command_lines(node)),
    )


async def _runtime(node: Node) -> tuple[list[SandboxStatus], list[Container]]:
    runtime = ContainerdRuntime(f"{node.root}{SOCKET}", root=node.root)
    try:
        sandboxes = [await runtime.sandbox_status(box.id) for box in await runtime.list_sandboxes()]
        return sandboxes, await runtime.list_containers()
    finally:
        await runtime.close()


def _names(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir()] if directory.exists() else []


def _mounted(node: Node, pods: str) -> Iterator[str]:
    for line in Path(f"/proc/{node.pid}/mountinfo").read_text().splitlines():
        place = line.split()[4]
        if place.startswith(f"{pods}/"):
            yield place.removeprefix(f"{pods}/").partition("/")[0]


def _groups(node: str) -> Iterator[str]:
    for pattern in (f"tiphys-*/{node}/kubepods", f"*/tiphys-*/{node}/kubepods"):
        for kubepods in Path("/sys/fs/cgroup").glob(pattern):
            for group in (*kubepods.glob("pod*"), *kubepods.glob("*/pod*")):
                yield group.name.removeprefix("pod")


def _cables(node: Node) -> list[str]:
    words = [
        "nsenter",
        f"--target={node.pid}",
        "--net",
        "--",
        "ip",
        "-o",
        "link",
        "show",
        "master",
        POD_BRIDGE,
    ]
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout.splitlines()


def command_lines(node: Node) -> Iterator[tuple[int, str]]:
    """Pid and command line of all processes of the node."""
    namespace = os.readlink(f"/proc/{node.pid}/ns/pid")
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(path / "ns/pid") == namespace:
                yield int(path.name), (path / "cmdline").read_text(errors="replace")
        except OSError:
            continue
