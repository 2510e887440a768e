"""Nodes that come and go: addresses, signs of life, taints, evictions, and what is left of their pods."""

from __future__ import annotations

from typing import Any

import pytest

from tiphys.client.resources import LEASES, NODES, PODS
from tiphys.controllers import catalog, node_ipam, pod_gc, taint_eviction
from tiphys.machinery import meta
from tiphys.testing.world import World

Object = dict[str, Any]


def add_node(world: World, name: str, *, ready: str = "True", **spec: Any) -> Object:
    now = meta.format_time(world.clock.now())
    heartbeat = {"lastHeartbeatTime": now, "lastTransitionTime": now}
    conditions = [
        {"type": "Ready", "status": ready, **heartbeat},
        {"type": "MemoryPressure", "status": "False", **heartbeat},
    ]
    return world.api.put(
        NODES, {"metadata": {"name": name}, "spec": spec, "status": {"conditions": conditions}}
    )


def renew(world: World, name: str) -> None:
    spec = {"holderIdentity": name, "renewTime": meta.format_micro_time(world.clock.now())}
    world.api.put(LEASES, {"metadata": {"name": name, "namespace": "kube-node-lease"}, "spec": spec})


def add_pod(world: World, name: str, node: str = "n1", **spec: Any) -> None:
    status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    metadata = {"name": name, "namespace": "default"}
    world.api.put(PODS, {"metadata": metadata, "spec": {"nodeName": node, **spec}, "status": status})


def node(world: World, name: str = "n1") -> Object:
    return next(each for each in world.api.objects(NODES) if meta.name(each) == name)


def taints(world: World, name: str = "n1") -> set[tuple[str, str]]:
    return {
        (taint["key"].rpartition("/")[2], taint["effect"])
        for taint in node(world, name)["spec"].get("taints", ())
    }


async def live(world: World, seconds: int, *names: str) -> None:
    for _ in range(seconds // 10):
        for name in names:
            renew(world, name)
        await world.settle(10)


@pytest.fixture
async def watched(world: World) -> World:
    for name in ("n1", "n2"):
        add_node(world, name)
        renew(world, name)
    options = catalog.Options(started=world.clock.now())
    await world.start(catalog.make("node-lifecycle-controller", options), taint_eviction.CONTROLLER)
    return world


async def test_a_node_that_renews_stays_ready(watched: World) -> None:
    await live(watched, 300, "n1", "n2")
    assert meta.is_condition_true(meta.conditions(node(watched)), "Ready")
    assert taints(watched) == set()


async def test_a_silent_node_is_unknown_unreachable_and_its_pods_not_ready(watched: World) -> None:
    add_pod(watched, "a")
    await live(watched, 40, "n2")
    assert meta.is_condition_true(meta.conditions(node(watched)), "Ready")
    await live(watched, 20, "n2")
    ready = meta.find_condition(meta.conditions(node(watched)), "Ready")
    assert ready is not None
    assert (ready["status"], ready["reason"]) == ("Unknown", "NodeStatusUnknown")
    assert ready["message"] == "Kubelet stopped posting node status."
    never = meta.find_condition(meta.conditions(node(watched)), "PIDPressure") or {}
    assert never["reason"] == "NodeStatusNeverUpdated"
    assert taints(watched) == {("unreachable", "NoSchedule"), ("unreachable", "NoExecute")}
    events = watched.events()
    assert ("n1", "NodeNotReady", "Node n1 status is now: NodeNotReady") in events
    # No toleration: the pod is evicted at once, and only marked, for its kubelet does not answer.
    assert ("a", "TaintManagerEviction", "Marking for deletion Pod default/a") in events
    (pod,) = watched.pods()
    assert meta.is_deleting(pod)
    assert meta.is_condition_true(meta.conditions(pod), "DisruptionTarget")
    assert not meta.is_condition_true(meta.conditions(pod), "Ready")


async def test_a_kubelet_speaks_for_the_pods_of_a_node_that_is_not_ready(watched: World) -> None:
    """It says that its node is not ready, and that its pods are: nobody contradicts it, and it contradicts nobody."""
    tolerant = [{"operator": "Exists"}]
    add_pod(watched, "a", tolerations=tolerant)
    add_node(watched, "n1", ready="False")
    renew(watched, "n1")
    await watched.settle()
    assert taints(watched) == {("not-ready", "NoSchedule"), ("not-ready", "NoExecute")}
    assert meta.is_condition_true(meta.conditions(watched.pods()[0]), "Ready")
    assert not [event for event in watched.events() if event[0] == "a"]


async def test_what_a_kubelet_says_after_its_node_was_lost_stands(watched: World) -> None:
    """It is back, and tells of its pods before it tells of itself."""
    add_pod(watched, "a", tolerations=[{"operator": "Exists"}])
    await live(watched, 60, "n2")
    pod = watched.pods()[0]
    assert not meta.is_condition_true(meta.conditions(pod), "Ready")
    again = {"type": "Ready", "status": "True", "lastTransitionTime": meta.format_time(watched.clock.now())}
    watched.api.put(PODS, {**pod, "status": {**pod["status"], "conditions": [again]}})
    await watched.settle()
    assert meta.is_condition_true(meta.conditions(watched.pods()[0]), "Ready")


async def test_a_node_that_comes_back_loses_its_taints(watched: World) -> None:
    await live(watched, 60, "n2")
    assert taints(watched)
    add_node(watched, "n1", taints=node(watched)["spec"]["taints"])
    renew(watched, "n1")
    await watched.settle()
    assert taints(watched) == set()


async def test_a_toleration_counts_from_the_taint_and_ends_with_it(watched: World) -> None:
    for name, seconds in (("short", 60), ("long", 300)):
        toleration = {"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds}
        add_pod(watched, name, tolerations=[toleration])
    add_pod(watched, "forever", tolerations=[{"operator": "Exists"}])
    await live(watched, 60, "n2")
    assert not any(map(meta.is_deleting, watched.pods()))
    await live(watched, 70, "n2")
    assert [meta.name(pod) for pod in watched.pods() if meta.is_deleting(pod)] == ["short"]
    add_node(watched, "n1", taints=node(watched)["spec"]["taints"])
    await live(watched, 600, "n1", "n2")
    assert [meta.name(pod) for pod in watched.pods() if meta.is_deleting(pod)] == ["short"]


async def test_when_no_node_is_ready_nothing_is_driven_out(watched: World) -> None:
    add_pod(watched, "a")
    await watched.settle(120)
    assert taints(watched) == {("unreachable", "NoSchedule")}
    assert not meta.is_deleting(watched.pods()[0])


async def test_cordons_and_pressure_keep_new_pods_away(watched: World) -> None:
    found = node(watched)
    conditions = meta.set_condition(meta.conditions(found), "MemoryPressure", "True", watched.clock.now())
    watched.api.put(NODES, {**found, "spec": {"unschedulable": True}, "status": {"conditions": conditions}})
    await watched.settle()
    assert taints(watched) == {("unschedulable", "NoSchedule"), ("memory-pressure", "NoSchedule")}
    watched.api.put(NODES, {**node(watched), "spec": {**node(watched)["spec"], "unschedulable": False}})
    await watched.settle()
    assert taints(watched) == {("memory-pressure", "NoSchedule")}


async def test_foreign_taints_stay_and_get_their_time(watched: World) -> None:
    add_pod(watched, "a", tolerations=[{"key": "maintenance", "operator": "Exists", "tolerationSeconds": 30}])
    foreign = {"key": "maintenance", "effect": "NoExecute"}
    watched.api.put(NODES, {**node(watched), "spec": {"taints": [foreign]}})
    await live(watched, 20, "n1", "n2")
    assert node(watched)["spec"]["taints"][0]["timeAdded"]
    assert not meta.is_deleting(watched.pods()[0])
    await live(watched, 20, "n1", "n2")
    assert meta.is_deleting(watched.pods()[0])


async def test_a_control_plane_that_was_away_gives_every_node_time(world: World) -> None:
    add_node(world, "n1")
    await world.clock.advance(3600)
    await world.start(catalog.make("node-lifecycle-controller", catalog.Options(started=world.clock.now())))
    await world.settle(45)
    assert meta.is_condition_true(meta.conditions(node(world)), "Ready")
    await world.settle(10)
    assert not meta.is_condition_true(meta.conditions(node(world)), "Ready")


# Addresses


async def test_every_node_gets_a_range_of_its_own(world: World) -> None:
    add_node(world, "brings-its-own", podCIDR="10.244.1.0/24", podCIDRs=["10.244.1.0/24"])
    for name in ("a", "b", "c"):
        add_node(world, name)
    await world.start(node_ipam.make(catalog.Options()))
    ranges = {meta.name(each): each["spec"]["podCIDRs"] for each in world.api.objects(NODES)}
    assert sorted(ranges.values()) == [
        ["10.244.0.0/24"],
        ["10.244.1.0/24"],
        ["10.244.2.0/24"],
        ["10.244.3.0/24"],
    ]
    await world.client.delete(NODES, "b")
    await world.settle()
    add_node(world, "d")
    await world.settle()
    assert node(world, "d")["spec"]["podCIDRs"] == ranges["b"]


async def test_a_full_cluster_says_so(world: World) -> None:
    add_node(world, "a")
    await world.start(node_ipam.make(catalog.Options(cluster_cidr="10.0.0.0/24", node_cidr_mask_size=24)))
    add_node(world, "b")
    await world.settle()
    assert "podCIDR" not in node(world, "b")["spec"]
    assert world.events()[0] == ("b", "CIDRNotAvailable", "Node b status is now: CIDRNotAvailable")
    await world.client.delete(NODES, "a")
    await world.settle(60)
    assert node(world, "b")["spec"]["podCIDR"] == "10.0.0.0/24"


# What is left of pods


async def test_pods_of_a_node_that_is_gone_are_failed_and_removed(world: World) -> None:
    add_node(world, "n1")
    add_pod(world, "a")
    await world.start(pod_gc.CONTROLLER)
    await world.settle(60)
    assert len(world.pods()) == 1
    await world.client.delete(NODES, "n1")
    await world.settle()
    assert world.pods() == []
    assert ("PATCH", "/api/v1/namespaces/default/pods/a/status") in world.api.requests


async def test_a_young_pod_of_an_unknown_node_gets_time(world: World) -> None:
    add_pod(world, "a", node="late")
    await world.start(pod_gc.CONTROLLER)
    await world.settle(30)
    add_node(world, "late")
    await world.settle(60)
    assert len(world.pods()) == 1


async def test_a_pod_that_dies_on_no_node_is_removed(world: World) -> None:
    metadata = {"name": "a", "namespace": "default", "deletionTimestamp": "2026-01-01T00:00:00Z"}
    world.api.put(PODS, {"metadata": metadata, "spec": {}})
    await world.start(pod_gc.CONTROLLER)
    assert world.pods() == []
