"""What becomes of unknown and repeated fields: `fieldValidation` of every way to write, in upstream's words.

The cases are those of its conformance tests ([sig-api-machinery] FieldValidation … of a typed object).
"""

from typing import Any

import pytest
from served import JSON_PATCH, MERGE_PATCH, STRATEGIC, Client, Object

DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
APPLY = "application/apply-patch+yaml"
TEMPLATE = '"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}'
SPEC = '"selector":{"matchLabels":{"a":"b"}},' + TEMPLATE


def body(
    spec: str = "", metadata: str = "", kind: str = '"apiVersion":"apps/v1","kind":"Deployment",'
) -> bytes:
    return f'{{{kind}"metadata":{{"name":"web"{metadata}}},"spec":{{{SPEC}{spec}}}}}'.encode()


async def refused(
    client: Client, method: str, query: str, sent: Any, kind: str = "application/json"
) -> tuple[int, str]:
    target = f"{DEPLOYMENTS}/web" if method != "POST" else DEPLOYMENTS
    answer = await client.call(method, f"{target}?fieldValidation=Strict&{query}", sent, content_type=kind)
    return answer.status, answer.body.get("message", "")


SPOILED = ',"unknown":1,"paused":true,"paused":false,"replicas":2,"replicas":1'
COMPLAINTS = 'unknown field "spec.unknown", duplicate field "spec.paused", duplicate field "spec.replicas"'


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_unknown_and_repeated_fields_of_a_typed_object(client: Client, method: str) -> None:
    if method == "PUT":
        await client.create(DEPLOYMENTS, body())
    assert await refused(client, method, "", body(SPOILED)) == (
        400,
        f'Deployment in version "v1" cannot be handled as a Deployment: strict decoding error: {COMPLAINTS}',
    )
    assert await refused(client, method, "", body(metadata=',"unknownMeta":"x"')) == (
        400,
        'Deployment in version "v1" cannot be handled as a Deployment: strict decoding error: '
        'unknown field "metadata.unknownMeta"',
    )


async def test_applied_objects_know_no_unknown_fields_in_any_mode(client: Client) -> None:
    unknown = body(',"unknown":1', metadata=',"unknownMeta":"x"')
    for mode in ("Strict", "Warn", "Ignore"):
        target = f"{DEPLOYMENTS}/web?fieldManager=m&fieldValidation={mode}"
        answer = await client.call("PATCH", target, unknown, content_type=APPLY)
        assert answer.status == 500
        assert answer.body["message"] == (
            "failed to create typed patch object (/web; apps/v1, Kind=Deployment): errors:\n"
            "  .metadata.unknownMeta: field not declared in schema\n  .spec.unknown: field not declared in schema"
        )
    repeated = body(',"paused":true,"paused":false')
    assert await refused(client, "PATCH", "fieldManager=m", repeated, APPLY) == (
        400,
        "error strict decoding YAML: error converting YAML to JSON: yaml: unmarshal errors:\n"
        '  line 1: key "paused" already set in map',
    )


@pytest.mark.parametrize(
    ("kind", "sent", "shown", "complaints"),
    [
        (STRATEGIC, b'{"spec":{"a":1,"a":2,"replicas":3}}', "map[spec:map[a:2 replicas:3]]", 'duplicate field "spec.a", unknown field "spec.a"'),
        (MERGE_PATCH, b'{"spec":{"a":1,"a":2}}', None, 'duplicate field "spec.a", unknown field "spec.a"'),
        (JSON_PATCH, b'[{"op":"add","path":"/spec/a","value":1,"value":2,"why":"x"}]', None, 'json patch duplicate field "[0].value", json patch unknown field "[0].why", unknown field "spec.a"'),
    ],
)  # fmt: skip
async def test_patches(client: Client, kind: str, sent: bytes, shown: str | None, complaints: str) -> None:
    await client.create(DEPLOYMENTS, body())
    status, message = await refused(client, "PATCH", "", sent, kind)
    assert status == 422
    assert message.startswith(' "" is invalid: patch: Invalid value: "' + (shown or '{\\"apiVersion\\":'))
    assert message.endswith(f'": strict decoding error: {complaints}')
    warned = await client.call("PATCH", f"{DEPLOYMENTS}/web", sent, content_type=kind)
    assert warned.status == 200
    assert [text[7:-1].replace('\\"', '"') for text in warned.warnings] == complaints.split(", ")
    silent = await client.call("PATCH", f"{DEPLOYMENTS}/web?fieldValidation=Ignore", sent, content_type=kind)
    assert (silent.status, silent.warnings) == (200, ())


@pytest.mark.parametrize(
    ("patch", "words"),
    [
        ({"spec": {"replicas": "many"}}, "unrecognized type: int32"),
        ({"spec": {"template": {"spec": {"containers": "x"}}}}, "cannot restore slice from string"),
        ({"metadata": {"labels": [1]}}, "cannot restore map from slice"),
        ({"spec": {"template": 5}}, "cannot restore struct from: int64"),
    ],
)
async def test_wrong_types_in_strategic_patches(client: Client, patch: Object, words: str) -> None:
    await client.create(DEPLOYMENTS, body())
    answer = await client.call("PATCH", f"{DEPLOYMENTS}/web", patch, content_type=STRATEGIC)
    assert (answer.status, answer.body["reason"]) == (422, "Invalid")
    assert answer.body["message"].endswith(f'": {words}')


async def test_wrong_types_in_other_patches(client: Client) -> None:
    await client.create(DEPLOYMENTS, body())
    answer = await client.call(
        "PATCH", f"{DEPLOYMENTS}/web", {"spec": {"replicas": "many"}}, content_type=MERGE_PATCH
    )
    assert answer.status == 422
    assert answer.body["message"].endswith(
        "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32"
    )
