"""PATCH application/apply-patch+yaml: what comes out, who owns it, and what is refused, in upstream's words."""

import asyncio
from typing import Any

import orjson
import pytest
from minimal import collection, minimal, name_of
from served import Answer, Client, Object
from test_managed_fields import DEPLOYMENTS, MAPS, PODS, STORED, deployment, entries, fields, identities, pod

from tiphys.api.resource import Resource
from tiphys.testing.clock import FakeClock

APPLY = "application/apply-patch+yaml"


def config_map(name: str = "a", **data: str) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


async def send(
    client: Client, target: str, body: Object | str, manager: str = "one", query: str = ""
) -> Answer:
    text = body.encode() if isinstance(body, str) else orjson.dumps(body)
    return await client.call("PATCH", f"{target}?fieldManager={manager}&{query}", text, content_type=APPLY)


async def apply(
    client: Client, target: str, body: Object | str, manager: str = "one", query: str = ""
) -> Object:
    answer = await send(client, target, body, manager, query)
    assert answer.status in (200, 201), answer.body
    found: Object = answer.body
    return found


async def refusal(
    client: Client, target: str, body: Object | str, manager: str = "one", query: str = ""
) -> tuple[int, str, str]:
    answer = await send(client, target, body, manager, query)
    return answer.status, answer.body.get("reason", ""), answer.body["message"]


def applied(row: Resource) -> Object:
    return {**minimal(row), "apiVersion": row.api_version, "kind": row.kind}


# Every kind


@pytest.mark.parametrize("row", STORED, ids=lambda row: f"{row.api_version}-{row.kind}")
async def test_every_kind_is_made_and_changed_by_apply(
    client: Client, clock: FakeClock, row: Resource
) -> None:
    one = f"{collection(row)}/{name_of(row)}"
    made = await send(client, one, applied(row))
    assert made.status == 201, made.body
    [entry] = entries(made.body)
    assert (entry["manager"], entry["operation"]) == ("one", "Apply")
    assert "f:test" in entry["fieldsV1"]["f:metadata"]["f:labels"]
    await clock.advance(5)
    before = await client.get(one)  # a definition is established by now
    again = await send(client, one, applied(row))
    assert (again.status, again.body) == (200, before)
    less = applied(row)
    less["metadata"] = {**less["metadata"], "labels": {"other": "x"}}
    changed = await apply(client, one, less)
    assert changed["metadata"]["labels"].keys() - {"kubernetes.io/metadata.name"} == {"other"}
    fight = await send(
        client, one, {**less, "metadata": {**less["metadata"], "labels": {"other": "z"}}}, "two"
    )
    assert fight.status == 409
    # Others may be there, too: what is defaulted inside of something atomic differs from what is applied.
    assert {
        "reason": "FieldManagerConflict",
        "message": 'conflict with "one"',
        "field": ".metadata.labels.other",
    } in fight.body["details"]["causes"]


# The object


async def test_what_nobody_applies_any_more_goes(client: Client) -> None:
    await apply(client, f"{MAPS}/a", config_map(a="1", b="1"))
    await apply(client, f"{MAPS}/a", config_map(b="1", c="1"), "two")
    left = await apply(client, f"{MAPS}/a", config_map(c="1"))
    assert left["data"] == {"b": "1", "c": "1"}
    assert fields(left, "one") == {"f:data": {"f:c": {}}}
    assert fields(left, "two") == {"f:data": {"f:b": {}, "f:c": {}}}


async def test_force_takes_over(client: Client) -> None:
    await client.create(MAPS, config_map(a="1", b="1"), user_agent="kubectl/v1")
    status, reason, message = await refusal(client, f"{MAPS}/a", config_map(a="2", b="2"))
    assert (status, reason) == (409, "Conflict")
    assert message == (
        'Apply failed with 2 conflicts: conflicts with "kubectl" using v1:\n- .data.a\n- .data.b'
    )
    one = await refusal(client, f"{MAPS}/a", config_map(a="2"))
    assert one[2] == 'Apply failed with 1 conflict: conflict with "kubectl" using v1: .data.a'
    taken = await apply(client, f"{MAPS}/a", config_map(a="2"), query="force=true")
    assert taken["data"] == {"a": "2", "b": "1"}
    assert identities(taken) == [("one", "Apply", ""), ("kubectl", "Update", "")]
    assert fields(taken, "kubectl") == {"f:data": {".": {}, "f:b": {}}}


async def test_defaults_and_generation(client: Client) -> None:
    web = {"apiVersion": "apps/v1", "kind": "Deployment", **deployment(replicas=2)}
    made = await apply(client, f"{DEPLOYMENTS}/web", web)
    assert made["spec"]["strategy"]["type"] == "RollingUpdate"
    assert "f:strategy" not in fields(made, "one")["f:spec"]
    assert made["metadata"]["generation"] == 1
    web["spec"]["replicas"] = 3
    assert (await apply(client, f"{DEPLOYMENTS}/web", web))["metadata"]["generation"] == 2
    del web["spec"]["replicas"]
    # Nobody wants a number any more: the default comes back.
    assert (await apply(client, f"{DEPLOYMENTS}/web", web))["spec"]["replicas"] == 1


async def test_values_take_their_canonical_form(client: Client) -> None:
    body = {"apiVersion": "v1", "kind": "Pod", **pod()}
    body["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "1000m", "memory": 1024}}
    made = await apply(client, f"{PODS}/web", body)
    assert made["spec"]["containers"][0]["resources"]["requests"] == {"cpu": "1", "memory": "1024"}
    assert await apply(client, f"{PODS}/web", body) == made
    body["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "much"}}
    status, reason, message = await refusal(client, f"{PODS}/web", body)
    assert (status, reason) == (500, "")
    assert message.startswith(
        "failed to convert new object (default/web; /v1, Kind=Pod) to proper version (v1): "
    )


async def test_admission_and_validation(client: Client) -> None:
    body = {"apiVersion": "v1", "kind": "Pod", **pod()}
    made = await apply(client, f"{PODS}/web", body)
    assert made["spec"]["serviceAccountName"] == "default"
    assert [each["name"] for each in made["spec"]["volumes"]]
    body["spec"]["containers"][0]["name"] = "C"
    assert (await refusal(client, f"{PODS}/bad", {**body, "metadata": {"name": "bad"}}))[:2] == (
        422,
        "Invalid",
    )
    gone = await refusal(client, "/api/v1/namespaces/none/configmaps/a", config_map())
    assert gone[:2] == (404, "NotFound")


async def test_dry_run(client: Client) -> None:
    shown = await send(client, f"{MAPS}/a", config_map(a="1"), query="dryRun=All")
    assert shown.status == 201
    assert (await client.call("GET", f"{MAPS}/a")).status == 404
    made = await apply(client, f"{MAPS}/a", config_map(a="1"))
    shown_change = await apply(client, f"{MAPS}/a", config_map(a="2"), query="dryRun=All")
    assert shown_change["data"] == {"a": "2"}
    assert await client.get(f"{MAPS}/a") == made


# Subresources


async def test_status(client: Client) -> None:
    await client.create(PODS, pod(), user_agent="kubectl/v1")
    told = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web"},
        "status": {"reason": "r"},
        "spec": {"priority": 7},
    }
    seen = await apply(client, f"{PODS}/web/status", told)
    assert fields(seen, "one", "status") == {"f:status": {"f:reason": {}}}
    assert seen["status"]["reason"] == "r"
    assert seen["status"]["phase"] == "Pending"
    assert "priority" not in fields(seen, "one", "status").get("f:spec", {})
    told["status"] = {"message": "m"}
    assert "reason" not in (await apply(client, f"{PODS}/web/status", told))["status"]
    status, reason, message = await refusal(
        client, f"{PODS}/none/status", {**told, "metadata": {"name": "none"}}
    )
    assert (status, reason, message) == (404, "NotFound", 'pods "none" not found')


async def test_scale(client: Client) -> None:
    web = {"apiVersion": "apps/v1", "kind": "Deployment", **deployment(replicas=1)}
    await apply(client, f"{DEPLOYMENTS}/web", web)
    scale: Object = {
        "apiVersion": "autoscaling/v1",
        "kind": "Scale",
        "metadata": {"name": "web"},
        "spec": {"replicas": 3},
    }
    status, reason, message = await refusal(client, f"{DEPLOYMENTS}/web/scale", scale, "scaler")
    assert (status, reason) == (409, "Conflict")
    assert message == 'Apply failed with 1 conflict: conflict with "one": .spec.replicas'
    taken = await apply(client, f"{DEPLOYMENTS}/web/scale", scale, "scaler", "force=true")
    assert taken["spec"] == {"replicas": 3}
    found = await client.get(f"{DEPLOYMENTS}/web")
    assert fields(found, "scaler", "scale") == {"f:spec": {"f:replicas": {}}}
    assert "f:replicas" not in fields(found, "one")["f:spec"]
    # Who applies the object and does not say how many keeps what the other one said.
    del web["spec"]["replicas"]
    assert (await apply(client, f"{DEPLOYMENTS}/web", web))["spec"]["replicas"] == 3


async def test_ephemeral_containers(client: Client) -> None:
    await client.create(PODS, pod(), user_agent="kubectl/v1")
    debug = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web"},
        "spec": {"ephemeralContainers": [{"name": "d", "image": "i"}]},
    }
    seen = await apply(client, f"{PODS}/web/ephemeralcontainers", debug)
    owned = fields(seen, "one", "ephemeralcontainers")
    assert owned == {
        "f:spec": {"f:ephemeralContainers": {'k:{"name":"d"}': {".": {}, "f:image": {}, "f:name": {}}}}
    }


# What is refused


@pytest.mark.parametrize(
    ("body", "query", "status", "message"),
    [
        ("\tx", "", 400, "error decoding YAML: error converting YAML to JSON: yaml: line 1: found character that cannot start any token"),
        ("[]", "", 400, "error decoding YAML: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal array into Go value of type map[string]interface {}"),
        ("", "", 400, "invalid object type: /, Kind="),
        ("{}", "", 400, "invalid object type: /, Kind="),
        ("{apiVersion: v2, kind: ConfigMap}", "", 400, "invalid object type: /v2, Kind=ConfigMap"),
        ("{apiVersion: v1, kind: Secret}", "", 400, "invalid object type: /v1, Kind=Secret"),
        ("{apiVersion: v1, kind: ConfigMap, metadata: {name: b}}", "", 400, "the name of the object (b) does not match the name on the URL (a)"),
        ("{apiVersion: v1, kind: ConfigMap, metadata: {generateName: a-}}", "", 400, "the name of the object (a based on URL) was undeterminable: name must be provided"),
        ("{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: x}}", "", 400, "the namespace of the provided object does not match the namespace sent on the request"),
        ("{apiVersion: v1, kind: ConfigMap, metadata: {name: a, managedFields: []}}", "", 400, "metadata.managedFields must be nil"),
        ("{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, spec: {}}", "", 500, "failed to create typed patch object (/a; /v1, Kind=ConfigMap): .spec: field not declared in schema"),
        ("{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {x: 1}}", "", 500, "failed to create typed patch object (/a; /v1, Kind=ConfigMap): .data.x: expected string, got &value.valueUnstructured{Value:1}"),
        ("{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {}, data: {x: z}}", "fieldValidation=Strict", 400, 'error strict decoding YAML: error converting YAML to JSON: yaml: unmarshal errors:\n  line 1: key "data" already set in map'),
        ("{apiVersion: v1, kind: ConfigMap, metadata: {name: a, uid: u}}", "", 409, 'Operation cannot be fulfilled on configmaps "a": uid mismatch: the provided object specified uid u, and no existing object was found'),
    ],
)  # fmt: skip
async def test_what_is_refused(client: Client, body: str, query: str, status: int, message: str) -> None:
    answer = await send(client, f"{MAPS}/a", body, query=query)
    assert (answer.status, answer.body["message"]) == (status, message)
    assert (await client.call("GET", f"{MAPS}/a")).status == 404


async def test_a_manager_must_be_named(client: Client) -> None:
    answer = await client.call("PATCH", f"{MAPS}/a", b"{}", content_type=APPLY)
    assert answer.status == 422
    assert answer.body["message"] == (
        'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch'
    )


async def test_other_forms_of_apply_are_not_served(client: Client) -> None:
    cbor = await client.call(
        "PATCH", f"{MAPS}/a?fieldManager=x", b"{}", content_type="application/apply-patch+cbor"
    )
    assert cbor.status == 415
    assert cbor.body["message"] == (
        "the body of the request was in an unknown format - accepted media types include: "
        "application/json-patch+json, application/merge-patch+json, "
        "application/strategic-merge-patch+json, application/apply-patch+yaml"
    )


async def test_a_key_given_twice(client: Client) -> None:
    """The text has more than one line, which a Warning header cannot carry: as upstream's, it is left out."""
    body = "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {x: '1', x: '2'}}"
    answer = await send(client, f"{MAPS}/a", body)
    assert answer.body["data"] == {"x": "2"}
    assert answer.warnings == ()
    strict = await send(client, f"{MAPS}/a", body, query="fieldValidation=Strict")
    assert strict.status == 400
    assert 'line 1: key "x" already set in map' in strict.body["message"]


async def test_elements_given_twice(client: Client) -> None:
    body = {"apiVersion": "v1", "kind": "Pod", **pod()}
    body["spec"]["containers"] *= 2
    assert await refusal(client, f"{PODS}/web", body) == (
        500,
        "",
        'failed to create typed patch object (/web; /v1, Kind=Pod): .spec.containers: duplicate entries for key [name="c"]',
    )


async def test_a_state_may_be_named(client: Client) -> None:
    made = await apply(client, f"{MAPS}/a", config_map(a="1"))
    stale = config_map(a="2")
    stale["metadata"]["resourceVersion"] = "1"
    assert await refusal(client, f"{MAPS}/a", stale) == (
        409,
        "Conflict",
        'Operation cannot be fulfilled on configmaps "a": the object has been modified; '
        "please apply your changes to the latest version and try again",
    )
    stale["metadata"]["resourceVersion"] = made["metadata"]["resourceVersion"]
    changed = await apply(client, f"{MAPS}/a", stale)
    assert changed["data"] == {"a": "2"}
    other = config_map(a="3")
    other["metadata"]["uid"] = "other"
    assert (await refusal(client, f"{MAPS}/a", other))[:2] == (409, "Conflict")


async def test_who_may_not_create_may_not_create_by_applying(client: Client) -> None:
    nobody = client.as_user(
        "system:serviceaccount:default:default", "system:serviceaccounts", "system:authenticated"
    )
    assert (await send(nobody, f"{MAPS}/a", config_map())).status == 403


async def test_an_object_that_is_going_stays_gone(client: Client) -> None:
    body = config_map(a="1")
    body["metadata"]["finalizers"] = ["example.com/hold"]
    await apply(client, f"{MAPS}/a", body)
    dying = await client.delete(f"{MAPS}/a")
    assert dying["metadata"]["deletionTimestamp"]
    assert (await apply(client, f"{MAPS}/a", body))["metadata"]["deletionTimestamp"]
    await apply(client, f"{MAPS}/a", config_map(a="1"))
    assert (await client.call("GET", f"{MAPS}/a")).status == 404
    assert (await send(client, f"{MAPS}/a", body)).status == 201


async def test_many_appliers_at_once(client: Client) -> None:
    """Every one of them begins again when another was faster, and none loses what it applies."""
    names = [f"m{index}" for index in range(20)]
    answers: list[Any] = await asyncio.gather(
        *(send(client, f"{MAPS}/a", config_map(**{name: "1"}), name) for name in names)
    )
    assert sorted({answer.status for answer in answers}) == [200, 201]
    found = await client.get(f"{MAPS}/a")
    assert set(found["data"]) == set(names)
    assert [each["manager"] for each in entries(found)] == sorted(names)


# From client-side apply


async def test_kubectl_takes_over_from_client_side_apply(client: Client) -> None:
    last = "kubectl.kubernetes.io/last-applied-configuration"
    text = '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"data":{"a":"1"}}'
    body = config_map(a="1", b="1")
    body["metadata"]["annotations"] = {last: text}
    await client.create(f"{MAPS}?fieldManager=kubectl-client-side-apply", body)
    refused = await send(client, f"{MAPS}/a", config_map(a="2"), "someone")
    assert refused.status == 409
    taken = await apply(client, f"{MAPS}/a", config_map(a="2"), "kubectl")
    assert taken["data"] == {"a": "2", "b": "1"}
    assert '"data":{"a":"2"}' in taken["metadata"]["annotations"][last]
    assert (await send(client, f"{MAPS}/a", config_map(a="2", b="2"), "kubectl")).status == 409
