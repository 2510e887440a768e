"""The simulated runtime: held to the suite, and to its own script of commands."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import count

import pytest
from suite import RuntimeConformance, Subject

from tiphys.kubelet.runtimes.interface import SandboxConfig
from tiphys.kubelet.runtimes.simulated import SimulatedRuntime, scripted_end
from tiphys.machinery.clock import SystemClock
from tiphys.testing.clock import FakeClock


class TestSimulated(RuntimeConformance):
    @pytest.fixture
    async def subject(self) -> AsyncIterator[Subject]:
        runtime = SimulatedRuntime(SystemClock())
        await runtime.pull_image("docker.io/library/busybox:latest")
        numbers = count()

        def config(**fields: object) -> SandboxConfig:
            name = f"pod-{next(numbers)}"
            defaults = {"name": name, "namespace": "default", "uid": f"uid-{name}", "log_directory": "/logs"}
            return SandboxConfig(**{**defaults, **fields})  # type: ignore[arg-type]

        yield Subject(
            runtime,
            image="docker.io/library/busybox:latest",
            sandbox_config=config,
            sleep=("sleep", "infinity"),
            exit_with=lambda code: ("sh", "-c", f"exit {code}"),
        )
        await runtime.close()


@pytest.mark.parametrize(
    ("command", "end"),
    [
        (["sh", "-c", "exit 3"], (0.0, 3)),
        (["sleep", "5"], (5.0, 0)),
        (["/bin/sh", "-c", "sleep 2; exit 7"], (2.0, 7)),
        (["false"], (0.0, 1)),
        (["nginx", "-g", "daemon off;"], None),
        (["sleep", "infinity"], None),
        ([], None),
    ],
)
def test_commands_that_the_simulation_understands(command: list[str], end: tuple[float, int] | None) -> None:
    assert scripted_end(command) == end


async def test_a_start_takes_the_time_it_is_told_to() -> None:
    import asyncio

    clock = FakeClock()
    runtime = SimulatedRuntime(clock, start_delay_seconds=2)
    start = asyncio.create_task(runtime.run_sandbox(SandboxConfig("a", "default", "1")))
    await clock.advance(1.9)
    assert not start.done()
    await clock.advance(0.2)
    assert start.done()


async def test_pods_of_different_nodes_have_different_addresses() -> None:
    clock = FakeClock()
    addresses = set()
    for number in (0, 1, 300):
        runtime = SimulatedRuntime(clock, number=number)
        id = await runtime.run_sandbox(SandboxConfig("a", "default", "1"))
        addresses |= set((await runtime.sandbox_status(id)).ips)
    assert len(addresses) == 3
