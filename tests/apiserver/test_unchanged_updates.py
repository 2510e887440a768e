"""Updates that change nothing but metadata: what is passed over would have changed nothing."""

import copy
from dataclasses import replace
from typing import Any

import orjson
import pytest
from definitions import TABS, define, definition, tab, version
from hypothesis import given
from hypothesis import strategies as st
from minimal import minimal
from served import MERGE_PATCH, STRATEGIC, Client, running

from tiphys.api.resource import Object, Resource
from tiphys.api.scheme import built_in
from tiphys.api.types import schema_of
from tiphys.apiserver.cache import resource_prefix
from tiphys.apiserver.records import Record, encode_stored, with_version
from tiphys.apiserver.registry.unchanged import fill_in_defaults, share_unchanged
from tiphys.store.memory import MemoryStore
from tiphys.testing.clock import FakeClock

APPLY = "application/apply-patch+yaml"
PODS = "/api/v1/namespaces/default/pods"
SCHEMA = schema_of(next(row for row in built_in() if row.kind == "ConfigMap"))
DEFAULTED = [row for row in built_in() if row.defaults is not None and not row.virtual]
words = st.sampled_from(["a", "b", ""])
metadata = st.fixed_dictionaries(
    {},
    optional={
        "labels": st.dictionaries(words, words, max_size=2),
        "annotations": st.dictionaries(words, words, max_size=2),
        "finalizers": st.lists(words, max_size=2),
    },
)


def record_of(obj: Object, *, written_here: bool = True) -> Record:
    record = Record("/registry/x/default/a", "default", "a", 7, with_version(encode_stored(obj), 7))
    if written_here:
        record.take(copy.deepcopy(obj))
    return record


def defaulted(row: Resource, **more: Any) -> Object:
    obj = copy.deepcopy(minimal(row))
    obj["metadata"].update(more)
    assert row.defaults is not None
    row.defaults(obj)
    return obj


fields = st.sampled_from(["spec", "status", "more"])
statuses = st.fixed_dictionaries(
    {},
    optional={
        "podIP": words,
        "podIPs": st.lists(st.builds(lambda ip: {"ip": ip}, words), max_size=2),
        "phase": words,
        "containerStatuses": st.lists(st.builds(lambda name: {"name": name}, words), max_size=2),
        "conditions": st.lists(st.builds(lambda name: {"type": name}, words), max_size=1),
    },
)


@given(st.sampled_from(DEFAULTED), metadata, metadata, st.sets(fields), statuses, st.booleans())
def test_what_is_filled_in_of_an_update_is_all_that_is_missing(
    row: Resource, before: Object, after: Object, touched: set[str], status: Object, written_here: bool
) -> None:
    old = defaulted(row, **before)
    new = copy.deepcopy(old)
    new["metadata"].update(after)
    for name in touched:
        new[name] = copy.deepcopy(status if name == "status" else minimal(row).get(name, {}))
    expected = copy.deepcopy(new)
    assert row.defaults is not None
    try:
        row.defaults(expected)
    except (AttributeError, TypeError, KeyError):
        return  # a status that no object of the kind may have
    kept = copy.deepcopy(old)
    fill_in_defaults(row, record_of(old, written_here=written_here), new, old)
    assert new == expected
    assert old == kept


def pod_row() -> Resource:
    return next(row for row in DEFAULTED if row.kind == "Pod")


def test_only_what_was_written_here_and_stays_as_it_was_is_passed_over() -> None:
    asked: list[str] = []
    row = replace(
        pod_row(),
        defaults=lambda obj: asked.append("all"),
        status_defaults=lambda obj: asked.append("status"),
    )
    old = defaulted(pod_row())
    noted = {**old, "metadata": {**old["metadata"], "annotations": {"a": "b"}}}
    labelled = {**old, "metadata": {**old["metadata"], "labels": {"a": "b"}}}
    changed = {**old, "spec": {**old["spec"], "dnsPolicy": ""}}
    running = {**old, "status": {"phase": "Running"}}
    without = {name: value for name, value in old.items() if name != "status"}
    other_version = replace(row, stored=row.gvk)
    other_schema = replace(row, schema=SCHEMA)
    here, elsewhere = record_of(old), record_of(old, written_here=False)
    for which, record, new, expected in [
        (row, here, noted, []),
        (row, here, labelled, ["all"]),
        (row, here, changed, ["all"]),
        (row, here, {**changed, "status": {}}, ["all"]),
        (row, here, {**old, "more": {}}, ["all"]),
        (row, here, running, ["status"]),
        (row, here, without, ["status"]),
        (replace(row, status_defaults=None), here, running, ["all"]),
        (replace(row, defaults=None), here, changed, []),
        (row, elsewhere, noted, ["all"]),
        (row, elsewhere, running, ["all"]),
        (other_version, here, noted, ["all"]),
        (other_schema, here, noted, ["all"]),
    ]:
        asked.clear()
        fill_in_defaults(which, record, new, old)
        assert asked == expected


def test_only_what_equals_is_shared() -> None:
    row, old = pod_row(), defaulted(pod_row())
    new = orjson.loads(orjson.dumps(old))
    new["metadata"]["annotations"] = {"a": "b"}
    share_unchanged(row, new, old)
    assert new["spec"] is old["spec"]
    assert new["metadata"]["annotations"] == {"a": "b"}
    assert "annotations" not in old["metadata"]
    changed = orjson.loads(orjson.dumps(old))
    changed["spec"]["dnsPolicy"] = "None"
    share_unchanged(row, changed, old)
    assert changed["spec"] is not old["spec"]
    assert changed["spec"]["dnsPolicy"] == "None"


def test_a_new_status_is_beside_what_is_shared() -> None:
    row, old = pod_row(), defaulted(pod_row())
    for status in ({"phase": "Running"}, {}, None):
        new = orjson.loads(orjson.dumps(old))
        if status is None:
            del new["status"]
        else:
            new["status"] = status
        before = copy.deepcopy(new)
        share_unchanged(row, new, old)
        assert new == before
        assert (new["spec"] is old["spec"]) == (status is not None)
        assert new["metadata"] is not old["metadata"]
    custom = replace(row, schema=SCHEMA)
    new = orjson.loads(orjson.dumps(old))
    share_unchanged(custom, new, old)
    assert new["spec"] is not old["spec"]


async def test_what_another_server_has_written_gets_its_defaults_with_the_next_write(
    clock: FakeClock, signing_key: bytes
) -> None:
    store = MemoryStore()
    row = next(row for row in DEFAULTED if row.api_version == "apps/v1" and row.kind == "Deployment")
    made = minimal(row, "a")
    made["metadata"].update(uid="u-1", creationTimestamp="2026-01-01T00:00:00Z", generation=1)
    assert "replicas" not in made["spec"]
    await store.write(resource_prefix("apps", "deployments") + "default/a", encode_stored(made), expected=0)
    async with running(clock, signing_key, store=store) as server:
        path = "/apis/apps/v1/namespaces/default/deployments/a"
        answer = await Client(server).patch(path, {"metadata": {"annotations": {"a": "b"}}}, MERGE_PATCH)
        assert answer["spec"]["replicas"] == 1


@pytest.mark.parametrize("kind", [STRATEGIC, APPLY])
async def test_an_update_of_an_annotation_leaves_the_old_state_alone(client: Client, kind: str) -> None:
    path = f"{PODS}/a?fieldManager=me"
    body: Object = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}}
    body["spec"] = {"containers": [{"name": "c", "image": "i"}]}
    made = await client.patch(path, body, APPLY)
    for number in range(3):
        body["metadata"] = {"name": "a", "annotations": {"n": str(number)}}
        patched = await client.patch(path, body, kind)
        assert patched["metadata"]["annotations"] == {"n": str(number)}
        assert patched["spec"] == made["spec"]
        assert patched["metadata"]["generation"] == made["metadata"]["generation"]
    body["spec"]["containers"][0]["image"] = "other"
    patched = await client.patch(path, body, kind)
    assert patched["spec"]["containers"][0]["image"] == "other"
    assert patched["metadata"]["generation"] == made["metadata"]["generation"] + 1


@pytest.mark.parametrize("labels", [{}, {"a": "b"}])
async def test_values_that_are_equal_in_python_alone_are_not_the_same(client: Client, labels: Object) -> None:
    """1, 1.0 and true, where a field holds any JSON: of a built-in kind and of custom resources."""
    classes = "/apis/resource.k8s.io/v1/deviceclasses"

    def device(x: Any) -> Object:
        parameters = {"apiVersion": "v1", "kind": "K", "x": x}
        return {"config": [{"opaque": {"driver": "d.example.com", "parameters": parameters}}]}

    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    await define(client, definition(version(schema={"openAPIV3Schema": anything})))
    for path, body, spec in ((classes, {}, device), (TABS, tab("a"), lambda x: {"x": x})):
        made = await client.create(path, {**body, "metadata": {"name": "a"}, "spec": spec(1)})
        change = {"metadata": {"labels": labels}, "spec": spec(True)}
        for raised in (1, 1):  # the second changes nothing
            await client.patch(f"{path}/a", change, MERGE_PATCH)
            found = await client.get(f"{path}/a")
            assert orjson.dumps(found["spec"]) == orjson.dumps(spec(True))
            assert found["metadata"]["generation"] == made["metadata"]["generation"] + raised
