"""What happens between `kubectl delete namespace` and its end."""

from __future__ import annotations

from typing import Any

import pytest

from tiphys.client.resources import CONFIGMAPS, DEPLOYMENTS, NAMESPACES, PODS
from tiphys.controllers import namespace
from tiphys.machinery import meta
from tiphys.machinery.errors import internal_error
from tiphys.testing.world import World


@pytest.fixture
async def full(world: World) -> World:
    world.api.put(
        NAMESPACES, {"metadata": {"name": "team"}, "spec": {"finalizers": ["kubernetes"]}, "status": {}}
    )
    for resource, name in ((CONFIGMAPS, "settings"), (DEPLOYMENTS, "web"), (PODS, "pod")):
        world.api.put(resource, {"metadata": {"name": name, "namespace": "team"}, "spec": {}})
    world.api.put(CONFIGMAPS, {"metadata": {"name": "other", "namespace": "default"}})
    await world.start(namespace.CONTROLLER)
    return world


def conditions(world: World) -> dict[str, tuple[str, str, str]]:
    (team,) = world.api.objects(NAMESPACES)
    found = meta.conditions(team)
    return {each["type"]: (each["status"], each["reason"], each["message"]) for each in found}


async def test_a_living_namespace_is_left_alone(full: World) -> None:
    assert len(full.api.objects(CONFIGMAPS)) == 2


async def test_everything_in_it_goes_and_then_itself(full: World) -> None:
    await full.client.delete(NAMESPACES, "team")
    await full.settle(5)
    assert full.api.objects(NAMESPACES) == []
    assert [meta.name(obj) for obj in full.api.objects(CONFIGMAPS)] == ["other"]
    assert full.api.objects(DEPLOYMENTS) == []


async def test_pods_go_first_and_what_remains_is_told(full: World) -> None:
    (pod,) = full.api.objects(PODS)
    full.api.put(PODS, {**pod, "spec": {"nodeName": "n1", "terminationGracePeriodSeconds": 30}})
    await full.client.delete(NAMESPACES, "team")
    await full.settle(5)
    assert len(full.api.objects(DEPLOYMENTS)) == 1
    assert conditions(full)["NamespaceContentRemaining"] == (
        "True",
        "SomeResourcesRemain",
        "Some resources are remaining: pods. has 1 resource instances",
    )
    assert conditions(full)["NamespaceDeletionContentFailure"][:2] == ("False", "ContentDeleted")
    await full.client.delete(PODS, "pod", "team", grace_period_seconds=0)
    await full.settle(3)
    assert full.api.objects(NAMESPACES) == []


async def test_an_object_with_a_finalizer_holds_it(full: World) -> None:
    metadata = {"name": "settings", "namespace": "team", "finalizers": ["example.com/hold"]}
    full.api.put(CONFIGMAPS, {"metadata": metadata})
    await full.client.delete(NAMESPACES, "team")
    await full.settle(10)
    assert conditions(full)["NamespaceFinalizersRemaining"] == (
        "True",
        "SomeFinalizerRemain",
        "Some finalizers are remaining: example.com/hold in 1 resource instances",
    )
    writes = full.api.resource_version
    await full.settle(30)
    assert full.api.resource_version == writes  # told once
    await full.client.patch(CONFIGMAPS, "settings", {"metadata": {"finalizers": None}}, "team")
    await full.settle(3)
    assert full.api.objects(NAMESPACES) == []


async def test_a_kind_that_cannot_be_deleted_is_named(full: World) -> None:
    full.api.refuse(
        lambda method, path: method == "DELETE" and path.endswith("/configmaps"), internal_error("no room")
    )
    await full.client.delete(NAMESPACES, "team")
    await full.settle(5)
    status, reason, message = conditions(full)["NamespaceDeletionContentFailure"]
    assert (status, reason) == ("True", "ContentDeletionFailed")
    assert message.startswith("Failed to delete all resource types, 1 remaining: configmaps: ")
    full.api.accept_all()
    await full.settle(30)
    assert full.api.objects(NAMESPACES) == []


async def test_a_group_that_does_not_answer_holds_it(full: World) -> None:
    def down(method: str, path: str) -> bool:
        return path == "/apis/batch/v1"

    full.api.refuse(down, internal_error("down"))
    await full.client.delete(NAMESPACES, "team")
    await full.settle(5)
    assert conditions(full)["NamespaceDeletionDiscoveryFailure"][:2] == ("True", "DiscoveryFailed")
    full.api.accept_all()
    await full.settle(5)
    assert full.api.objects(NAMESPACES) == []


async def test_foreign_finalizers_of_the_spec_stay(world: World) -> None:
    spec: dict[str, Any] = {"finalizers": ["kubernetes", "example.com/hold"]}
    world.api.put(NAMESPACES, {"metadata": {"name": "team"}, "spec": spec})
    await world.start(namespace.CONTROLLER)
    await world.client.delete(NAMESPACES, "team")
    await world.settle(3)
    assert world.api.objects(NAMESPACES)[0]["spec"]["finalizers"] == ["example.com/hold"]
