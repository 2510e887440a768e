"""What the suite asks of definitions and their objects, where it is stricter than tests/apiserver."""

from __future__ import annotations

from typing import Any

import pytest
from definitions import DEFINITIONS, GROUP, define, definition, with_schema
from served import JSON_PATCH, Answer, Client, Object, settle

NOXUS = f"/apis/{GROUP}/v1/noxus"
CRON = r"^(\d+|\*)(/\d+)?(\s+(\d+|\*)(/\d+)?){4}$"
PORT = {
    "type": "object",
    "required": ["containerPort", "protocol"],
    "properties": {
        "containerPort": {"type": "integer", "format": "int32"},
        "hostPort": {"type": "integer", "format": "int32"},
        **{name: {"type": "string"} for name in ("hostIP", "name", "protocol")},
    },
}
PROPERTIES: Object = {
    "foo": {"type": "string"},
    "cronSpec": {"type": "string", "pattern": CRON},
    "ports": {
        "type": "array",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["containerPort", "protocol"],
        "items": PORT,
    },
}
EMBEDDED = {
    "type": "object",
    "x-kubernetes-embedded-resource": True,
    "properties": {
        "metadata": {"type": "object", "properties": {"name": {"type": "string"}}},
        "spec": {"type": "object"},
    },
}
SPEC = 'cronSpec: "* * * * */5"\n  ports:\n  - name: x\n    containerPort: 80\n    protocol: TCP'
OPEN = {"x-kubernetes-preserve-unknown-fields": True}


def noxu(spec: Object | None, **more: Any) -> Object:
    schema = {"type": "object", **({"properties": {"spec": spec}} if spec else OPEN)}
    return definition(with_schema(schema), plural="noxus", kind="Noxu", scope="Cluster", **more)


def body(spec: str, metadata: str = "", root: str = "") -> str:
    return f"\napiVersion: {GROUP}/v1\nkind: Noxu\nmetadata:\n  name: mytest\n{metadata}{root}spec:\n{spec}  {SPEC}"


async def apply(client: Client, spec: Object | None, sent: str) -> Answer:
    await define(client, noxu(spec))
    query = "fieldManager=field_validation_mgr&fieldValidation=Strict"
    return await client.call(
        "PATCH", f"{NOXUS}/mytest?{query}", sent.encode(), content_type="application/apply-patch+yaml"
    )


CLOSED: Object = {"type": "object", "properties": PROPERTIES}


@pytest.mark.conformance("FieldValidation should create/apply a valid CR for CRD with validation schema")
async def test_a_valid_object(client: Client) -> None:
    answer = await apply(client, CLOSED, body("  foo: foo1\n"))
    assert (answer.status, answer.body["spec"]["foo"]) == (201, "foo1")


@pytest.mark.conformance(
    "FieldValidation should create/apply a CR with unknown fields for CRD with no validation schema"
)
async def test_unknown_fields_without_a_schema(client: Client) -> None:
    answer = await apply(client, None, body("  unknown: uk1\n"))
    assert (answer.status, answer.body["spec"]["unknown"]) == (201, "uk1")


@pytest.mark.conformance(
    "FieldValidation should create/apply an invalid CR with extra properties for CRD with validation schema"
)
async def test_a_field_beside_the_schema(client: Client) -> None:
    answer = await apply(client, CLOSED, body("  foo: foo1\n", root="unknownField: unknown\n"))
    assert ".unknownField: field not declared in schema" in answer.body["message"]


@pytest.mark.conformance(
    "FieldValidation should detect unknown metadata fields in both the root and embedded object of a CR"
)
async def test_unknown_metadata(client: Client) -> None:
    template = (
        "  template:\n    apiversion: foo/v1\n    kind: Sub\n    metadata:\n"
        "      unknownSubMeta: unknown\n      name: subobject\n      namespace: default\n  foo: foo1\n"
    )
    spec = {"type": "object", **OPEN, "properties": {**PROPERTIES, "template": EMBEDDED}}
    sent = body(template, metadata="  unknownMeta: unknown\n")
    answer = await apply(client, spec, sent)
    assert answer.status >= 400
    assert ".metadata.unknownMeta: field not declared in schema" in answer.body["message"]
    assert ".spec.template.metadata.unknownSubMeta: field not declared in schema" in answer.body["message"]


@pytest.mark.conformance("FieldValidation should detect duplicates in a CR when preserving unknown fields")
async def test_a_repeated_key(client: Client) -> None:
    spec = {"type": "object", **OPEN, "properties": PROPERTIES}
    answer = await apply(client, spec, body("  unknown: uk1\n  foo: foo1\n  foo: foo2\n"))
    assert answer.status >= 400
    assert 'line 9: key "foo" already set in map' in answer.body["message"]


DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"


def deployment(metadata: str = "", spec: str = "") -> bytes:
    template = (
        '{"metadata":{"labels":{"app":"nginx"}},"spec":{"containers":[{"name":"nginx","image":"nginx"}]}}'
    )
    return (
        f'{{"apiVersion":"apps/v1","kind":"Deployment","metadata":{{"name":"my-dep",{metadata}"labels":{{"app":"nginx"}}}},'
        f'"spec":{{{spec}"selector":{{"matchLabels":{{"app":"nginx"}}}},"template":{template}}}}}'
    ).encode()


async def strictly(client: Client, sent: bytes) -> str:
    target = f"{DEPLOYMENTS}?fieldManager=field_validation_mgr&fieldValidation=Strict"
    answer = await client.call("POST", target, sent, content_type="application/json")
    assert answer.status == 400
    found: str = answer.body["message"]
    return found


@pytest.mark.conformance("FieldValidation should detect unknown and duplicate fields of a typed object")
async def test_unknown_and_repeated_fields_together(client: Client) -> None:
    said = await strictly(client, deployment(spec='"unknownField":"foo","replicas":2,"replicas":3,'))
    wanted = 'strict decoding error: unknown field "spec.unknownField", duplicate field "spec.replicas"'
    assert wanted in said


@pytest.mark.conformance("FieldValidation should detect unknown metadata fields of a typed object")
async def test_unknown_metadata_of_a_typed_object(client: Client) -> None:
    said = await strictly(client, deployment(metadata='"unknownMeta":"foo",'))
    assert 'strict decoding error: unknown field "metadata.unknownMeta"' in said


# Definitions


@pytest.mark.conformance(
    "CustomResourceDefinition resources [Privileged:ClusterAdmin] Simple CustomResourceDefinition getting/updating/patching custom resource definition status sub-resource works"
)
async def test_a_status_has_conditions_that_say_little(client: Client) -> None:
    """Clients in Go send all of a condition's fields, empty ones too; the patch has nothing but a message."""
    made = await define(client, noxu(None))
    one = f"{DEFINITIONS}/noxus.{GROUP}"
    current = await client.get(f"{one}/status")
    assert current["spec"] == made["spec"]
    empty = {"type": "", "status": "", "lastTransitionTime": None}
    current["status"]["conditions"].append({**empty, "message": "updated"})
    updated = await client.put(f"{one}/status", current)
    assert "updated" in [condition.get("message") for condition in updated["status"]["conditions"]]
    patch = [{"op": "add", "path": "/status/conditions", "value": [{"message": "patched"}]}]
    patched = await client.patch(f"{one}/status", patch, JSON_PATCH)
    assert [condition["message"] for condition in patched["status"]["conditions"]] == ["patched"]
    await settle()
    told = (await client.get(one))["status"]["conditions"]
    assert "Established" in [condition.get("type") for condition in told], "the controller says it again"


@pytest.mark.conformance("AggregatedDiscovery should support raw aggregated discovery request for CRDs")
@pytest.mark.conformance("AggregatedDiscovery should support aggregated discovery interface for CRDs")
async def test_a_new_kind_is_discovered(client: Client) -> None:
    """Raw, and as clients read it: all groups at once, in the version they like best."""
    await define(
        client, definition(with_schema({"type": "object", **OPEN}), plural="testcrds", kind="testcrd")
    )
    best = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    for accept in (best, f"{best},{best.replace('v=v2', 'v=v2beta1')},application/json"):
        document = await client.get("/apis", accept=accept)
        found = {
            (group["metadata"]["name"], version["version"], resource["resource"])
            for group in document["items"]
            for version in group["versions"]
            for resource in version["resources"]
        }
        assert (GROUP, "v1", "testcrds") in found
