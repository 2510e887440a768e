"""The API in memory keeps the promises that controllers rely on."""

from __future__ import annotations

from typing import Any

import pytest

from tiphys.client.client import Client
from tiphys.client.resources import CONFIGMAPS, DEPLOYMENTS, PODS
from tiphys.client.transport import STRATEGIC_MERGE_PATCH
from tiphys.machinery import meta
from tiphys.machinery.errors import StatusError
from tiphys.testing.api import FakeAPI
from tiphys.testing.clock import FakeClock


@pytest.fixture
def api() -> FakeAPI:
    return FakeAPI(clock=FakeClock())


@pytest.fixture
def client(api: FakeAPI) -> Client:
    return Client(api)


def obj(name: str = "a", **more: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "default"}, **more}


async def test_a_creation_gets_what_the_server_gives(client: Client) -> None:
    made = await client.create(DEPLOYMENTS, obj(spec={"replicas": 1}, status={"replicas": 9}))
    assert (made["kind"], meta.generation(made), meta.resource_version(made)) == ("Deployment", 1, "1")
    assert meta.uid(made)
    assert "status" not in made
    with pytest.raises(StatusError, match="already exists"):
        await client.create(DEPLOYMENTS, obj())
    named = await client.create(PODS, {"metadata": {"generateName": "web-", "namespace": "default"}})
    assert meta.name(named).startswith("web-")
    assert len(meta.name(named)) == 9


async def test_only_the_newest_state_can_be_replaced(client: Client) -> None:
    first = await client.create(CONFIGMAPS, obj(data={"n": "1"}))
    second = await client.update(CONFIGMAPS, {**first, "data": {"n": "2"}})
    with pytest.raises(StatusError, match="modified"):
        await client.update(CONFIGMAPS, {**first, "data": {"n": "3"}})
    unchanged = await client.update(CONFIGMAPS, second)
    assert meta.resource_version(unchanged) == meta.resource_version(second)


async def test_status_and_spec_do_not_touch_each_other(client: Client) -> None:
    made = await client.create(DEPLOYMENTS, obj(spec={"replicas": 1}))
    reported = await client.update_status(DEPLOYMENTS, {**made, "spec": {}, "status": {"replicas": 1}})
    assert (reported["spec"], reported["status"]) == ({"replicas": 1}, {"replicas": 1})
    assert meta.generation(reported) == 1
    changed = await client.update(DEPLOYMENTS, {**reported, "spec": {"replicas": 2}, "status": {}})
    assert (meta.generation(changed), changed["status"]) == (2, {"replicas": 1})


async def test_a_finalizer_holds_an_object(api: FakeAPI, client: Client) -> None:
    await client.create(
        CONFIGMAPS, {"metadata": {"name": "a", "namespace": "default", "finalizers": ["hold"]}}
    )
    held = await client.delete(CONFIGMAPS, "a", "default")
    assert meta.is_deleting(held)
    await client.patch(CONFIGMAPS, "a", {"metadata": {"finalizers": None}}, "default")
    assert api.objects(CONFIGMAPS) == []


async def test_a_pod_on_a_node_is_given_time(api: FakeAPI, client: Client) -> None:
    await client.create(PODS, obj("bound", spec={"nodeName": "n1"}))
    await client.create(PODS, obj("free", spec={}))
    for name in ("bound", "free"):
        await client.delete(PODS, name, "default")
    assert [meta.name(pod) for pod in api.objects(PODS)] == ["bound"]
    await client.delete(PODS, "bound", "default", grace_period_seconds=0)
    assert api.objects(PODS) == []


async def test_a_deletion_may_be_for_one_object_only(client: Client) -> None:
    await client.create(CONFIGMAPS, obj())
    with pytest.raises(StatusError) as raised:
        await client.delete(CONFIGMAPS, "a", "default", uid="another")
    assert raised.value.code == 409


async def test_conditions_are_merged_by_type(client: Client) -> None:
    await client.create(PODS, obj(spec={}))
    for type in ("Ready", "PodScheduled"):
        patch = {"status": {"conditions": [{"type": type, "status": "True"}]}}
        pod = await client.patch(
            PODS, "a", patch, "default", content_type=STRATEGIC_MERGE_PATCH, subresource="status"
        )
    assert {condition["type"] for condition in meta.conditions(pod)} == {"Ready", "PodScheduled"}


async def test_a_pod_is_bound_once(client: Client, api: FakeAPI) -> None:
    await client.create(PODS, obj(spec={}))
    await client.create_subresource(PODS, "a", "binding", {"target": {"name": "n1"}}, "default")
    with pytest.raises(StatusError, match="already assigned"):
        await client.create_subresource(PODS, "a", "binding", {"target": {"name": "n2"}}, "default")
    assert api.objects(PODS)[0]["spec"]["nodeName"] == "n1"


async def test_what_a_caller_does_to_its_object_later_is_its_own_affair(api: FakeAPI, client: Client) -> None:
    mine = obj(data={"n": "1"})
    await client.create(CONFIGMAPS, mine)
    mine["data"]["n"] = "2"
    assert api.objects(CONFIGMAPS)[0]["data"] == {"n": "1"}
