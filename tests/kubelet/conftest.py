"""One real node for all tests of the kubelet that are marked `real`: made once, and checked to be gone without a trace."""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tiphys.cluster.containerd import Containerd, Settings, probe, start_containerd
from tiphys.cluster.images import PAUSE_IMAGE, provide_built_in_images
from tiphys.cluster.leftovers import cgroup_hierarchies
from tiphys.cluster.namespaces import (
    NodeSpec,
    Segment,
    create_node,
    create_segment,
    destroy_node,
    destroy_segment,
)
from tiphys.cluster.processes import running
from tiphys.kubelet.images.load import ImageLoader
from tiphys.kubelet.runtimes.interface import SandboxConfig

MIRROR_HOST, MIRROR_PORT = "127.0.0.83", 5000


@dataclass
class RealNode:
    """A node with its own containerd and the built-in images. Each test makes its own clients: they belong to its event loop."""

    containerd: Containerd
    settings: Settings
    cgroup: str
    directory: Path
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def sandbox_config(self, **fields: object) -> SandboxConfig:
        """A pod of its own, whose log directory exists."""
        name = f"pod-{next(self.numbers)}"
        logs = self.directory / "logs" / name
        logs.mkdir(parents=True)
        defaults: dict[str, object] = {
            "name": name,
            "namespace": "default",
            "uid": f"uid-{name}",
            "hostname": name,
            "log_directory": str(logs),
            "cgroup_parent": f"{self.cgroup}/pod{name}",
        }
        return SandboxConfig(**{**defaults, **fields})  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def real_node() -> Iterator[RealNode]:
    if os.geteuid() != 0:
        pytest.fail("tests marked real run as root: deselect them with -m 'not real'")
    machine = probe()  # fails with the names of what is not installed
    # Not pytest's own directory: an overlay's upper directory may not lie on an overlay or tmpfs.
    directory = Path(tempfile.mkdtemp(prefix="tiphys-real-", dir="/var/tmp"))
    cgroup = f"/tiphys-test-{os.getpid()}/node-1"
    segment = create_segment(directory / "segment", "10.90.0.1/24")
    try:
        yield asyncio.run(_start(directory, cgroup, segment, machine))
    finally:
        destroy_node(directory / "node-1")
        destroy_segment(directory / "segment")
        check_nothing_is_left(directory, cgroup)
        shutil.rmtree(directory)


async def _start(directory: Path, cgroup: str, segment: Segment, machine: object) -> RealNode:
    spec = NodeSpec("node-1", directory / "node-1", "10.90.0.11/24", "10.96.0.0/16", cgroup)
    node = create_node(spec, segment)
    mirror = f"http://{MIRROR_HOST}:{MIRROR_PORT}"
    settings = Settings(directory / "node-1" / "containerd", PAUSE_IMAGE, "10.91.1.0/24", mirror)
    containerd = await start_containerd(node, settings, machine)  # type: ignore[arg-type]
    loader = ImageLoader(containerd.socket)
    await provide_built_in_images(loader, directory / "images")
    await loader.close()
    return RealNode(containerd, settings, cgroup, directory)


def check_nothing_is_left(directory: Path, cgroup: str) -> None:
    assert str(directory) not in Path("/proc/self/mountinfo").read_text()
    top = cgroup.strip("/").split("/")[0]
    assert [hierarchy / top for hierarchy in cgroup_hierarchies() if (hierarchy / top).exists()] == []
    for holder in directory.glob("*/holder"):
        assert running(holder) == []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            command = Path("/proc", pid, "cmdline").read_text()
        except OSError:
            continue
        assert str(directory) not in command, f"process {pid} is left: {command}"
