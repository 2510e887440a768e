"""Deletes: at once, after a grace period, after finalizers; preconditions, and what the answer is."""

import asyncio

import pytest
from served import MERGE_PATCH, Client, Object

from tiphys.apiserver.server import APIServer
from tiphys.testing.clock import FakeClock

MAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"
POD: Object = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"


async def status_of(client: Client, target: str) -> int:
    return (await client.call("GET", target)).status


async def test_a_plain_delete_is_answered_with_a_status(client: Client) -> None:
    made = await client.create(MAPS, {"metadata": {"name": "a"}})
    assert await client.delete(f"{MAPS}/a") == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": {"name": "a", "kind": "configmaps", "uid": made["metadata"]["uid"]},
    }
    assert await status_of(client, f"{MAPS}/a") == 404


async def test_some_kinds_are_answered_with_the_object(client: Client) -> None:
    await client.create(
        "/api/v1/namespaces/default/services", {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}}
    )
    gone = await client.delete("/api/v1/namespaces/default/services/s")
    assert (gone["kind"], gone["metadata"]["name"]) == ("Service", "s")


@pytest.mark.parametrize(
    ("preconditions", "message"),
    [
        ({"uid": "other"}, "Precondition failed: UID in precondition: other, UID in object meta: "),
        (
            {"resourceVersion": "1"},
            "Precondition failed: ResourceVersion in precondition: 1, ResourceVersion in object meta: ",
        ),
    ],
)
async def test_preconditions(client: Client, preconditions: Object, message: str) -> None:
    await client.create(MAPS, {"metadata": {"name": "a"}})
    answer = await client.call("DELETE", f"{MAPS}/a", {"preconditions": preconditions})
    assert (answer.status, answer.body["reason"]) == (409, "Conflict")
    assert message in answer.body["message"]


async def test_finalizers_keep_an_object_until_the_last_is_gone(client: Client, clock: FakeClock) -> None:
    await client.create(
        MAPS, {"metadata": {"name": "a", "finalizers": ["example.com/one", "example.com/two"]}}
    )
    await clock.advance(10)
    marked = await client.delete(f"{MAPS}/a")
    assert marked["metadata"]["deletionTimestamp"] == "2026-01-01T00:00:10Z"
    assert marked["metadata"]["deletionGracePeriodSeconds"] == 0
    assert (await client.delete(f"{MAPS}/a"))["metadata"]["resourceVersion"] == marked["metadata"][
        "resourceVersion"
    ]
    more = await client.call(
        "PATCH", f"{MAPS}/a", {"metadata": {"finalizers": ["example.com/three"]}}, content_type=MERGE_PATCH
    )
    assert more.status == 422
    assert (
        "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, "
        'found new finalizers []string{"example.com/three"}'
    ) in more.body["message"]
    fewer = await client.patch(f"{MAPS}/a", {"metadata": {"finalizers": ["example.com/two"]}})
    assert fewer["metadata"]["deletionTimestamp"]
    watch = await client.watch(f"{MAPS}?watch=1&resourceVersion={client.server.store.revision}")
    await client.patch(f"{MAPS}/a", {"metadata": {"finalizers": None}})
    assert await status_of(client, f"{MAPS}/a") == 404
    ((kind, last),) = watch.events()
    assert (kind, last["metadata"]["resourceVersion"]) == ("DELETED", str(client.server.store.revision))


@pytest.mark.parametrize(
    ("options", "finalizer"),
    [
        ({"propagationPolicy": "Foreground"}, "foregroundDeletion"),
        ({"propagationPolicy": "Orphan"}, "orphan"),
        ({"orphanDependents": True}, "orphan"),
    ],
)
async def test_the_policy_becomes_a_finalizer(client: Client, options: Object, finalizer: str) -> None:
    await client.create(MAPS, {"metadata": {"name": "a"}})
    marked = await client.delete(f"{MAPS}/a", options)
    assert marked["metadata"]["finalizers"] == [finalizer]
    assert marked["metadata"]["deletionTimestamp"]
    background = await client.delete(f"{MAPS}/a", {"propagationPolicy": "Background"})
    assert background["status"] == "Success"


async def test_a_job_leaves_its_pods_unless_somebody_says_what_becomes_of_them(client: Client) -> None:
    jobs = "/apis/batch/v1/namespaces/default/jobs"
    container = {"name": "main", "image": "busybox"}
    template = {"spec": {"restartPolicy": "Never", "containers": [container]}}
    for name in ("a", "b"):
        await client.create(jobs, {"metadata": {"name": name}, "spec": {"template": template}})
    answer = await client.call("DELETE", f"{jobs}/a")
    assert answer.body["metadata"]["finalizers"] == ["orphan"]
    (warning,) = answer.warnings
    assert "child pods are preserved by default when jobs are deleted; set propagationPolicy=" in warning
    answer = await client.call("DELETE", f"{jobs}/b?propagationPolicy=Background")
    assert (answer.warnings, answer.body["status"]) == ((), "Success")


async def test_the_policy_by_query(client: Client) -> None:
    await client.create(MAPS, {"metadata": {"name": "a"}})
    marked = await client.delete(f"{MAPS}/a?propagationPolicy=Foreground")
    assert marked["metadata"]["finalizers"] == ["foregroundDeletion"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"propagationPolicy": "Sideways"}, 'propagationPolicy: Unsupported value: "Sideways"'),
        (
            {"propagationPolicy": "Orphan", "orphanDependents": True},
            "orphanDependents and deletionPropagation cannot be both set",
        ),
        ({"dryRun": ["Some"]}, 'dryRun: Unsupported value: ["Some"]'),
    ],
)
async def test_options_that_make_no_sense(client: Client, options: Object, message: str) -> None:
    await client.create(MAPS, {"metadata": {"name": "a"}})
    answer = await client.call("DELETE", f"{MAPS}/a", options)
    assert (answer.status, answer.body["reason"], answer.body["details"]["kind"]) == (
        422,
        "Invalid",
        "DeleteOptions",
    )
    assert message in answer.body["message"]
    assert await status_of(client, f"{MAPS}/a") == 200


# Grace


async def _running(client: Client) -> Object:
    await client.create("/api/v1/nodes", {"metadata": {"name": "n"}})
    await client.create(PODS, POD)
    return await client.create(f"{PODS}/p/binding", {"target": {"kind": "Node", "name": "n"}})


async def test_a_running_pod_has_time_to_end(client: Client) -> None:
    await _running(client)
    dying = await client.delete(f"{PODS}/p")
    assert dying["metadata"]["deletionGracePeriodSeconds"] == 30
    assert dying["metadata"]["deletionTimestamp"] == "2026-01-01T00:00:30Z"
    longer = await client.delete(f"{PODS}/p", {"gracePeriodSeconds": 60})
    assert longer["metadata"]["deletionGracePeriodSeconds"] == 30
    shorter = await client.delete(f"{PODS}/p?gracePeriodSeconds=5")
    assert shorter["metadata"]["deletionGracePeriodSeconds"] == 5
    assert shorter["metadata"]["deletionTimestamp"] == "2026-01-01T00:00:05Z"
    gone = await client.delete(f"{PODS}/p", {"gracePeriodSeconds": 0})
    assert gone["kind"] == "Pod"
    assert await status_of(client, f"{PODS}/p") == 404


async def test_a_pod_that_nobody_runs_is_deleted_at_once(client: Client) -> None:
    await client.create(PODS, POD)
    await client.delete(f"{PODS}/p")
    assert await status_of(client, f"{PODS}/p") == 404


async def test_grace_must_be_a_number(client: Client) -> None:
    await client.create(PODS, POD)
    assert (await client.call("DELETE", f"{PODS}/p?gracePeriodSeconds=soon")).status == 400


# Collections


async def test_a_collection_is_what_a_list_would_show(client: Client) -> None:
    for name, team in (("a", "red"), ("b", "red"), ("c", "blue")):
        await client.create(MAPS, {"metadata": {"name": name, "labels": {"team": team}}})
    gone = await client.delete(f"{MAPS}?labelSelector=team=red")
    assert (gone["kind"], [item["metadata"]["name"] for item in gone["items"]]) == (
        "ConfigMapList",
        ["a", "b"],
    )
    left = await client.get(MAPS)
    assert [item["metadata"]["name"] for item in left["items"]] == ["c"]
    await client.delete(f"{MAPS}?fieldSelector=metadata.name%3Dc")
    assert (await client.get(MAPS))["items"] == []


async def test_two_deleters_of_a_collection_do_not_trip(client: Client) -> None:
    for number in range(20):
        await client.create(MAPS, {"metadata": {"name": f"a{number}"}})
    await asyncio.gather(*(client.delete(MAPS) for _ in range(3)))
    assert (await client.get(MAPS))["items"] == []


# Namespaces


async def test_a_namespace_goes_through_its_finalizer(client: Client) -> None:
    path = "/api/v1/namespaces"
    made = await client.create(path, {"metadata": {"name": "x"}})
    assert (made["spec"]["finalizers"], made["status"]["phase"]) == (["kubernetes"], "Active")
    await client.create(f"{path}/x/configmaps", {"metadata": {"name": "a"}})
    dying = await client.delete(f"{path}/x")
    assert (dying["kind"], dying["status"]["phase"]) == ("Namespace", "Terminating")
    late = await client.call("POST", f"{path}/x/configmaps", {"metadata": {"name": "b"}})
    assert (late.status, late.body["reason"]) == (403, "Forbidden")
    assert late.body["message"] == (
        'configmaps "b" is forbidden: unable to create new content in namespace x because it is being terminated'
    )
    assert late.body["details"]["causes"][0]["reason"] == "NamespaceTerminating"
    await client.put(f"{path}/x/finalize", {**dying, "spec": {}})
    assert await status_of(client, f"{path}/x") == 404


@pytest.mark.parametrize("name", ["default", "kube-system", "kube-public"])
async def test_some_namespaces_stay(client: Client, name: str) -> None:
    answer = await client.call("DELETE", f"/api/v1/namespaces/{name}")
    assert (answer.status, answer.body["message"]) == (
        403,
        f'namespaces "{name}" is forbidden: this namespace may not be deleted',
    )


async def test_a_deletion_outlives_the_client_that_asked(client: Client, server: APIServer) -> None:
    await client.create(MAPS, {"metadata": {"name": "a"}})
    task = asyncio.ensure_future(client.call("DELETE", f"{MAPS}/a"))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0.01)
    assert await status_of(client, f"{MAPS}/a") in (200, 404)
    await client.create(MAPS, {"metadata": {"name": "b"}})  # the server goes on
    assert server.store.revision
