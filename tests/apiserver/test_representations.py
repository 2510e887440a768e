"""How objects are shown: JSON, YAML, protobuf, Tables, metadata only; compressed or not."""

import gzip

import orjson
import pytest
from served import PROTOBUF, Client, Object, running

from tiphys.apiserver.responses import GZIP_FROM_BYTES
from tiphys.machinery import yaml
from tiphys.testing.clock import FakeClock

MAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json"
POD: Object = {
    "metadata": {"name": "p", "labels": {"a": "b"}},
    "spec": {"containers": [{"name": "c", "image": "i"}]},
}


async def test_a_table_of_pods_as_kubectl_asks_for_it(client: Client, clock: FakeClock) -> None:
    await client.create(PODS, POD)
    await clock.advance(90)
    table = await client.get(PODS, accept=TABLE)
    assert (table["kind"], table["apiVersion"]) == ("Table", "meta.k8s.io/v1")
    assert table["metadata"]["resourceVersion"] == str(client.server.store.revision)
    shown = [column["name"] for column in table["columnDefinitions"] if column["priority"] == 0]
    assert shown == ["Name", "Ready", "Status", "Restarts", "Age"]
    (row,) = table["rows"]
    assert row["cells"][:5] == ["p", "0/1", "Pending", "0", "90s"]
    assert row["object"]["kind"] == "PartialObjectMetadata"
    assert row["object"]["metadata"]["labels"] == {"a": "b"}
    assert "spec" not in row["object"]


async def test_the_row_of_a_pod_that_is_over_says_so(client: Client) -> None:
    await client.create(PODS, POD)
    await client.patch(f"{PODS}/p/status", {"status": {"phase": "Succeeded"}})
    (row,) = (await client.get(PODS, accept=TABLE))["rows"]
    assert row["conditions"] == [
        {
            "type": "Completed",
            "status": "True",
            "reason": "Succeeded",
            "message": "The pod has completed successfully.",
        }
    ]


async def test_a_scale_is_shown_as_the_client_wants_it(client: Client) -> None:
    deployment = "/apis/apps/v1/namespaces/default/deployments"
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    spec = {"replicas": 3, "selector": {"matchLabels": {"a": "b"}}, "template": template}
    await client.create(deployment, {"metadata": {"name": "d"}, "spec": spec})
    table = await client.get(f"{deployment}/d/scale", accept=TABLE)
    assert [column["name"] for column in table["columnDefinitions"]] == [
        "Name",
        "Desired",
        "Available",
        "Age",
    ]
    assert table["rows"][0]["cells"] == ["d", 3, 0, "0s"]
    yaml = await client.call("GET", f"{deployment}/d/scale", accept="application/yaml")
    assert yaml.raw.startswith(b"apiVersion: autoscaling/v1\nkind: Scale\n")
    binary = await client.call("GET", f"{deployment}/d/scale", accept=PROTOBUF)
    assert (binary.headers["content-type"], binary.raw[:4]) == (PROTOBUF, b"k8s\0")


async def test_deprecated_kinds_warn_of_themselves(client: Client) -> None:
    told = "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"
    endpoints = "/api/v1/namespaces/default/endpoints"
    made = await client.call("POST", endpoints, {"metadata": {"name": "a"}})
    for answer in (made, await client.call("GET", endpoints), await client.call("GET", f"{endpoints}/a")):
        assert answer.warnings == (f'299 - "{told}"',)
    components = await client.call("GET", "/api/v1/componentstatuses")
    assert components.warnings == ('299 - "v1 ComponentStatus is deprecated in v1.19+"',)
    assert (await client.call("GET", MAPS)).warnings == ()


@pytest.mark.parametrize(
    ("include", "kind"), [("Object", "Pod"), ("Metadata", "PartialObjectMetadata"), ("None", None)]
)
async def test_how_much_of_the_object_goes_with_a_row(client: Client, include: str, kind: str | None) -> None:
    await client.create(PODS, POD)
    one = await client.get(f"{PODS}/p?includeObject={include}", accept=TABLE)
    (row,) = one["rows"]
    assert (row.get("object") or {}).get("kind") == kind


async def test_another_include_is_refused(client: Client) -> None:
    answer = await client.call("GET", f"{PODS}?includeObject=Half", accept=TABLE)
    assert (answer.status, answer.body["reason"]) == (400, "BadRequest")
    assert answer.body["message"] == (
        'Unable to convert to Table as requested: includeObject: Invalid value: "Half": '
        "must be 'Metadata', 'Object', 'None', or empty"
    )


async def test_a_table_has_pages_too(client: Client) -> None:
    for name in ("a", "b", "c"):
        await client.create(MAPS, {"metadata": {"name": name}})
    first = await client.get(f"{MAPS}?limit=2", accept=TABLE)
    assert (len(first["rows"]), first["metadata"]["remainingItemCount"]) == (2, 1)
    rest = await client.get(f"{MAPS}?limit=2&continue={first['metadata']['continue']}", accept=TABLE)
    assert [row["cells"][0] for row in rest["rows"]] == ["c"]


async def test_a_created_object_can_be_shown_as_a_table(client: Client) -> None:
    answer = await client.call("POST", MAPS, {"metadata": {"name": "a"}}, accept=TABLE)
    assert (answer.status, answer.body["kind"]) == (201, "Table")


async def test_metadata_only(client: Client) -> None:
    await client.create(MAPS, {"metadata": {"name": "a"}, "data": {"large": "x"}})
    accept = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
    one = await client.get(f"{MAPS}/a", accept=accept)
    assert (one["kind"], one["apiVersion"], "data" in one) == (
        "PartialObjectMetadata",
        "meta.k8s.io/v1",
        False,
    )
    many = await client.get(MAPS, accept=accept.replace("Metadata;", "MetadataList;"))
    assert (many["kind"], many["items"]) == ("PartialObjectMetadataList", [one])


async def test_metadata_only_in_protobuf(client: Client) -> None:
    await client.create(MAPS, {"metadata": {"name": "a"}})
    accept = f"{PROTOBUF};as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
    answer = await client.call("GET", f"{MAPS}/a", accept=accept)
    assert (answer.status, answer.raw[:4]) == (200, b"k8s\0")
    assert b"PartialObjectMetadata" in answer.raw


async def test_yaml(client: Client) -> None:
    made = await client.create(MAPS, {"metadata": {"name": "a"}})
    answer = await client.call("GET", f"{MAPS}/a", accept="application/yaml")
    assert answer.headers["content-type"] == "application/yaml"
    assert yaml.load(answer.raw) == made
    listed = await client.call("GET", MAPS, accept="application/yaml")
    assert yaml.load(listed.raw)["items"] == [made]


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", "application/json"),
        ("*/*", "application/json"),
        ("application/*", "application/json"),
        ("text/html, application/yaml;q=0.5, application/json;q=0.9", "application/json"),
        ("application/json;q=0.1, application/yaml", "application/yaml"),
        (f"{PROTOBUF},application/json", PROTOBUF),
        ("application/json;as=Unheard;v=v1;g=meta.k8s.io,application/json", "application/json"),
        (f"{PROTOBUF};as=Table;v=v1;g=meta.k8s.io,application/json", "application/json"),
    ],
)
async def test_what_is_accepted(client: Client, accept: str, content_type: str) -> None:
    await client.create(MAPS, {"metadata": {"name": "a"}})
    assert (await client.call("GET", f"{MAPS}/a", accept=accept)).headers["content-type"] == content_type


@pytest.mark.parametrize(
    "accept",
    ["text/html", "application/cbor", "application/json;q=0", "application/json;as=Table;v=v9;g=meta.k8s.io"],
)
async def test_what_cannot_be_served_is_not_acceptable(client: Client, accept: str) -> None:
    answer = await client.call("GET", MAPS, accept=accept)
    assert (answer.status, answer.body["reason"]) == (406, "NotAcceptable")
    assert answer.body["message"].startswith("only the following media types are accepted: application/json")


async def test_large_answers_are_compressed_for_those_who_take_it(client: Client) -> None:
    await client.create(MAPS, {"metadata": {"name": "small"}})
    small = await client.call("GET", MAPS, accept_encoding="gzip")
    assert "content-encoding" not in small.headers
    for name in ("a", "b"):
        await client.create(MAPS, {"metadata": {"name": name}, "data": {"x": "y" * GZIP_FROM_BYTES}})
    plain = await client.call("GET", MAPS)
    packed = await client.call("GET", MAPS, accept_encoding="deflate, gzip")
    assert (packed.headers["content-encoding"], packed.headers["vary"]) == ("gzip", "Accept-Encoding")
    assert len(packed.raw) < len(plain.raw) / 10
    assert orjson.loads(gzip.decompress(packed.raw)) == plain.body


async def test_answers_are_not_for_caches(client: Client) -> None:
    answer = await client.call("GET", MAPS)
    assert answer.headers["cache-control"] == "no-cache, private"


async def test_a_store_that_was_there_before_shows_the_same_bytes(signing_key: bytes) -> None:
    from tiphys.apiserver.server import APIServer, Settings
    from tiphys.store.memory import MemoryStore

    store = MemoryStore()
    async with running(FakeClock(), signing_key, store=store) as first:
        await Client(first).create(MAPS, {"metadata": {"name": "a"}, "data": {"x": "ü\u2028"}})
        before = (await Client(first).call("GET", f"{MAPS}/a")).raw
        again = APIServer(store, Settings(signing_key), kubelet_client=lambda *_: None, clock=FakeClock())  # type: ignore[arg-type, return-value]
        assert (await Client(again).call("GET", f"{MAPS}/a")).raw == before
        await again.close()


# What is not stored: Statuses and reviews


async def test_statuses_and_reviews_are_shown_as_the_client_takes_them(client: Client) -> None:
    """Upstream negotiates them as it does every object."""
    await client.create(MAPS, {"metadata": {"name": "a"}})
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}},
    }
    reviews = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    asked: list[tuple[str, str, Object | None, int, str]] = [
        ("GET", f"{MAPS}/missing", None, 404, "NotFound"),
        ("GET", "/api/v1/nothings", None, 404, "NotFound"),
        ("POST", MAPS, {"metadata": {}}, 422, "Invalid"),
        ("DELETE", f"{MAPS}/a", None, 200, "Success"),
        ("POST", reviews, review, 201, "SelfSubjectAccessReview"),
    ]
    for method, target, body, status, word in asked:
        for accept in (PROTOBUF, "application/yaml", f"{PROTOBUF},*/*", "text/html, */*;q=0.1"):
            if method == "DELETE" and (await client.call("GET", target)).status == 404:
                await client.create(MAPS, {"metadata": {"name": "a"}})
            answer = await client.call(method, target, body, accept=accept)
            kind = accept.partition(",")[0].replace("text/html", "application/json")
            assert (answer.status, answer.headers["content-type"]) == (status, kind), target
            assert word.encode() in answer.raw
            if kind == "application/yaml":
                assert yaml.load(answer.raw)["kind"] in ("Status", word)
            else:
                assert answer.raw.startswith(b"k8s\0" if kind == PROTOBUF else b"{")


async def test_a_status_is_json_for_who_takes_nothing_that_there_is(client: Client) -> None:
    answer = await client.call("GET", f"{MAPS}/a", accept="text/html")
    assert (answer.status, answer.headers["content-type"]) == (406, "application/json")
    assert answer.body["reason"] == "NotAcceptable"
