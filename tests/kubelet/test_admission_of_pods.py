"""Pods that come to a node which cannot have them; over the simulated runtime."""

from __future__ import annotations

from collections.abc import AsyncIterator
from copy import deepcopy
from typing import Any

import pytest
from node_world import NodeWorld

from tiphys.client.resources import NODES, PODS
from tiphys.kubelet.runtimes.interface import SandboxConfig
from tiphys.machinery import meta

Object = dict[str, Any]


@pytest.fixture
async def world() -> AsyncIterator[NodeWorld]:
    world = NodeWorld()
    await world.start()
    yield world
    await world.stop()


def asking(**requests: str) -> Object:
    container = {"name": "main", "image": "busybox", "resources": {"requests": requests}}
    return {"containers": [container]}


def told(pod: Object) -> tuple[str, str, str]:
    status = pod["status"]
    return status["phase"], status.get("reason", ""), status.get("message", "")


async def test_one_too_many(world: NodeWorld) -> None:
    world.create(asking(cpu="20"), name="first")
    await world.settle()
    world.create(asking(cpu="20"), name="second")
    world.create(asking(cpu="10"), name="third")
    await world.settle()
    shortage = "Node didn't have enough resource: cpu, requested: 20000, used: 20000, capacity: 32000"
    assert told(world.pod("second")) == ("Failed", "OutOfcpu", f"Pod was rejected: {shortage}")
    assert "containerStatuses" not in world.pod("second")["status"]
    assert ("OutOfcpu", shortage) in world.events()
    assert [told(world.pod(name))[0] for name in ("first", "third")] == ["Running", "Running"]


async def test_of_two_that_come_together_only_one_gets_the_room(world: NodeWorld) -> None:
    for name in ("a", "b"):
        world.create(asking(cpu="20"), name=name)
    await world.settle()
    assert sorted(told(world.pod(name))[0] for name in ("a", "b")) == ["Failed", "Running"]


async def test_room_is_free_again_when_a_pod_has_finished(world: NodeWorld) -> None:
    done = asking(cpu="20")
    done["containers"][0]["command"] = ["true"]
    world.create({**done, "restartPolicy": "Never"}, name="done")
    await world.settle(1.0)
    assert world.pod("done")["status"]["phase"] == "Succeeded"
    world.create(asking(cpu="20"), name="next")
    await world.settle()
    assert told(world.pod("next"))[0] == "Running"


async def test_a_label_that_the_scheduler_saw_first(world: NodeWorld) -> None:
    node = world.node()
    world.api.put(NODES, {**node, "metadata": {**node["metadata"], "labels": {"disk": "ssd"}}})
    world.create({**asking(), "nodeSelector": {"disk": "ssd"}}, name="fits")
    world.create({**asking(), "nodeSelector": {"disk": "hdd"}}, name="strays")
    await world.settle()
    assert told(world.pod("fits"))[0] == "Running"
    assert told(world.pod("strays"))[1] == "NodeAffinity"


async def test_a_taint_that_has_gone_meanwhile_keeps_nobody_out(world: NodeWorld) -> None:
    taint = {"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}
    node = world.node()
    world.api.put(NODES, {**node, "spec": {**node["spec"], "taints": [taint]}})
    await world.stop()
    await world.start()
    world.create(asking(), name="refused")
    await world.settle()
    assert told(world.pod("refused"))[1] == "TaintToleration"
    world.api.put(NODES, {**world.node(), "spec": node["spec"]})
    world.create(asking(), name="welcome")
    await world.settle()
    assert told(world.pod("welcome"))[0] == "Running"


async def test_a_critical_pod_has_another_one_thrown_out(world: NodeWorld) -> None:
    world.create(asking(cpu="20"), name="old")
    await world.settle()
    world.create({**asking(cpu="20"), "priority": 2_000_000_000}, name="critical")
    for _ in range(20):
        await world.settle(0.3)
    message = "Preempted in order to admit critical pod"
    assert told(world.pod("old")) == ("Failed", "Preempting", message)
    target = meta.find_condition(meta.conditions(world.pod("old")), "DisruptionTarget")
    assert target is not None
    assert target["reason"] == "TerminationByKubelet"
    assert target["message"] == "Pod was preempted by Kubelet to accommodate a critical pod."
    assert ("Preempting", message) in world.events()
    assert told(world.pod("critical"))[0] == "Running"


async def test_what_runs_is_not_asked_again_when_the_kubelet_comes_back(world: NodeWorld) -> None:
    pod = world.create(asking(cpu="64"), name="large")
    config = SandboxConfig("large", "default", meta.uid(pod), labels=labels(pod))
    await world.stop()
    await world.runtime.run_sandbox(config)
    await world.start()
    await world.settle()
    assert told(world.pod("large"))[0] == "Running"


def labels(pod: Object) -> dict[str, str]:
    return {"io.kubernetes.pod.uid": meta.uid(pod)}


async def test_a_resize_that_waits_for_room_takes_none(world: NodeWorld) -> None:
    world.create(asking(cpu="10"), name="grows", generation=1)
    await world.settle()
    pod = deepcopy(world.pod("grows"))
    pod["metadata"]["generation"] = 2
    pod["spec"]["containers"][0]["resources"]["requests"]["cpu"] = "30"
    world.create(asking(cpu="15"), name="other")
    await world.settle()
    world.api.put(PODS, pod)
    await world.settle()
    pending = meta.find_condition(meta.conditions(world.pod("grows")), "PodResizePending")
    assert pending is not None
    assert pending["reason"] == "Deferred"
    world.create(asking(cpu="5"), name="small")
    await world.settle()
    assert told(world.pod("small"))[0] == "Running"
