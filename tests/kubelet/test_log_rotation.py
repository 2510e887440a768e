"""Keeping logs small: what is set aside, compressed and removed, and what becomes of it when something fails."""

from __future__ import annotations

import asyncio
import gzip
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tiphys.kubelet.log_rotation import LogRotation, RotationPolicy, Tidying, tidying
from tiphys.kubelet.runtimes.interface import ContainerStatus, RuntimeFailure
from tiphys.kubelet.runtimes.simulated import SimulatedRuntime
from tiphys.testing.clock import FakeClock

POLICY = RotationPolicy(max_size_bytes=100, max_files=3)


class Writing(SimulatedRuntime):
    """Makes the log file anew when told to reopen it, unless it is to fail."""

    def __init__(self, clock: FakeClock, path: Path) -> None:
        super().__init__(clock)
        self.path = path
        self.reopened = 0
        self.failure: RuntimeFailure | None = None

    async def reopen_log(self, container_id: str) -> None:
        if self.failure is not None:
            raise self.failure
        self.reopened += 1
        self.path.touch()


class World:
    def __init__(self, directory: Path, policy: RotationPolicy = POLICY) -> None:
        self.path = directory / "0.log"
        self.clock = FakeClock()
        self.runtime = Writing(self.clock, self.path)
        self.rotation = LogRotation(self.runtime, lambda: [running(self.path)], self.clock, policy)

    def files(self) -> dict[str, bytes]:
        return {
            path.name: gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
            for path in self.path.parent.iterdir()
        }


def running(path: Path) -> ContainerStatus:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    return ContainerStatus(
        id="1",
        name="c",
        attempt=0,
        state="Running",
        created_at=now,
        started_at=now,
        finished_at=None,
        exit_code=0,
        reason="",
        message="",
        image="",
        image_ref="",
        log_path=str(path),
        labels={},
        annotations={},
    )


@pytest.mark.parametrize(
    ("names", "remove", "compress"),
    [
        ([], (), ()),
        (["0.log.1"], (), ("0.log.1",)),
        (["0.log.1.gz", "0.log.2"], (), ("0.log.2",)),
        (["0.log.1.gz", "0.log.2.gz", "0.log.3.gz", "0.log.4"], ("0.log.1.gz",), ("0.log.4",)),
        # A compression was interrupted before and after its end.
        (["0.log.1", "0.log.1.tmp"], ("0.log.1.tmp",), ("0.log.1",)),
        (["0.log.1", "0.log.1.gz"], ("0.log.1",), ()),
    ],
)
def test_what_becomes_of_older_files(
    names: list[str], remove: tuple[str, ...], compress: tuple[str, ...]
) -> None:
    assert tidying(reversed(names), max_files=5) == Tidying(remove, compress)


def test_two_files_are_the_least() -> None:
    assert tidying(["0.log.1"], max_files=2) == Tidying(("0.log.1",), ())


async def test_a_log_that_has_grown(tmp_path: Path) -> None:
    world = World(tmp_path)
    for number in range(4):
        world.path.write_bytes(b"%d" % number * 100)
        await world.rotation.look()
        await world.clock.advance(60)
    assert world.files() == {
        "0.log": b"",
        "0.log.20260101-000200.gz": b"2" * 100,
        "0.log.20260101-000300": b"3" * 100,
    }
    assert world.runtime.reopened == 4


async def test_a_small_log_is_left_alone(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.path.write_bytes(b"x" * 99)
    await world.rotation.look()
    assert world.files() == {"0.log": b"x" * 99}
    assert world.runtime.reopened == 0


async def test_it_is_looked_at_every_ten_seconds(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.path.write_bytes(b"x" * 100)
    task = asyncio.create_task(world.rotation.run())
    await world.clock.advance(9.9)
    assert world.runtime.reopened == 0
    await world.clock.advance(0.2)
    assert world.runtime.reopened == 1
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_negative_size_leaves_logs_alone(tmp_path: Path) -> None:
    world = World(tmp_path, RotationPolicy(max_size_bytes=-1))
    await world.rotation.run()


async def test_a_runtime_that_cannot_reopen_writes_on_to_the_same_file(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.path.write_bytes(b"x" * 100)
    world.runtime.failure = RuntimeFailure("container is not running")
    await world.rotation.look()
    assert world.files() == {"0.log": b"x" * 100}
    world.runtime.failure = None
    await world.rotation.look()
    assert sorted(world.files()) == ["0.log", "0.log.20260101-000000"]


async def test_a_log_that_somebody_removed_is_made_again(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.rotation.look()
    assert world.files() == {"0.log": b""}


async def test_two_rotations_in_one_second_would_have_one_name(tmp_path: Path) -> None:
    world = World(tmp_path)
    for text in (b"a", b"b"):
        world.path.write_bytes(text * 100)
        await world.rotation.look()
    assert world.files() == {"0.log": b"b" * 100, "0.log.20260101-000000": b"a" * 100}
