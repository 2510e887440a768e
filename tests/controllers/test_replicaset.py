"""ReplicaSets over a whole API: what no single plan shows."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tiphys.client.resources import PODS, REPLICASETS
from tiphys.controllers import replicaset
from tiphys.controllers.actions import Create
from tiphys.controllers.executor import Failure
from tiphys.controllers.ranking import deletion_cost, deletion_order
from tiphys.machinery.errors import StatusError, forbidden
from tiphys.testing.clock import START
from tiphys.testing.world import World


def make(replicas: int) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": []}},
        },
    }


def creations(world: World) -> int:
    return sum(method == "POST" and path.endswith("/pods") for method, path in world.api.requests)


async def test_it_creates_exactly_as_many_as_asked_for(world: World) -> None:
    await world.client.create(REPLICASETS, make(20))
    await world.start(replicaset.CONTROLLER)
    assert len(world.pods()) == creations(world) == 20
    status = world.api.objects(REPLICASETS)[0]["status"]
    assert status["replicas"] == 20
    world.make_ready()
    await world.settle()
    assert world.api.objects(REPLICASETS)[0]["status"]["availableReplicas"] == 20


async def test_a_deleted_pod_is_replaced_and_told(world: World) -> None:
    await world.client.create(REPLICASETS, make(2))
    await world.start(replicaset.CONTROLLER)
    await world.client.delete(PODS, world.pods()[0]["metadata"]["name"], "default")
    await world.settle()
    assert len(world.pods()) == 2
    assert creations(world) == 3
    reasons = [(about, reason) for about, reason, _ in world.events()]
    assert reasons == [("web", "SuccessfulCreate")] * 3


async def test_scaling_down_deletes_and_tells(world: World) -> None:
    await world.client.create(REPLICASETS, make(3))
    await world.start(replicaset.CONTROLLER)
    await world.client.patch(REPLICASETS, "web", {"spec": {"replicas": 1}}, "default")
    await world.settle()
    assert len(world.pods()) == 1
    assert [reason for _, reason, _ in world.events()].count("SuccessfulDelete") == 2


async def test_a_terminating_pod_is_replaced_at_once_and_not_deleted_twice(world: World) -> None:
    await world.client.create(REPLICASETS, make(1))
    await world.start(replicaset.CONTROLLER)
    world.make_ready()
    await world.client.delete(PODS, world.pods()[0]["metadata"]["name"], "default")
    await world.settle()
    assert len(world.pods()) == 2
    assert world.api.objects(REPLICASETS)[0]["status"]["terminatingReplicas"] == 1
    await world.remove_terminating()
    assert len(world.pods()) == 1
    assert world.api.objects(REPLICASETS)[0]["status"]["terminatingReplicas"] == 0


async def test_a_refused_creation_is_a_condition_and_starts_slowly(world: World) -> None:
    world.api.refuse(
        lambda method, path: method == "POST" and path.endswith("/pods"),
        forbidden(PODS.group_resource, "web-", "exceeded quota"),
    )
    await world.client.create(REPLICASETS, make(100))
    await world.start(replicaset.CONTROLLER)
    await world.settle(0)
    (condition,) = world.api.objects(REPLICASETS)[0]["status"]["conditions"]
    assert (condition["type"], condition["status"], condition["reason"]) == (
        "ReplicaFailure",
        "True",
        "FailedCreate",
    )
    assert "exceeded quota" in condition["message"]
    name, reason, message = world.events()[0]
    assert (name, reason) == ("web", "FailedCreate")
    assert message.startswith("Error creating: ")
    # One try a round while it fails: 5 ms, 10 ms, 20 ms… in a second.
    assert len(world.events()) <= 10
    world.api.accept_all()
    await world.settle(60)
    assert len(world.pods()) == 100
    assert "conditions" not in world.api.objects(REPLICASETS)[0]["status"]


async def test_the_first_failure_stays_told(world: World) -> None:
    """Each refusal names another pod: told each time, the status would change, and be looked at again, without end."""
    world.api.refuse(
        lambda method, path: method == "POST" and path.endswith("/pods"),
        forbidden(PODS.group_resource, "web-a", "exceeded quota"),
    )
    await world.client.create(REPLICASETS, make(1))
    await world.start(replicaset.CONTROLLER)
    (found,) = world.api.objects(REPLICASETS)
    observed = replicaset.CONTROLLER.observe(found, world.informers.view)
    again = Failure(Create(PODS, {}), forbidden(PODS.group_resource, "web-b", "exceeded quota"))
    assert replicaset.CONTROLLER.failed is not None
    assert replicaset.CONTROLLER.failed(found, observed, again, world.clock.now()).actions == ()


async def test_a_namespace_that_goes_away_is_left_alone(world: World) -> None:
    cause = {"reason": "NamespaceTerminating", "message": "namespace default is being terminated"}
    error = StatusError(403, "Forbidden", "forbidden", {"causes": [cause]})
    world.api.refuse(lambda method, path: method == "POST" and path.endswith("/pods"), error)
    await world.client.create(REPLICASETS, make(1))
    await world.start(replicaset.CONTROLLER)
    await world.settle(60)
    assert world.runners[0].queue.failures("default/web") == 0
    assert world.events() == []


async def test_an_orphan_is_adopted_when_it_appears(world: World) -> None:
    await world.client.create(REPLICASETS, make(1))
    world.api.put(PODS, {"metadata": {"name": "orphan", "namespace": "default", "labels": {"app": "web"}}})
    await world.start(replicaset.CONTROLLER)
    assert [pod["metadata"]["name"] for pod in world.pods()] == ["orphan"]
    assert world.pods()[0]["metadata"]["ownerReferences"][0]["controller"] is True


pods = st.lists(
    st.fixed_dictionaries(
        {
            "node": st.sampled_from(["", "n1", "n2"]),
            "phase": st.sampled_from(["Pending", "Running"]),
            "ready": st.booleans(),
            "cost": st.sampled_from(["-1", "0", "5"]),
        }
    ),
    max_size=8,
)


@given(pods)
def test_whoever_goes_first_is_never_better_than_who_stays(shapes: list[dict[str, Any]]) -> None:
    def standing(pod: dict[str, Any]) -> tuple[bool, bool, bool]:
        ready = bool(pod["status"]["conditions"])
        return bool(pod["spec"]["nodeName"]), pod["status"]["phase"] == "Running", ready

    objects = [
        {
            "metadata": {
                "name": str(number),
                "uid": str(number),
                "annotations": {"controller.kubernetes.io/pod-deletion-cost": shape["cost"]},
            },
            "spec": {"nodeName": shape["node"]},
            "status": {
                "phase": shape["phase"],
                "conditions": [{"type": "Ready", "status": "True"}] if shape["ready"] else [],
            },
        }
        for number, shape in enumerate(shapes)
    ]
    ordered = deletion_order(objects, objects, START)
    assert sorted(pod["metadata"]["uid"] for pod in ordered) == sorted(
        pod["metadata"]["uid"] for pod in objects
    )
    standings = [standing(pod) for pod in ordered]
    assert standings == sorted(standings)


def test_a_cost_that_is_no_int32_is_0() -> None:
    for text, cost in [("12", 12), ("-3", -3), ("+3", 0), ("", 0), ("01", 0), ("3000000000", 0), ("x", 0)]:
        pod = {"metadata": {"annotations": {"controller.kubernetes.io/pod-deletion-cost": text}}}
        assert deletion_cost(pod) == cost
