"""Disruption budgets over a whole API: who is asked how many pods there should be, and conditions that came to nothing."""

from typing import Any

from tiphys.client.resources import PODDISRUPTIONBUDGETS, PODS, REPLICASETS
from tiphys.controllers import disruption, replicaset
from tiphys.machinery import meta
from tiphys.testing.clock import START
from tiphys.testing.world import World

BUDGET: dict[str, Any] = {
    "apiVersion": "policy/v1",
    "kind": "PodDisruptionBudget",
    "metadata": {"name": "web", "namespace": "default"},
    "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"app": "web"}}},
}


def status(world: World) -> dict[str, Any]:
    found: dict[str, Any] = world.api.objects(PODDISRUPTIONBUDGETS)[0].get("status", {})
    return found


def pod(owner: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": "p", "namespace": "default", "labels": {"app": "web"}}
    if owner:
        metadata["ownerReferences"] = [owner]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {}, **more}


async def test_it_follows_pods_and_their_controller(world: World) -> None:
    await world.client.create(PODDISRUPTIONBUDGETS, BUDGET)
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": []}}
    spec = {"replicas": 3, "selector": {"matchLabels": {"app": "web"}}, "template": template}
    metadata = {"name": "web", "namespace": "default"}
    await world.client.create(
        REPLICASETS, {"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": metadata, "spec": spec}
    )
    await world.start(replicaset.CONTROLLER, disruption.CONTROLLER)
    assert (status(world)["expectedPods"], status(world)["disruptionsAllowed"]) == (3, 0)
    world.make_ready()
    await world.settle()
    assert (status(world)["currentHealthy"], status(world)["disruptionsAllowed"]) == (3, 1)
    await world.client.patch(REPLICASETS, "web", {"spec": {"replicas": 5}}, "default")
    await world.settle()
    assert (status(world)["desiredHealthy"], status(world)["disruptionsAllowed"]) == (4, 0)


async def test_a_controller_without_a_scale_is_a_failure(world: World) -> None:
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": "u", "controller": True}
    await world.client.create(PODDISRUPTIONBUDGETS, BUDGET)
    await world.client.create(PODS, pod(owner))
    await world.start(disruption.CONTROLLER)
    (condition,) = status(world)["conditions"]
    assert (condition["status"], condition["reason"]) == ("False", "SyncFailed")
    assert condition["message"] == "jobs.batch does not implement the scale subresource"
    told = [(reason, message) for _, reason, message in world.events()]
    assert told == [
        (
            "CalculateExpectedPodCountFailed",
            "Failed to calculate the number of expected pods: "
            "jobs.batch does not implement the scale subresource",
        )
    ]


async def test_a_disruption_that_did_not_come_is_taken_back(world: World) -> None:
    condition = {
        "type": "DisruptionTarget",
        "status": "True",
        "reason": "EvictionByEvictionAPI",
        "message": "Eviction API: evicting",
        "lastTransitionTime": meta.format_time(START),
    }
    await world.client.create(PODS, pod())
    world.set_pod(world.pods()[0], status={"phase": "Running", "conditions": [condition]})
    await world.start(disruption.CONDITIONS)
    await world.settle(110)
    assert world.pods()[0]["status"]["conditions"][0]["status"] == "True"
    await world.settle(20)
    (found,) = world.pods()[0]["status"]["conditions"]
    assert (found["type"], found["status"]) == ("DisruptionTarget", "False")
    assert not found.get("reason")
