"""What the conformance tests of CustomResourcePublishOpenAPI do with kubectl: validate, apply and explain by what is published."""

import json
import re
from collections.abc import Iterator

import pytest
from https import Secure, secure_server

from tiphys.api.resource import Object

FOO: Object = {
    "type": "object",
    "description": "Foo CRD for Testing",
    "properties": {
        "spec": {
            "type": "object",
            "description": "Specification of Foo",
            "properties": {
                "bars": {
                    "type": "array",
                    "description": "List of Bars and their specs.",
                    "items": {
                        "type": "object",
                        "required": ["name"],
                        "properties": {
                            "name": {"type": "string", "description": "Name of Bar."},
                            "age": {"type": "string", "description": "Age of Bar."},
                            "bazs": {
                                "type": "array",
                                "items": {"type": "string"},
                                "description": "List of Bazs.",
                            },
                        },
                    },
                }
            },
        },
        "status": {
            "type": "object",
            "description": "Status of Foo",
            "properties": {"bars": {"type": "string"}},
        },
    },
}
OPEN: Object = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
EMBEDDED: Object = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "description": "Specification of Waldo",
            "x-kubernetes-preserve-unknown-fields": True,
        }
    },
}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, signing_key: bytes) -> Iterator[Secure]:
    with secure_server(tmp_path_factory.mktemp("published"), signing_key) as served:
        yield served


def define(cluster: Secure, group: str, kind: str, schema: Object, *versions: str) -> None:
    names = {"plural": f"{kind.lower()}s", "singular": kind.lower(), "kind": kind, "listKind": f"{kind}List"}
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{names['plural']}.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": names,
            "versions": [
                {"name": version, "served": True, "storage": not at, "schema": {"openAPIV3Schema": schema}}
                for at, version in enumerate(versions or ("v1",))
            ],
        },
    }
    cluster.kubectl("create", "-f", "-", stdin=json.dumps(definition))
    cluster.kubectl("wait", "--for=condition=Established", f"crd/{names['plural']}.{group}", "--timeout=300s")


def manifest(group: str, kind: str, **fields: object) -> str:
    head = {
        "apiVersion": f"{group}/v1",
        "kind": kind,
        "metadata": {"name": "test-cr", "namespace": "default"},
    }
    return json.dumps({**head, **fields})


def definitions(cluster: Secure) -> set[str]:
    return set(json.loads(cluster.kubectl("get", "--raw", "/openapi/v2"))["definitions"])


def test_a_schema_is_what_objects_are_held_to(cluster: Secure) -> None:
    group = "foo.example.com"
    define(cluster, group, "Foo", FOO)
    good = manifest(group, "Foo", spec={"bars": [{"name": "test-bar"}]})
    assert "created" in cluster.kubectl("create", "-f", "-", stdin=good)
    assert "deleted" in cluster.kubectl("delete", "foos", "test-cr")
    assert "created" in cluster.kubectl("apply", "-f", "-", stdin=good)
    longer = manifest(group, "Foo", spec={"bars": [{"name": "test-bar", "age": "10"}]})
    assert "configured" in cluster.kubectl("apply", "-f", "-", stdin=longer)
    for command in ("create", "apply"):
        unknown = manifest(group, "Foo", spec={"foo": True})
        assert 'unknown field "spec.foo"' in cluster.kubectl(command, "-f", "-", stdin=unknown, fails=True)
        missing = manifest(group, "Foo", spec={"bars": [{"age": "10"}]})
        assert "Required value" in cluster.kubectl(command, "-f", "-", stdin=missing, fails=True)
    for what, pattern in (
        ("foos", "Foo CRD for Testing.*FIELDS:.*apiVersion.*<string>.*APIVersion defines.*spec.*<Object>.*Specification of Foo"),
        ("foos.metadata", "Standard object's metadata.*FIELDS:.*creationTimestamp.*<string>.*CreationTimestamp is a timestamp"),
        ("foos.spec", r"Specification of Foo.*FIELDS:.*bars.*<\[\]Object>.*List of Bars and their specs"),
        ("foos.spec.bars", r"List of Bars and their specs.*FIELDS:.*bazs.*<\[\]string>.*List of Bazs.*name.*<string>.*Name of Bar"),
    ):  # fmt: skip
        told = cluster.kubectl("explain", what)
        assert re.search(f"DESCRIPTION:.*{pattern}", told, re.DOTALL), told
    assert 'field "bars2" does not exist' in cluster.kubectl("explain", "foos.spec.bars2", fails=True)


@pytest.mark.parametrize(("kind", "schema"), [("Waldo", EMBEDDED), ("Empty", OPEN)])
def test_where_unknown_fields_are_kept_everything_is_accepted(
    cluster: Secure, kind: str, schema: Object
) -> None:
    group = f"{kind.lower()}.example.com"
    define(cluster, group, kind, schema)
    sent = manifest(group, kind, spec={"a": 1, "b": [{"c": "d"}]})
    assert "created" in cluster.kubectl("create", "-f", "-", stdin=sent)
    assert "configured" in cluster.kubectl("apply", "-f", "-", stdin=sent.replace('"a": 1', '"z": 1'))
    kept = json.loads(cluster.kubectl("get", f"{kind.lower()}s.{group}", "test-cr", "-o", "json"))
    assert kept["spec"]["b"] == [{"c": "d"}]
    assert f"KIND:       {kind}" in cluster.kubectl("explain", f"{kind.lower()}s")


def test_versions_come_and_go(cluster: Secure) -> None:
    group = "versions.example.com"
    define(cluster, group, "Item", FOO, "v2", "v3", "v4")
    names = {version: f"com.example.versions.{version}.Item" for version in ("v2", "v3", "v4", "v5")}
    assert {names["v2"], names["v3"], names["v4"]} <= definitions(cluster)
    stop = [{"op": "replace", "path": "/spec/versions/1/served", "value": False}]
    cluster.kubectl("patch", "crd", f"items.{group}", "--type=json", "-p", json.dumps(stop))
    found = definitions(cluster)
    assert names["v3"] not in found
    assert {names["v2"], names["v4"]} <= found
    rename = [{"op": "replace", "path": "/spec/versions/2/name", "value": "v5"}]
    cluster.kubectl("patch", "crd", f"items.{group}", "--type=json", "-p", json.dumps(rename))
    found = definitions(cluster)
    assert names["v4"] not in found
    assert names["v5"] in found
    index = json.loads(cluster.kubectl("get", "--raw", "/openapi/v3"))["paths"]
    assert {path for path in index if group in path} == {
        f"apis/{group}",
        f"apis/{group}/v2",
        f"apis/{group}/v5",
    }
    assert cluster.kubectl("api-versions").splitlines().count(f"{group}/v5") == 1


def test_kinds_of_one_group_and_of_several_stand_beside_each_other(cluster: Secure) -> None:
    define(cluster, "many.example.com", "One", FOO)
    define(cluster, "many.example.com", "Two", FOO)
    define(cluster, "more.example.com", "One", FOO)
    wanted = {"com.example.many.v1.One", "com.example.many.v1.Two", "com.example.more.v1.One"}
    assert wanted <= definitions(cluster)
    document = json.loads(cluster.kubectl("get", "--raw", "/openapi/v3/apis/many.example.com/v1"))
    assert {"com.example.many.v1.One", "com.example.many.v1.Two"} <= set(document["components"]["schemas"])
    shown = cluster.kubectl("get", "apiservices", "v1.many.example.com", "--no-headers").split()
    assert shown[:3] == ["v1.many.example.com", "Local", "True"]
