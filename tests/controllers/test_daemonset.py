"""DaemonSets over a whole API: what no single plan shows."""

from typing import Any

from tiphys.client.resources import CONTROLLERREVISIONS, DAEMONSETS, NODES, PODS
from tiphys.controllers import daemonset
from tiphys.controllers.catalog import Options
from tiphys.controllers.revisions import next_name
from tiphys.machinery import meta
from tiphys.testing.world import World

Object = dict[str, Any]


def template(image: str, **spec: Any) -> Object:
    return {
        "metadata": {"labels": {"app": "agent"}},
        "spec": {"containers": [{"name": "c", "image": image}], **spec},
    }


def make(pod_spec: Object | None = None, **spec: Any) -> Object:
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": "agent", "namespace": "default"},
        "spec": {
            "selector": {"matchLabels": {"app": "agent"}},
            "template": template("one", **(pod_spec or {})),
            "updateStrategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0},
            },
            **spec,
        },
    }


async def add_nodes(world: World, *names: str, **labels: str) -> None:
    for name in names:
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}, "spec": {}}
        await world.client.create(NODES, node)


async def start(world: World) -> None:
    await world.start(daemonset.make(Options()))


def target(pod: Object) -> str:
    (term,) = pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][
        "nodeSelectorTerms"
    ]
    (field,) = term["matchFields"]
    (name,) = field["values"]
    return str(name)


def schedule(world: World, *, ready: bool = True) -> None:
    """The scheduler and the kubelets."""
    now = meta.format_time(world.clock.now())
    status = {
        "phase": "Running",
        "conditions": [{"type": "Ready", "status": str(ready), "lastTransitionTime": now}],
    }
    for pod in world.pods():
        if not pod["spec"].get("nodeName"):
            world.set_pod(pod, spec={**pod["spec"], "nodeName": target(pod)}, status=status)


def where(world: World) -> list[str]:
    return sorted(target(pod) for pod in world.pods() if not meta.is_deleting(pod))


def images(world: World) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for pod in world.pods():
        found.setdefault(target(pod), []).append(pod["spec"]["containers"][0]["image"])
    return {node: sorted(several) for node, several in found.items()}


def status(world: World) -> Object:
    (found,) = world.api.objects(DAEMONSETS)
    return dict(found["status"])


async def set_image(world: World, image: str) -> None:
    await world.client.patch(DAEMONSETS, "agent", {"spec": {"template": template(image)}}, "default")
    await world.settle()


async def test_every_node_gets_a_pod_and_so_does_one_that_comes(world: World) -> None:
    await add_nodes(world, "a", "b")
    await world.client.create(DAEMONSETS, make())
    await start(world)
    schedule(world)
    await world.settle()
    assert where(world) == ["a", "b"]
    counts = {
        "currentNumberScheduled": 2,
        "numberMisscheduled": 0,
        "desiredNumberScheduled": 2,
        "numberReady": 2,
        "observedGeneration": 1,
        "updatedNumberScheduled": 2,
        "numberAvailable": 2,
    }
    assert status(world) == counts
    before = world.api.resource_version
    await world.settle(60)
    assert world.api.resource_version == before
    await add_nodes(world, "c")
    await world.settle()
    assert where(world) == ["a", "b", "c"]
    assert status(world)["numberUnavailable"] == 1
    keys = {toleration["key"].partition("/")[2] for toleration in world.pods()[0]["spec"]["tolerations"]}
    assert keys == {
        "not-ready",
        "unreachable",
        "disk-pressure",
        "memory-pressure",
        "pid-pressure",
        "unschedulable",
    }


async def test_a_deleted_pod_is_replaced_once_it_is_gone(world: World) -> None:
    await add_nodes(world, "a")
    await world.client.create(DAEMONSETS, make())
    await start(world)
    schedule(world)
    await world.settle()
    await world.client.delete(PODS, world.pods()[0]["metadata"]["name"], "default")
    await world.settle()
    assert where(world) == []
    await world.remove_terminating()
    assert where(world) == ["a"]


async def test_labels_and_taints_choose_nodes(world: World) -> None:
    await add_nodes(world, "red", color="red")
    await add_nodes(world, "blue", color="blue")
    await world.client.create(DAEMONSETS, make({"nodeSelector": {"color": "blue"}}))
    await start(world)
    schedule(world)
    await world.settle()
    assert where(world) == ["blue"]
    taint = {"key": "busy", "effect": "NoSchedule"}
    await world.client.patch(NODES, "blue", {"spec": {"taints": [taint]}})
    await world.settle()
    # It stays, but it would not come.
    assert where(world) == ["blue"]
    assert (status(world)["desiredNumberScheduled"], status(world)["numberMisscheduled"]) == (0, 1)
    await world.client.patch(NODES, "blue", {"spec": {"taints": [{**taint, "effect": "NoExecute"}]}})
    await world.settle()
    assert where(world) == []
    await world.client.patch(NODES, "red", {"metadata": {"labels": {"color": "blue"}}})
    await world.settle()
    assert where(world) == ["red"]


async def test_affinity_chooses_nodes_and_stays_in_the_pod(world: World) -> None:
    await add_nodes(world, "red", color="red")
    await add_nodes(world, "blue", color="blue")
    term = {"matchExpressions": [{"key": "color", "operator": "In", "values": ["red"]}]}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}
    await world.client.create(DAEMONSETS, make({"affinity": {"nodeAffinity": required}}))
    await start(world)
    assert where(world) == ["red"]
    (made,) = world.pods()[0]["spec"]["affinity"]["nodeAffinity"][
        "requiredDuringSchedulingIgnoredDuringExecution"
    ]["nodeSelectorTerms"]
    assert made["matchExpressions"] == term["matchExpressions"]


async def test_a_new_template_replaces_one_after_the_other(world: World) -> None:
    await add_nodes(world, "a", "b", "c")
    await world.client.create(DAEMONSETS, make())
    await start(world)
    schedule(world)
    await world.settle()
    await set_image(world, "two")
    assert len(where(world)) == 2
    for _ in range(3):
        await world.remove_terminating()
        schedule(world)
        await world.settle()
    assert images(world) == {name: ["two"] for name in "abc"}
    assert status(world)["updatedNumberScheduled"] == 3
    assert sorted(each["revision"] for each in world.api.objects(CONTROLLERREVISIONS)) == [1, 2]
    # Back again: pods that still have the old template are not touched.
    await set_image(world, "one")
    assert sorted(each["revision"] for each in world.api.objects(CONTROLLERREVISIONS)) == [2, 3]


async def test_going_back_early_restarts_only_what_was_replaced(world: World) -> None:
    await add_nodes(world, "a", "b", "c")
    await world.client.create(DAEMONSETS, make())
    await start(world)
    schedule(world)
    await world.settle()
    before = {pod["metadata"]["uid"] for pod in world.pods()}
    await set_image(world, "broken")
    await world.remove_terminating()
    schedule(world, ready=False)
    await world.settle()
    kept = before & {pod["metadata"]["uid"] for pod in world.pods()}
    assert len(kept) == 2
    await set_image(world, "one")
    await world.remove_terminating()
    schedule(world)
    await world.settle()
    assert images(world) == {name: ["one"] for name in "abc"}
    assert kept <= {pod["metadata"]["uid"] for pod in world.pods()}


async def test_new_pods_may_come_beside_the_old_ones(world: World) -> None:
    await add_nodes(world, "a", "b")
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
    await world.client.create(DAEMONSETS, make(updateStrategy=rolling))
    await start(world)
    schedule(world)
    await world.settle()
    await set_image(world, "two")
    assert sorted(images(world).values()) == [["one"], ["one", "two"]]
    for _ in range(2):
        assert status(world).get("numberUnavailable", 0) == 0
        schedule(world)
        await world.settle()
        await world.remove_terminating()
    schedule(world)
    await world.settle()
    assert images(world) == {"a": ["two"], "b": ["two"]}


async def test_on_delete_waits_for_somebody_to_delete(world: World) -> None:
    await add_nodes(world, "a")
    await world.client.create(DAEMONSETS, make(updateStrategy={"type": "OnDelete"}))
    await start(world)
    schedule(world)
    await set_image(world, "two")
    assert images(world) == {"a": ["one"]}
    await world.client.delete(PODS, world.pods()[0]["metadata"]["name"], "default")
    await world.settle()
    await world.remove_terminating()
    assert images(world) == {"a": ["two"]}


async def test_failed_pods_are_replaced_ever_more_slowly(world: World) -> None:
    await add_nodes(world, "a")
    await world.client.create(DAEMONSETS, make())
    await start(world)
    seen: set[str] = set()
    lives = 0
    for _ in range(40):
        (pod,) = world.pods()
        if pod["metadata"]["uid"] not in seen:
            seen.add(pod["metadata"]["uid"])
            lives += 1
            world.set_pod(pod, spec={**pod["spec"], "nodeName": "a"}, status={"phase": "Failed"})
        await world.settle(1)
        await world.remove_terminating()
    # At once, then after 1, 2, 4, 8 and 16 seconds; a round takes two.
    assert 5 <= lives <= 8
    name, reason, message = world.events()[1]
    assert (name, reason) == ("agent", "FailedDaemonPod")
    assert message.startswith("Found failed daemon pod default/agent-")
    assert message.endswith(" on node a, will try to kill it")


async def test_a_pod_for_a_node_that_is_gone_goes_too(world: World) -> None:
    await add_nodes(world, "a", "b")
    await world.client.create(DAEMONSETS, make())
    await start(world)
    assert where(world) == ["a", "b"]
    await world.client.delete(NODES, "b")
    await world.settle()
    await world.remove_terminating()
    assert where(world) == ["a"]


async def test_min_ready_seconds_delay_availability(world: World) -> None:
    await add_nodes(world, "a")
    await world.client.create(DAEMONSETS, make(minReadySeconds=10))
    await start(world)
    schedule(world)
    await world.settle()
    assert (status(world)["numberReady"], status(world).get("numberAvailable", 0)) == (1, 0)
    await world.settle(10)
    assert status(world)["numberAvailable"] == 1


async def test_heartbeats_of_nodes_and_strangers_cost_nothing(world: World) -> None:
    await add_nodes(world, "a")
    await world.client.create(DAEMONSETS, make())
    controller = daemonset.make(Options())
    await world.start(controller)
    pods, nodes, _ = controller.watches
    (node,) = world.api.objects(NODES)
    assert nodes.changed is not None
    assert pods.changed is not None
    assert not nodes.changed(node, {**node, "status": {"conditions": [{"type": "Ready"}]}})
    assert nodes.changed(node, {**node, "spec": {"taints": [{"key": "a", "effect": "NoSchedule"}]}})
    stranger = {"metadata": {"name": "x", "namespace": "default", "labels": {"app": "x"}}}
    assert list(pods.keys(stranger, world.informers.view)) == []
    (ours,) = world.pods()
    assert list(pods.keys(ours, world.informers.view)) == ["default/agent"]
    assert not pods.changed(ours, {**ours, "status": {"podIP": "10.0.0.1"}})


async def test_orphans_are_adopted_with_their_revisions(world: World) -> None:
    await add_nodes(world, "a", "b")
    await world.client.create(DAEMONSETS, make())
    await start(world)
    schedule(world)
    await world.settle()
    uids = {pod["metadata"]["uid"] for pod in world.pods()}
    await world.client.delete(DAEMONSETS, "agent", "default")
    for resource in (PODS, CONTROLLERREVISIONS):
        for each in world.api.objects(resource):
            world.api.put(resource, {**each, "metadata": {**each["metadata"], "ownerReferences": []}})
    await world.client.create(DAEMONSETS, make())
    await world.settle()
    (owner,) = (each["metadata"]["uid"] for each in world.api.objects(DAEMONSETS))
    assert {pod["metadata"]["uid"] for pod in world.pods()} == uids
    assert {pod["metadata"]["ownerReferences"][0]["uid"] for pod in world.pods()} == {owner}
    (revision,) = world.api.objects(CONTROLLERREVISIONS)
    assert revision["metadata"]["ownerReferences"][0]["uid"] == owner


async def test_a_pod_whose_labels_were_changed_is_let_go_and_replaced(world: World) -> None:
    await add_nodes(world, "a")
    await world.client.create(DAEMONSETS, make())
    await start(world)
    (first,) = world.pods()
    await world.client.patch(
        PODS, first["metadata"]["name"], {"metadata": {"labels": {"app": "debug"}}}, "default"
    )
    await world.settle()
    owners = {pod["metadata"]["uid"]: pod["metadata"].get("ownerReferences") for pod in world.pods()}
    assert len(owners) == 2
    assert not owners[first["metadata"]["uid"]]


async def test_revisions_that_pods_still_have_are_kept(world: World) -> None:
    await add_nodes(world, "a")
    await world.client.create(DAEMONSETS, make(updateStrategy={"type": "OnDelete"}, revisionHistoryLimit=1))
    await start(world)
    schedule(world)
    for image in ("two", "three", "four"):
        await set_image(world, image)
    assert sorted(each["revision"] for each in world.api.objects(CONTROLLERREVISIONS)) == [1, 4]
    await world.client.delete(PODS, world.pods()[0]["metadata"]["name"], "default", grace_period_seconds=0)
    await set_image(world, "five")
    # The pod is from the fourth template, so the first may go.
    assert sorted(each["revision"] for each in world.api.objects(CONTROLLERREVISIONS)) == [4, 5]


async def test_a_revision_whose_name_is_taken_counts_a_collision(world: World) -> None:
    made = await world.client.create(DAEMONSETS, make())
    taken = {"metadata": {"name": next_name(made), "namespace": "default"}, "data": {}, "revision": 1}
    world.api.put(CONTROLLERREVISIONS, taken)
    await add_nodes(world, "a")
    await start(world)
    assert status(world)["collisionCount"] == 1
    assert where(world) == ["a"]
