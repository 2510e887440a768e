"""StatefulSets over a whole API: what no single plan shows."""

from datetime import timedelta
from typing import Any

from tiphys.client.resources import (
    CONTROLLERREVISIONS,
    PERSISTENTVOLUMECLAIMS,
    PODS,
    STATEFULSETS,
)
from tiphys.controllers import statefulset
from tiphys.controllers.revisions import next_name
from tiphys.machinery import meta
from tiphys.machinery.errors import forbidden
from tiphys.testing.world import World

Object = dict[str, Any]


def make(replicas: int, **spec: Any) -> Object:
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "serviceName": "all",
            "podManagementPolicy": "OrderedReady",
            "updateStrategy": rolling,
            "selector": {"matchLabels": {"app": "web"}},
            "template": template("one"),
            **spec,
        },
    }


def template(image: str) -> Object:
    return {
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "c", "image": image}]},
    }


def names(world: World) -> list[str]:
    return sorted(pod["metadata"]["name"] for pod in world.pods())


def pod(world: World, name: str) -> Object:
    (found,) = (pod for pod in world.pods() if pod["metadata"]["name"] == name)
    return found


def images(world: World) -> list[str]:
    return [pod(world, name)["spec"]["containers"][0]["image"] for name in names(world)]


def the_set(world: World) -> Object:
    return world.api.objects(STATEFULSETS)[0]


async def grow(world: World, times: int) -> None:
    """Lets pods come one after the other."""
    for _ in range(times):
        world.make_ready()
        await world.settle()


async def set_image(world: World, image: str) -> None:
    await world.client.patch(STATEFULSETS, "web", {"spec": {"template": template(image)}}, "default")
    await world.settle()


async def roll_one(world: World, name: str) -> None:
    """What a kubelet does for a pod that is replaced."""
    await world.remove_terminating()
    world.make_ready(pod(world, name))
    await world.settle()


async def test_pods_come_in_order_when_those_before_are_ready(world: World) -> None:
    await world.client.create(STATEFULSETS, make(3))
    await world.start(statefulset.CONTROLLER)
    assert names(world) == ["web-0"]
    await grow(world, 1)
    assert names(world) == ["web-0", "web-1"]
    await grow(world, 2)
    assert names(world) == ["web-0", "web-1", "web-2"]
    status = the_set(world)["status"]
    assert status["readyReplicas"] == status["currentReplicas"] == status["updatedReplicas"] == 3
    assert status["currentRevision"] == status["updateRevision"]
    assert status["collisionCount"] == 0
    before = world.api.resource_version
    await world.settle(60)
    assert world.api.resource_version == before
    first = pod(world, "web-1")
    assert first["spec"]["hostname"] == "web-1"
    assert first["spec"]["subdomain"] == "all"
    assert first["metadata"]["labels"] == {
        "app": "web",
        "apps.kubernetes.io/pod-index": "1",
        "controller-revision-hash": status["updateRevision"],
        "statefulset.kubernetes.io/pod-name": "web-1",
    }
    assert world.events()[0] == (
        "web",
        "SuccessfulCreate",
        "create Pod web-0 in StatefulSet web successful",
    )


async def test_scaling_down_goes_from_the_top_and_waits(world: World) -> None:
    await world.client.create(STATEFULSETS, make(3, podManagementPolicy="Parallel"))
    await world.start(statefulset.CONTROLLER)
    assert names(world) == ["web-0", "web-1", "web-2"]
    await world.client.patch(
        STATEFULSETS, "web", {"spec": {"podManagementPolicy": "OrderedReady"}}, "default"
    )
    world.make_ready()
    await world.client.patch(STATEFULSETS, "web", {"spec": {"replicas": 1}}, "default")
    await world.settle()
    going = [each["metadata"]["name"] for each in world.pods() if "deletionTimestamp" in each["metadata"]]
    assert going == ["web-2"]
    await world.remove_terminating()
    going = [each["metadata"]["name"] for each in world.pods() if "deletionTimestamp" in each["metadata"]]
    assert going == ["web-1"]
    await world.remove_terminating()
    assert names(world) == ["web-0"]


async def test_a_new_template_rolls_from_the_top(world: World) -> None:
    await world.client.create(STATEFULSETS, make(3))
    await world.start(statefulset.CONTROLLER)
    await grow(world, 3)
    await set_image(world, "two")
    first, second = sorted(world.api.objects(CONTROLLERREVISIONS), key=lambda each: each["revision"])
    assert (first["revision"], second["revision"]) == (1, 2)
    status = the_set(world)["status"]
    assert (status["currentRevision"], status["updateRevision"]) == (
        first["metadata"]["name"],
        second["metadata"]["name"],
    )
    assert status["currentReplicas"] == 2
    for name in ("web-2", "web-1", "web-0"):
        await roll_one(world, name)
    assert images(world) == ["two"] * 3
    status = the_set(world)["status"]
    assert status["currentRevision"] == status["updateRevision"] == second["metadata"]["name"]
    assert status["currentReplicas"] == status["updatedReplicas"] == 3
    # Back to what was there: the same revision, with a new number.
    await set_image(world, "one")
    numbers = {each["metadata"]["name"]: each["revision"] for each in world.api.objects(CONTROLLERREVISIONS)}
    assert numbers == {first["metadata"]["name"]: 3, second["metadata"]["name"]: 2}


async def test_a_partition_keeps_those_below_at_the_old_template(world: World) -> None:
    partition = {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}
    await world.client.create(STATEFULSETS, make(3, updateStrategy=partition))
    await world.start(statefulset.CONTROLLER)
    await grow(world, 3)
    await set_image(world, "two")
    await roll_one(world, "web-2")
    assert images(world) == ["one", "one", "two"]
    await world.client.delete(PODS, "web-0", "default")
    await world.settle()
    await roll_one(world, "web-0")
    assert images(world) == ["one", "one", "two"]
    assert the_set(world)["status"]["currentReplicas"] == 2
    assert the_set(world)["status"]["updatedReplicas"] == 1


async def test_as_many_at_a_time_as_may_be_unavailable(world: World) -> None:
    several = {"type": "RollingUpdate", "rollingUpdate": {"partition": 0, "maxUnavailable": 2}}
    await world.client.create(STATEFULSETS, make(4, updateStrategy=several, podManagementPolicy="Parallel"))
    await world.start(statefulset.CONTROLLER)
    await grow(world, 1)
    await set_image(world, "two")
    going = [each["metadata"]["name"] for each in world.pods() if "deletionTimestamp" in each["metadata"]]
    assert going == ["web-2", "web-3"]
    await world.remove_terminating()
    assert images(world) == ["one", "one", "two", "two"]
    await grow(world, 1)
    going = [each["metadata"]["name"] for each in world.pods() if "deletionTimestamp" in each["metadata"]]
    assert going == ["web-0", "web-1"]


async def test_pods_that_ended_are_made_anew(world: World) -> None:
    await world.client.create(STATEFULSETS, make(2, podManagementPolicy="Parallel"))
    await world.start(statefulset.CONTROLLER)
    world.make_ready()
    for name, phase in (("web-0", "Failed"), ("web-1", "Succeeded")):
        world.set_pod(pod(world, name), status={"phase": phase})
    await world.settle()
    await world.remove_terminating()
    assert names(world) == ["web-0", "web-1"]
    assert not any(each.get("status", {}).get("phase") in ("Failed", "Succeeded") for each in world.pods())


async def test_claims_are_made_before_the_pod_and_stay(world: World) -> None:
    claims = [{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}]
    await world.client.create(STATEFULSETS, make(1, volumeClaimTemplates=claims))
    await world.start(statefulset.CONTROLLER)
    (volume,) = world.api.objects(PERSISTENTVOLUMECLAIMS)
    assert volume["metadata"]["name"] == "data-web-0"
    assert volume["metadata"]["labels"] == {"app": "web"}
    assert "ownerReferences" not in volume["metadata"]
    assert pod(world, "web-0")["spec"]["volumes"] == [
        {"name": "data", "persistentVolumeClaim": {"claimName": "data-web-0"}}
    ]
    assert [reason for _, reason, _ in world.events()] == ["SuccessfulCreate"] * 2
    assert world.events()[0][2] == "create Claim data-web-0 Pod web-0 in StatefulSet web success"
    await world.client.patch(STATEFULSETS, "web", {"spec": {"replicas": 0}}, "default")
    await world.settle()
    await world.remove_terminating()
    assert names(world) == []
    assert len(world.api.objects(PERSISTENTVOLUMECLAIMS)) == 1


async def test_claims_go_as_the_retention_policy_says(world: World) -> None:
    claims = [{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}]
    policy = {"whenDeleted": "Delete", "whenScaled": "Delete"}
    await world.client.create(
        STATEFULSETS,
        make(2, volumeClaimTemplates=claims, persistentVolumeClaimRetentionPolicy=policy),
    )
    await world.start(statefulset.CONTROLLER)
    await grow(world, 2)

    def owners() -> dict[str, list[tuple[str, str]]]:
        return {
            each["metadata"]["name"]: [
                (owner["kind"], owner["name"]) for owner in each["metadata"].get("ownerReferences", ())
            ]
            for each in world.api.objects(PERSISTENTVOLUMECLAIMS)
        }

    assert owners() == {"data-web-0": [("StatefulSet", "web")], "data-web-1": [("StatefulSet", "web")]}
    await world.client.patch(STATEFULSETS, "web", {"spec": {"replicas": 1}}, "default")
    await world.settle()
    assert owners() == {"data-web-0": [("StatefulSet", "web")], "data-web-1": [("Pod", "web-1")]}
    # Scaled up again before the claim is gone: the new pod waits for that.
    await world.remove_terminating()
    await world.client.patch(STATEFULSETS, "web", {"spec": {"replicas": 2}}, "default")
    await world.settle()
    assert names(world) == ["web-0"]
    await world.client.delete(PERSISTENTVOLUMECLAIMS, "data-web-1", "default")
    await world.settle()
    assert names(world) == ["web-0", "web-1"]
    assert owners()["data-web-1"] == [("StatefulSet", "web")]


async def test_ordinals_may_begin_elsewhere(world: World) -> None:
    await world.client.create(STATEFULSETS, make(2, ordinals={"start": 5}, podManagementPolicy="Parallel"))
    await world.start(statefulset.CONTROLLER)
    world.make_ready()
    await world.settle()
    assert names(world) == ["web-5", "web-6"]
    await world.client.patch(STATEFULSETS, "web", {"spec": {"ordinals": {"start": 6}}}, "default")
    await world.settle()
    await world.remove_terminating()
    assert names(world) == ["web-6", "web-7"]


async def test_orphans_are_adopted_with_their_revisions(world: World) -> None:
    await world.client.create(STATEFULSETS, make(2, podManagementPolicy="Parallel"))
    await world.start(statefulset.CONTROLLER)
    world.make_ready()
    await world.settle()
    uids = [each["metadata"]["uid"] for each in world.pods()]
    await world.client.delete(STATEFULSETS, "web", "default")
    for resource in (PODS, CONTROLLERREVISIONS):
        for each in world.api.objects(resource):
            metadata = {**each["metadata"], "ownerReferences": []}
            world.api.put(resource, {**each, "metadata": metadata})
    await world.settle()
    await world.client.create(STATEFULSETS, make(2, podManagementPolicy="Parallel"))
    await world.settle()
    assert [each["metadata"]["uid"] for each in world.pods()] == uids
    (revision,) = world.api.objects(CONTROLLERREVISIONS)
    owner = the_set(world)["metadata"]["uid"]
    assert [each["uid"] for each in revision["metadata"]["ownerReferences"]] == [owner]
    assert {each["metadata"]["ownerReferences"][0]["uid"] for each in world.pods()} == {owner}


async def test_old_revisions_are_forgotten(world: World) -> None:
    await world.client.create(STATEFULSETS, make(0, revisionHistoryLimit=2))
    await world.start(statefulset.CONTROLLER)
    for image in ("two", "three", "four", "five"):
        await set_image(world, image)
    numbers = sorted(each["revision"] for each in world.api.objects(CONTROLLERREVISIONS))
    # The present one, what the status calls the current one, and two more.
    assert numbers[-1] == 5
    assert len(numbers) <= 4


async def test_a_revision_whose_name_is_taken_counts_a_collision(world: World) -> None:
    made = await world.client.create(STATEFULSETS, make(1))
    world.api.put(
        CONTROLLERREVISIONS,
        {
            "apiVersion": "apps/v1",
            "kind": "ControllerRevision",
            "metadata": {"name": next_name(made), "namespace": "default"},
            "data": {"another": "one"},
            "revision": 1,
        },
    )
    await world.start(statefulset.CONTROLLER)
    assert the_set(world)["status"]["collisionCount"] == 1
    assert names(world) == ["web-0"]


async def test_a_label_that_names_the_pod_comes_back(world: World) -> None:
    await world.client.create(STATEFULSETS, make(1))
    await world.start(statefulset.CONTROLLER)
    world.make_ready()
    await world.client.patch(
        PODS, "web-0", {"metadata": {"labels": {"statefulset.kubernetes.io/pod-name": None}}}, "default"
    )
    await world.settle()
    assert pod(world, "web-0")["metadata"]["labels"]["statefulset.kubernetes.io/pod-name"] == "web-0"
    assert ("web", "SuccessfulUpdate", "update Pod web-0 in StatefulSet web successful") in world.events()


async def test_what_cannot_be_made_is_told(world: World) -> None:
    world.api.refuse(
        lambda method, path: method == "POST" and path.endswith("/pods"),
        forbidden(PODS.group_resource, "web-0", "exceeded quota"),
    )
    await world.client.create(STATEFULSETS, make(1))
    await world.start(statefulset.CONTROLLER)
    _, reason, message = world.events()[0]
    assert reason == "FailedCreate"
    assert message.startswith("create Pod web-0 in StatefulSet web failed error: ")
    assert "exceeded quota" in message
    assert the_set(world)["status"]["updateRevision"]


async def test_a_pod_that_always_fails_is_not_made_in_a_hot_loop(world: World) -> None:
    await world.client.create(STATEFULSETS, make(1))
    await world.start(statefulset.CONTROLLER)
    for _ in range(3):
        await world.settle(0)
        young = pod(world, "web-0")
        world.set_pod(young, status={"phase": "Failed"})
        await world.settle(0)
        made = meta.creation_time(young)
        assert made is not None
        is_old = made + timedelta(seconds=1) <= world.clock.now()
        assert (pod(world, "web-0")["metadata"]["uid"] != young["metadata"]["uid"]) == is_old
        await world.settle(1)
        assert pod(world, "web-0")["metadata"]["uid"] != young["metadata"]["uid"]


async def test_a_claim_that_is_being_deleted_holds_the_pod_up(world: World) -> None:
    claims = [{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}]
    leaving = {
        "metadata": {
            "name": "data-web-0",
            "namespace": "default",
            "finalizers": ["kubernetes.io/pvc-protection"],
        }
    }
    await world.client.create(PERSISTENTVOLUMECLAIMS, leaving)
    await world.client.delete(PERSISTENTVOLUMECLAIMS, "data-web-0", "default")
    await world.client.create(STATEFULSETS, make(1, volumeClaimTemplates=claims))
    await world.start(statefulset.CONTROLLER)
    assert names(world) == []
    told = "create Pod web-0 in StatefulSet web failed error: pvc data-web-0 is being deleted"
    assert ("web", "FailedCreate", told) in world.events()
    await world.client.patch(
        PERSISTENTVOLUMECLAIMS, "data-web-0", {"metadata": {"finalizers": None}}, "default"
    )
    await world.settle()
    assert names(world) == ["web-0"]


async def test_a_stranger_with_the_name_of_a_pod_is_waited_for(world: World) -> None:
    stranger = {"metadata": {"name": "web-0", "namespace": "default", "labels": {"app": "other"}}}
    world.api.put(PODS, stranger)
    await world.client.create(STATEFULSETS, make(1))
    await world.start(statefulset.CONTROLLER)
    await world.settle(60)
    assert world.events() == []
    assert "ownerReferences" not in pod(world, "web-0")["metadata"]
    await world.client.delete(PODS, "web-0", "default", grace_period_seconds=0)
    await world.settle(0)
    assert pod(world, "web-0")["metadata"]["ownerReferences"][0]["kind"] == "StatefulSet"


async def test_a_pod_whose_labels_were_changed_is_let_go(world: World) -> None:
    await world.client.create(STATEFULSETS, make(1))
    await world.start(statefulset.CONTROLLER)
    await world.client.patch(PODS, "web-0", {"metadata": {"labels": {"app": "debug"}}}, "default")
    await world.settle()
    assert not pod(world, "web-0")["metadata"].get("ownerReferences")
    await world.client.patch(PODS, "web-0", {"metadata": {"labels": {"app": "web"}}}, "default")
    await world.settle()
    assert pod(world, "web-0")["metadata"]["ownerReferences"][0]["kind"] == "StatefulSet"
