"""Create, update and patch: what the server adds, what it keeps, and what it refuses, in upstream's words."""

import asyncio
import re

import pytest
from served import JSON_PATCH, MERGE_PATCH, STRATEGIC, Client, Object

from tiphys.testing.clock import START, FakeClock

MAPS = "/api/v1/namespaces/default/configmaps"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
PODS = "/api/v1/namespaces/default/pods"


def deployment(name: str = "web", **spec: object) -> Object:
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    return {
        "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": template, **spec},
    }


# What the server adds


async def test_a_new_object_gets_its_identity(client: Client, clock: FakeClock) -> None:
    made = await client.create(MAPS, {"metadata": {"name": "a"}})
    metadata = made["metadata"]
    assert re.fullmatch(
        r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", metadata["uid"]
    )
    assert metadata["creationTimestamp"] == START.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert (metadata["namespace"], metadata["resourceVersion"]) == (
        "default",
        str(client.server.store.revision),
    )
    assert "generation" not in metadata


async def test_what_only_the_server_may_say_is_ignored(client: Client) -> None:
    lies = {
        "name": "a",
        "uid": "mine",
        "creationTimestamp": "2000-01-01T00:00:00Z",
        "deletionTimestamp": "2000-01-01T00:00:00Z",
        "deletionGracePeriodSeconds": 5,
        "generation": 7,
        "selfLink": "/x",
    }
    made = await client.create(DEPLOYMENTS, {**deployment("a"), "metadata": lies, "status": {"replicas": 9}})
    assert made["metadata"]["uid"] != "mine"
    assert made["metadata"]["creationTimestamp"] != lies["creationTimestamp"]
    assert made["metadata"]["generation"] == 1
    assert not {"deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"} & set(made["metadata"])
    assert not made.get("status")
    updated = await client.put(
        f"{DEPLOYMENTS}/a", {**made, "metadata": {**made["metadata"], **lies, "uid": made["metadata"]["uid"]}}
    )
    assert updated["metadata"]["creationTimestamp"] == made["metadata"]["creationTimestamp"]
    assert "deletionTimestamp" not in updated["metadata"]


async def test_generated_names(client: Client) -> None:
    names = [
        (await client.create(MAPS, {"metadata": {"generateName": "gen-"}}))["metadata"]["name"]
        for _ in range(20)
    ]
    assert len(set(names)) == 20
    assert all(re.fullmatch("gen-[bcdfghjklmnpqrstvwxz2456789]{5}", name) for name in names)


async def test_generation_counts_changes_of_the_wish_only(client: Client) -> None:
    await client.create(DEPLOYMENTS, deployment())
    one = f"{DEPLOYMENTS}/web"
    assert (await client.patch(one, {"metadata": {"labels": {"a": "b"}}}))["metadata"]["generation"] == 1
    assert (await client.patch(one, {"spec": {"replicas": 3}}))["metadata"]["generation"] == 2
    assert (await client.patch(f"{one}/status", {"status": {"replicas": 1}}))["metadata"]["generation"] == 2
    assert (await client.patch(one, {"spec": {"replicas": 3}}))["metadata"]["generation"] == 2


async def test_an_update_that_changes_nothing_writes_nothing(client: Client) -> None:
    made = await client.create(DEPLOYMENTS, deployment())
    before = client.server.store.revision
    assert await client.put(f"{DEPLOYMENTS}/web", made) == made
    assert await client.patch(f"{DEPLOYMENTS}/web", {}) == made
    assert client.server.store.revision == before


async def test_an_update_keeps_the_status_and_status_keeps_the_rest(client: Client) -> None:
    made = await client.create(DEPLOYMENTS, deployment(replicas=2))
    with_status = await client.put(
        f"{DEPLOYMENTS}/web/status", {**made, "spec": {}, "status": {"replicas": 2}}
    )
    assert (with_status["spec"], with_status["status"]) == (made["spec"], {"replicas": 2})
    changed = await client.put(f"{DEPLOYMENTS}/web", {**with_status, "status": {"replicas": 99}})
    assert changed["status"] == {"replicas": 2}


# Status errors


async def refused(client: Client, method: str, target: str, body: object = None, **headers: str) -> Object:
    answer = await client.call(method, target, body, **headers)
    assert answer.status >= 400, answer.body
    status: Object = answer.body
    assert (status["kind"], status["apiVersion"], status["status"]) == ("Status", "v1", "Failure")
    assert status["code"] == answer.status
    return status


async def test_not_found(client: Client) -> None:
    status = await refused(client, "GET", f"{DEPLOYMENTS}/nope")
    assert status == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": 'deployments.apps "nope" not found',
        "reason": "NotFound",
        "details": {"name": "nope", "group": "apps", "kind": "deployments"},
        "code": 404,
    }
    for method, body in (("PUT", {"metadata": {"name": "nope"}}), ("PATCH", {}), ("DELETE", None)):
        again = await refused(
            client,
            method,
            f"{MAPS}/nope",
            body,
            content_type=MERGE_PATCH if method == "PATCH" else "application/json",
        )
        assert (again["code"], again["message"]) == (404, 'configmaps "nope" not found')


async def test_already_exists(client: Client) -> None:
    await client.create(MAPS, {"metadata": {"name": "a"}})
    status = await refused(client, "POST", MAPS, {"metadata": {"name": "a"}})
    assert (status["code"], status["reason"], status["message"]) == (
        409,
        "AlreadyExists",
        'configmaps "a" already exists',
    )
    assert status["details"] == {"name": "a", "kind": "configmaps"}


async def test_a_namespace_that_is_not_there(client: Client) -> None:
    status = await refused(client, "POST", "/api/v1/namespaces/nope/configmaps", {"metadata": {"name": "a"}})
    assert (status["code"], status["message"]) == (404, 'namespaces "nope" not found')


async def test_a_name_that_breaks_the_rules(client: Client) -> None:
    status = await refused(client, "POST", MAPS, {"metadata": {"name": "Bad_Name"}})
    assert (status["code"], status["reason"]) == (422, "Invalid")
    assert status["message"] == (
        'ConfigMap "Bad_Name" is invalid: metadata.name: Invalid value: "Bad_Name": a lowercase RFC 1123 subdomain must consist '
        "of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. "
        "'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
    )
    assert status["details"]["causes"][0]["field"] == "metadata.name"
    assert status["details"]["causes"][0]["reason"] == "FieldValueInvalid"


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({}, "metadata.name: Required value: name or generateName is required"),
        ({"name": "a" * 254}, "must be no more than 253"),
        (
            {"name": "a", "labels": {"b": "c d"}},
            'metadata.labels: Invalid value: "c d": a valid label must be',
        ),
        (
            {"name": "a", "labels": {"-x": ""}},
            'metadata.labels: Invalid value: "-x": name part must consist of',
        ),
        (
            {"name": "a", "annotations": {"x": "y" * 300_000}},
            "metadata.annotations: Too long: may not be more than 262144 bytes",
        ),
        (
            {"name": "a", "finalizers": ["mine"]},
            "name is neither a standard finalizer name nor is it fully qualified",
        ),
        (
            {"name": "a", "finalizers": ["orphan", "foregroundDeletion"]},
            "finalizer foregroundDeletion and orphan cannot be both set",
        ),
        (
            {"name": "a", "ownerReferences": [{"kind": "Pod"}]},
            "metadata.ownerReferences[0].apiVersion: Invalid value",
        ),
    ],
)
async def test_bad_metadata(client: Client, metadata: Object, message: str) -> None:
    status = await refused(client, "POST", MAPS, {"metadata": metadata})
    assert (status["code"], status["reason"]) == (422, "Invalid")
    assert message in status["message"]


async def test_bodies_that_contradict_the_path(client: Client) -> None:
    await client.create(MAPS, {"metadata": {"name": "a"}})
    cases = [
        (
            "POST",
            MAPS,
            {"metadata": {"name": "b", "namespace": "other"}},
            "the namespace of the provided object does not match the namespace sent on the request",
        ),
        (
            "PUT",
            f"{MAPS}/a",
            {"metadata": {"name": "b"}},
            "the name of the object (b) does not match the name on the URL (a)",
        ),
        (
            "PUT",
            f"{MAPS}/a",
            {"metadata": {"name": "a", "namespace": "b"}},
            "the namespace of the provided object does not match the namespace sent on the request",
        ),
        (
            "POST",
            MAPS,
            {"apiVersion": "v2", "kind": "ConfigMap"},
            "the API version in the data (v2) does not match the expected API version (v1)",
        ),
        (
            "POST",
            MAPS,
            {"metadata": {"name": "b", "resourceVersion": "5"}},
            "resourceVersion should not be set on objects to be created",
        ),
    ]
    for method, target, body, message in cases:
        status = await refused(client, method, target, body)
        assert (status["code"], status["message"]) == (400, message)
    other = await refused(
        client, "POST", MAPS, {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "b"}}
    )
    assert other["code"] == 400
    assert other["message"].startswith('Pod in version "v1" cannot be handled as a ConfigMap: ')


async def test_a_stale_update_is_a_conflict(client: Client) -> None:
    made = await client.create(MAPS, {"metadata": {"name": "a"}})
    await client.patch(f"{MAPS}/a", {"data": {"x": "1"}})
    status = await refused(client, "PUT", f"{MAPS}/a", {**made, "data": {"x": "2"}})
    assert (status["code"], status["reason"]) == (409, "Conflict")
    assert status["message"] == (
        'Operation cannot be fulfilled on configmaps "a": the object has been modified; please apply your changes to the '
        "latest version and try again"
    )
    stale = {"metadata": {"resourceVersion": made["metadata"]["resourceVersion"]}, "data": {"x": "3"}}
    assert (await refused(client, "PATCH", f"{MAPS}/a", stale, content_type=MERGE_PATCH))["code"] == 409
    assert (await client.put(f"{MAPS}/a", {"metadata": {"name": "a"}, "data": {"x": "4"}}))["data"] == {
        "x": "4"
    }


async def test_the_uid_is_a_precondition(client: Client) -> None:
    made = await client.create(MAPS, {"metadata": {"name": "a"}})
    status = await refused(client, "PUT", f"{MAPS}/a", {"metadata": {"name": "a", "uid": "other"}})
    assert (status["code"], status["reason"]) == (409, "Conflict")
    assert status["message"].endswith(
        f"Precondition failed: UID in precondition: other, UID in object meta: {made['metadata']['uid']}"
    )


async def test_patches_that_race_all_win(client: Client) -> None:
    await client.create(MAPS, {"metadata": {"name": "a"}})
    bodies = [{"data": {f"k{number}": "v"}} for number in range(10)]
    await asyncio.gather(*(client.patch(f"{MAPS}/a", body) for body in bodies))
    assert len((await client.get(f"{MAPS}/a"))["data"]) == 10


async def test_creations_that_race_have_one_winner(client: Client) -> None:
    answers = await asyncio.gather(
        *(client.call("POST", MAPS, {"metadata": {"name": "a"}}) for _ in range(5))
    )
    assert sorted(answer.status for answer in answers) == [201, 409, 409, 409, 409]


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", "/api/v1/nonsense"),
        ("GET", "/apis/apps/v9/deployments"),
        ("GET", "/apis/nope.io/v1/things"),
        ("GET", f"{MAPS}/a/nonsense"),
        ("GET", f"{PODS}/p/status/more"),
        ("GET", "/api/v1/configmaps/a"),
        ("GET", "/api/v1/namespaces/default/nodes"),
    ],
)
async def test_paths_that_lead_nowhere(client: Client, method: str, target: str) -> None:
    status = await refused(client, method, target)
    assert (status["code"], status["reason"], status["message"]) == (
        404,
        "NotFound",
        "the server could not find the requested resource",
    )


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("POST", f"{MAPS}/a"),
        ("PUT", MAPS),
        ("PATCH", MAPS),
        ("DELETE", "/api/v1/namespaces"),
        ("POST", "/api/v1/configmaps"),
        ("GET", "/apis/authentication.k8s.io/v1/tokenreviews"),
        ("DELETE", f"{PODS}/p/status"),
        ("BREW", MAPS),
    ],
)
async def test_methods_that_a_path_does_not_have(client: Client, method: str, target: str) -> None:
    status = await refused(
        client,
        method,
        target,
        {"metadata": {"name": "a"}},
        content_type=MERGE_PATCH if method == "PATCH" else "application/json",
    )
    assert (status["code"], status["reason"], status["message"]) == (
        405,
        "MethodNotAllowed",
        "the server does not allow this method on the requested resource",
    )


# Patches


async def test_strategic_patches_merge_lists_by_key(client: Client) -> None:
    await client.create(DEPLOYMENTS, deployment())
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "side", "image": "j"}]}}}}
    merged = await client.patch(f"{DEPLOYMENTS}/web", patch, STRATEGIC)
    assert {each["name"] for each in merged["spec"]["template"]["spec"]["containers"]} == {"c", "side"}
    replaced = await client.patch(f"{DEPLOYMENTS}/web", patch, MERGE_PATCH)
    assert [each["name"] for each in replaced["spec"]["template"]["spec"]["containers"]] == ["side"]


async def test_json_patches_can_test_first(client: Client) -> None:
    await client.create(MAPS, {"metadata": {"name": "a"}, "data": {"x": "1"}})
    swap = [
        {"op": "test", "path": "/data/x", "value": "1"},
        {"op": "replace", "path": "/data/x", "value": "2"},
    ]
    assert (await client.patch(f"{MAPS}/a", swap, JSON_PATCH))["data"] == {"x": "2"}
    status = await refused(client, "PATCH", f"{MAPS}/a", swap, content_type=JSON_PATCH)
    assert (status["code"], status["reason"]) == (422, "Invalid")


@pytest.mark.parametrize("body", [b"{", b"[]", b'"x"', b"", b"null", b"[[[[", b'{"spec":'])
@pytest.mark.parametrize("kind", [MERGE_PATCH, STRATEGIC])
async def test_patches_that_are_none(client: Client, kind: str, body: bytes) -> None:
    await client.create(MAPS, {"metadata": {"name": "a"}})
    assert (await refused(client, "PATCH", f"{MAPS}/a", body, content_type=kind))["code"] == 400


async def test_a_patch_cannot_move_an_object(client: Client) -> None:
    await client.create(MAPS, {"metadata": {"name": "a"}})
    for metadata in ({"name": "b"}, {"namespace": "kube-system"}, {"uid": "x"}):
        status = await refused(client, "PATCH", f"{MAPS}/a", {"metadata": metadata}, content_type=MERGE_PATCH)
        assert status["code"] in (400, 409, 422), metadata
    assert (await client.get(f"{MAPS}/a"))["metadata"]["name"] == "a"


async def test_patch_formats_that_are_not_served(client: Client) -> None:
    status = await refused(client, "PATCH", f"{MAPS}/a", {}, content_type="text/plain")
    assert (status["code"], status["reason"]) == (415, "UnsupportedMediaType")
    assert status["message"].startswith(
        "the body of the request was in an unknown format - accepted media types include: "
    )


# Dry run


async def test_a_dry_run_answers_as_if_and_keeps_nothing(client: Client) -> None:
    before = client.server.store.revision
    made = await client.create(f"{DEPLOYMENTS}?dryRun=All", deployment())
    assert made["spec"]["strategy"]["type"] == "RollingUpdate"
    assert made["metadata"]["uid"]
    assert "resourceVersion" not in made["metadata"]
    assert client.server.store.revision == before
    assert (await refused(client, "GET", f"{DEPLOYMENTS}/web"))["code"] == 404

    await client.create(DEPLOYMENTS, deployment())
    assert (await refused(client, "POST", f"{DEPLOYMENTS}?dryRun=All", deployment()))["code"] == 409
    patched = await client.patch(f"{DEPLOYMENTS}/web?dryRun=All", {"spec": {"replicas": 5}})
    assert patched["spec"]["replicas"] == 5
    await client.delete(f"{DEPLOYMENTS}/web?dryRun=All")
    await client.delete(f"{DEPLOYMENTS}/web", {"dryRun": ["All"]})
    await client.delete(f"{DEPLOYMENTS}?dryRun=All")
    assert (await client.get(f"{DEPLOYMENTS}/web"))["spec"]["replicas"] == 1


async def test_a_dry_run_of_another_kind_is_refused(client: Client) -> None:
    status = await refused(client, "POST", f"{MAPS}?dryRun=Some", {"metadata": {"name": "a"}})
    assert (status["code"], status["reason"]) == (422, "Invalid")
    assert 'dryRun: Unsupported value: ["Some"]: supported values: "All"' in status["message"]


# Creation by update


async def test_some_kinds_can_be_created_by_an_update(client: Client) -> None:
    leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases"
    row = client.server.scheme.by_resource("coordination.k8s.io", "v1", "leases")
    assert row is not None
    answer = await client.call(
        "PUT", f"{leases}/l", {"metadata": {"name": "l"}, "spec": {"holderIdentity": "me"}}
    )
    assert answer.status == (201 if row.create_on_update else 404)
    assert (await client.call("PUT", f"{MAPS}/m", {"metadata": {"name": "m"}})).status == 404


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"containers": None},
        {"containers": [{"name": "c", "image": "i"}], "volumes": [{}]},
        {"containers": [{}]},
    ],
)
async def test_a_pod_that_admission_finds_half_empty_is_refused_by_validation(
    client: Client, spec: Object
) -> None:
    status = await refused(client, "POST", PODS, {"metadata": {"name": "p"}, "spec": spec})
    assert (status["code"], status["reason"]) == (422, "Invalid")
