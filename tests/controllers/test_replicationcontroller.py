"""ReplicationControllers over a whole API: what they do not share with ReplicaSets."""

from typing import Any

from tiphys.client.resources import REPLICATIONCONTROLLERS
from tiphys.controllers import replicationcontroller
from tiphys.testing.world import World


def make(replicas: int) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ReplicationController",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "selector": {"app": "web"},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": []}},
        },
    }


async def test_it_makes_pods_and_scales_them(world: World) -> None:
    await world.client.create(REPLICATIONCONTROLLERS, make(2))
    await world.start(replicationcontroller.CONTROLLER)
    assert len(world.pods(app="web")) == 2
    owner = world.pods()[0]["metadata"]["ownerReferences"][0]
    assert (owner["kind"], owner["apiVersion"], owner["controller"]) == ("ReplicationController", "v1", True)
    assert [reason for _, reason, _ in world.events()] == ["SuccessfulCreate"] * 2
    world.make_ready()
    await world.client.patch(REPLICATIONCONTROLLERS, "web", {"spec": {"replicas": 1}}, "default")
    await world.settle()
    await world.remove_terminating()
    assert len(world.pods()) == 1
    status = world.api.objects(REPLICATIONCONTROLLERS)[0]["status"]
    assert (status["replicas"], status["availableReplicas"]) == (1, 1)
    assert "terminatingReplicas" not in status
