"""The garbage collector over all kinds, and its graph by itself."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiphys.api.scheme import built_in
from tiphys.client.resources import CONFIGMAPS, DEPLOYMENTS, NODES, PODS, REPLICASETS
from tiphys.controllers.garbage.graph import Graph
from tiphys.machinery import meta
from tiphys.machinery.errors import internal_error
from tiphys.testing.world import World

Object = dict[str, Any]
SECRETS = built_in().by_resource("", "v1", "secrets")
assert SECRETS is not None


def put(
    world: World, resource: Any, name: str, *owners: Object, block: bool = False, **metadata: Any
) -> Object:
    references = [
        {
            "apiVersion": owner["apiVersion"],
            "kind": owner["kind"],
            "name": meta.name(owner),
            "uid": meta.uid(owner),
            "blockOwnerDeletion": block,
        }
        for owner in owners
    ]
    where = {"namespace": "default"} if resource.namespaced else {}
    body = {"apiVersion": resource.api_version, "kind": resource.kind}
    return world.api.put(
        resource,
        {**body, "metadata": {"name": name, **where, "ownerReferences": references, **metadata}, "spec": {}},
    )


def names(world: World) -> list[str]:
    kinds = (DEPLOYMENTS, REPLICASETS, PODS, CONFIGMAPS, SECRETS, NODES)
    return sorted(meta.name(obj) for kind in kinds for obj in world.api.objects(kind))  # type: ignore[arg-type]


@pytest.fixture
async def chain(world: World) -> World:
    """A Deployment, its ReplicaSet, two pods, and a Secret that belongs to one of them."""
    deployment = put(world, DEPLOYMENTS, "web")
    replicaset = put(world, REPLICASETS, "web-1", deployment, block=True)
    pod = put(world, PODS, "web-1-a", replicaset, block=True)
    put(world, PODS, "web-1-b", replicaset, block=True)
    put(world, SECRETS, "token", pod)
    put(world, CONFIGMAPS, "free")
    await world.collect_garbage()
    return world


async def test_nothing_goes_while_owners_are_there(chain: World) -> None:
    assert names(chain) == ["free", "token", "web", "web-1", "web-1-a", "web-1-b"]


async def test_in_the_background_dependents_follow_their_owner(chain: World) -> None:
    await chain.client.delete(DEPLOYMENTS, "web", "default", propagation="Background")
    await chain.settle()
    assert names(chain) == ["free"]


async def test_in_the_foreground_the_owner_goes_last(chain: World) -> None:
    await chain.client.delete(DEPLOYMENTS, "web", "default", propagation="Foreground")
    pods = chain.api.objects(PODS)
    for pod in pods:
        chain.api.put(PODS, {**pod, "metadata": {**pod["metadata"], "finalizers": ["example.com/hold"]}})
    await chain.settle()
    assert {"web", "web-1", "web-1-a", "web-1-b"} <= set(names(chain))
    for pod in pods:
        await chain.client.patch(PODS, meta.name(pod), {"metadata": {"finalizers": None}}, "default")
    await chain.settle()
    assert names(chain) == ["free"]
    order = [path.rpartition("/")[2] for method, path in chain.api.requests if method in ("DELETE", "PATCH")]
    assert order.index("web-1-a") < order.index("web-1", order.index("web-1") + 1)


async def test_orphans_stay_and_lose_the_reference(chain: World) -> None:
    await chain.client.delete(REPLICASETS, "web-1", "default", propagation="Orphan")
    await chain.settle()
    assert names(chain) == ["free", "token", "web", "web-1-a", "web-1-b"]
    assert all(not meta.owner_references(pod) for pod in chain.api.objects(PODS))


async def test_one_owner_of_two_is_enough_to_stay(world: World) -> None:
    one, two = put(world, CONFIGMAPS, "one"), put(world, CONFIGMAPS, "two")
    put(world, SECRETS, "shared", one, two)
    await world.collect_garbage()
    await world.client.delete(CONFIGMAPS, "one", "default")
    await world.settle()
    (shared,) = world.api.objects(SECRETS)  # type: ignore[arg-type]
    assert [owner["name"] for owner in meta.owner_references(shared)] == ["two"]
    await world.client.delete(CONFIGMAPS, "two", "default")
    await world.settle()
    assert names(world) == []


async def test_an_owner_that_never_was_is_absent(world: World) -> None:
    ghost = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "ghost", "uid": "gone"}}
    put(world, SECRETS, "orphan", ghost)
    await world.collect_garbage()
    assert names(world) == []


async def test_a_namesake_is_not_the_owner(world: World) -> None:
    put(world, CONFIGMAPS, "owner", uid="new")
    old = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "owner", "uid": "old"}}
    put(world, SECRETS, "dependent", old)
    await world.collect_garbage()
    assert names(world) == ["owner"]


async def test_an_owner_in_another_namespace_does_not_count(world: World) -> None:
    elsewhere = put(world, CONFIGMAPS, "owner", namespace="other")
    put(world, SECRETS, "dependent", elsewhere)
    await world.collect_garbage()
    assert names(world) == ["owner"]


async def test_a_namespaced_owner_of_a_cluster_wide_object_is_left_alone(world: World) -> None:
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "owner", "uid": "gone"}}
    put(world, NODES, "n1", owner)
    await world.collect_garbage()
    await world.settle(60)
    assert names(world) == ["n1"]


async def test_an_owner_of_an_unknown_kind_is_not_taken_for_absent(world: World) -> None:
    put(
        world,
        SECRETS,
        "kept",
        {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w", "uid": "w"}},
    )
    await world.collect_garbage()
    await world.settle(60)
    assert names(world) == ["kept"]


async def test_a_server_that_fails_deletes_nothing_until_it_answers(world: World) -> None:
    ghost = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "ghost", "uid": "gone"}}
    put(world, SECRETS, "orphan", ghost)
    world.api.refuse(lambda method, path: path.endswith("/configmaps/ghost"), internal_error("down"))
    await world.collect_garbage()
    assert names(world) == ["orphan"]
    world.api.accept_all()
    await world.settle(60)
    assert names(world) == []


async def test_a_circle_in_the_foreground_comes_to_an_end(world: World) -> None:
    one = put(world, CONFIGMAPS, "one")
    two = put(world, CONFIGMAPS, "two", one, block=True)
    put(world, CONFIGMAPS, "one", two, block=True)
    await world.collect_garbage()
    await world.client.delete(CONFIGMAPS, "one", "default", propagation="Foreground")
    await world.settle(30)
    assert names(world) == []


changes = st.lists(
    st.tuples(st.sampled_from("abcd"), st.sets(st.sampled_from("abcdx"), max_size=2), st.booleans())
)


@given(changes)
def test_the_graph_equals_what_the_objects_say(history: list[tuple[str, set[str], bool]]) -> None:
    graph = Graph()
    world: dict[str, Object] = {}
    for uid, owners, deleted in history:
        old = world.pop(uid, None)
        obj = {
            "metadata": {
                "uid": uid,
                "name": uid,
                "ownerReferences": [{"uid": owner} for owner in sorted(owners)],
            }
        }
        if deleted:
            graph.observe("DELETED", CONFIGMAPS, old, None)
        else:
            world[uid] = obj
            graph.observe("MODIFIED" if old else "ADDED", CONFIGMAPS, old, obj)
    assert graph.items.keys() == world.keys()
    for uid in "abcdx":
        expected = {each for each, obj in world.items() if {"uid": uid} in obj["metadata"]["ownerReferences"]}
        assert {item.uid for item in graph.dependents(uid)} == expected


def test_an_update_that_changes_neither_owners_nor_deletion_asks_for_no_look() -> None:
    graph = Graph()
    owner = with_owners("owner", deletionTimestamp="2026-01-01T00:00:00Z", finalizers=["foregroundDeletion"])
    graph.observe("ADDED", CONFIGMAPS, None, owner)
    states = [
        (with_owners("x"), set()),
        (with_owners("x", annotations={"note": "new"}), set()),
        (with_owners("x", "owner"), {"x", "owner"}),
        (with_owners("x", "owner", annotations={"note": "new"}), set()),
        (with_owners("x", "owner", deletionTimestamp="2026-01-01T00:00:00Z"), {"owner"}),
        (with_owners("x", "owner", deletionTimestamp="2026-01-01T00:00:00Z", finalizers=["orphan"]), {"x"}),
        (with_owners("x"), {"owner"}),
    ]
    before = None
    for state, expected in states:
        assert graph.observe("MODIFIED" if before else "ADDED", CONFIGMAPS, before, state) == expected
        assert graph.items["x"].obj is state
        before = state


def with_owners(uid: str, *owners: str, **metadata: Any) -> Object:
    """An object in the graph of the test above."""
    if owners:
        metadata["ownerReferences"] = [{"uid": owner} for owner in owners]
    return {"metadata": {"uid": uid, "name": uid, **metadata}}
