"""What the conformance suite demands of admission webhooks ("[sig-api-machinery] AdmissionWebhook"), entry by entry."""

from __future__ import annotations

import asyncio
import copy
from typing import Any

import pytest
from admission_hooks import (
    ADMISSION,
    MAPS,
    MUTATING,
    PODS,
    VALIDATING,
    add,
    allow,
    config_map,
    deny,
    patch,
    patch_if,
    pod,
    register,
    requests,
    respond,
    rule,
    webhook_entry,
)
from definitions import DEFINITIONS, GROUP, TABS, define, definition, redefine, version
from served import MERGE_PATCH, Client, Object
from webhook_server import Webhook

TAB_RULE = {"apiGroups": [GROUP], "apiVersions": ["v1"]}
NAMESPACES = "/api/v1/namespaces"


def tab(name: str = "a", **spec: Any) -> Object:
    return {"metadata": {"name": name}, "spec": {"cronSpec": "* * * * *", **spec}}


def unwanted(review: Object) -> Object:
    """Refuses what has the key webhook-e2e-test among its data or labels."""
    obj = review["request"]["object"] or review["request"]["oldObject"]
    marked = {**(obj.get("data") or {}), **(obj["metadata"].get("labels") or {})}
    if marked.get("webhook-e2e-test") == "webhook-disallow":
        return respond(review, allowed=False, status={"message": "the object contains unwanted key"})
    return allow(review)


BAD = {"webhook-e2e-test": "webhook-disallow"}


@pytest.mark.conformance(
    "AdmissionWebhook [Privileged:ClusterAdmin] should include webhook resources in discovery documents"
)
async def test_discovery(client: Client) -> None:
    """should include webhook resources in discovery documents"""
    groups = (await client.get("/apis"))["groups"]
    (group,) = [each for each in groups if each["name"] == "admissionregistration.k8s.io"]
    assert {"groupVersion": "admissionregistration.k8s.io/v1", "version": "v1"} in group["versions"]
    named = {each["name"] for each in (await client.get(ADMISSION))["resources"]}
    assert {"mutatingwebhookconfigurations", "validatingwebhookconfigurations"} <= named


@pytest.mark.conformance(
    "AdmissionWebhook [Privileged:ClusterAdmin] should be able to deny pod and configmap creation"
)
async def test_pods_and_config_maps(client: Client, hook: Webhook) -> None:
    """should be able to deny pod and configmap creation"""
    hook.answer = unwanted
    rules = rule("pods configmaps", "CREATE UPDATE DELETE")
    spared = {"matchExpressions": [{"key": "skip-webhook", "operator": "NotIn", "values": ["yes"]}]}
    await register(
        client, VALIDATING, webhook_entry(hook.client_config, "deny.b.c", rules, namespaceSelector=spared)
    )
    refused = await client.call("POST", PODS, {**pod(), "metadata": {"name": "bad", "labels": BAD}})
    assert (
        'admission webhook "deny.b.c" denied the request: the object contains unwanted key'
        in refused.body["message"]
    )
    assert (await client.call("POST", MAPS, config_map("bad", **BAD))).status == 400
    await client.create(MAPS, config_map("good"))
    changed = {**config_map("good", **BAD)}
    assert (await client.call("PUT", f"{MAPS}/good", changed)).status == 400
    answer = await client.call("PATCH", f"{MAPS}/good", {"data": BAD}, content_type=MERGE_PATCH)
    assert answer.status == 400
    await client.create(NAMESPACES, {"metadata": {"name": "spared", "labels": {"skip-webhook": "yes"}}})
    await client.create(MAPS.replace("default", "spared"), config_map("bad", **BAD))


async def test_a_namespace_goes_although_its_webhook_would_not_let_it(client: Client, hook: Webhook) -> None:
    """A namespace that is spared can be deleted with all that it holds; one that is not keeps what is refused."""
    hook.answer = deny("never")
    spared = {"matchExpressions": [{"key": "skip-webhook", "operator": "DoesNotExist"}]}
    entry = webhook_entry(hook.client_config, "d.b.c", rule("configmaps", "DELETE"), namespaceSelector=spared)
    await register(client, VALIDATING, entry)
    for name, labels in (("spared", {"skip-webhook": "yes"}), ("judged", {})):
        await client.create(NAMESPACES, {"metadata": {"name": name, "labels": labels}})
        await client.create(MAPS.replace("default", name), config_map())
        await client.delete(f"{NAMESPACES}/{name}")
        assert (await client.get(f"{NAMESPACES}/{name}"))["status"]["phase"] == "Terminating"
    assert (await client.call("DELETE", MAPS.replace("default", "spared"))).status == 200
    assert (await client.call("DELETE", MAPS.replace("default", "judged"))).status == 400


@pytest.mark.conformance("AdmissionWebhook [Privileged:ClusterAdmin] should be able to deny attaching pod")
async def test_attach(client: Client, hook: Webhook) -> None:
    """should be able to deny attaching pod"""
    hook.answer = deny("attaching to pod 'to-be-attached-pod' is not allowed")
    await register(
        client, VALIDATING, webhook_entry(hook.client_config, "deny.b.c", rule("pods/attach", "CONNECT"))
    )
    await client.create(PODS, pod("to-be-attached-pod"))
    upgrade = {"connection": "Upgrade", "upgrade": "SPDY/3.1"}
    refused = await client.call(
        "POST", f"{PODS}/to-be-attached-pod/attach?stdin=1&stdout=1&container=c", **upgrade
    )
    assert refused.body["message"] == (
        "admission webhook \"deny.b.c\" denied the request: attaching to pod 'to-be-attached-pod' is not allowed"
    )
    (request,) = requests(hook)
    assert request["kind"] == {"group": "", "version": "v1", "kind": "PodAttachOptions"}
    assert (request["operation"], request["subResource"], request["name"], request["options"]) == (
        "CONNECT",
        "attach",
        "to-be-attached-pod",
        None,
    )
    assert request["object"] == {
        "kind": "PodAttachOptions",
        "apiVersion": "v1",
        "stdin": True,
        "stdout": True,
        "container": "c",
    }


@pytest.mark.conformance(
    "AdmissionWebhook [Privileged:ClusterAdmin] should be able to deny custom resource creation, update and deletion"
)
async def test_custom_resources(client: Client, hook: Webhook) -> None:
    """should be able to deny custom resource creation, update and deletion"""
    await define(client, definition())
    hook.answer = unwanted
    rules = rule("crontabs", "CREATE UPDATE DELETE", **TAB_RULE)
    await register(client, VALIDATING, webhook_entry(hook.client_config, "deny.b.c", rules))
    marked = {**tab("bad"), "metadata": {"name": "bad", "labels": BAD}}
    assert (await client.call("POST", TABS, marked)).status == 400
    await client.create(TABS, tab())
    change = {"metadata": {"labels": BAD}}
    assert (await client.call("PATCH", f"{TABS}/a", change, content_type=MERGE_PATCH)).status == 400
    hook.answer = deny("the custom resource cannot be deleted")
    refused = await client.call("DELETE", f"{TABS}/a")
    assert refused.body["message"].endswith("denied the request: the custom resource cannot be deleted")
    hook.answer = allow
    assert (await client.call("DELETE", f"{TABS}/a")).status == 200


@pytest.mark.conformance("AdmissionWebhook [Privileged:ClusterAdmin] should deny crd creation")
async def test_definitions(client: Client, hook: Webhook) -> None:
    """should deny crd creation"""
    hook.answer = deny("the crd contains unwanted label")
    rules = rule("customresourcedefinitions", apiGroups=["apiextensions.k8s.io"], apiVersions=["*"])
    await register(client, VALIDATING, webhook_entry(hook.client_config, "deny.b.c", rules))
    refused = await client.call("POST", DEFINITIONS, definition())
    assert refused.body["message"].endswith("denied the request: the crd contains unwanted label")


@pytest.mark.conformance(
    "AdmissionWebhook [Privileged:ClusterAdmin] should unconditionally reject operations on fail closed webhook"
)
async def test_fail_closed(client: Client, hook: Webhook) -> None:
    """should unconditionally reject operations on fail closed webhook"""
    only = {"matchLabels": {"fail-closed": "true"}}
    untrusted = {"url": hook.url}
    await register(client, VALIDATING, webhook_entry(untrusted, "closed.b.c", namespaceSelector=only))
    await client.create(NAMESPACES, {"metadata": {"name": "closed", "labels": {"fail-closed": "true"}}})
    refused = await client.call("POST", MAPS.replace("default", "closed"), config_map())
    assert refused.status == 500
    assert 'Internal error occurred: failed calling webhook "closed.b.c"' in refused.body["message"]
    assert "tls: failed to verify certificate: x509: " in refused.body["message"]
    await client.create(MAPS, config_map())


@pytest.mark.conformance("AdmissionWebhook [Privileged:ClusterAdmin] should mutate configmap")
async def test_config_maps_are_mutated_in_order(client: Client, hook: Webhook) -> None:
    """should mutate configmap"""
    hook.answers["/1"] = patch_if(
        lambda obj: "mutation-start" in obj["data"], add("/data/mutation-stage-1", "yes")
    )
    hook.answers["/2"] = patch_if(
        lambda obj: "mutation-stage-1" in obj["data"], add("/data/mutation-stage-2", "yes")
    )
    await register(
        client, MUTATING, webhook_entry(hook.at("/1"), "1.b.c"), webhook_entry(hook.at("/2"), "2.b.c")
    )
    made = await client.create(MAPS, config_map("a", **{"mutation-start": "yes"}))
    assert made["data"] == {"mutation-start": "yes", "mutation-stage-1": "yes", "mutation-stage-2": "yes"}
    assert (await client.create(MAPS, config_map("b")))["data"] == {"a": "b"}


@pytest.mark.conformance(
    "AdmissionWebhook [Privileged:ClusterAdmin] should mutate pod and apply defaults after mutation"
)
async def test_pods_get_defaults_after_mutation(client: Client, hook: Webhook) -> None:
    """should mutate pod and apply defaults after mutation"""
    hook.answer = patch(add("/spec/initContainers", [{"name": "added", "image": "i"}]))
    await register(client, MUTATING, webhook_entry(hook.client_config, "a.b.c", rule("pods")))
    (added,) = (await client.create(PODS, pod()))["spec"]["initContainers"]
    assert (added["name"], added["terminationMessagePolicy"]) == ("added", "File")


@pytest.mark.conformance(
    "AdmissionWebhook [Privileged:ClusterAdmin] should not be able to mutate or prevent deletion of webhook configuration objects"
)
async def test_configurations_are_neither_mutated_nor_kept(client: Client, hook: Webhook) -> None:
    """should not be able to mutate or prevent deletion of webhook configuration objects"""
    hook.answers["/deny"] = deny("never")
    hook.answers["/mutate"] = patch(add("/metadata/labels", {"mutated": "yes"}))
    every = rule("*", "CREATE DELETE", apiGroups=["admissionregistration.k8s.io"], apiVersions=["*"])
    await register(client, VALIDATING, webhook_entry(hook.at("/deny"), "d.b.c", every))
    await register(client, MUTATING, webhook_entry(hook.at("/mutate"), "m.b.c", every))
    for where in (VALIDATING, MUTATING):
        made = await register(client, where, webhook_entry(hook.client_config), name="dummy")
        assert not made["metadata"].get("labels")
        await client.delete(f"{where}/dummy")
    assert hook.reviews == []


@pytest.mark.conformance("AdmissionWebhook [Privileged:ClusterAdmin] should mutate custom resource")
@pytest.mark.conformance(
    "AdmissionWebhook [Privileged:ClusterAdmin] should mutate custom resource with pruning"
)
@pytest.mark.parametrize("pruned", [False, True])
async def test_custom_resources_are_mutated(client: Client, hook: Webhook, pruned: bool) -> None:
    """should mutate custom resource; should mutate custom resource with pruning"""
    wanted = definition()
    if not pruned:
        schema = wanted["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
        schema["properties"] = {"spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    await define(client, wanted)
    hook.answers["/1"] = patch_if(lambda obj: "start" in obj["spec"]["image"], add("/spec/image", "stage-1"))
    hook.answers["/2"] = patch_if(
        lambda obj: obj["spec"]["image"] == "stage-1", add("/spec/unknown", "stage-2")
    )
    rules = rule("crontabs", **TAB_RULE)
    await register(
        client,
        MUTATING,
        webhook_entry(hook.at("/1"), "1.b.c", rules),
        webhook_entry(hook.at("/2"), "2.b.c", rules),
    )
    made = await client.create(TABS, tab(image="start"))
    expected = {"cronSpec": "* * * * *", "image": "stage-1"}
    assert made["spec"] == (expected if pruned else {**expected, "unknown": "stage-2"})
    assert (await client.get(f"{TABS}/a"))["spec"] == made["spec"]


@pytest.mark.conformance(
    "AdmissionWebhook [Privileged:ClusterAdmin] should mutate custom resource with different stored version"
)
async def test_custom_resources_of_another_stored_version(client: Client, hook: Webhook) -> None:
    """should mutate custom resource with different stored version"""
    both = (version("v1"), version("v2", storage=False))
    await define(client, definition(*both))
    hook.answer = patch_if(
        lambda obj: "mutation-start" in obj["spec"]["cronSpec"], add("/spec/image", "mutated")
    )
    rules = rule("crontabs", "CREATE UPDATE", **TAB_RULE)
    await register(client, MUTATING, webhook_entry(hook.client_config, "a.b.c", rules))
    await client.create(TABS, tab())
    await redefine(client, definition(version("v1", storage=False), version("v2")))
    changed = await client.patch(f"{TABS}/a", {"spec": {"cronSpec": "mutation-start"}})
    assert (changed["apiVersion"], changed["spec"]["image"]) == (f"{GROUP}/v1", "mutated")
    second = await client.patch(
        f"{TABS.replace('/v1/', '/v2/')}/a", {"spec": {"cronSpec": "mutation-start 2", "image": "x"}}
    )
    assert (second["apiVersion"], second["spec"]["image"]) == (f"{GROUP}/v2", "mutated")
    last = requests(hook)[-1]
    assert (last["object"]["apiVersion"], last["oldObject"]["apiVersion"]) == (f"{GROUP}/v1", f"{GROUP}/v1")
    assert (last["kind"]["version"], last["requestKind"]["version"]) == ("v1", "v2")


@pytest.mark.conformance("AdmissionWebhook [Privileged:ClusterAdmin] should honor timeout")
async def test_timeouts(client: Client, hook: Webhook) -> None:
    """should honor timeout"""
    slow = webhook_entry(hook.client_config, "slow.b.c", timeoutSeconds=1)
    made = await register(client, VALIDATING, slow)
    hook.gate.clear()
    refused = await client.call("POST", MAPS, config_map())
    assert refused.status == 500
    assert refused.body["message"] == (
        'Internal error occurred: failed calling webhook "slow.b.c": failed to call webhook: '
        f'Post "{hook.url}?timeout=1s": context deadline exceeded'
    )
    made["webhooks"][0]["failurePolicy"] = "Ignore"
    made = await client.put(f"{VALIDATING}/hooks", made)
    await client.create(MAPS, config_map("ignored"))
    made["webhooks"][0] |= {"failurePolicy": "Fail", "timeoutSeconds": 10}
    await client.put(f"{VALIDATING}/hooks", made)
    waiting = asyncio.ensure_future(client.create(MAPS, config_map("patient")))
    while "patient" not in [review["request"]["name"] for review in hook.reviews]:
        await asyncio.sleep(0.001)
    assert not waiting.done()
    hook.gate.set()
    assert (await waiting)["metadata"]["name"] == "patient"
    del made["webhooks"][0]["timeoutSeconds"]
    made = await client.get(f"{VALIDATING}/hooks")
    assert made["webhooks"][0]["timeoutSeconds"] == 10


@pytest.mark.conformance(
    "AdmissionWebhook [Privileged:ClusterAdmin] patching/updating a validating webhook should work"
)
@pytest.mark.conformance(
    "AdmissionWebhook [Privileged:ClusterAdmin] patching/updating a mutating webhook should work"
)
@pytest.mark.parametrize("where", [VALIDATING, MUTATING])
async def test_updates_of_configurations(client: Client, hook: Webhook, where: str) -> None:
    """patching/updating a validating webhook should work; patching/updating a mutating webhook should work"""
    hook.answer = deny("no") if where == VALIDATING else patch(add("/data/x", "y"))

    async def outcome(name: str) -> object:
        answer = await client.call("POST", MAPS, config_map(name))
        return answer.status == 400 if where == VALIDATING else "x" in answer.body["data"]

    made = await register(client, where, webhook_entry(hook.client_config))
    assert await outcome("a") is True
    made["webhooks"][0]["rules"][0]["operations"] = ["UPDATE"]
    await client.put(f"{where}/hooks", made)
    assert await outcome("b") is False
    change = [{"op": "replace", "path": "/webhooks/0/rules/0/operations", "value": ["CREATE"]}]
    await client.patch(f"{where}/hooks", change, "application/json-patch+json")
    assert await outcome("c") is True


@pytest.mark.conformance("AdmissionWebhook [Privileged:ClusterAdmin] listing validating webhooks should work")
@pytest.mark.conformance("AdmissionWebhook [Privileged:ClusterAdmin] listing mutating webhooks should work")
@pytest.mark.parametrize("where", [VALIDATING, MUTATING])
async def test_lists_of_configurations(client: Client, hook: Webhook, where: str) -> None:
    """listing validating webhooks should work; listing mutating webhooks should work"""
    hook.answer = deny("no") if where == VALIDATING else patch(add("/data/x", "y"))
    for number in range(10):
        await register(client, where, webhook_entry(hook.client_config), name=f"hook-{number}", e2e="yes")
    assert len((await client.get(f"{where}?labelSelector=e2e=yes"))["items"]) == 10
    answer = await client.call("POST", MAPS, config_map())
    assert (answer.status == 400) if where == VALIDATING else (answer.body["data"] == {"a": "b", "x": "y"})
    await client.delete(f"{where}?labelSelector=e2e=yes")
    assert (await client.get(f"{where}?labelSelector=e2e=yes"))["items"] == []
    assert (await client.create(MAPS, config_map("b")))["data"] == {"a": "b"}


CONDITION = {"name": "expression-1", "expression": "object.metadata.namespace == 'production'"}


@pytest.mark.conformance(
    "AdmissionWebhook [Privileged:ClusterAdmin] should be able to create and update validating webhook configurations with match conditions"
)
@pytest.mark.conformance(
    "AdmissionWebhook [Privileged:ClusterAdmin] should be able to create and update mutating webhook configurations with match conditions"
)
@pytest.mark.parametrize("where", [VALIDATING, MUTATING])
async def test_match_conditions_are_kept(client: Client, hook: Webhook, where: str) -> None:
    """should be able to create and update … webhook configurations with match conditions"""
    entry = webhook_entry(hook.client_config, matchConditions=[CONDITION])
    made = await register(client, where, entry)
    assert (await client.get(f"{where}/hooks"))["webhooks"][0]["matchConditions"] == [CONDITION]
    changed = copy.deepcopy(made)
    other = {"name": "expression-2", "expression": "object.metadata.namespace == 'staging'"}
    changed["webhooks"][0]["matchConditions"] = [other]
    await client.put(f"{where}/hooks", changed)
    assert (await client.get(f"{where}/hooks"))["webhooks"][0]["matchConditions"] == [other]


@pytest.mark.conformance(
    "AdmissionWebhook [Privileged:ClusterAdmin] should reject validating webhook configurations with invalid match conditions"
)
@pytest.mark.conformance(
    "AdmissionWebhook [Privileged:ClusterAdmin] should reject mutating webhook configurations with invalid match conditions"
)
@pytest.mark.parametrize("where", [VALIDATING, MUTATING])
async def test_bad_match_conditions(client: Client, hook: Webhook, where: str) -> None:
    """should reject … webhook configurations with invalid match conditions"""
    bad = {"name": "invalid-expression", "expression": "... [] bad expression"}
    body = {
        "metadata": {"name": "bad"},
        "webhooks": [webhook_entry(hook.client_config, matchConditions=[bad])],
    }
    refused = await client.call("POST", where, body)
    assert refused.status == 422
    assert "compilation failed" in refused.body["message"]


@pytest.mark.conformance(
    "AdmissionWebhook [Privileged:ClusterAdmin] should mutate everything except 'skip-me' configmaps"
)
async def test_everything_but_one_name_is_mutated(client: Client, hook: Webhook) -> None:
    """should mutate everything except 'skip-me' configmaps"""
    hook.answer = patch(add("/data/mutated", "yes"))
    condition = {"name": "skip-me", "expression": "object.metadata.name != 'skip-me'"}
    await register(client, MUTATING, webhook_entry(hook.client_config, matchConditions=[condition]))
    assert (await client.create(MAPS, config_map("skip-me")))["data"] == {"a": "b"}
    assert (await client.create(MAPS, config_map("mutate-me")))["data"] == {"a": "b", "mutated": "yes"}
