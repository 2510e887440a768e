"""The conformance suite's CustomResourcePublishOpenAPI, its FieldValidation of custom resources, and validation rules: one test each."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from definitions import DEFINITIONS, GROUP, TABS, define, definition, redefine, tab, version, with_schema
from https import Secure, secure_server
from served import Client, Object

from tiphys.machinery import yaml

APPLY = "application/apply-patch+yaml"
OPEN: Object = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
BARS = {
    "description": "Foo CRD for Testing",
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "description": "Specification of Foo",
            "properties": {
                "bars": {
                    "description": "List of Bars and their specs.",
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["name"],
                        "properties": {
                            "name": {"description": "Name of Bar.", "type": "string"},
                            "age": {"description": "Age of Bar.", "type": "string"},
                            "feeling": {"type": "string", "enum": ["Great", "Down"]},
                        },
                    },
                }
            },
        },
        "status": {"type": "object", "description": "Status of Foo"},
    },
}


def name_of(kind: str, version: str = "v1", group: str = "com.example.stable") -> str:
    return f"{group}.{version}.{kind}"


async def published(client: Client, name: str) -> Object | None:
    """A definition in the whole document."""
    found: Object | None = (await client.get("/openapi/v2"))["definitions"].get(name)
    return found


# Documents


@pytest.mark.conformance(
    "CustomResourcePublishOpenAPI [Privileged:ClusterAdmin] works for multiple CRDs of different groups"
)
async def test_kinds_of_different_groups(client: Client) -> None:
    await define(client, definition(plural="foos", kind="Foo"))
    await define(client, definition(plural="bars", kind="Bar", group="other.example.com"))
    assert await published(client, name_of("Foo"))
    assert await published(client, name_of("Bar", group="com.example.other"))


@pytest.mark.conformance(
    "CustomResourcePublishOpenAPI [Privileged:ClusterAdmin] works for multiple CRDs of same group but different versions"
)
async def test_versions_of_one_group(client: Client) -> None:
    await define(client, definition(version("v2"), version("v3", storage=False)))
    await define(client, definition(version("v4"), plural="foos", kind="Foo"))
    for name in (name_of("CronTab", "v2"), name_of("CronTab", "v3"), name_of("Foo", "v4")):
        assert await published(client, name)


@pytest.mark.conformance(
    "CustomResourcePublishOpenAPI [Privileged:ClusterAdmin] works for multiple CRDs of same group and version but different kinds"
)
async def test_kinds_of_one_version(client: Client) -> None:
    await define(client, definition(plural="foos", kind="Foo"))
    await define(client, definition(plural="bars", kind="Bar"))
    assert await published(client, name_of("Foo"))
    assert await published(client, name_of("Bar"))


@pytest.mark.conformance(
    "CustomResourcePublishOpenAPI [Privileged:ClusterAdmin] updates the published spec when one version gets renamed"
)
async def test_a_version_that_is_renamed(client: Client) -> None:
    await define(client, definition(version("v2"), version("v3", storage=False)))
    patch = [{"op": "test", "path": "/spec/versions/1/name", "value": "v3"}]
    patch.append({"op": "replace", "path": "/spec/versions/1/name", "value": "v4"})
    await client.patch(f"{DEFINITIONS}/crontabs.{GROUP}", patch, "application/json-patch+json")
    assert await published(client, name_of("CronTab", "v2"))
    assert await published(client, name_of("CronTab", "v3")) is None
    assert await published(client, name_of("CronTab", "v4"))


@pytest.mark.conformance(
    "CustomResourcePublishOpenAPI [Privileged:ClusterAdmin] removes definition from spec when one version gets changed to not be served"
)
async def test_a_version_that_is_served_no_longer(client: Client) -> None:
    await define(client, definition(version("v5"), version("v6alpha1", storage=False)))
    before = await published(client, name_of("CronTab", "v5"))
    await redefine(client, definition(version("v5"), version("v6alpha1", storage=False, served=False)))
    assert await published(client, name_of("CronTab", "v6alpha1")) is None
    assert await published(client, name_of("CronTab", "v5")) == before


# kubectl


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory, signing_key: bytes) -> Iterator[Secure]:
    with secure_server(Path(tmp_path_factory.mktemp("published")), signing_key) as found:
        yield found


def create(secure: Secure, plural: str, kind: str, schema: Object) -> None:
    wanted = definition(with_schema(schema), plural=plural, kind=kind)
    secure.kubectl("create", "-f", "-", stdin=json.dumps(wanted))
    secure.kubectl("wait", "--for=condition=Established", f"crd/{plural}.{GROUP}")


def custom(kind: str, **content: Any) -> str:
    obj = {"apiVersion": f"{GROUP}/v1", "kind": kind, "metadata": {"name": "test"}, **content}
    return yaml.dump(obj).decode()


@pytest.mark.conformance(
    "CustomResourcePublishOpenAPI [Privileged:ClusterAdmin] works for CRD with validation schema"
)
def test_kubectl_with_a_schema(secure: Secure) -> None:
    create(secure, "foos", "Foo", BARS)
    good = custom("Foo", spec={"bars": [{"name": "test-bar"}]})
    for command in ("create", "apply"):
        assert secure.kubectl(command, "-f", "-", stdin=good)
    assert secure.kubectl("delete", "foos", "test")
    unknown = custom("Foo", spec={"foo": True})
    missing = custom("Foo", spec={"bars": [{"age": "10"}]})
    wrong = custom("Foo", spec={"bars": [{"name": "test-bar", "feeling": "NonExistentValue"}]})
    for command in ("create", "apply"):
        assert 'unknown field "spec.foo"' in secure.kubectl(command, "-f", "-", stdin=unknown, fails=True)
        assert "spec.bars[0].name: Required value" in secure.kubectl(
            command, "-f", "-", stdin=missing, fails=True
        )
        assert 'Unsupported value: "NonExistentValue"' in secure.kubectl(
            command, "-f", "-", stdin=wrong, fails=True
        )
    told = secure.kubectl("explain", "foos")
    assert "Foo CRD for Testing" in told
    assert "Specification of Foo" in told
    told = secure.kubectl("explain", "foos.spec.bars")
    assert "List of Bars and their specs." in told
    assert "name\t<string> -required-" in told
    assert "does not exist" in secure.kubectl("explain", "foos.spec.bars2", fails=True)


@pytest.mark.conformance(
    "CustomResourcePublishOpenAPI [Privileged:ClusterAdmin] works for CRD without validation schema"
)
def test_kubectl_without_a_schema(secure: Secure) -> None:
    create(secure, "emptys", "Empty", OPEN)
    wanted = custom("Empty", a={"b": ["c"]})
    for command in ("create", "apply"):
        assert secure.kubectl(command, "-f", "-", stdin=wanted)
    told = secure.kubectl("explain", "emptys")
    assert "DESCRIPTION:\n    <empty>" in told


@pytest.mark.conformance(
    "CustomResourcePublishOpenAPI [Privileged:ClusterAdmin] works for CRD preserving unknown fields at the schema root"
)
def test_kubectl_with_unknown_fields_at_the_root(secure: Secure) -> None:
    create(secure, "roots", "Root", {**OPEN, "description": "preserve-unknown-properties at root"})
    wanted = custom("Root", a={"b": ["c"]})
    for command in ("create", "apply"):
        assert secure.kubectl(command, "-f", "-", stdin=wanted)
    assert "KIND:       Root" in secure.kubectl("explain", "roots")


@pytest.mark.conformance(
    "CustomResourcePublishOpenAPI [Privileged:ClusterAdmin] works for CRD preserving unknown fields in an embedded object"
)
def test_kubectl_with_unknown_fields_in_an_embedded_object(secure: Secure) -> None:
    nested = {**OPEN, "description": "Specification of Waldo"}
    create(secure, "nesteds", "Nested", {"type": "object", "properties": {"spec": nested}})
    wanted = custom("Nested", spec={"dummy": "test"})
    for command in ("create", "apply"):
        assert secure.kubectl(command, "-f", "-", stdin=wanted)
    told = secure.kubectl("explain", "nesteds")
    assert "Specification of Waldo" in told
    found = json.loads(secure.kubectl("get", "nesteds", "test", "-o", "json"))
    assert found["spec"] == {"dummy": "test"}


# Field validation


async def apply(client: Client, wanted: Object | str) -> Any:
    body = wanted.encode() if isinstance(wanted, str) else json.dumps(wanted).encode()
    query = "fieldManager=test&fieldValidation=Strict"
    return await client.call("PATCH", f"{TABS}/a?{query}", body, content_type=APPLY)


async def test_unknown_fields_without_a_schema(client: Client) -> None:
    await define(client, definition(with_schema(OPEN)))
    answer = await apply(client, {**tab("a"), "spec": {"anything": {"goes": 1}}})
    assert answer.status == 201, answer.body


async def test_a_valid_object_with_a_schema(client: Client) -> None:
    await define(client)
    assert (await apply(client, tab("a", replicas=1))).status == 201


async def test_extra_fields_with_a_schema(client: Client) -> None:
    await define(client)
    answer = await apply(client, tab("a", extra=1))
    assert answer.status in (400, 500)
    assert "spec.extra: field not declared in schema" in answer.body["message"]


async def test_duplicates_when_unknown_fields_are_kept(client: Client) -> None:
    await define(client, definition(with_schema(OPEN)))
    text = json.dumps(tab("a")).replace('"spec": {', '"spec": {"unknown": 1, "unknown": 2, ')
    answer = await client.call(
        "POST", f"{TABS}?fieldValidation=Strict", text.encode(), content_type="application/json"
    )
    assert answer.status == 400
    assert 'duplicate field "spec.unknown"' in answer.body["message"]


# Validation rules


def ruled(*rules: Object, schema: Object | None = None) -> Object:
    spec: Object = {
        "type": "object",
        "properties": {"x": {"type": "integer"}, "y": {"type": "integer"}},
        "x-kubernetes-validations": list(rules),
    }
    return with_schema({"type": "object", "properties": {"spec": schema or spec}})


def pair(x: int, y: int) -> Object:
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": "CronTab",
        "metadata": {"name": "a"},
        "spec": {"x": x, "y": y},
    }


async def test_rules_hold_for_what_obeys_them(client: Client) -> None:
    await define(client, definition(ruled({"rule": "self.x + self.y > 0"})))
    assert (await client.call("POST", TABS, pair(1, 0))).status == 201


async def test_rules_refuse_what_does_not(client: Client) -> None:
    await define(client, definition(ruled({"rule": "self.x * self.y > 0", "message": "both or none"})))
    refused = await client.call("POST", TABS, pair(1, 0))
    assert refused.status == 422
    (cause,) = refused.body["details"]["causes"]
    assert (cause["field"], cause["reason"]) == ("spec", "FieldValueInvalid")
    assert cause["message"].endswith("both or none")


async def test_rules_with_a_syntax_error_are_refused_with_their_definition(client: Client) -> None:
    refused = await client.call("POST", DEFINITIONS, definition(ruled({"rule": "self = 42"})))
    assert refused.status == 422
    assert "compilation failed" in refused.body["message"]


async def test_rules_that_name_what_is_not_there_are_refused_with_their_definition(client: Client) -> None:
    refused = await client.call("POST", DEFINITIONS, definition(ruled({"rule": "self.z == self.x"})))
    assert refused.status == 422
    assert "undefined field 'z'" in refused.body["message"]


async def test_rules_that_cost_too_much_are_refused_with_their_definition(client: Client) -> None:
    items = {"type": "array", "items": {"type": "array", "items": {"type": "string"}}}
    schema = {
        "type": "object",
        "properties": {"x": items},
        "x-kubernetes-validations": [{"rule": "self.x.all(a, self.x.all(b, a.all(c, b.all(d, c != d))))"}],
    }
    refused = await client.call("POST", DEFINITIONS, definition(ruled(schema=schema)))
    assert refused.status == 422
    assert "estimated rule cost exceeds budget" in refused.body["message"]


async def test_rules_that_compare_with_what_was_before(client: Client) -> None:
    await define(client, definition(ruled({"rule": "self.x == oldSelf.x", "message": "x stays"})))
    await client.create(TABS, pair(1, 1))
    assert (await client.patch(f"{TABS}/a", {"spec": {"y": 2}}))["spec"]["y"] == 2
    refused = await client.call(
        "PATCH", f"{TABS}/a", {"spec": {"x": 2}}, content_type="application/merge-patch+json"
    )
    assert refused.status == 422
    assert "x stays" in refused.body["message"]
