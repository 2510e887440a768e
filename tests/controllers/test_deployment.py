"""Rollouts from one end to the other, with ReplicaSets under them and hands that play the kubelet."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiphys.client.resources import DEPLOYMENTS, REPLICASETS
from tiphys.controllers import deployment, replicaset
from tiphys.controllers.rollout import Rollout, grow_new, resolve, revision_of, scale, shrink_old, size_of
from tiphys.machinery import meta
from tiphys.machinery.errors import forbidden
from tiphys.testing.world import World

Object = dict[str, Any]


def make(replicas: int = 3, image: str = "web:1", **spec: Any) -> Object:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "default", "annotations": {"team": "a"}},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": template(image),
            "progressDeadlineSeconds": 600,
            "revisionHistoryLimit": 10,
            **spec,
        },
    }


def template(image: str) -> Object:
    return {
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "main", "image": image}]},
    }


def rolling(surge: Any, unavailable: Any) -> Object:
    return {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}


async def start(world: World, obj: Object) -> None:
    await world.client.create(DEPLOYMENTS, obj)
    await world.start(deployment.CONTROLLER, replicaset.CONTROLLER)


async def change(world: World, **spec: Any) -> None:
    await world.client.patch(DEPLOYMENTS, "web", {"spec": spec}, "default")
    await world.settle()


def current(world: World) -> Object:
    return world.api.objects(DEPLOYMENTS)[0]


def condition(world: World, type: str) -> tuple[str, str, str]:
    found = meta.find_condition(meta.conditions(current(world)), type) or {}
    return found.get("status", ""), found.get("reason", ""), found.get("message", "")


def images(world: World) -> list[str]:
    live = [pod for pod in world.pods() if not meta.is_deleting(pod)]
    return sorted(pod["spec"]["containers"][0]["image"] for pod in live)


def ready(world: World) -> int:
    return sum(bool(meta.conditions(pod)) and not meta.is_deleting(pod) for pod in world.pods())


async def roll_out(world: World, *, rounds: int = 30, watch: Any = None) -> None:
    """Pods become ready, one a round, and terminating ones end, until nothing changes."""
    for _ in range(rounds):
        waiting = [pod for pod in world.pods() if not meta.conditions(pod) and not meta.is_deleting(pod)]
        if waiting:
            world.make_ready(waiting[0])
        await world.settle()
        await world.remove_terminating()
        if watch:
            watch()


async def test_a_new_deployment_becomes_complete(world: World) -> None:
    await start(world, make())
    (only,) = world.api.objects(REPLICASETS)
    name = meta.name(only)
    assert condition(world, "Progressing") == (
        "True",
        "ReplicaSetUpdated",
        f'ReplicaSet "{name}" is progressing.',
    )
    assert condition(world, "Available") == (
        "False",
        "MinimumReplicasUnavailable",
        "Deployment does not have minimum availability.",
    )
    assert revision_of(only) == revision_of(current(world)) == 1
    assert only["metadata"]["annotations"]["team"] == "a"
    assert only["spec"]["selector"]["matchLabels"].keys() == {"app", "pod-template-hash"}
    assert all("pod-template-hash" in meta.labels(pod) for pod in world.pods())
    world.make_ready()
    await world.settle()
    assert current(world)["status"] | {"conditions": []} == {
        "observedGeneration": 1,
        "replicas": 3,
        "updatedReplicas": 3,
        "readyReplicas": 3,
        "availableReplicas": 3,
        "terminatingReplicas": 0,
        "conditions": [],
    }
    assert condition(world, "Available")[:2] == ("True", "MinimumReplicasAvailable")
    assert condition(world, "Progressing") == (
        "True",
        "NewReplicaSetAvailable",
        f'ReplicaSet "{name}" has successfully progressed.',
    )
    assert [event for event in world.events() if event[0] == "web"] == [
        ("web", "ScalingReplicaSet", f"Scaled up replica set {name} from 0 to 3")
    ]


@pytest.mark.parametrize(
    ("surge", "unavailable"), [("25%", "25%"), (1, 0), (0, 1), (3, 3), ("100%", 0), (0, "50%")]
)
async def test_a_rolling_update_stays_within_its_bounds(world: World, surge: Any, unavailable: Any) -> None:
    await start(world, make(4, strategy=rolling(surge, unavailable)))
    await roll_out(world, rounds=6)
    above = resolve(surge, 4, round_up=True)
    below = resolve(unavailable, 4, round_up=False)
    await change(world, template=template("web:2"))
    seen: list[tuple[int, int]] = []
    await roll_out(world, watch=lambda: seen.append((len(images(world)), ready(world))))
    assert max(pods for pods, _ in seen) <= 4 + above
    assert min(serving for _, serving in seen) >= 4 - below
    assert images(world) == ["web:2"] * 4
    assert condition(world, "Progressing")[1] == "NewReplicaSetAvailable"
    assert revision_of(current(world)) == 2


async def test_going_back_takes_the_old_replicaset_under_a_new_revision(world: World) -> None:
    await start(world, make(2))
    await roll_out(world, rounds=4)
    await change(world, template=template("web:2"))
    await roll_out(world, rounds=8)
    await change(world, template=template("web:1"))
    await roll_out(world, rounds=8)
    assert images(world) == ["web:1", "web:1"]
    first, second = sorted(world.api.objects(REPLICASETS), key=size_of, reverse=True)
    assert (revision_of(first), revision_of(second)) == (3, 2)
    assert first["metadata"]["annotations"]["deployment.kubernetes.io/revision-history"] == "1"
    assert revision_of(current(world)) == 3


async def test_recreate_lets_no_two_templates_run_at_once(world: World) -> None:
    await start(world, make(2, strategy={"type": "Recreate"}))
    await roll_out(world, rounds=4)
    await change(world, template=template("web:2"))
    assert images(world) == []
    assert len(world.pods()) == 2  # they are still ending
    await world.settle(30)
    assert len(world.api.objects(REPLICASETS)) == 1
    await world.remove_terminating()
    assert images(world) == ["web:2", "web:2"]
    await roll_out(world, rounds=4)
    assert condition(world, "Progressing")[1] == "NewReplicaSetAvailable"


async def test_scaling_resizes_the_only_replicaset(world: World) -> None:
    await start(world, make(2))
    await roll_out(world, rounds=3)
    await change(world, replicas=5)
    assert len(world.pods()) == 5
    (only,) = world.api.objects(REPLICASETS)
    assert only["metadata"]["annotations"]["deployment.kubernetes.io/desired-replicas"] == "5"
    assert world.events()[-4][2].endswith("from 2 to 5") or any(
        e[2].endswith("from 2 to 5") for e in world.events()
    )
    await roll_out(world, rounds=5)
    await change(world, replicas=0)
    await world.remove_terminating()
    assert world.pods() == []
    assert current(world)["status"].get("replicas") is None


async def test_scaling_in_the_middle_keeps_proportions(world: World) -> None:
    await start(world, make(10, strategy=rolling(3, 2)))
    await roll_out(world, rounds=12)
    await change(world, template=template("web:2"))
    await world.remove_terminating()
    assert sorted(map(size_of, world.api.objects(REPLICASETS))) == [5, 8]
    await change(world, replicas=15)
    sizes = sorted(map(size_of, world.api.objects(REPLICASETS)))
    assert sum(sizes) == 18
    assert sizes == [7, 11]


async def test_a_paused_deployment_scales_but_does_not_roll(world: World) -> None:
    await start(world, make(2))
    await roll_out(world, rounds=3)
    await change(world, paused=True)
    assert condition(world, "Progressing") == ("Unknown", "DeploymentPaused", "Deployment is paused")
    await change(world, template=template("web:2"), replicas=3)
    assert images(world) == ["web:1"] * 3
    await change(world, paused=False)
    await roll_out(world)
    assert images(world) == ["web:2"] * 3
    assert condition(world, "Progressing")[1] == "NewReplicaSetAvailable"


async def test_a_rollout_that_stands_still_times_out_and_may_recover(world: World) -> None:
    await start(world, make(2, progressDeadlineSeconds=60))
    await world.settle(55)
    assert condition(world, "Progressing")[0] == "True"
    await world.settle(10)
    (only,) = world.api.objects(REPLICASETS)
    assert condition(world, "Progressing") == (
        "False",
        "ProgressDeadlineExceeded",
        f'ReplicaSet "{meta.name(only)}" has timed out progressing.',
    )
    await roll_out(world, rounds=4)
    assert condition(world, "Progressing")[:2] == ("True", "NewReplicaSetAvailable")


async def test_history_beyond_the_limit_is_deleted_once_the_rollout_is_complete(world: World) -> None:
    await start(world, make(1, revisionHistoryLimit=1))
    for number in range(2, 6):
        await roll_out(world, rounds=4)
        await change(world, template=template(f"web:{number}"))
    await roll_out(world, rounds=6)
    assert sorted(map(revision_of, world.api.objects(REPLICASETS))) == [4, 5]


async def test_a_taken_name_is_avoided(world: World) -> None:
    obj = make(1)
    name = deployment.new_name(obj)
    foreign = {"metadata": {"name": name, "namespace": "default"}, "spec": {"replicas": 0, "template": {}}}
    world.api.put(REPLICASETS, foreign)
    await start(world, obj)
    assert current(world)["status"]["collisionCount"] == 1
    assert len(world.pods()) == 1
    assert len(world.api.objects(REPLICASETS)) == 2


async def test_a_replicaset_that_is_refused_stands_in_the_condition(world: World) -> None:
    refusal = forbidden(REPLICASETS.group_resource, "web", "exceeded quota")
    world.api.refuse(lambda method, path: method == "POST" and path.endswith("/replicasets"), refusal)
    await start(world, make())
    status, reason, message = condition(world, "Progressing")
    assert (status, reason) == ("False", "ReplicaSetCreateError")
    assert "exceeded quota" in message
    assert world.events()[0][1] == "ReplicaSetCreateError"


async def test_refused_pods_become_the_deployments_condition(world: World) -> None:
    world.api.refuse(
        lambda method, path: method == "POST" and path.endswith("/pods"),
        forbidden(REPLICASETS.group_resource, "web", "exceeded quota"),
    )
    await start(world, make())
    assert condition(world, "ReplicaFailure")[:2] == ("True", "FailedCreate")
    world.api.accept_all()
    await world.settle(60)
    assert condition(world, "ReplicaFailure") == ("", "", "")


async def test_a_replicaset_of_the_same_template_is_adopted(world: World) -> None:
    orphan = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": "found",
            "namespace": "default",
            "labels": {"app": "web", "pod-template-hash": "h"},
        },
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": "web", "pod-template-hash": "h"}},
            "template": {
                **template("web:1"),
                "metadata": {"labels": {"app": "web", "pod-template-hash": "h"}},
            },
        },
    }
    world.api.put(REPLICASETS, orphan)
    await start(world, make(3))
    (only,) = world.api.objects(REPLICASETS)
    assert meta.is_controlled_by(only, current(world))
    assert (size_of(only), revision_of(only)) == (3, 1)


async def test_nothing_is_written_when_nothing_changes(world: World) -> None:
    await start(world, make())
    await roll_out(world, rounds=5)
    version = world.api.resource_version
    await world.settle(3600)
    assert world.api.resource_version == version


numbers = st.integers(0, 12)
bound = st.one_of(st.integers(0, 6), st.sampled_from(["0%", "25%", "50%", "100%"]))


def made(uid: str, size: int, available: int, before: int = 10) -> Object:
    annotations = {"deployment.kubernetes.io/max-replicas": str(before)}
    return {
        "metadata": {"uid": uid, "name": uid, "annotations": annotations},
        "spec": {"replicas": size},
        "status": {"availableReplicas": min(size, available)},
    }


@given(numbers, bound, bound, st.lists(st.tuples(numbers, numbers), min_size=1, max_size=4))
@settings(max_examples=300)
def test_no_step_leaves_the_bounds(
    desired: int, surge: Any, unavailable: Any, shapes: list[tuple[int, int]]
) -> None:
    spec = {"replicas": desired, "strategy": rolling(surge, unavailable)}
    sets = [made(str(number), *shape) for number, shape in enumerate(shapes)]
    rollout = Rollout({"spec": spec}, sets[0], sets[1:])
    before = sum(map(size_of, sets))
    grown = grow_new(rollout).get("0", size_of(sets[0]))
    if grown > size_of(sets[0]):
        assert before - size_of(sets[0]) + grown <= rollout.largest
        assert grown <= desired
    shrunk = shrink_old(rollout)
    left_available = 0
    for each in sets:
        size = shrunk.get(each["metadata"]["uid"], size_of(each))
        assert 0 <= size <= size_of(each)
        left_available += min(size, each["status"]["availableReplicas"])
    available = sum(each["status"]["availableReplicas"] for each in sets)
    assert left_available >= min(available, desired - rollout.max_unavailable)


@given(numbers, bound, st.lists(st.tuples(numbers, numbers), min_size=2, max_size=4))
@settings(max_examples=300)
def test_proportional_scaling_reaches_what_is_allowed(
    desired: int, surge: Any, shapes: list[tuple[int, int]]
) -> None:
    spec = {"replicas": desired, "strategy": rolling(surge, 0)}
    total = sum(size + 1 for size, _ in shapes)
    sets = [made(str(number), size + 1, available, total) for number, (size, available) in enumerate(shapes)]
    rollout = Rollout({"spec": spec}, sets[0], sets[1:])
    sizes = scale(rollout)
    after = sum(sizes.get(each["metadata"]["uid"], size_of(each)) for each in sets)
    assert all(size >= 0 for size in sizes.values())
    if sizes:
        # Rounding may leave over more than the largest one has: it becomes empty, and the next look goes on.
        assert after == (rollout.largest if desired else 0) or 0 in sizes.values()
