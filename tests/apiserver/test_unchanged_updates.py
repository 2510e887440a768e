"""Updates that change nothing but metadata: what is passed over would have changed nothing."""

import copy
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from minimal import minimal
from served import MERGE_PATCH, STRATEGIC, Client, running

from tiphys.api.resource import Object, Resource
from tiphys.api.scheme import built_in
from tiphys.apiserver.cache import resource_prefix
from tiphys.apiserver.records import Record, encode_stored, with_version
from tiphys.apiserver.registry.unchanged import has_its_defaults, share_unchanged
from tiphys.store.memory import MemoryStore
from tiphys.testing.clock import FakeClock

APPLY = "application/apply-patch+yaml"
PODS = "/api/v1/namespaces/default/pods"
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


@given(st.sampled_from(DEFAULTED), metadata, metadata, st.booleans())
def test_who_has_its_defaults_gets_none(row: Resource, before: Object, after: Object, touched: bool) -> None:
    old = defaulted(row, **before)
    new = copy.deepcopy(old)
    new["metadata"].update(after)
    if touched:
        new["spec"] = minimal(row).get("spec", {})
    if has_its_defaults(row, record_of(old), new, old):
        expected = copy.deepcopy(new)
        assert row.defaults is not None
        row.defaults(new)
        assert new == expected


def pod_row() -> Resource:
    return next(row for row in DEFAULTED if row.kind == "Pod")


def test_only_what_was_written_here_and_stays_as_it_was_has_its_defaults() -> None:
    row = pod_row()
    old = defaulted(row)
    noted = {**old, "metadata": {**old["metadata"], "annotations": {"a": "b"}}}
    labelled = {**old, "metadata": {**old["metadata"], "labels": {"a": "b"}}}
    changed = {**old, "spec": {**old["spec"], "dnsPolicy": ""}}
    grown = {**old, "more": {}}
    without = {name: value for name, value in old.items() if name != "status"}
    for new, expected in [
        (noted, True),
        (labelled, False),
        (changed, False),
        (grown, False),
        (without, False),
    ]:
        assert has_its_defaults(row, record_of(old), new, old) is expected
    assert not has_its_defaults(row, record_of(old, written_here=False), noted, old)
    other_version = next(row for row in built_in() if row.stored is not None and row.defaults is not None)
    assert not has_its_defaults(other_version, record_of(old), noted, old)


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
