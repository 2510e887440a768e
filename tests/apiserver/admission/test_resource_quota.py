"""What the [sig-api-machinery] ResourceQuota conformance tests do, with the real controller beside the server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from counting import NAMESPACE, PODS, QUOTAS, Counting, claim, counting, pod, quota
from served import MERGE_PATCH, Client

from tiphys.apiserver.server import APIServer
from tiphys.testing.clock import FakeClock

APPS = "/apis/apps/v1/namespaces/default"


@pytest.fixture
async def counts(server: APIServer, clock: FakeClock) -> AsyncIterator[Counting]:
    async with counting(server, clock) as found:
        yield found


async def refusal(client: Client, path: str, body: Any, method: str = "POST", **headers: str) -> str:
    answer = await client.call(method, path, body, **headers)
    assert answer.status == 403, answer.body
    assert answer.body["reason"] == "Forbidden"
    message: str = answer.body["message"]
    return message


@pytest.mark.conformance(
    "ResourceQuota should create a ResourceQuota and ensure its status is promptly calculated."
)
async def test_the_status_is_counted_promptly_and_a_quota_counts_itself(counts: Counting) -> None:
    await counts.add("q", {"resourcequotas": "1", "count/resourcequotas": "2"})
    assert await counts.status("q") == {
        "hard": {"resourcequotas": "1", "count/resourcequotas": "2"},
        "used": {"resourcequotas": "1", "count/resourcequotas": "1"},
    }
    message = await refusal(counts.client, QUOTAS, quota("r", {"pods": "1"}))
    assert message == (
        'resourcequotas "r" is forbidden: exceeded quota: q, requested: resourcequotas=1, '
        "used: resourcequotas=1, limited: resourcequotas=1"
    )


TEMPLATE = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
REPLICASET = {
    "metadata": {"name": "x"},
    "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": TEMPLATE},
}
KINDS = (
    (f"{NAMESPACE}/configmaps", {"metadata": {"name": "x"}}, ("configmaps", "count/configmaps")),
    (f"{NAMESPACE}/secrets", {"metadata": {"name": "x"}}, ("secrets", "count/secrets")),
    (
        f"{NAMESPACE}/replicationcontrollers",
        {"metadata": {"name": "x"}, "spec": {"selector": {"a": "b"}, "template": TEMPLATE}},
        ("replicationcontrollers", "count/replicationcontrollers"),
    ),
    (f"{APPS}/replicasets", REPLICASET, ("count/replicasets.apps",)),
    (f"{APPS}/deployments", REPLICASET, ("count/deployments.apps",)),
)


@pytest.mark.conformance("ResourceQuota should create a ResourceQuota and capture the life of a configMap.")
@pytest.mark.conformance("ResourceQuota should create a ResourceQuota and capture the life of a secret.")
@pytest.mark.conformance("ResourceQuota should create a ResourceQuota and capture the life of a replica set.")
@pytest.mark.conformance(
    "ResourceQuota should create a ResourceQuota and capture the life of a replication controller."
)
@pytest.mark.parametrize(("path", "body", "names"), KINDS, ids=[row[2][0] for row in KINDS])
async def test_the_life_of_an_object_that_is_counted(
    counts: Counting, path: str, body: Any, names: tuple[str, ...]
) -> None:
    await counts.add("q", dict.fromkeys(names, "1"))
    assert await counts.used("q") == dict.fromkeys(names, "0")
    await counts.client.create(path, body)
    assert await counts.used("q") == dict.fromkeys(names, "1")
    another = {**body, "metadata": {"name": "y"}}
    message = await refusal(counts.client, path, another)
    listed = ",".join(f"{name}=1" for name in sorted(names))
    assert message.endswith(f"exceeded quota: q, requested: {listed}, used: {listed}, limited: {listed}")
    await counts.settle()
    assert await counts.used("q") == dict.fromkeys(names, "1")
    await counts.client.delete(f"{path}/x")
    await counts.settle()
    assert await counts.used("q") == dict.fromkeys(names, "0")
    await counts.client.create(path, another)


@pytest.mark.conformance("ResourceQuota should create a ResourceQuota and capture the life of a pod.")
async def test_the_life_of_a_pod(counts: Counting) -> None:
    hard = {
        "pods": "2",
        "cpu": "1",
        "memory": "500Mi",
        "ephemeral-storage": "50Gi",
        "requests.example.com/d": "3",
    }
    await counts.add("q", hard)
    client = counts.client
    requests = {"cpu": "500m", "memory": "252Mi", "ephemeral-storage": "30Gi", "example.com/d": "2"}
    first = pod("p", requests, {"example.com/d": "2"})
    await client.create(PODS, first)
    used = {
        "pods": "1",
        "cpu": "500m",
        "memory": "252Mi",
        "ephemeral-storage": "30Gi",
        "requests.example.com/d": "2",
    }
    assert await counts.used("q") == used
    too_much = {"cpu": "600m", "memory": "100Mi"}
    assert await refusal(client, PODS, pod("no", too_much)) == (
        'pods "no" is forbidden: exceeded quota: q, requested: cpu=600m, used: cpu=500m, limited: cpu=1'
    )
    devices = pod("no", {"cpu": "1m", "memory": "1Mi", "example.com/d": "2"}, {"example.com/d": "2"})
    assert (await refusal(client, PODS, devices)).endswith(
        "exceeded quota: q, requested: requests.example.com/d=2, used: requests.example.com/d=2, "
        "limited: requests.example.com/d=3"
    )
    # An update uses nothing more, and does not go through the quota.
    await client.patch(f"{PODS}/p", {"metadata": {"labels": {"a": "b"}}})
    assert await counts.used("q") == used
    await client.delete(f"{PODS}/p?gracePeriodSeconds=0")
    await counts.settle()
    assert await counts.used("q") == dict.fromkeys(hard, "0")


async def test_a_pod_that_is_over_uses_nothing_but_its_place(counts: Counting) -> None:
    await counts.add("q", {"pods": "1", "requests.cpu": "1", "count/pods": "5"})
    await counts.client.create(PODS, pod("p", {"cpu": "1"}))
    assert await counts.used("q") == {"pods": "1", "requests.cpu": "1", "count/pods": "1"}
    await counts.client.patch(f"{PODS}/p/status", {"status": {"phase": "Succeeded"}})
    await counts.settle()
    assert await counts.used("q") == {"pods": "0", "requests.cpu": "0", "count/pods": "1"}


async def test_what_is_limited_must_be_said(counts: Counting) -> None:
    await counts.add("q", {"limits.cpu": "1", "limits.memory": "1Gi", "requests.cpu": "1"})
    assert await refusal(counts.client, PODS, pod("p", {"cpu": "1"})) == (
        'pods "p" is forbidden: failed quota: q: must specify limits.cpu for: c; limits.memory for: c'
    )
    whole = {"limits": {"cpu": "1", "memory": "1Gi"}}
    await counts.client.create(PODS, pod("whole", resources=whole))
    assert await counts.used("q") == {"limits.cpu": "1", "limits.memory": "1Gi", "requests.cpu": "1"}


@pytest.mark.conformance("ResourceQuota should create a ResourceQuota and capture the life of a service.")
async def test_the_life_of_a_service(counts: Counting) -> None:
    await counts.add("q", {"services": "10", "services.nodeports": "2", "services.loadbalancers": "1"})
    client, path = counts.client, f"{NAMESPACE}/services"  # the service `kubernetes` is there already

    def service(name: str, kind: str, *ports: int, **spec: Any) -> dict[str, Any]:
        listed = [{"name": f"p{port}", "port": port} for port in ports]
        return {"metadata": {"name": name}, "spec": {"type": kind, "ports": listed, **spec}}

    await client.create(path, service("a", "ClusterIP", 80))
    await client.create(path, service("b", "NodePort", 80))
    assert await counts.used("q") == {
        "services": "3",
        "services.nodeports": "1",
        "services.loadbalancers": "0",
    }
    assert "requested: services.nodeports=2, used: services.nodeports=1" in await refusal(
        client, path, service("c", "LoadBalancer", 80, 81)
    )
    await client.create(path, service("c", "LoadBalancer", 80, 81, allocateLoadBalancerNodePorts=False))
    assert await counts.used("q") == {
        "services": "4",
        "services.nodeports": "1",
        "services.loadbalancers": "1",
    }
    # Another type uses more: an update is charged by what it adds.
    await client.patch(f"{path}/a", {"spec": {"type": "NodePort"}})
    assert await counts.used("q") == {
        "services": "4",
        "services.nodeports": "2",
        "services.loadbalancers": "1",
    }
    message = await refusal(
        client, f"{path}/a", {"spec": {"type": "LoadBalancer"}}, "PATCH", content_type=MERGE_PATCH
    )
    assert message.endswith(
        "requested: services.loadbalancers=1, used: services.loadbalancers=1, limited: services.loadbalancers=1"
    )
    await client.patch(f"{path}/b", {"spec": {"type": "ClusterIP"}})
    await client.delete(f"{path}/c")
    await counts.settle()
    assert await counts.used("q") == {
        "services": "3",
        "services.nodeports": "1",
        "services.loadbalancers": "0",
    }


async def test_the_life_of_a_claim(counts: Counting) -> None:
    gold = "gold.storageclass.storage.k8s.io"
    hard = {
        "persistentvolumeclaims": "3",
        "requests.storage": "4Gi",
        f"{gold}/persistentvolumeclaims": "1",
        f"{gold}/requests.storage": "2Gi",
    }
    await counts.add("q", hard)
    path = f"{NAMESPACE}/persistentvolumeclaims"
    await counts.client.create(path, claim("a", "1Gi", storageClassName="gold"))
    await counts.client.create(path, claim("b", "1Gi", storageClassName="iron"))
    assert await counts.used("q") == {
        "persistentvolumeclaims": "2",
        "requests.storage": "2Gi",
        f"{gold}/persistentvolumeclaims": "1",
        f"{gold}/requests.storage": "1Gi",
    }
    assert (await refusal(counts.client, path, claim("c", "1Gi", storageClassName="gold"))).endswith(
        f"requested: {gold}/persistentvolumeclaims=1, used: {gold}/persistentvolumeclaims=1, "
        f"limited: {gold}/persistentvolumeclaims=1"
    )
    await counts.client.delete(f"{path}/a")
    await counts.client.patch(f"{path}/a", {"metadata": {"finalizers": None}})  # a controller's work
    await counts.settle()
    assert await counts.used("q") == {
        "persistentvolumeclaims": "1",
        "requests.storage": "1Gi",
        f"{gold}/persistentvolumeclaims": "0",
        f"{gold}/requests.storage": "0",
    }


async def test_claims_by_their_class_of_attributes(counts: Counting) -> None:
    selector = [{"scopeName": "VolumeAttributesClass", "operator": "In", "values": ["fast"]}]
    await counts.add("fast", {"persistentvolumeclaims": "1"}, scopeSelector={"matchExpressions": selector})
    path = f"{NAMESPACE}/persistentvolumeclaims"
    await counts.client.create(path, claim("a", "1Gi"))
    assert await counts.used("fast") == {"persistentvolumeclaims": "0"}
    await counts.client.create(path, claim("b", "1Gi", volumeAttributesClassName="fast"))
    assert await counts.used("fast") == {"persistentvolumeclaims": "1"}
    await refusal(counts.client, path, claim("c", "1Gi", volumeAttributesClassName="fast"))


async def test_devices_of_claims(counts: Counting) -> None:
    devices = "gpu.deviceclass.resource.k8s.io/devices"
    await counts.add("q", {devices: "4", "count/resourceclaims.resource.k8s.io": "9"})
    path = "/apis/resource.k8s.io/v1/namespaces/default/resourceclaims"

    def wants(name: str, *requests: dict[str, Any]) -> dict[str, Any]:
        named = [{"name": f"r{at}", **request} for at, request in enumerate(requests)]
        return {"metadata": {"name": name}, "spec": {"devices": {"requests": named}}}

    exactly = {"exactly": {"deviceClassName": "gpu", "count": 2}}
    choice = [{"name": "a", "deviceClassName": "gpu", "count": 1}, {"name": "b", "deviceClassName": "x"}]
    await counts.client.create(path, wants("a", exactly, {"firstAvailable": choice}))
    assert await counts.used("q") == {devices: "3", "count/resourceclaims.resource.k8s.io": "1"}
    everything = {"exactly": {"deviceClassName": "gpu", "allocationMode": "All"}}
    assert f"requested: {devices}=32, used: {devices}=3" in await refusal(
        counts.client, path, wants("b", everything)
    )


@pytest.mark.conformance("ResourceQuota should verify ResourceQuota with terminating scopes.")
async def test_terminating_and_not_terminating(counts: Counting) -> None:
    hard = {"pods": "5", "requests.cpu": "1", "limits.cpu": "2"}
    await counts.add("ends", hard, scopes=["Terminating"])
    await counts.add("stays", hard, scopes=["NotTerminating"])
    nothing = {"pods": "0", "requests.cpu": "0", "limits.cpu": "0"}
    something = {"pods": "1", "requests.cpu": "500m", "limits.cpu": "1"}
    compute = ({"cpu": "500m"}, {"cpu": "1"})
    await counts.client.create(PODS, pod("long", *compute))
    assert (await counts.used("ends"), await counts.used("stays")) == (nothing, something)
    await counts.client.create(PODS, pod("short", *compute, activeDeadlineSeconds=3600))
    assert (await counts.used("ends"), await counts.used("stays")) == (something, something)
    # A deadline brings a pod from one scope into the other.
    await counts.client.patch(f"{PODS}/long", {"spec": {"activeDeadlineSeconds": 60}})
    assert (await counts.used("ends"))["pods"] == "2"
    for name in ("long", "short"):
        await counts.client.delete(f"{PODS}/{name}?gracePeriodSeconds=0")
    await counts.settle()
    assert (await counts.used("ends"), await counts.used("stays")) == (nothing, nothing)


@pytest.mark.conformance("ResourceQuota should verify ResourceQuota with best effort scope.")
async def test_best_effort_and_not_best_effort(counts: Counting) -> None:
    await counts.add("best", {"pods": "5"}, scopes=["BestEffort"])
    await counts.add("better", {"pods": "5"}, scopes=["NotBestEffort"])
    await counts.client.create(PODS, pod("p"))
    assert (await counts.used("best"), await counts.used("better")) == ({"pods": "1"}, {"pods": "0"})
    await counts.client.create(PODS, pod("q", {"cpu": "1"}))
    assert (await counts.used("best"), await counts.used("better")) == ({"pods": "1"}, {"pods": "1"})
    for name in ("p", "q"):
        await counts.client.delete(f"{PODS}/{name}?gracePeriodSeconds=0")
    await counts.settle()
    assert (await counts.used("best"), await counts.used("better")) == ({"pods": "0"}, {"pods": "0"})


SELECTORS = (
    ("In", ["high"], {"high"}),
    ("NotIn", ["high"], {"low", ""}),
    ("Exists", None, {"high", "low"}),
    ("DoesNotExist", None, {""}),
)


@pytest.mark.parametrize(("operator", "values", "counted"), SELECTORS, ids=[row[0] for row in SELECTORS])
async def test_by_priority_class(
    counts: Counting, operator: str, values: list[str] | None, counted: set[str]
) -> None:
    for value, name in enumerate(("high", "low")):
        body = {"metadata": {"name": name}, "value": value}
        await counts.client.create("/apis/scheduling.k8s.io/v1/priorityclasses", body)
    selector: dict[str, Any] = {"scopeName": "PriorityClass", "operator": operator}
    if values:
        selector["values"] = values
    await counts.add("q", {"pods": "9"}, scopeSelector={"matchExpressions": [selector]})
    for number, name in enumerate(("high", "low", "")):
        before = int((await counts.used("q"))["pods"])
        chosen = {"priorityClassName": name} if name else {}
        await counts.client.create(PODS, pod(f"p{number}", **chosen))
        assert int((await counts.used("q"))["pods"]) - before == (name in counted), name
    await counts.settle(310)
    assert await counts.used("q") == {"pods": str(len(counted))}


async def test_affinity_to_other_namespaces(counts: Counting) -> None:
    await counts.add("q", {"pods": "0"}, scopes=["CrossNamespacePodAffinity"])
    term = {"topologyKey": "k", "labelSelector": {}, "namespaceSelector": {}}
    here = {"topologyKey": "k", "labelSelector": {}}

    def near(name: str, term: dict[str, Any]) -> dict[str, Any]:
        weighted = [{"weight": 1, "podAffinityTerm": term}]
        affinity = {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": weighted}}
        return pod(name, affinity=affinity)

    await counts.client.create(PODS, near("here", here))
    assert "exceeded quota: q, requested: pods=1" in await refusal(counts.client, PODS, near("there", term))


@pytest.mark.conformance("ResourceQuota should be able to update and delete ResourceQuota.")
async def test_update_and_delete_of_a_quota(counts: Counting) -> None:
    await counts.add("q", {"cpu": "1", "memory": "500Mi"})
    found = await counts.client.get(f"{QUOTAS}/q")
    found["spec"]["hard"]["memory"] = "1Gi"
    await counts.client.put(f"{QUOTAS}/q", found)
    await counts.settle()
    assert (await counts.status("q"))["hard"] == {"cpu": "1", "memory": "1Gi"}
    await counts.client.delete(f"{QUOTAS}/q")
    assert (await counts.client.call("GET", f"{QUOTAS}/q")).status == 404
    await counts.client.create(PODS, pod("p"))


@pytest.mark.conformance("ResourceQuota should manage the lifecycle of a ResourceQuota")
async def test_the_life_of_a_quota(counts: Counting) -> None:
    labelled = quota("q", {"cpu": "1", "memory": "500Mi"})
    labelled["metadata"]["labels"] = {"a": "b"}
    await counts.client.create(QUOTAS, labelled)
    everywhere = await counts.client.get("/api/v1/resourcequotas?labelSelector=a%3Db")
    assert [item["metadata"]["name"] for item in everywhere["items"]] == ["q"]
    changes = {"metadata": {"labels": {"q": "patched"}}, "spec": {"hard": {"memory": "750Mi"}}}
    patched = await counts.client.patch(f"{QUOTAS}/q", changes)
    assert patched["spec"]["hard"] == {"cpu": "1", "memory": "750Mi"}
    await counts.client.delete(f"{QUOTAS}?labelSelector=q%3Dpatched")
    assert (await counts.client.get(QUOTAS))["items"] == []


@pytest.mark.conformance("ResourceQuota should apply changes to a resourcequota status")
async def test_changes_of_the_status(counts: Counting) -> None:
    await counts.add("q", {"cpu": "500m", "memory": "500Mi"})
    watch = await counts.client.watch(f"{QUOTAS}?watch=1&fieldSelector=metadata.name%3Dq")
    watch.events()
    found = await counts.client.get(f"{QUOTAS}/q")
    found["status"]["hard"] = {"cpu": "1", "memory": "1Gi"}
    await counts.client.put(f"{QUOTAS}/q/status", found)
    assert (await counts.client.get(f"{QUOTAS}/q"))["spec"]["hard"] == {"cpu": "500m", "memory": "500Mi"}
    (event,) = [obj for kind, obj in watch.events() if obj["status"]["hard"]["cpu"] == "1"]
    assert event["status"]["hard"] == {"cpu": "1", "memory": "1Gi"}
    # The controller brings back what the spec says.
    await counts.settle()
    assert (await counts.status("q"))["hard"] == {"cpu": "500m", "memory": "500Mi"}


async def test_a_quota_that_is_not_counted_yet_lets_nothing_pass(client: Client) -> None:
    await client.create(QUOTAS, quota("q", {"pods": "1"}))
    await client.create(PODS, pod("early"))  # it is not enforced before its status says what it is
    await client.patch(f"{QUOTAS}/q/status", {"status": {"hard": {"pods": "1"}}})
    assert await refusal(client, PODS, pod("p")) == (
        'pods "p" is forbidden: status unknown for quota: q, resources: pods'
    )


async def test_custom_resources_are_counted(counts: Counting) -> None:
    names = {"plural": "things", "singular": "thing", "kind": "Thing", "listKind": "ThingList"}
    schema = {"openAPIV3Schema": {"type": "object"}}
    version = {"name": "v1", "served": True, "storage": True, "schema": schema}
    spec = {"group": "example.com", "names": names, "scope": "Namespaced", "versions": [version]}
    await counts.add("q", {"count/things.example.com": "1"})
    assert await counts.used("q") == {}
    definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    await counts.client.create(definitions, {"metadata": {"name": "things.example.com"}, "spec": spec})
    await counts.settle()
    assert await counts.used("q") == {"count/things.example.com": "0"}
    path = "/apis/example.com/v1/namespaces/default/things"
    thing = {"apiVersion": "example.com/v1", "kind": "Thing"}
    await counts.client.create(path, {**thing, "metadata": {"name": "a"}})
    assert (await refusal(counts.client, path, {**thing, "metadata": {"name": "b"}})) == (
        'things.example.com "b" is forbidden: exceeded quota: q, requested: count/things.example.com=1, '
        "used: count/things.example.com=1, limited: count/things.example.com=1"
    )
    await counts.client.delete(f"{path}/a")
    await counts.settle()
    assert await counts.used("q") == {"count/things.example.com": "0"}
