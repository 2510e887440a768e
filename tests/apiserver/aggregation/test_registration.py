"""APIServices of what the server serves itself: which there should be, and what is done about the others."""

import pytest
from served import Client, Object, no_kubelet, running, settle

from tiphys.apiserver.aggregation.priorities import BUILT_IN, service_name
from tiphys.apiserver.aggregation.registration import Action, plan, served_versions, wanted
from tiphys.apiserver.server import APIServer, Settings
from tiphys.machinery.gvk import GroupVersion
from tiphys.store.memory import MemoryStore
from tiphys.testing.clock import FakeClock

SERVICES = "/apis/apiregistration.k8s.io/v1/apiservices"
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
LABEL = "kube-aggregator.kubernetes.io/automanaged"


def service(kept: str | None, priority: int = 1) -> Object:
    labels = {} if kept is None else {LABEL: kept}
    return {"metadata": {"labels": labels}, "spec": {"groupPriorityMinimum": priority}}


STANDING = [
    # desired, found, was there at start, was once right → what is done
    (None, None, False, False, None),
    ("onstart", None, False, False, "create"),
    ("onstart", None, False, True, None),
    ("true", None, False, True, "create"),
    (None, "", True, False, None),
    ("true", "", True, False, None),
    (None, "onstart", False, False, None),
    ("onstart", "onstart", False, False, None),
    (None, "onstart", True, False, "delete"),
    ("onstart", "onstart", True, False, "update"),
    ("onstart", "onstart", True, True, None),
    (None, "true", False, True, "delete"),
    ("true", "true", False, True, "update"),
    ("onstart", "true", True, False, "update"),
]
"""The table of upstream's checkAPIService."""


@pytest.mark.parametrize(("desired", "found", "at_start", "done", "verb"), STANDING)
def test_the_label_says_how_one_is_kept(
    desired: str | None, found: str | None, at_start: bool, done: bool, verb: str | None
) -> None:
    actions = plan(
        {} if desired is None else {"v1.x": service(desired)},
        {} if found is None else {"v1.x": service(found, priority=2)},
        at_start=frozenset({"v1.x"} if at_start else ()),
        done={"v1.x"} if done else set(),
    )
    assert [action.verb for action in actions] == ([] if verb is None else [verb])


def test_what_is_as_wanted_is_left_alone() -> None:
    same = {"v1.x": service("true")}
    assert plan(same, same, at_start=frozenset(), done=set()) == []


def test_only_served_versions_of_custom_resources_are_wanted() -> None:
    definition = {
        "spec": {
            "group": "shop.example",
            "versions": [{"name": "v1", "served": True}, {"name": "v2", "served": False}],
        }
    }
    assert list(wanted([], served_versions(definition))) == ["v1.shop.example"]
    assert Action("delete", "x").wanted is None


async def test_every_built_in_group_version_has_one(client: Client) -> None:
    found = {item["metadata"]["name"]: item for item in (await client.get(SERVICES))["items"]}
    assert set(found) == {service_name(version) for version in BUILT_IN}
    apps = found["v1.apps"]
    assert apps["metadata"]["labels"] == {LABEL: "onstart"}
    assert apps["spec"] == {
        "group": "apps",
        "version": "v1",
        "groupPriorityMinimum": 17800,
        "versionPriority": 15,
    }
    (condition,) = apps["status"]["conditions"]
    assert {**condition, "lastTransitionTime": ""} == {
        "type": "Available", "status": "True", "reason": "Local",
        "message": "Local APIServices are always available", "lastTransitionTime": "",
    }  # fmt: skip
    assert "v1." in found
    assert (await client.get("/readyz?verbose=1", accept="*/*")).__contains__(
        b"[+]autoregister-completion ok"
    )


async def test_a_built_in_one_that_is_deleted_comes_back_with_the_next_start(
    clock: FakeClock, signing_key: bytes
) -> None:
    class Kept(MemoryStore):
        async def close(self) -> None:
            """Outlives its server."""

    store = Kept()
    async with running(clock, signing_key, store=store) as server:
        await Client(server).delete(f"{SERVICES}/v1.batch")
        await Client(server).patch(f"{SERVICES}/v1.apps", {"spec": {"versionPriority": 3}})
        await settle()
        assert (await Client(server).call("GET", f"{SERVICES}/v1.batch")).status == 404
        assert (await Client(server).get("/apis/batch"))["name"] == "batch", "it is served all the same"
    server = APIServer(store, Settings(signing_key), kubelet_client=no_kubelet, clock=clock)
    await server.aggregator.registration.sync()
    assert (await Client(server).get(f"{SERVICES}/v1.batch"))["spec"]["versionPriority"] == 15
    assert (await Client(server).get(f"{SERVICES}/v1.apps"))["spec"]["versionPriority"] == 15
    await server.close()


def definition(group: str, *versions: str) -> Object:
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    return {
        "metadata": {"name": f"widgets.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": "widgets", "kind": "Widget"},
            "versions": [
                {"name": name, "served": True, "storage": not at, "schema": schema}
                for at, name in enumerate(versions)
            ],
        },
    }


async def test_a_custom_resource_has_one_for_each_served_version(client: Client, server: APIServer) -> None:
    await client.create(DEFINITIONS, definition("shop.example", "v1", "v1beta1"))
    await settle()
    made = await client.get(f"{SERVICES}/v1beta1.shop.example")
    assert made["metadata"]["labels"] == {LABEL: "true"}
    assert (made["spec"]["groupPriorityMinimum"], made["spec"]["versionPriority"]) == (1000, 100)
    await client.delete(f"{SERVICES}/v1.shop.example")
    await settle()
    assert (await client.call("GET", f"{SERVICES}/v1.shop.example")).status == 200, "it is kept for ever"
    changed = await client.get(f"{DEFINITIONS}/widgets.shop.example")
    changed["spec"]["versions"][1]["served"] = False
    await client.put(f"{DEFINITIONS}/widgets.shop.example", changed)
    await settle()
    assert (await client.call("GET", f"{SERVICES}/v1beta1.shop.example")).status == 404
    del server


async def test_one_without_the_label_is_nobody_elses_business(client: Client) -> None:
    mine = {
        "metadata": {"name": "v1.shop.example"},
        "spec": {"group": "shop.example", "version": "v1", "groupPriorityMinimum": 7, "versionPriority": 7},
    }
    await client.create(SERVICES, mine)
    await client.create(DEFINITIONS, definition("shop.example", "v1"))
    await settle()
    kept = await client.get(f"{SERVICES}/v1.shop.example")
    assert (kept["spec"]["groupPriorityMinimum"], kept["metadata"].get("labels")) == (7, None)
    await client.delete(f"{DEFINITIONS}/widgets.shop.example")
    await settle()
    assert (await client.call("GET", f"{SERVICES}/v1.shop.example")).status == 200
    assert GroupVersion("shop.example", "v1") not in BUILT_IN
