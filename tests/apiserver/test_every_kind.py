"""Every kind there is goes through every verb: the tables, the types and the generic registry fit together."""

import orjson
import pytest
from minimal import collection, minimal, name_of
from served import JSON_PATCH, MERGE_PATCH, PROTOBUF, STRATEGIC, Client, Object, settle

from tiphys.api.resource import Resource
from tiphys.api.scheme import built_in
from tiphys.api.types import TYPES
from tiphys.apiserver.cache import Event
from tiphys.machinery.protobuf import encode_envelope

STORED = [row for row in built_in() if not row.virtual]
every_kind = pytest.mark.parametrize("row", STORED, ids=lambda row: f"{row.api_version}-{row.kind}")


def _labels(obj: Object) -> Object:
    """Without the one that every namespace gets."""
    return {
        key: value for key, value in obj["metadata"]["labels"].items() if not key.startswith("kubernetes.io/")
    }


@every_kind
async def test_the_life_of_an_object(client: Client, row: Resource) -> None:
    path = collection(row)
    one = f"{path}/{name_of(row)}"
    created = await client.create(path, minimal(row))
    assert (created["kind"], created["apiVersion"]) == (row.kind, row.api_version)
    if row.kind != "CustomResourceDefinition":  # the server goes on with it by itself
        assert await client.get(one) == created
    listed = await client.get(f"{path}?labelSelector=test=minimal")
    assert listed["kind"] == row.list_kind
    assert [item["metadata"]["uid"] for item in listed["items"]] == [created["metadata"]["uid"]]

    await settle()  # a definition is established by the server itself
    created = await client.get(one)
    replaced = await client.put(
        one, {**created, "metadata": {**created["metadata"], "labels": {"step": "put"}}}
    )
    assert _labels(replaced) == {"step": "put"}
    assert int(replaced["metadata"]["resourceVersion"]) > int(created["metadata"]["resourceVersion"])
    for kind, body in (
        (MERGE_PATCH, {"metadata": {"labels": {"step": "merge"}}}),
        (STRATEGIC, {"metadata": {"labels": {"step": "strategic"}}}),
        (JSON_PATCH, [{"op": "replace", "path": "/metadata/labels/step", "value": "json"}]),
    ):
        patched = await client.patch(one, body, kind)
        assert patched["metadata"]["labels"]["step"] in kind
        if row.kind != "EndpointSlice":  # its labels count, too
            assert patched["metadata"].get("generation") == created["metadata"].get("generation")

    deleted = await client.delete(one, {"gracePeriodSeconds": 0})
    assert deleted["kind"] == row.kind or (deleted["kind"], deleted["status"]) == ("Status", "Success")
    left = await client.call("GET", one)
    assert left.status == 404 or left.body["metadata"]["deletionTimestamp"]  # some wait for their controllers


@every_kind
async def test_deletecollection(client: Client, row: Resource) -> None:
    if "deletecollection" not in row.verbs:
        refused = await client.call("DELETE", collection(row))
        assert refused.status == 405
        return
    path = collection(row)
    await client.create(path, minimal(row))
    gone = await client.delete(f"{path}?labelSelector=test=minimal&gracePeriodSeconds=0")
    assert [item["metadata"]["name"] for item in gone["items"]] == [name_of(row)]
    left = await client.get(f"{path}?labelSelector=test=minimal")
    assert all(item["metadata"].get("finalizers") for item in left["items"])


IN_PROTOBUF = [row for row in STORED if any(field.number for field in TYPES.struct(row.type).own_fields)]


@pytest.mark.parametrize("row", IN_PROTOBUF, ids=lambda row: f"{row.api_version}-{row.kind}")
async def test_a_typed_client_sends_and_reads_protobuf(client: Client, row: Resource) -> None:
    obj = minimal(row)
    answer = await client.call(
        "POST",
        collection(row),
        encode_envelope(TYPES.struct(row.type), obj),
        content_type=PROTOBUF,
        accept=PROTOBUF,
    )
    assert (answer.status, answer.raw[:4]) == (201, b"k8s\0"), answer.body
    in_json = await client.get(f"{collection(row)}/{name_of(row)}")
    assert _labels(in_json) == obj["metadata"]["labels"]
    listed = await client.call("GET", collection(row), accept=PROTOBUF)
    assert (listed.status, listed.raw[:4]) == (200, b"k8s\0")


@every_kind
async def test_a_table_for_kubectl(client: Client, row: Resource) -> None:
    await client.create(collection(row), minimal(row))
    table = await client.get(
        f"{collection(row)}?labelSelector=test=minimal", accept="application/json;as=Table;v=v1;g=meta.k8s.io"
    )
    assert table["kind"] == "Table"
    assert table["columnDefinitions"][0]["format"] in ("name", "")
    assert len(table["rows"][0]["cells"]) == len(table["columnDefinitions"])


@every_kind
async def test_status_changes_nothing_but_the_status(client: Client, row: Resource) -> None:
    if row.subresource("status") is None:
        missing = await client.call("GET", f"{collection(row)}/{name_of(row)}/status")
        assert missing.status == 404
        return
    created = await client.create(collection(row), minimal(row))
    target = f"{collection(row)}/{name_of(row)}/status"
    patched = await client.patch(target, {"metadata": {"labels": {"by": "status"}}, "spec": {}})
    assert patched.get("spec") == created.get("spec")
    kept = {"metadata", "metadata.labels"} & set(row.subresource("status").resets)
    assert _labels(patched) == ({"test": "minimal"} if kept else {"test": "minimal", "by": "status"})
    assert await client.get(target) == patched


def test_the_table_of_minimal_objects_has_every_kind() -> None:
    assert [minimal(row)["kind"] for row in STORED] == [row.kind for row in STORED]


@every_kind
async def test_a_dry_run_leaves_nothing(client: Client, row: Resource) -> None:
    """Every write is answered as if it had happened, and nothing has."""
    path, obj = collection(row), minimal(row)
    one = f"{path}/{name_of(row)}"
    await settle()
    before = client.server.store.revision
    dry = await client.create(f"{path}?dryRun=All", obj)
    assert dry["metadata"]["uid"]
    assert "resourceVersion" not in dry["metadata"]
    assert (await client.call("GET", one)).status == 404
    await settle()
    assert client.server.store.revision == before
    await client.create(path, obj)
    await settle()
    there, before = await client.get(one), client.server.store.revision
    patch = {"metadata": {"labels": {"dry": "run"}}}
    changed = await client.patch(f"{one}?dryRun=All", patch)
    assert changed["metadata"]["labels"]["dry"] == "run"
    replaced = {**there, "metadata": {**there["metadata"], **patch["metadata"]}}
    await client.put(f"{one}?dryRun=All", replaced)
    await client.delete(f"{one}?dryRun=All")
    if "deletecollection" in row.verbs:
        gone = await client.delete(f"{path}?dryRun=All&labelSelector=test=minimal")
        assert [item["metadata"]["name"] for item in gone["items"]] == [name_of(row)]
    await settle()
    assert client.server.store.revision == before
    assert await client.get(one) == there


@every_kind
async def test_field_selectors_are_those_of_the_kind(client: Client, row: Resource) -> None:
    """Its name, its namespace, and what its row offers; anything else is 400 in upstream's words."""
    path = collection(row)
    await client.create(path, minimal(row))
    name = name_of(row)
    found = await client.get(f"{path}?fieldSelector=metadata.name={name}")
    assert [item["metadata"]["name"] for item in found["items"]] == [name]
    stored = client.server.writes.find(row, "default" if row.namespaced else "", name).object
    for field, get in row.selectable_fields.items():
        value = get(stored)
        chosen = await client.get(f"{path}?fieldSelector={field}={value},metadata.name={name}")
        assert len(chosen["items"]) == 1, field
        others = await client.get(f"{path}?fieldSelector={field}!={value},metadata.name={name}")
        assert others["items"] == [], field
    refused = await client.call("GET", f"{path}?fieldSelector=spec.nonsense=x")
    assert (refused.status, refused.body["reason"]) == (400, "BadRequest")
    assert refused.body["message"].endswith("field label not supported: spec.nonsense")
    namespaced = await client.call("GET", f"{path}?fieldSelector=metadata.namespace=default")
    assert namespaced.status == (200 if row.namespaced else 400)


@every_kind
async def test_what_was_written_is_what_the_bytes_say(client: Client, row: Resource) -> None:
    """Readers in this process are given the object that was written, and need not decode it: it must be the same."""
    cache = client.server.writes.cache_of(row)
    seen: list[tuple[Object, Object]] = []

    class Reader:
        namespace = ""

        def deliver(self, event: Event) -> None:
            seen.append((event.record.object, event.record.copy()))

    stop = cache.watch(Reader(), reads_objects=True)
    one = f"{collection(row)}/{name_of(row)}"
    await client.create(collection(row), minimal(row))
    await client.patch(one, {"metadata": {"labels": {"step": "merge"}}}, MERGE_PATCH)
    stop()
    assert len(seen) >= 2
    for given, decoded in seen:
        assert given == decoded
        assert orjson.dumps(given, option=orjson.OPT_SORT_KEYS) == orjson.dumps(
            decoded, option=orjson.OPT_SORT_KEYS
        )
