"""The scheduler over a whole API: bindings, events, conditions, and what goes wrong on the way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from random import Random
from typing import Any

import pytest

from tiphys.client.resources import NODES, PODS
from tiphys.machinery import meta
from tiphys.machinery.errors import conflict, internal_error, not_found
from tiphys.scheduler.run import Scheduler
from tiphys.testing.world import World

Object = dict[str, Any]


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    yield world
    await world.stop()


@pytest.fixture
async def scheduler(world: World) -> AsyncIterator[Scheduler]:
    scheduler = Scheduler(world.informers, clock=world.clock, random=Random(1))
    task = asyncio.create_task(scheduler.run())
    await world.settle()
    yield scheduler
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def add_node(world: World, name: str = "n1", cpu: str = "2", **spec: Any) -> None:
    allocatable = {"cpu": cpu, "memory": "4Gi", "pods": "110"}
    world.api.put(NODES, {"metadata": {"name": name}, "spec": spec, "status": {"allocatable": allocatable}})


async def add_pod(world: World, name: str, cpu: str = "1", **spec: Any) -> None:
    resources = {"requests": {"cpu": cpu}}
    pod = {
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"containers": [{"name": "main", "resources": resources}], **spec},
    }
    await world.client.create(PODS, pod)
    await world.settle()


def pod(world: World, name: str) -> Object:
    return next(found for found in world.pods() if meta.name(found) == name)


def node_of(world: World, name: str) -> str:
    return str(pod(world, name)["spec"].get("nodeName", ""))


def scheduled(world: World, name: str) -> tuple[str, str]:
    condition = meta.find_condition(meta.conditions(pod(world, name)), "PodScheduled") or {}
    return condition.get("reason", ""), condition.get("message", "")


async def test_a_pod_is_bound_and_told(world: World, scheduler: Scheduler) -> None:
    add_node(world)
    await add_pod(world, "a")
    assert node_of(world, "a") == "n1"
    assert world.events() == [("a", "Scheduled", "Successfully assigned default/a to n1")]
    assert len(scheduler.queue) == 0


async def test_a_pod_that_fits_nowhere_says_why_until_it_fits(world: World, scheduler: Scheduler) -> None:
    add_node(world)
    await add_pod(world, "large", cpu="3")
    message = (
        "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, "
        "preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
    )
    assert scheduled(world, "large") == ("Unschedulable", message)
    assert world.events() == [("large", "FailedScheduling", message)]
    add_node(world, "n2", cpu="4")
    await world.settle(5)
    assert node_of(world, "large") == "n2"


async def test_without_nodes_it_waits(world: World, scheduler: Scheduler) -> None:
    await add_pod(world, "a")
    assert scheduled(world, "a")[1] == "no nodes available to schedule pods"
    add_node(world)
    await world.settle(5)
    assert node_of(world, "a") == "n1"


async def test_decisions_count_before_their_bindings_are_seen(world: World, scheduler: Scheduler) -> None:
    add_node(world, "n1")
    add_node(world, "n2")
    await world.settle()
    for name in ("a", "b", "c", "d", "e"):
        pod = {"metadata": {"name": name, "namespace": "default"}, "spec": {"containers": [requesting("1")]}}
        await world.client.create(PODS, pod)
    await world.settle()
    assert sorted(node_of(world, name) for name in ("a", "b", "c", "d", "e")) == ["", "n1", "n1", "n2", "n2"]


def requesting(cpu: str) -> Object:
    return {"name": "main", "resources": {"requests": {"cpu": cpu}}}


async def test_a_deleted_pod_makes_room(world: World, scheduler: Scheduler) -> None:
    add_node(world)
    await add_pod(world, "a", cpu="2")
    await add_pod(world, "b", cpu="2")
    assert node_of(world, "b") == ""
    await world.client.delete(PODS, "a", "default", grace_period_seconds=0)
    await world.settle(5)
    assert node_of(world, "b") == "n1"


async def test_a_finished_pod_makes_room(world: World, scheduler: Scheduler) -> None:
    add_node(world)
    await add_pod(world, "a", cpu="2")
    await add_pod(world, "b", cpu="2")
    world.set_pod(pod(world, "a"), status={"phase": "Succeeded"})
    await world.settle(5)
    assert node_of(world, "b") == "n1"


async def test_a_failed_binding_takes_the_pod_off_and_tries_again(world: World, scheduler: Scheduler) -> None:
    add_node(world)
    world.api.refuse(lambda method, path: path.endswith("/binding"), internal_error("disk full"), once=True)
    await world.client.create(PODS, {"metadata": {"name": "a", "namespace": "default"}, "spec": {}})
    await world.settle(0)
    assert scheduled(world, "a")[0] == "SchedulerError"
    assert "binding rejected" in scheduled(world, "a")[1]
    assert scheduler.snapshot.place_of(meta.uid(pod(world, "a"))) is None
    await world.settle(5)
    assert node_of(world, "a") == "n1"
    assert [reason for _, reason, _ in world.events()] == ["FailedScheduling", "Scheduled"]


async def test_a_pod_that_another_bound_is_left_there(world: World, scheduler: Scheduler) -> None:
    add_node(world, "n1")
    add_node(world, "n2")
    await world.settle()

    def taken(method: str, path: str) -> bool:
        if not path.endswith("/binding"):
            return False
        world.set_pod(pod(world, "a"), spec={"nodeName": "n2", "containers": [requesting("2")]})
        return True

    world.api.refuse(taken, conflict(PODS.group_resource, "a"), once=True)
    await add_pod(world, "a", cpu="2")
    await world.settle(30)
    assert scheduler.snapshot.place_of(meta.uid(pod(world, "a"))) == "n2"
    assert len(scheduler.queue) == 0


async def test_a_pod_that_went_away_is_forgotten(world: World, scheduler: Scheduler) -> None:
    add_node(world)
    world.api.refuse(lambda method, path: path.endswith("/binding"), not_found(PODS.group_resource, "a"))
    await add_pod(world, "a")
    assert len(scheduler.queue) == 0
    assert scheduler.snapshot.node("n1").pods == {}  # type: ignore[union-attr]


async def test_gated_and_foreign_pods_are_left_alone(world: World, scheduler: Scheduler) -> None:
    add_node(world)
    await add_pod(world, "gated", schedulingGates=[{"name": "wait"}])
    await add_pod(world, "foreign", schedulerName="other")
    await world.settle(30)
    assert (node_of(world, "gated"), node_of(world, "foreign")) == ("", "")
    assert world.events() == []
    world.set_pod(pod(world, "gated"), spec={"containers": [requesting("1")]})
    await world.settle()
    assert node_of(world, "gated") == "n1"


async def test_heartbeats_wake_nobody(world: World, scheduler: Scheduler) -> None:
    add_node(world)
    await add_pod(world, "large", cpu="3")
    before = len(world.api.requests)
    for second in range(30):
        node = world.api.objects(NODES)[0]
        world.api.put(
            NODES, {**node, "status": {**node["status"], "conditions": [{"type": "Ready", "at": second}]}}
        )
        await world.settle()
    assert len(world.api.requests) == before
    add_node(world, "n1", cpu="8")
    await world.settle(2)
    assert node_of(world, "large") == "n1"


async def test_an_uncordoned_node_is_used(world: World, scheduler: Scheduler) -> None:
    add_node(world, "n1", unschedulable=True)
    await add_pod(world, "a")
    assert "1 node(s) were unschedulable" in scheduled(world, "a")[1]
    add_node(world, "n1")
    await world.settle(2)
    assert node_of(world, "a") == "n1"
