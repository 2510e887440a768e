"""Whatever happens to sets and their pods, in the end there is what was asked for, and nobody writes any more."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tiphys.client.resources import CONTROLLERREVISIONS, DAEMONSETS, NODES, PODS, STATEFULSETS
from tiphys.controllers import daemonset, statefulset
from tiphys.controllers.catalog import Options
from tiphys.machinery import meta
from tiphys.testing.world import World

Object = dict[str, Any]
STEPS = 40
ROUNDS = 60
"""More than any rollout here takes, a pod at a time."""


def workload(kind: str, **spec: Any) -> Object:
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": "it", "namespace": "default"},
        "spec": {"selector": {"matchLabels": {"app": "it"}}, "template": template(0), **spec},
    }


def template(number: int) -> Object:
    return {
        "metadata": {"labels": {"app": "it"}},
        "spec": {"containers": [{"name": "c", "image": str(number)}]},
    }


def make_some_ready(world: World, dice: random.Random) -> None:
    for pod in world.pods():
        if (
            dice.random() < 0.7
            and not meta.is_deleting(pod)
            and pod.get("status", {}).get("phase") != "Failed"
        ):
            be_ready(world, pod)


def be_ready(world: World, pod: Object) -> None:
    now = meta.format_time(world.clock.now())
    condition = {"type": "Ready", "status": "True", "lastTransitionTime": now}
    status = {"phase": "Running", "conditions": [condition]}
    if pod.get("status") != status and not meta.conditions(pod):
        node = pod["spec"].get("nodeName") or daemonset.node_of(pod) or "node-0"
        world.set_pod(pod, spec={**pod["spec"], "nodeName": node}, status=status)


async def lose_a_pod(world: World, dice: random.Random) -> None:
    pods = world.pods()
    if not pods:
        return
    pod = dice.choice(pods)
    match dice.randrange(4):
        case 0:
            await world.client.delete(PODS, meta.name(pod), "default", grace_period_seconds=0)
        case 1:
            await world.client.delete(PODS, meta.name(pod), "default")
        case 2:
            world.set_pod(pod, status={"phase": dice.choice(["Failed", "Succeeded"])})
        case _:
            world.set_pod(pod, status={"phase": "Running"})


async def change_template(world: World, dice: random.Random, resource: Any) -> None:
    patch = {"spec": {"template": template(dice.randrange(3))}}
    await world.client.patch(resource, "it", patch, "default")


async def kubelets(world: World) -> None:
    """A round in which everything that can become ready does, and what must go is gone."""
    await world.remove_terminating()
    for pod in world.pods():
        if not meta.is_deleting(pod) and pod.get("status", {}).get("phase") not in ("Failed", "Succeeded"):
            be_ready(world, pod)
    await world.settle(2)


async def come_to_rest(world: World, is_so: Callable[[], bool]) -> None:
    for _ in range(ROUNDS):
        await kubelets(world)
        if is_so():
            break
    assert is_so(), [(meta.name(pod), pod.get("status")) for pod in world.pods()]
    before = world.api.resource_version
    await world.settle(3600)
    assert world.api.resource_version == before


Act = Callable[[], Awaitable[None]]


async def storm(world: World, dice: random.Random, *acts: Act) -> None:
    for _ in range(STEPS):
        if dice.random() < 0.6:
            await dice.choice(acts)()
        if dice.random() < 0.5:
            make_some_ready(world, dice)
        if dice.random() < 0.5:
            await world.remove_terminating()
        await world.settle(dice.choice([0, 0, 1]))


@pytest.mark.parametrize("seed", range(6))
async def test_a_stateful_set(world: World, seed: int) -> None:
    dice = random.Random(seed)
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}
    if seed % 3 == 1:
        rolling["rollingUpdate"] = {"partition": 0, "maxUnavailable": 2}
    policy = "Parallel" if seed % 2 else "OrderedReady"
    spec = {
        "replicas": 3,
        "podManagementPolicy": policy,
        "updateStrategy": rolling,
        "minReadySeconds": seed % 3,
    }
    await world.client.create(STATEFULSETS, workload("StatefulSet", revisionHistoryLimit=3, **spec))
    await world.start(statefulset.CONTROLLER)

    async def scale() -> None:
        patch: Object = {"spec": {"replicas": dice.randrange(5)}}
        if dice.random() < 0.3:
            patch["spec"]["ordinals"] = {"start": dice.randrange(3)}
        await world.client.patch(STATEFULSETS, "it", patch, "default")

    await storm(
        world,
        dice,
        scale,
        lambda: lose_a_pod(world, dice),
        lambda: change_template(world, dice, STATEFULSETS),
    )

    def is_so() -> bool:
        (found,) = world.api.objects(STATEFULSETS)
        start = found["spec"].get("ordinals", {}).get("start", 0)
        wanted = {f"it-{number}" for number in range(start, start + found["spec"]["replicas"])}
        image = found["spec"]["template"]["spec"]["containers"][0]["image"]
        pods = world.pods()
        return (
            {meta.name(pod) for pod in pods} == wanted
            and all(pod["spec"]["containers"][0]["image"] == image for pod in pods)
            and found["status"].get("availableReplicas", 0) == len(wanted)
            and found["status"]["currentRevision"] == found["status"]["updateRevision"]
        )

    await come_to_rest(world, is_so)
    assert len(world.api.objects(CONTROLLERREVISIONS)) <= 3


@pytest.mark.parametrize("seed", range(6))
async def test_a_daemon_set(world: World, seed: int) -> None:
    dice = random.Random(seed)
    limits = [
        {"maxUnavailable": 1, "maxSurge": 0},
        {"maxUnavailable": 0, "maxSurge": 1},
        {"maxUnavailable": "50%", "maxSurge": 0},
    ]
    strategy = {"type": "RollingUpdate", "rollingUpdate": limits[seed % 3]}
    await world.client.create(DAEMONSETS, workload("DaemonSet", updateStrategy=strategy))
    await world.start(daemonset.make(Options()))

    async def change_nodes() -> None:
        name = f"node-{dice.randrange(5)}"
        if any(meta.name(node) == name for node in world.api.objects(NODES)):
            if dice.random() < 0.3:
                await world.client.delete(NODES, name)
            else:
                taints = [{"key": "x", "effect": dice.choice(["NoSchedule", "NoExecute"])}]
                patch = {"spec": {"taints": taints if dice.random() < 0.5 else None}}
                await world.client.patch(NODES, name, patch)
        else:
            node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": {}}
            await world.client.create(NODES, node)

    await storm(
        world,
        dice,
        change_nodes,
        change_nodes,
        lambda: lose_a_pod(world, dice),
        lambda: change_template(world, dice, DAEMONSETS),
    )
    # What pod garbage collection does: pods of nodes that are gone.
    there = {meta.name(node) for node in world.api.objects(NODES)}
    for pod in world.pods():
        if pod["spec"].get("nodeName") and pod["spec"]["nodeName"] not in there:
            await world.client.delete(PODS, meta.name(pod), "default", grace_period_seconds=0)

    def is_so() -> bool:
        (found,) = world.api.objects(DAEMONSETS)
        open_to_all = {meta.name(node) for node in world.api.objects(NODES) if not node["spec"].get("taints")}
        closed = {
            meta.name(node)
            for node in world.api.objects(NODES)
            if any(taint["effect"] == "NoExecute" for taint in node["spec"].get("taints") or ())
        }
        image = found["spec"]["template"]["spec"]["containers"][0]["image"]
        nodes = [daemonset.node_of(pod) for pod in world.pods()]
        return (
            len(nodes) == len(set(nodes))
            and open_to_all <= set(nodes)
            and not closed & set(nodes)
            and all(pod["spec"]["containers"][0]["image"] == image for pod in world.pods())
            and found["status"].get("numberAvailable", 0) == len(open_to_all)
        )

    await come_to_rest(world, is_so)
