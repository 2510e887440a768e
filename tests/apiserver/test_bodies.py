"""Bodies: what can be read, what is said about what cannot, and how much is too much."""

import orjson
import pytest
from served import JSON_PATCH, MERGE_PATCH, PROTOBUF, STRATEGIC, Answer, Client, Object

from tiphys.api.types import TYPES
from tiphys.apiserver.pipeline import too_large
from tiphys.machinery.protobuf import encode_envelope
from tiphys.net.http import Request

MAPS = "/api/v1/namespaces/default/configmaps"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"

MANIFEST = b"""\
apiVersion: v1
kind: ConfigMap
metadata:
  name: a
data:
  mode: "yes"
  number: "010"
"""


async def refused(client: Client, body: bytes, code: int = 400, **headers: str) -> str:
    headers.setdefault("content_type", "application/json")
    answer = await client.call("POST", MAPS, body, **headers)
    assert answer.status == code, answer.body
    message: str = answer.body["message"]
    return message


# Formats


@pytest.mark.parametrize("kind", ["application/yaml", "text/yaml; charset=utf-8"])
async def test_yaml(client: Client, kind: str) -> None:
    made = await client.create(MAPS, MANIFEST, content_type=kind)
    assert made["data"] == {"mode": "yes", "number": "010"}


async def test_json_without_a_content_type(client: Client) -> None:
    assert (await client.create(MAPS, b'{"metadata":{"name":"a"}}'))["metadata"]["name"] == "a"


async def test_protobuf_is_the_same_object(client: Client) -> None:
    obj = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "a"},
        "data": {"x": "1"},
        "binaryData": {"b": "AAE="},
    }
    body = encode_envelope(TYPES.struct("core/v1.ConfigMap"), obj)
    answer = await client.call("POST", MAPS, body, content_type=PROTOBUF)
    assert (answer.status, answer.body["data"], answer.body["binaryData"]) == (201, {"x": "1"}, {"b": "AAE="})


@pytest.mark.parametrize("name", ["v1", "apps/v1", "meta.k8s.io/v1"])
async def test_delete_options_of_any_group_version(client: Client, name: str) -> None:
    made = await client.create(MAPS, {"metadata": {"name": "a"}})
    options: Object = {"apiVersion": name, "kind": "DeleteOptions", "preconditions": {"uid": "another"}}
    body = encode_envelope(TYPES.struct("meta/v1.DeleteOptions"), options)
    assert (await client.call("DELETE", f"{MAPS}/a", body, content_type=PROTOBUF)).status == 409
    assert (await client.call("DELETE", f"{MAPS}/a", options)).status == 409
    options["preconditions"]["uid"] = made["metadata"]["uid"]
    assert (await client.call("DELETE", f"{MAPS}/a", options)).status == 200


async def test_other_formats_are_refused(client: Client) -> None:
    message = await refused(client, b"<a/>", 415, content_type="application/xml")
    assert message.startswith(
        "the body of the request was in an unknown format - accepted media types include: application/json"
    )


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"nonsense",
        b"[]",
        b"1",
        b'"x"',
        b"\xff\xfe",
        b'{"metadata":"x"}',
        b'{"metadata":[]}',
        b'{"data":5}',
        b'{"metadata":{"name":5}}',
        b'{"metadata":{"labels":{"a":1}}}',
        b'{"a":NaN}',
        b"{}{}",
    ],
)
async def test_json_that_is_no_object_of_the_kind(client: Client, body: bytes) -> None:
    await refused(client, body)


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (b"{", "unexpected end of JSON input"),
        (b"{a}", "invalid character 'a' looking for beginning of object key string"),
        (b"{}{}", "invalid character '{' after top-level value"),
        (b"[" * 2000 + b"]" * 2000, "exceeded max depth"),
        (b'{"kind":5}', "json: cannot unmarshal number into Go struct field .kind of type string"),
        (
            b'{"apiVersion":[]}',
            "json: cannot unmarshal array into Go struct field .apiVersion of type string",
        ),
        (b'"x"', "json: cannot unmarshal string into Go value of type struct { APIVersion string"),
        (b"true", "json: cannot unmarshal bool into Go value of type struct { APIVersion string"),
    ],
)
async def test_faults_are_named_as_upstream_names_them(client: Client, body: bytes, fault: str) -> None:
    message = await refused(client, body)
    assert message.startswith(f"couldn't get version/kind; json parse error: {fault}")


async def test_null_is_an_object_without_fields(client: Client) -> None:
    answer = await client.call("POST", MAPS, b"null")
    assert (answer.status, answer.body["details"]["causes"][0]["field"]) == (422, "metadata.name")


@pytest.mark.parametrize(
    ("kind", "body", "message"),
    [
        (MERGE_PATCH, b"{", "error decoding patch: unexpected end of JSON input"),
        (
            MERGE_PATCH,
            b"[]",
            "error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}",
        ),
        (STRATEGIC, b"{a}", "invalid character 'a' looking for beginning of object key string"),
        (STRATEGIC, b"1", "json: cannot unmarshal number into Go value of type map[string]interface {}"),
        (JSON_PATCH, b"[,]", "error decoding patch: invalid character ',' looking for beginning of value"),
    ],
)
async def test_faults_of_patches(client: Client, kind: str, body: bytes, message: str) -> None:
    await client.create(MAPS, {"metadata": {"name": "a"}})
    answer = await client.call("PATCH", f"{MAPS}/a", body, content_type=kind)
    assert (answer.status, answer.body["message"]) == (400, message)


async def test_the_first_document_of_yaml_counts(client: Client) -> None:
    text = b"metadata: {name: a}\n---\nmetadata: {name: b}\n"
    answer = await client.call("POST", MAPS, text, content_type="application/yaml")
    assert answer.body["metadata"]["name"] == "a"


@pytest.mark.parametrize("body", [b"", b"k8s", b"k8s\0\xff\xff\xff", b"{}", b"\0" * 100])
async def test_protobuf_that_is_none(client: Client, body: bytes) -> None:
    await refused(client, body, content_type=PROTOBUF)


@pytest.mark.parametrize(
    "body",
    [
        b"a: b: c",
        b"- a",
        b"{",
        b"a: &x [*x]",
        b"\t- :",
        b"!!python/object:os.system {}",
        b"1",
        b"",
        b"a: 1\n---\nb: 2",
    ],
)
async def test_yaml_that_is_no_object_of_the_kind(client: Client, body: bytes) -> None:
    answer = await client.call("POST", MAPS, body, content_type="application/yaml")
    assert 400 <= answer.status < 500, answer.body


async def test_yaml_does_not_grow_without_bounds(client: Client) -> None:
    bomb = b"a: &a [x,x,x,x,x,x,x,x,x]\n" + b"".join(
        b"%c: &%c [%s]\n" % (letter, letter, b",".join([b"*%c" % (letter - 1)] * 9))
        for letter in range(ord("b"), ord("j"))
    )
    answer = await client.call("POST", MAPS, bomb, content_type="application/yaml")
    assert 400 <= answer.status < 500


async def test_types_are_named_in_the_complaint(client: Client) -> None:
    body = {"metadata": {"name": "a"}, "spec": {"replicas": "three"}}
    answer = await client.call("POST", DEPLOYMENTS, body)
    assert (answer.status, answer.body["reason"]) == (400, "BadRequest")
    assert answer.body["message"] == (
        'Deployment in version "v1" cannot be handled as a Deployment: json: cannot unmarshal string into Go struct field '
        "DeploymentSpec.spec.replicas of type int32"
    )


# Field validation

TYPO: Object = {
    "metadata": {"name": "web", "lables": {}},
    "spec": {
        "replica": 3,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "c", "image": "i", "imagee": "x"}]},
        },
    },
}
COMPLAINTS = (
    'unknown field "metadata.lables"',
    'unknown field "spec.replica"',
    'unknown field "spec.template.spec.containers[0].imagee"',
)


async def test_strict_refuses_and_names_every_field(client: Client) -> None:
    answer = await client.call("POST", f"{DEPLOYMENTS}?fieldValidation=Strict", TYPO)
    assert (answer.status, answer.body["reason"]) == (400, "BadRequest")
    head, _, complaints = answer.body["message"].partition("strict decoding error: ")
    assert head == 'Deployment in version "v1" cannot be handled as a Deployment: '
    assert sorted(complaints.split(", ")) == sorted(COMPLAINTS)


def warned(answer: Answer) -> list[str]:
    return sorted(orjson.loads(warning.removeprefix("299 - ")) for warning in answer.warnings)


@pytest.mark.parametrize("query", ["", "?fieldValidation=Warn"])
async def test_warn_warns_and_drops(client: Client, query: str) -> None:
    answer = await client.call("POST", DEPLOYMENTS + query, TYPO)
    assert answer.status == 201
    assert warned(answer) == sorted(COMPLAINTS)
    assert "replica" not in answer.body["spec"]


async def test_ignore_is_silent(client: Client) -> None:
    answer = await client.call("POST", f"{DEPLOYMENTS}?fieldValidation=Ignore", TYPO)
    assert (answer.status, answer.warnings) == (201, ())
    assert "replica" not in answer.body["spec"]


async def test_another_mode_is_refused(client: Client) -> None:
    answer = await client.call("POST", f"{DEPLOYMENTS}?fieldValidation=Loud", TYPO)
    assert (answer.status, answer.body["reason"]) == (422, "Invalid")
    assert (
        'fieldValidation: Unsupported value: "Loud": supported values: "Ignore", "Strict", "Warn"'
        in answer.body["message"]
    )


async def test_repeated_fields(client: Client) -> None:
    body = b'{"metadata":{"name":"a"},"data":{"x":"1","x":"2"},"data":{"y":"3"}}'
    strict = await client.call(
        "POST", f"{MAPS}?fieldValidation=Strict", body, content_type="application/json"
    )
    assert strict.status == 400
    assert 'strict decoding error: duplicate field "data' in strict.body["message"]
    loose = await client.call("POST", MAPS, body, content_type="application/json")
    assert (loose.status, loose.body["data"]) == (201, {"y": "3"})
    assert 'duplicate field "data"' in warned(loose)


async def test_patches_are_validated_as_what_they_make(client: Client) -> None:
    await client.create(MAPS, {"metadata": {"name": "a"}})
    patch = {"dato": {"x": "1"}}
    strict = await client.call("PATCH", f"{MAPS}/a?fieldValidation=Strict", patch, content_type=MERGE_PATCH)
    assert (strict.status, 'unknown field "dato"' in strict.body["message"]) == (
        422,
        True,
    ) or strict.status == 400
    loose = await client.call("PATCH", f"{MAPS}/a", patch, content_type=MERGE_PATCH)
    assert (loose.status, warned(loose)) == (200, ['unknown field "dato"'])


# Too much


async def test_the_answer_to_a_body_over_the_limit(client: Client) -> None:
    answer = too_large(Request("POST", MAPS))
    assert answer.status == 413
    assert orjson.loads(answer.body)["reason"] == "RequestEntityTooLarge"  # type: ignore[arg-type]


def nested(depth: int, inner: str = "1") -> str:
    return '{"a":' * depth + inner + "}" * depth


@pytest.mark.parametrize("depth", [100, 190, 240, 254, 255, 300, 900, 1100, 5000, 100_000])
async def test_depth_is_bounded_everywhere(client: Client, depth: int) -> None:
    revisions = "/apis/apps/v1/namespaces/default/controllerrevisions"
    deep = nested(depth)
    body = f'{{"metadata":{{"name":"r"}},"revision":1,"data":{deep}}}'.encode()
    made = await client.call("POST", revisions, body, content_type="application/json")
    assert made.status in (201, 400), made.body
    assert (made.status == 201) is (depth <= 190)
    if made.status == 201:
        for accept in (
            "application/json",
            PROTOBUF,
            "application/yaml",
            "application/json;as=Table;v=v1;g=meta.k8s.io",
        ):
            target = f"{revisions}?includeObject=Object"
            assert (await client.call("GET", target, accept=accept)).status == 200
    yaml = await client.call("POST", revisions, body, content_type="application/yaml")
    assert yaml.status in (400, 409), yaml.body
    await client.create(MAPS, {"metadata": {"name": "a"}})
    for kind in (MERGE_PATCH, "application/strategic-merge-patch+json"):
        patched = await client.call("PATCH", f"{MAPS}/a", deep.encode(), content_type=kind)
        assert patched.status in (200, 400), patched.body
    steps = f'[{{"op":"add","path":"/data","value":{deep}}}]'.encode()
    stepped = await client.call("PATCH", f"{MAPS}/a", steps, content_type="application/json-patch+json")
    assert stepped.status in (400, 422)


async def test_patches_cannot_dig_deeper_step_by_step(client: Client) -> None:
    revisions = "/apis/apps/v1/namespaces/default/controllerrevisions"
    await client.create(revisions, {"metadata": {"name": "r"}, "revision": 1, "data": {}})
    steps = [{"op": "add", "path": "/data" + "/a" * depth, "value": {}} for depth in range(1, 600)]
    answer = await client.call("PATCH", f"{revisions}/r", steps, content_type="application/json-patch+json")
    assert answer.status in (400, 422), answer.body


async def test_deep_protobuf(client: Client) -> None:
    schema: Object = {"type": "object"}
    for _ in range(2000):
        schema = {"not": schema}
    crd = TYPES.struct("apiextensions/v1.CustomResourceDefinition")
    # Written by hand: field 1 of JSONSchemaProps.not, nested without end.
    inner = b""
    for _ in range(3000):
        inner = b"\xf2\x01" + _varint(len(inner)) + inner
    envelope = b"k8s\0" + b"\n\x04\n\x02v1" + b"\x12" + _varint(len(inner)) + inner
    answer = await client.call(
        "POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", envelope, content_type=PROTOBUF
    )
    assert answer.status in (400, 422), (crd.name, answer.body)


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes([*found, number])
