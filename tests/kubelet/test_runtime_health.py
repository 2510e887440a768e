"""What a node says of a runtime that answers, that is down for a moment, and that is down."""

from __future__ import annotations

import pytest

from tiphys.kubelet.hollow import simulated_machine
from tiphys.kubelet.node import NodeFacts, node_status
from tiphys.kubelet.runtime_health import DOWN, NEVER_ANSWERED, RuntimeHealth, RuntimeReport
from tiphys.kubelet.runtimes.interface import RuntimeCondition, Unavailable, Version
from tiphys.kubelet.runtimes.simulated import SimulatedRuntime
from tiphys.machinery import meta
from tiphys.testing.clock import FakeClock


class Dying(SimulatedRuntime):
    is_down = False

    async def version(self) -> Version:
        if self.is_down:
            raise Unavailable("connection refused")
        return await super().version()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def ready(report: RuntimeReport, clock: FakeClock) -> tuple[str, str, str]:
    """(status, reason, message) of the node's condition."""
    facts = NodeFacts(
        "n1",
        (),
        0,
        simulated_machine(),
        report.version,
        runtime_conditions=report.conditions,
        runtime_problem=report.problem,
    )
    found = meta.find_condition(node_status({}, facts, clock.now())["conditions"], "Ready") or {}
    return found["status"], found["reason"], found["message"]


async def test_one_that_is_down_for_a_moment_makes_no_node_unready(clock: FakeClock) -> None:
    runtime = Dying(clock)
    health = RuntimeHealth(runtime, clock)
    before = await health.look()
    assert ready(before, clock) == ("True", "KubeletReady", "kubelet is posting ready status")
    runtime.is_down = True
    await clock.advance(30)
    assert await health.look() == before
    await clock.advance(1)
    down = await health.look()
    assert ready(down, clock) == ("False", "KubeletNotReady", DOWN)
    assert down.version == before.version
    runtime.is_down = False
    assert await health.look() == before


async def test_one_that_never_answered(clock: FakeClock) -> None:
    runtime = Dying(clock)
    runtime.is_down = True
    await clock.advance(100)
    assert ready(await RuntimeHealth(runtime, clock).look(), clock) == (
        "False",
        "KubeletNotReady",
        NEVER_ANSWERED,
    )


def test_what_a_runtime_says_of_itself_is_told_as_upstream_tells_it(clock: FakeClock) -> None:
    network = RuntimeCondition("NetworkReady", False, "NetworkPluginNotReady", "cni plugin not initialized")
    runtime = RuntimeCondition("RuntimeReady", False, "Sick", "no shim")
    version = Version("containerd", "1.6", "v1")
    told = "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:cni plugin not initialized"
    assert ready(RuntimeReport(version, [network]), clock)[2] == told
    assert ready(RuntimeReport(version, [runtime, network]), clock)[2] == (
        f"[container runtime not ready: RuntimeReady=false reason:Sick message:no shim, {told}]"
    )
