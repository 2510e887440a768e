"""In-place resizes: what the node grants, what it defers, and what the API and the reader of events see of it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from node_world import NodeWorld

from tiphys.client.resources import PODS
from tiphys.kubelet import allocation, fit
from tiphys.kubelet.allocation import Refusal
from tiphys.kubelet.runtimes.interface import Resources, RuntimeFailure
from tiphys.kubelet.runtimes.simulated import SimulatedRuntime
from tiphys.machinery import meta
from tiphys.machinery.clock import Clock
from tiphys.machinery.quantity import parse

Object = dict[str, Any]
NEVER = "insufficient_node_allocatable"
ROOM = {"cpu": parse("4"), "memory": parse("8Gi")}


def resources(cpu: str, memory: str) -> Object:
    return {"requests": {"cpu": cpu, "memory": memory}, "limits": {"cpu": cpu, "memory": memory}}


def spec_of(*amounts: Object, policy: str = "NotRequired") -> Object:
    return {
        "containers": [
            {
                "name": f"c{number}",
                "image": "busybox",
                "imagePullPolicy": "IfNotPresent",
                "resources": each,
                "resizePolicy": [
                    {"resourceName": name, "restartPolicy": policy} for name in ("cpu", "memory")
                ],
            }
            for number, each in enumerate(amounts, 1)
        ]
    }


# Pure


def pod(*amounts: Object, name: str = "web", **more: Any) -> Object:
    return {"metadata": {"name": name, "uid": name, "generation": 1}, "spec": {**spec_of(*amounts), **more}}


def test_a_node_says_what_can_never_be_and_what_cannot_be_now() -> None:
    def refused(cpu: str, memory: str, others: int = 1) -> Refusal | None:
        other = fit.requests(pod(resources("2", "1Gi")))
        return allocation.refusal(fit.requests(pod(resources(cpu, memory))), [other] * others, ROOM)

    assert refused("2", "7Gi") is None
    assert refused("5", "1Gi") == Refusal(
        "Infeasible", "Node didn't have enough capacity: cpu, requested: 5000, capacity: 4000", NEVER
    )
    assert refused("5", "9Gi", others=0) == Refusal(
        "Infeasible",
        f"Node didn't have enough capacity: memory, requested: {9 << 30}, capacity: {8 << 30}",
        NEVER,
    )
    assert refused("2500m", "1Gi") == Refusal(
        "Deferred", "Node didn't have enough resource: cpu, requested: 2500, used: 2000, capacity: 4000"
    )


@pytest.mark.parametrize(
    ("after", "before", "expected"),
    [
        ({"requests": {"cpu": "100m"}}, {"requests": {"cpu": "0.1"}}, "none"),
        ({"requests": {"cpu": "1m"}}, {"requests": {"cpu": "2m"}}, "none"),
        ({"limits": {"cpu": "5m"}}, {"limits": {"cpu": "10m"}}, "none"),
        ({"limits": {"cpu": "11m"}}, {"limits": {"cpu": "10m"}}, "update"),
        ({"requests": {"memory": "1Gi"}}, {"requests": {"memory": "2Gi"}}, "update"),
        ({"limits": {"memory": "1Gi"}}, {}, "update"),
        ({"requests": {"ephemeral-storage": "1Gi"}}, {}, "none"),
    ],
)
def test_amounts_that_the_kernel_cannot_tell_apart_change_nothing(
    after: Object, before: Object, expected: str
) -> None:
    assert allocation.change({"resources": after}, before) == expected
    needs_restart = [
        {"resourceName": name, "restartPolicy": "RestartContainer"} for name in ("cpu", "memory")
    ]
    strict = "restart" if expected == "update" else "none"
    assert allocation.change({"resources": after, "resizePolicy": needs_restart}, before) == strict


def test_what_a_resize_asks_for_is_told_of_each_container() -> None:
    before = {"c1": resources("1", "1Gi"), "c2": {"requests": {"memory": "1Gi"}}, "c3": resources("1", "1Gi")}
    after = {
        "c1": {"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "2Gi"}},
        "c2": {"requests": {"cpu": "1"}},
        "c3": resources("1000m", "1024Mi"),
    }
    assert allocation.changes(after, before) == [
        ("memory", "limits", "increase"),
        ("cpu", "requests", "decrease"),
        ("cpu", "requests", "add"),
        ("memory", "requests", "remove"),
    ]


def test_what_gives_back_goes_first() -> None:
    small, large = {"limits": {"memory": "1Gi"}}, {"limits": {"memory": "2Gi"}}
    assert allocation.shrinks({"resources": small}, large)
    assert not allocation.shrinks({"resources": large}, small)


def test_a_pod_as_it_is_granted_is_the_same_object_unless_it_differs() -> None:
    same = pod(resources("1", "1Gi"), initContainers=[{"name": "init"}], resources=resources("2", "2Gi"))
    granted = allocation.wanted(same)
    assert set(granted) == {"c1", allocation.POD}
    assert allocation.with_allocation(same, granted) is same
    less = {**granted, "c1": resources("1", "512Mi"), allocation.POD: resources("1", "1Gi")}
    found = allocation.with_allocation(same, less)
    assert found["spec"]["containers"][0]["resources"] == resources("1", "512Mi")
    assert found["spec"]["resources"] == resources("1", "1Gi")
    assert found["spec"]["initContainers"] == [{"name": "init"}]


# The whole kubelet


class Noting(SimulatedRuntime):
    """Notes whose resources are updated; refuses once it is told to."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.updated: list[str] = []
        self.refusal = ""

    async def update_resources(self, container_id: str, resources: Resources) -> None:
        status = await self.container_status(container_id)
        self.updated.append(status.name)
        if self.refusal:
            raise RuntimeFailure(self.refusal)


@pytest.fixture
async def world() -> AsyncIterator[NodeWorld]:
    world = NodeWorld()
    world.runtime = Noting(world.clock)
    await world.start()
    yield world
    await world.stop()


def noted(world: NodeWorld) -> Noting:
    assert isinstance(world.runtime, Noting)
    return world.runtime


async def resize(world: NodeWorld, *amounts: Object, name: str = "web") -> None:
    """As a write of /resize would: new amounts, and a new generation."""
    old = world.pod(name)
    containers = [
        {**container, "resources": new}
        for container, new in zip(old["spec"]["containers"], amounts, strict=True)
    ]
    generation = meta.generation(old) + 1
    world.api.put(
        PODS,
        {
            **old,
            "metadata": {**old["metadata"], "generation": generation},
            "spec": {**old["spec"], "containers": containers},
        },
    )
    await world.settle()


def actual(world: NodeWorld, name: str = "web") -> list[Object]:
    return [entry["resources"] for entry in world.pod(name)["status"]["containerStatuses"]]


def condition(world: NodeWorld, type: str, name: str = "web") -> Object | None:
    found = meta.find_condition(meta.conditions(world.pod(name)), type)
    return (
        {key: value for key, value in found.items() if key not in ("type", "lastTransitionTime")}
        if found
        else None
    )


def told(world: NodeWorld, reason: str) -> list[str]:
    return [message for found, message in world.events() if found == reason]


async def test_a_resize_reaches_running_containers(world: NodeWorld) -> None:
    before, grown, less = resources("1", "1Gi"), resources("2", "2Gi"), resources("500m", "512Mi")
    world.create(spec_of(before, before, before), generation=1)
    await world.settle()
    assert actual(world) == [before] * 3
    await resize(world, grown, before, less)
    assert actual(world) == [grown, before, less]
    assert noted(world).updated == ["c3", "c1"]
    status = world.pod()["status"]
    assert [entry["restartCount"] for entry in status["containerStatuses"]] == [0, 0, 0]
    assert [entry["allocatedResources"] for entry in status["containerStatuses"]] == [
        each["requests"] for each in (grown, before, less)
    ]
    assert status["observedGeneration"] == 2
    assert condition(world, "PodResizeInProgress") is None
    [started], [completed] = told(world, "ResizeStarted"), told(world, "ResizeCompleted")
    text, _, summary = started.partition(": ")
    assert text == "Pod resize started"
    assert completed == f"Pod resize completed: {summary}"
    told_containers = [
        {"name": f"c{i}", "resources": each} for i, each in enumerate((grown, before, less), 1)
    ]
    assert json.loads(summary) == {"containers": told_containers, "generation": 2}
    assert summary.startswith('{"containers":[{"name":"c1","resources":{"limits":{"cpu":"2","memory":"2Gi"},')


async def test_a_container_is_started_anew_where_its_policy_says_so(world: NodeWorld) -> None:
    before, after = resources("1", "1Gi"), resources("1", "2Gi")
    world.create({**spec_of(before, policy="RestartContainer"), "restartPolicy": "OnFailure"}, generation=1)
    await world.settle()
    await resize(world, after)
    await world.settle(1)
    [entry] = world.pod()["status"]["containerStatuses"]
    assert (entry["restartCount"], entry["resources"]) == (1, after)
    assert "running" in entry["state"], "although it ended well, and restarts on failure only"
    assert "Container c1 resize requires restart" in told(world, "Killing")
    assert noted(world).updated == []
    assert condition(world, "PodResizeInProgress") is None
    assert len(told(world, "ResizeCompleted")) == 1


async def test_amounts_that_are_the_same_for_the_kernel_are_granted_at_once(world: NodeWorld) -> None:
    world.create(spec_of({"requests": {"cpu": "2m"}, "limits": {"cpu": "10m"}}), generation=1)
    await world.settle()
    after = {"requests": {"cpu": "1m"}, "limits": {"cpu": "5m"}}
    await resize(world, after)
    assert actual(world) == [after]
    assert noted(world).updated == []
    assert condition(world, "PodResizeInProgress") is None


async def test_more_than_the_node_ever_has_is_infeasible(world: NodeWorld) -> None:
    before = resources("1", "1Gi")
    world.create(spec_of(before), generation=1)
    await world.settle()
    await resize(world, resources("33", "1Gi"))
    assert condition(world, "PodResizePending") == {
        "status": "True",
        "reason": "Infeasible",
        "message": "Node didn't have enough capacity: cpu, requested: 33000, capacity: 32000",
        "observedGeneration": 2,
    }
    assert actual(world) == [before]
    [event] = told(world, "ResizeInfeasible")
    assert event.startswith("Pod resize Infeasible: {")
    assert json.loads(event.partition(": ")[2])["error"].startswith("Node didn't have enough capacity")
    await resize(world, before)
    assert condition(world, "PodResizePending") is None


async def test_what_is_not_free_now_is_granted_once_another_pod_gives_it_back(world: NodeWorld) -> None:
    half = resources("16", "1Gi")
    world.create(spec_of(half), name="one", generation=1)
    world.create(spec_of(half), name="two", generation=1)
    await world.settle()
    await resize(world, resources("20", "1Gi"), name="two")
    found = condition(world, "PodResizePending", "two")
    assert found is not None
    assert (found["reason"], found["message"]) == (
        "Deferred",
        "Node didn't have enough resource: cpu, requested: 20000, used: 16000, capacity: 32000",
    )
    assert len(told(world, "ResizeDeferred")) == 1
    await resize(world, resources("10", "1Gi"), name="one")
    assert condition(world, "PodResizePending", "two") is None
    assert actual(world, "two") == [resources("20", "1Gi")]


async def test_a_kernel_that_refuses_is_told_of_and_asked_again(world: NodeWorld) -> None:
    world.create(spec_of(resources("1", "1Gi")), generation=1)
    await world.settle()
    noted(world).refusal = "device or resource busy"
    await resize(world, resources("1", "512Mi"))
    assert condition(world, "PodResizeInProgress") == {
        "status": "True",
        "reason": "Error",
        "message": "device or resource busy",
        "observedGeneration": 2,
    }
    assert actual(world) == [resources("1", "1Gi")]
    assert len(told(world, "ResizeError")) == 1
    noted(world).refusal = ""
    await world.settle(5)
    assert condition(world, "PodResizeInProgress") is None
    assert actual(world) == [resources("1", "512Mi")]


async def test_what_was_granted_outlives_the_kubelet(world: NodeWorld) -> None:
    world.create(spec_of(resources("1", "1Gi")), generation=1)
    await world.settle()
    await resize(world, resources("33", "1Gi"))
    await world.stop()
    await world.start()
    assert actual(world) == [resources("1", "1Gi")]
    found = condition(world, "PodResizePending")
    assert found is not None
    assert found["reason"] == "Infeasible"


async def test_a_pod_as_a_whole_is_resized(world: NodeWorld) -> None:
    world.create({**spec_of({}), "resources": resources("2", "2Gi")}, generation=1)
    await world.settle()
    status = world.pod()["status"]
    assert status["resources"] == resources("2", "2Gi")
    assert status["allocatedResources"] == resources("2", "2Gi")["requests"]
    old = world.pod()
    after = {**old["spec"], "resources": resources("3", "3Gi")}
    world.api.put(PODS, {**old, "metadata": {**old["metadata"], "generation": 2}, "spec": after})
    await world.settle()
    assert world.pod()["status"]["resources"] == resources("3", "3Gi")
    assert noted(world).updated == []
    assert len(told(world, "ResizeCompleted")) == 1


async def test_a_pod_that_ends_no_longer_waits_for_a_resize(world: NodeWorld) -> None:
    world.create({**spec_of(resources("1", "1Gi")), "restartPolicy": "Never"}, generation=1)
    await world.settle()
    await resize(world, resources("33", "1Gi"))
    [container] = world.runtime.running_containers("default", "web")
    world.runtime.end_container(container, 0)
    await world.settle()
    assert world.pod()["status"]["phase"] == "Succeeded"
    await world.settle()
    assert condition(world, "PodResizePending") is None


def count(world: NodeWorld, name: str, *labels: str) -> float:
    metrics = world.kubelet.host.metrics
    pending = [worker.resizing.pending.reason for worker in world.kubelet.workers if worker.resizing.pending]
    metrics.resizes.seen(pending, 0)
    wanted = f"{name}{{{','.join(labels)}}}" if labels else name
    for line in metrics.registry.render().decode().splitlines():
        series, _, value = line.rpartition(" ")
        if series == wanted:
            return float(value)
    return 0.0


async def test_resizes_are_counted(world: NodeWorld) -> None:
    half = resources("16", "1Gi")
    world.create(spec_of(half), name="one", generation=1)
    world.create(spec_of(half), name="two", generation=1)
    await world.settle()
    await resize(world, resources("20", "1Gi"), name="two")
    requested = "kubelet_container_requested_resizes_total"
    labels = ('operation="increase"', 'requirement="requests"', 'resource="cpu"')
    assert count(world, requested, *labels) == 1
    assert count(world, "kubelet_pod_pending_resizes", 'reason="deferred"') == 1
    assert count(world, "kubelet_pod_resize_duration_milliseconds_count", 'success="true"') == 0
    await resize(world, resources("10", "1Gi"), name="one")
    accepted = "kubelet_pod_deferred_accepted_resizes_total"
    assert count(world, accepted, 'retry_trigger="pod_resized"') == 1
    assert count(world, "kubelet_pod_pending_resizes", 'reason="deferred"') == 0
    assert count(world, "kubelet_pod_resize_duration_milliseconds_count", 'success="true"') == 2
    noted(world).refusal = "device or resource busy"
    await resize(world, resources("9", "1Gi"), name="one")
    assert count(world, "kubelet_pod_resize_duration_milliseconds_count", 'success="false"') == 1
    noted(world).refusal = ""
    await resize(world, resources("33", "1Gi"), name="two")
    assert count(world, "kubelet_pod_infeasible_resizes_total", f'reason_detail="{NEVER}"') == 1
    assert count(world, "kubelet_pod_pending_resizes", 'reason="infeasible"') == 1
    # It is content with less.
    await resize(world, resources("21", "1Gi"), name="two")
    assert count(world, accepted, 'retry_trigger="pod_updated"') == 1
