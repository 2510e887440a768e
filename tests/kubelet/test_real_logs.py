"""Logs of real containers that are rotated while they are written and read: every line is there once, in order."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from real_world import FOREVER, RealWorld

from tiphys.client.resources import PODS
from tiphys.kubelet.files import Files
from tiphys.kubelet.log_lines import lines_of, parse_line
from tiphys.kubelet.log_rotation import LogRotation, RotationPolicy
from tiphys.kubelet.log_source import log_source
from tiphys.kubelet.logs import LogOptions, LogReader
from tiphys.machinery import meta

if TYPE_CHECKING:
    from conftest import RealNode

pytestmark = pytest.mark.real
LINES = 40_000
WANTED = b"".join(b"line %d\n" % number for number in range(LINES))
PAUSE = "test $((i % 5000)) -ne 0 || sleep 0.5"
"""Rotations are a second apart: on a quick machine all would be said before the second one."""
TALKER = f"i=0; while test $i -lt {LINES}; do echo line $i; i=$((i+1)); {PAUSE}; done; {FOREVER}"
PATIENCE_SECONDS = 300.0


@pytest.fixture
async def world(real_node: RealNode) -> AsyncIterator[RealWorld]:
    directory = real_node.directory / "kubelet-logs"
    directory.mkdir(exist_ok=True)
    runtime = real_node.containerd.runtime()
    world = RealWorld(runtime, Files(directory), real_node.cgroup)
    await world.start()
    yield world
    for pod in world.api.objects(PODS):
        await world.delete(meta.name(pod), grace_seconds=1)
    await world.stop()
    await runtime.close()


async def follow(path: Path, gathered: list[bytes]) -> None:
    """Until all lines have come."""

    async def is_over() -> bool:
        return False

    size = 0
    async for piece in LogReader(path, LogOptions(follow=True), is_over)():
        gathered.append(piece)
        size += len(piece)
        if size >= len(WANTED):
            return


async def test_no_line_is_lost_to_a_rotation(world: RealWorld) -> None:
    world.create("talker", TALKER)
    pod = await world.until("talker", lambda pod: pod["status"]["phase"] == "Running")
    path = Path(log_source(world.kubelet, pod, "main", previous=False).status.log_path)
    policy = RotationPolicy(max_size_bytes=100_000, max_files=1000)
    rotation = LogRotation(world.runtime, world.kubelet.running, world.clock, policy)
    gathered: list[bytes] = []
    following = asyncio.create_task(follow(path, gathered))
    rotations = set()
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not gathered:  # who comes after a rotation sees the new file only
            await asyncio.sleep(0.01)
        while not following.done():
            await rotation.look()
            rotations |= {name.name for name in path.parent.glob("0.log.*") if name.suffix != ".gz"}
            await asyncio.sleep(0.3)
        await following
    assert len(rotations) >= 2
    assert b"".join(gathered) == WANTED
    assert kept(path) == WANTED


def kept(path: Path) -> bytes:
    """What all files of the log have together, the oldest first."""
    found = []
    for part in [*sorted(path.parent.glob("0.log.*")), path]:
        text = gzip.decompress(part.read_bytes()) if part.suffix == ".gz" else part.read_bytes()
        found += [entry.data for line in lines_of(text) if (entry := parse_line(line)) is not None]
    return b"".join(found)
