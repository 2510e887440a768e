"""The kernel tells when memory is used up to a threshold: cgroup version 1, with groups of our own."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tiphys.kubelet.cgroups import Cgroups
from tiphys.kubelet.eviction.memory_alarm import MemoryAlarm
from tiphys.kubelet.eviction.pressure import Observation, memory_left
from tiphys.kubelet.eviction.thresholds import thresholds

MIB = 1 << 20
PATIENCE_SECONDS = 60
EATER = """
import sys
sys.stdin.readline()
eaten = b"x" * (32 << 20)
print("eaten", flush=True)
sys.stdin.readline()
"""


def test_what_is_left_is_counted_to_the_next_threshold() -> None:
    given = thresholds(
        {"memory.available": "100Mi", "nodefs.available": "10%"},
        {"memory.available": "50%", "allocatableMemory.available": "1Gi"},
        {"memory.available": "1m", "allocatableMemory.available": "1m"},
        {},
    )
    plenty = Observation(900 * MIB, 1000 * MIB)
    assert memory_left(given, {"memory.available": plenty, "nodefs.available": plenty}) == {
        "memory.available": 400 * MIB
    }
    little = Observation(300 * MIB, 1000 * MIB)
    assert memory_left(given, {"memory.available": little}) == {"memory.available": 200 * MIB}
    assert memory_left(given, {"memory.available": Observation(50 * MIB, 1000 * MIB)}) == {}


def test_version_2_tells_in_other_ways(tmp_path: Path) -> None:
    assert Cgroups(tmp_path).memory("/a/kubepods") == tmp_path / "memory/a/kubepods"
    (tmp_path / "cgroup.controllers").touch()
    assert Cgroups(tmp_path).memory("/a/kubepods") is None


async def test_a_kernel_that_does_not_tell_is_no_harm(tmp_path: Path) -> None:
    alarm = MemoryAlarm({"memory.available": tmp_path})
    alarm.set({"memory.available": MIB, "allocatableMemory.available": MIB})
    alarm.close()


@pytest.fixture
def group() -> Iterator[Path]:
    directory = Path("/sys/fs/cgroup/memory") / f"tiphys-test-alarm-{os.getpid()}"
    directory.mkdir()
    yield directory
    directory.rmdir()


@pytest.mark.real
async def test_it_rings_when_memory_is_used_up_to_there(group: Path) -> None:
    alarm = MemoryAlarm({"a": group})
    eater = await asyncio.create_subprocess_exec(
        sys.executable, "-c", EATER, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert eater.stdin is not None
    assert eater.stdout is not None
    try:
        (group / "cgroup.procs").write_text(str(eater.pid))
        alarm.set({"a": 1 << 40})
        waiting = asyncio.create_task(alarm.wait())
        alarm.set({"a": 16 << 20})
        eater.stdin.write(b"\n")
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert await eater.stdout.readline() == b"eaten\n"
            await waiting
    finally:
        alarm.close()
        eater.kill()
        await eater.wait()
