"""OpenAPI: what kubectl looks up in it is there, and the documents are whole."""

import gzip
from collections.abc import Iterator
from typing import Any

import pytest
from custom_rows import custom_row
from served import Client, Object

from tiphys.api.scheme import built_in
from tiphys.apiserver.openapi import v2, v3
from tiphys.apiserver.openapi.contents import all_documents
from tiphys.apiserver.server import APIServer
from tiphys.machinery.protobuf.wire import BYTES, VARINT, read_varint

SCHEME = built_in()
V2 = v2.document(SCHEME, version="v1.36.2")
STRATEGIC = "application/strategic-merge-patch+json"


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "$ref" and isinstance(inner, str):  # JSONSchemaProps has a property of that name
                yield inner
            else:
                yield from references(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from references(inner)


def operations(document: Object) -> Iterator[tuple[str, str, Object]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if method != "parameters":
                yield path, method, operation


@pytest.mark.parametrize("name", all_documents(SCHEME))
def test_every_reference_leads_somewhere(name: str) -> None:
    document = v3.document(SCHEME, name, version="v")
    assert document is not None
    for reference in set(references(document)):
        start, _, found = reference.rpartition("/")
        assert start == "#/components/schemas"
        assert found in document["components"]["schemas"], reference


def test_every_reference_of_v2_leads_somewhere() -> None:
    for reference in set(references(V2)):
        _, section, found = reference.split("/", 2)
        assert found in V2[section], reference


def test_operation_identifiers_are_unique() -> None:
    identifiers = [operation["operationId"] for _, _, operation in operations(V2)]
    assert len(identifiers) == len(set(identifiers)) > 1000


@pytest.mark.parametrize(
    ("path", "method", "identifier", "action"),
    [
        ("/api/v1/namespaces/{namespace}/pods", "get", "listCoreV1NamespacedPod", "list"),
        ("/api/v1/pods", "get", "listCoreV1PodForAllNamespaces", "list"),
        ("/api/v1/watch/pods", "get", "watchCoreV1PodListForAllNamespaces", "watchlist"),
        ("/api/v1/watch/namespaces/{namespace}/pods/{name}", "get", "watchCoreV1NamespacedPod", "watch"),
        ("/api/v1/namespaces/{namespace}/pods/{name}/log", "get", "readCoreV1NamespacedPodLog", "get"),
        ("/api/v1/namespaces/{namespace}/pods/{name}/exec", "post", "connectCoreV1PostNamespacedPodExec", "connect"),
        ("/api/v1/nodes/{name}/proxy/{path}", "options", "connectCoreV1OptionsNodeProxyWithPath", "connect"),
        ("/api/v1/namespaces/{name}/finalize", "put", "replaceCoreV1NamespaceFinalize", "put"),
        ("/apis/apps/v1/namespaces/{namespace}/deployments/{name}", "patch", "patchAppsV1NamespacedDeployment", "patch"),
        ("/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale", "get", "readAppsV1NamespacedDeploymentScale", "get"),
        ("/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas", "delete", "deleteFlowcontrolApiserverV1CollectionFlowSchema", "deletecollection"),
        ("/apis/authentication.k8s.io/v1/tokenreviews", "post", "createAuthenticationV1TokenReview", "post"),
        ("/apis/apps/", "get", "getAppsAPIGroup", None),
        ("/version/", "get", "getCodeVersion", None),
    ],
)  # fmt: skip
def test_operations_are_called_as_upstream_calls_them(
    path: str, method: str, identifier: str, action: str | None
) -> None:
    operation = V2["paths"][path][method]
    assert (operation["operationId"], operation.get("x-kubernetes-action")) == (identifier, action)


def test_there_is_an_operation_for_every_verb_of_every_kind() -> None:
    found = {
        (tuple(operation["x-kubernetes-group-version-kind"].values()), operation["x-kubernetes-action"])
        for _, _, operation in operations(V2)
        if "x-kubernetes-action" in operation
    }
    actions = {"create": "post", "update": "put", "watch": "watchlist"}
    for row in SCHEME:
        for verb in row.verbs:
            assert (tuple(row.gvk), actions.get(verb, verb)) in found, (row.gvk, verb)


def test_dry_run_and_validation_stand_in_the_operation_itself() -> None:
    """kubectl looks for both by name before it sends them."""
    for document in (V2, v3.document(SCHEME, "apis/apps/v1", version="v")):
        assert document is not None
        for _, method, operation in operations(document):
            if method != "patch":
                continue
            names = {parameter.get("name") for parameter in operation.get("parameters", ())}
            if operation["x-kubernetes-action"] == "patch":
                assert {"dryRun", "fieldValidation"} <= names


def test_a_patch_says_that_it_may_be_strategic() -> None:
    document = v3.document(SCHEME, "apis/apps/v1", version="v")
    assert document is not None
    patch = document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"]
    assert STRATEGIC in patch["requestBody"]["content"]


@pytest.mark.parametrize("row", list(SCHEME), ids=lambda row: f"{row.api_version}-{row.kind}")
def test_every_kind_has_a_definition_that_names_it(row: Any) -> None:
    wanted = {"group": row.group, "version": row.version, "kind": row.kind}
    named = [
        name
        for name, schema in V2["definitions"].items()
        if wanted in schema.get("x-kubernetes-group-version-kind", ())
    ]
    assert len(named) == 1
    assert named[0].endswith(f".{row.version}.{row.kind}")


def test_what_explain_reads() -> None:
    strategy = V2["definitions"]["io.k8s.api.apps.v1.DeploymentStrategy"]
    assert set(strategy["properties"]) == {"rollingUpdate", "type"}
    containers = V2["definitions"]["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"]
    assert containers["x-kubernetes-patch-merge-key"] == "name"
    assert containers["x-kubernetes-patch-strategy"] == "merge"
    assert containers["x-kubernetes-list-type"] == "map"


# Over the wire


async def test_the_index_leads_to_every_document(client: Client) -> None:
    paths = (await client.get("/openapi/v3"))["paths"]
    assert {"api", "api/v1", "apis", "apis/apps", "apis/apps/v1", "version"} <= set(paths)
    for name, entry in paths.items():
        target = entry["serverRelativeURL"]
        assert target.startswith(f"/openapi/v3/{name}?hash=")
        answer = await client.call("GET", target, accept="application/json")
        assert (answer.status, answer.body["openapi"]) == (200, "3.0.0")
        assert answer.headers["etag"] == f'"{target.partition("hash=")[2]}"'


async def test_a_hash_makes_a_document_keepable(client: Client) -> None:
    url = (await client.get("/openapi/v3"))["paths"]["apis/batch/v1"]["serverRelativeURL"]
    kept = await client.call("GET", url)
    response = await client.respond(client.request("GET", url))
    assert ("cache-control", "public, immutable") in response.headers
    assert [value for name, value in response.headers if name == "cache-control"] == ["public, immutable"]
    assert kept.headers["expires"] == "Fri, 01 Jan 2027 00:00:00 GMT"
    stale = await client.call("GET", "/openapi/v3/apis/batch/v1?hash=OLD")
    assert (stale.status, stale.headers["location"]) == (301, url)
    without = await client.call("GET", "/openapi/v3/apis/batch/v1")
    assert (without.status, without.headers["cache-control"]) == (200, "no-cache, private")
    same = await client.call("GET", url, if_none_match=kept.headers["etag"])
    assert (same.status, same.raw) == (304, b"")


async def test_a_document_changes_with_the_scheme(client: Client, server: APIServer) -> None:
    before = (await client.get("/openapi/v3"))["paths"]
    row = server.scheme.by_resource("apps", "v1", "daemonsets")
    assert row is not None
    server.scheme.remove(row.gvr)
    after = (await client.get("/openapi/v3"))["paths"]
    assert before["apis/apps/v1"] != after["apis/apps/v1"]
    assert before["apis/batch/v1"] == after["apis/batch/v1"]
    document = await client.get(after["apis/apps/v1"]["serverRelativeURL"])
    assert "/apis/apps/v1/daemonsets" not in document["paths"]


PROTOBUF_V2 = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("", 200),
        ("application/json", 200),
        ("*/*", 200),
        (f"application/json, {PROTOBUF_V2}", 200),
        (f"{PROTOBUF_V2};q=0.5, application/json;q=0.8", 200),
        ("text/html", 406),
    ],
)
async def test_v2_is_served_in_json(client: Client, accept: str, status: int) -> None:
    answer = await client.call("GET", "/openapi/v2", accept=accept)
    assert answer.status == status
    if status == 200:
        assert (answer.body["swagger"], answer.headers["content-type"]) == ("2.0", "application/json")
    else:
        assert answer.body["reason"] == "NotAcceptable"


def fields(message: bytes) -> dict[int, list[Any]]:
    """A protobuf message: its values by field number."""
    found: dict[int, list[Any]] = {}
    position = 0
    while position < len(message):
        tag, position = read_varint(message, position)
        size, position = read_varint(message, position) if tag & 7 in (VARINT, BYTES) else (8, position)
        if tag & 7 == VARINT:
            found.setdefault(tag >> 3, []).append(size)
            continue
        found.setdefault(tag >> 3, []).append(message[position : position + size])
        position += size
    return found


def members(maps: list[bytes]) -> dict[str, dict[int, list[Any]]]:
    """A map in the form of gnostic's messages."""
    entries = [fields(entry) for one in maps for number in (1, 2) for entry in fields(one).get(number, ())]
    return {entry[1][0].decode(): fields(entry[2][0]) for entry in entries}


@pytest.mark.parametrize(
    "accept", [PROTOBUF_V2, "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"]
)
async def test_v2_is_served_in_protobuf(client: Client, server: APIServer, accept: str) -> None:
    server.scheme.add(custom_row("shop.example"))
    answer = await client.call("GET", "/openapi/v2", accept=accept)
    assert answer.headers["content-type"] == "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
    plain = await client.get("/openapi/v2")
    document = fields(answer.raw)
    assert document[1] == [b"2.0"]
    paths = members(document[8])
    assert set(paths) == set(plain["paths"])
    (get,) = paths["/api/v1/namespaces/{namespace}/pods"][2]
    assert fields(get)[5] == [b"listCoreV1NamespacedPod"]
    assert fields(get)[6][0] == b"application/json"
    actions = {entry[1][0]: fields(entry[2][0])[2][0] for entry in map(fields, fields(get)[13])}
    assert actions[b"x-kubernetes-action"] == b'"list"'
    definitions = members(document[9])
    assert set(definitions) == set(plain["definitions"])
    spec = members(definitions["io.k8s.api.core.v1.PodSpec"][25])
    assert set(spec) == set(plain["definitions"]["io.k8s.api.core.v1.PodSpec"]["properties"])
    assert fields(spec["containers"][22][0])[1] == [b"array"]
    (item,) = fields(spec["containers"][23][0])[1]
    assert fields(item)[1] == [b"#/definitions/io.k8s.api.core.v1.Container"]
    assert b"containers" in definitions["io.k8s.api.core.v1.PodSpec"][19]
    assert set(members(document[10])) == set(plain["parameters"])
    assert "example.shop.v1.Widget" in definitions
    again = await client.call("GET", "/openapi/v2", accept=accept, if_none_match=answer.headers["etag"])
    assert (again.status, again.raw) == (304, b"")


@pytest.mark.parametrize("accept", ["application/json", PROTOBUF_V2])
async def test_a_large_document_is_compressed_once(client: Client, accept: str) -> None:
    plain = await client.call("GET", "/openapi/v2", accept=accept)
    packed = await client.call("GET", "/openapi/v2", accept=accept, accept_encoding="gzip")
    assert packed.headers["content-encoding"] == "gzip"
    assert gzip.decompress(packed.raw) == plain.raw


async def test_documents_that_are_not_there(client: Client) -> None:
    for path in ("/openapi/v3/apis/nope/v1", "/openapi/v3/apis/apps/v9", "/openapi/v3/nope", "/openapi/v4"):
        assert (await client.call("GET", path)).status == 404, path
