"""Admission webhooks: what they are asked, which answers count, and what a client is told."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable

import orjson
import pytest
from admission_hooks import (
    MAPS,
    MUTATING,
    PODS,
    VALIDATING,
    add,
    allow,
    config_map,
    deny,
    encoded,
    patch,
    pod,
    register,
    requests,
    respond,
    rule,
    webhook_entry,
)
from served import MERGE_PATCH, Client, Object
from webhook_server import Webhook, webhook

EVERYTHING = rule("*/*", "*", apiGroups=["*"], apiVersions=["*"])


async def test_what_a_webhook_is_asked(client: Client, hook: Webhook) -> None:
    await register(client, VALIDATING, webhook_entry(hook.client_config, "a.b.c", EVERYTHING))
    await client.create(f"{MAPS}?fieldManager=me&fieldValidation=Strict", config_map())
    (review,) = hook.reviews
    request = review["request"]
    assert (review["kind"], review["apiVersion"]) == ("AdmissionReview", "admission.k8s.io/v1")
    sent = request.pop("object")
    assert len(request.pop("uid")) == 36
    assert request == {
        "kind": {"group": "", "version": "v1", "kind": "ConfigMap"},
        "resource": {"group": "", "version": "v1", "resource": "configmaps"},
        "requestKind": {"group": "", "version": "v1", "kind": "ConfigMap"},
        "requestResource": {"group": "", "version": "v1", "resource": "configmaps"},
        "name": "a",
        "namespace": "default",
        "operation": "CREATE",
        "userInfo": {"username": "admin", "groups": ["system:masters", "system:authenticated"]},
        "oldObject": None,
        "dryRun": False,
        "options": {
            "kind": "CreateOptions",
            "apiVersion": "meta.k8s.io/v1",
            "fieldManager": "me",
            "fieldValidation": "Strict",
        },
    }
    assert (sent["kind"], sent["apiVersion"], sent["data"]) == ("ConfigMap", "v1", {"a": "b"})
    assert sent["metadata"]["managedFields"][0]["manager"] == "me"


async def test_updates_and_deletions(client: Client, hook: Webhook) -> None:
    made = await client.create(MAPS, config_map())
    await register(client, VALIDATING, webhook_entry(hook.client_config, "a.b.c", EVERYTHING))
    await client.patch(f"{MAPS}/a?dryRun=All&fieldManager=me", {"data": {"a": "c"}})
    await client.delete(
        f"{MAPS}/a", {"gracePeriodSeconds": 5, "preconditions": {"uid": made["metadata"]["uid"]}}
    )
    changed, deleted = requests(hook)
    assert (changed["object"]["data"], changed["oldObject"]["data"]) == ({"a": "c"}, {"a": "b"})
    assert changed["dryRun"] is True
    assert changed["options"] == {
        "kind": "UpdateOptions",
        "apiVersion": "meta.k8s.io/v1",
        "dryRun": ["All"],
        "fieldManager": "me",
    }
    assert (deleted["operation"], deleted["object"], deleted["name"]) == ("DELETE", None, "a")
    assert deleted["oldObject"]["metadata"]["uid"] == made["metadata"]["uid"]
    assert deleted["options"] == {
        "kind": "DeleteOptions",
        "apiVersion": "meta.k8s.io/v1",
        "gracePeriodSeconds": 5,
        "preconditions": {"uid": made["metadata"]["uid"]},
    }


async def test_names_that_the_server_makes_up(client: Client, hook: Webhook) -> None:
    hook.answers["/mutate"] = patch(add("/data/x", "y"))
    await register(client, MUTATING, webhook_entry(hook.at("/mutate")))
    await register(client, VALIDATING, webhook_entry(hook.client_config))
    made = await client.create(MAPS, {"metadata": {"generateName": "a-"}, "data": {"a": "b"}})
    mutated, validated = requests(hook)
    assert "name" not in mutated
    assert not {"name", "uid", "creationTimestamp"} & mutated["object"]["metadata"].keys()
    assert validated["name"] == made["metadata"]["name"] == validated["object"]["metadata"]["name"]
    assert validated["object"]["metadata"]["uid"] == made["metadata"]["uid"]
    assert made["data"] == {"a": "b", "x": "y"}


async def test_collections_and_namespaces(client: Client, hook: Webhook) -> None:
    await client.create(MAPS, config_map())
    await register(client, VALIDATING, webhook_entry(hook.client_config, "a.b.c", EVERYTHING))
    await client.delete(MAPS)
    await client.create("/api/v1/namespaces", {"metadata": {"name": "new"}})
    deleted, created = requests(hook)
    assert ("name" in deleted, deleted["namespace"]) == (False, "default")
    assert (created["name"], created["namespace"]) == ("new", "new")


async def test_the_old_form_of_reviews(client: Client, hook: Webhook) -> None:
    def answer(review: Object) -> Object:
        return {"response": {"allowed": True, "patch": encoded([add("/data/x", "y")])}}

    hook.answer = answer
    versions = {"admissionReviewVersions": ["v2", "v1beta1", "v1"]}
    await register(client, MUTATING, webhook_entry(hook.client_config, **versions))
    assert (await client.create(MAPS, config_map()))["data"] == {"a": "b", "x": "y"}
    assert hook.reviews[0]["apiVersion"] == "admission.k8s.io/v1beta1"


# Refusals


@pytest.mark.parametrize(
    ("answer", "code", "reason", "message"),
    [
        (deny(), 400, "", 'admission webhook "check.example.com" denied the request without explanation'),
        (deny("no"), 400, "", 'admission webhook "check.example.com" denied the request: no'),
        (deny(reason="Odd"), 400, "Odd", 'admission webhook "check.example.com" denied the request: Odd'),
        (
            deny("no", code=403, reason="Forbidden", status="Success"),
            403,
            "Forbidden",
            'admission webhook "check.example.com" denied the request: no',
        ),
        (deny("no", code=200), 400, "", 'admission webhook "check.example.com" denied the request: no'),
    ],
)
@pytest.mark.parametrize("where", [VALIDATING, MUTATING])
async def test_denials(
    client: Client,
    hook: Webhook,
    where: str,
    answer: Callable[[Object], Object],
    code: int,
    reason: str,
    message: str,
) -> None:
    hook.answer = answer
    await register(client, where, webhook_entry(hook.client_config, failurePolicy="Ignore"))
    refused = await client.call("POST", MAPS, config_map())
    assert refused.status == code
    assert (refused.body["status"], refused.body.get("reason", ""), refused.body["message"]) == (
        "Failure",
        reason,
        message,
    )
    assert (await client.call("GET", f"{MAPS}/a")).status == 404


_INVALID = "received invalid webhook response: "
PATCHED = {"patch": encoded([add("/data/x", "y")]), "patchType": "JSONPatch"}


@pytest.mark.parametrize(
    ("where", "answer", "problem"),
    [
        (
            VALIDATING,
            lambda review: {**allow(review), "response": None},
            f"{_INVALID}webhook response was absent",
        ),
        (
            VALIDATING,
            lambda review: {**allow(review), "kind": "Other"},
            f"{_INVALID}expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, "
            "got admission.k8s.io/v1, Kind=Other",
        ),
        (
            VALIDATING,
            lambda review: {"response": allow(review)["response"]},
            f"{_INVALID}expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got /, Kind=",
        ),
        (
            VALIDATING,
            lambda review: allow(review, **PATCHED),
            f"{_INVALID}validating webhook may not return response.patch",
        ),
        (
            VALIDATING,
            lambda review: allow(review, patchType="JSONPatch"),
            f"{_INVALID}validating webhook may not return response.patchType",
        ),
        (
            MUTATING,
            lambda review: allow(review, patch=PATCHED["patch"]),
            f"{_INVALID}webhook returned response.patch but not response.patchType",
        ),
        (
            MUTATING,
            lambda review: allow(review, patchType="JSONPatch"),
            f"{_INVALID}webhook returned response.patchType but not response.patch",
        ),
        (
            MUTATING,
            lambda review: allow(review, patch=PATCHED["patch"], patchType=""),
            f'{_INVALID}webhook returned invalid response.patchType of ""',
        ),
        (
            MUTATING,
            lambda review: allow(review, patch=PATCHED["patch"], patchType="Merge"),
            'unsupported patch type "Merge"',
        ),
        (
            VALIDATING,
            lambda review: respond(review, allowed="yes"),
            "failed to call webhook: json: cannot unmarshal string into Go struct field "
            "AdmissionResponse.response.allowed of type bool",
        ),
    ],
)
async def test_answers_that_do_not_count(
    client: Client, hook: Webhook, where: str, answer: Callable[[Object], Object], problem: str
) -> None:
    hook.answer = answer
    await register(client, where, webhook_entry(hook.client_config))
    refused = await client.call("POST", MAPS, config_map())
    assert (refused.status, refused.body["reason"], refused.body["message"]) == (
        500,
        "InternalError",
        f'Internal error occurred: failed calling webhook "check.example.com": {problem}',
    )


async def test_a_wrong_uid(client: Client, hook: Webhook) -> None:
    hook.answer = lambda review: {**allow(review), "response": {"uid": "other", "allowed": True}}
    await register(client, VALIDATING, webhook_entry(hook.client_config))
    refused = await client.call("POST", MAPS, config_map())
    uid = hook.reviews[0]["request"]["uid"]
    assert refused.body["message"].endswith(f'{_INVALID}expected response.uid="{uid}", got "other"')


@pytest.mark.parametrize("where", [VALIDATING, MUTATING])
async def test_a_webhook_that_fails(client: Client, hook: Webhook, where: str) -> None:
    nowhere = {"url": "https://127.0.0.1:1/x", "caBundle": hook.ca_bundle}
    made = await register(client, where, webhook_entry(nowhere))
    refused = await client.call("POST", MAPS, config_map())
    assert (refused.status, refused.body["reason"], refused.body["message"]) == (
        500,
        "InternalError",
        'Internal error occurred: failed calling webhook "check.example.com": failed to call webhook: '
        'Post "https://127.0.0.1:1/x?timeout=10s": dial tcp 127.0.0.1:1: connect: connection refused',
    )
    made["webhooks"][0]["failurePolicy"] = "Ignore"
    await client.put(f"{where}/hooks", made)
    assert (await client.call("POST", MAPS, config_map())).status == 201
    made = await client.get(f"{where}/hooks")
    made["webhooks"][0] |= {"failurePolicy": "Fail", "clientConfig": hook.client_config}
    await client.put(f"{where}/hooks", made)
    hook.status = 500
    refused = await client.call("POST", MAPS, config_map("b"))
    assert refused.body["message"].startswith(
        'Internal error occurred: failed calling webhook "check.example.com": failed to call webhook: '
    )


async def test_a_service_that_is_not_there(client: Client, hook: Webhook) -> None:
    service = {"service": {"namespace": "default", "name": "hook", "path": "/x"}, "caBundle": hook.ca_bundle}
    await register(client, VALIDATING, webhook_entry(service))
    refused = await client.call("POST", MAPS, config_map())
    assert refused.body["message"] == (
        'Internal error occurred: failed calling webhook "check.example.com": failed to call webhook: '
        'Post "https://hook.default.svc:443/x?timeout=10s": service "hook" not found'
    )


async def test_a_webhook_that_is_started_again(
    client: Client, hook_identity: tuple[ssl.SSLContext, str]
) -> None:
    """The connections that are kept to it are gone: nobody must notice."""
    async with webhook(*hook_identity, allow) as first:
        await register(client, VALIDATING, webhook_entry(first.client_config))
        await client.create(MAPS, config_map("a"))
    port = int(first.url.split(":")[2].split("/")[0])
    async with webhook(*hook_identity, deny("again"), port=port):
        refused = await client.call("POST", MAPS, config_map("b"))
    assert refused.body["message"].endswith("denied the request: again")


async def test_a_webhook_with_side_effects_is_not_asked_in_dry_runs(client: Client, hook: Webhook) -> None:
    """Nobody can register one today; old ones may still lie in the store."""
    made = await register(client, VALIDATING, webhook_entry(hook.client_config))
    made["webhooks"][0]["sideEffects"] = "Some"
    key = "/registry/admissionregistration.k8s.io/validatingwebhookconfigurations/hooks"
    del made["metadata"]["resourceVersion"]
    await client.server.store.write(key, orjson.dumps(made))
    refused = await client.call("POST", f"{MAPS}?dryRun=All", config_map())
    assert (refused.status, refused.body["message"]) == (
        400,
        'admission webhook "check.example.com" does not support dry run',
    )
    await client.create(MAPS, config_map())


async def test_a_client_that_goes_leaves_nothing_behind(client: Client, hook: Webhook) -> None:
    hook.gate.clear()
    entries = [webhook_entry(hook.at(f"/{name}"), f"{name}.b.c") for name in ("one", "two")]
    await register(client, VALIDATING, *entries)
    waiting = asyncio.ensure_future(client.call("POST", MAPS, config_map()))
    while len(hook.reviews) < 2:
        await asyncio.sleep(0.001)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    hook.gate.set()
    assert (await client.call("GET", f"{MAPS}/a")).status == 404
    await client.create(MAPS, config_map())


# Mutation


async def test_what_a_webhook_makes_of_an_object_is_read_like_what_a_client_sends(
    client: Client, hook: Webhook
) -> None:
    """The conformance test "mutate pod and apply defaults after mutation", and pruning."""
    container = {"name": "webhook-added-init-container", "image": "i", "nonsense": 1}
    hook.answer = patch(add("/spec/initContainers", [container]), add("/spec/nothing", 1))
    await register(client, MUTATING, webhook_entry(hook.client_config, "a.b.c", rule("pods")))
    made = await client.create(PODS, pod())
    (added,) = made["spec"]["initContainers"]
    assert added["name"] == "webhook-added-init-container"
    assert added["terminationMessagePolicy"] == "File"
    assert "nonsense" not in added
    assert "nothing" not in made["spec"]


@pytest.mark.parametrize(
    ("operations", "status", "message"),
    [
        (
            [add("/data", {"a/b": "c"})],
            422,
            'ConfigMap "a" is invalid: data[a/b]: Invalid value: "a/b": a valid config key must consist of',
        ),
        ([{"op": "remove", "path": "/data/no"}], 500, "Internal error occurred: "),
        (
            [add("/data", 7)],
            500,
            "Internal error occurred: json: cannot unmarshal number into Go struct field ConfigMap.data",
        ),
        (
            [add("/metadata/namespace", "kube-system")],
            400,
            "the namespace of the provided object does not match",
        ),
    ],
)
async def test_patches_that_make_no_object(
    client: Client, hook: Webhook, operations: list[Object], status: int, message: str
) -> None:
    hook.answer = patch(*operations)
    await register(client, MUTATING, webhook_entry(hook.client_config))
    refused = await client.call("POST", MAPS, config_map())
    assert (refused.status, refused.body["message"][: len(message)]) == (status, message)


async def test_what_only_the_server_writes(client: Client, hook: Webhook) -> None:
    made = await client.create(PODS, pod())
    await client.create(MAPS, config_map())
    hook.answer = patch(
        add("/metadata/uid", "mine"),
        add("/metadata/generation", 99),
        add("/metadata/creationTimestamp", "2001-01-01T00:00:00Z"),
        add("/status", {"phase": "Failed"}),
        add("/metadata/labels", {"by": "hook"}),
    )
    entry = webhook_entry(
        hook.client_config, "a.b.c", rule("pods", "CREATE UPDATE"), rule("pods/status", "UPDATE")
    )
    await register(client, MUTATING, entry)
    changed = await client.patch(f"{PODS}/a", {"metadata": {"annotations": {"a": "b"}}})
    new = await client.create(PODS, pod("b"))
    for obj in (changed, new):
        assert obj["metadata"]["uid"] != "mine"
        assert obj["metadata"].get("generation") != 99
        assert obj["metadata"]["creationTimestamp"] != "2001-01-01T00:00:00Z"
        assert obj["status"]["phase"] == "Pending"
        assert obj["metadata"]["labels"] == {"by": "hook"}
    assert changed["metadata"]["uid"] == made["metadata"]["uid"]
    hook.answer = patch(add("/spec/activeDeadlineSeconds", 5), add("/status/message", "hello"))
    status = await client.patch(f"{PODS}/a/status", {"status": {"reason": "x"}})
    assert (status["status"]["message"], status["status"]["reason"]) == ("hello", "x")
    assert "activeDeadlineSeconds" not in status["spec"]


async def test_nobody_owns_what_a_webhook_adds(client: Client, hook: Webhook) -> None:
    hook.answer = patch(add("/data/x", "y"))
    await register(client, MUTATING, webhook_entry(hook.client_config))
    made = await client.create(f"{MAPS}?fieldManager=me", config_map())
    (entry,) = made["metadata"]["managedFields"]
    assert entry["fieldsV1"] == {"f:data": {".": {}, "f:a": {}}}


async def test_a_deletion_has_nothing_to_change(client: Client, hook: Webhook) -> None:
    await client.create(MAPS, config_map())
    hook.answer = patch(add("/data/x", "y"))
    await register(client, MUTATING, webhook_entry(hook.client_config, "a.b.c", rule("configmaps", "DELETE")))
    refused = await client.call("DELETE", f"{MAPS}/a")
    assert refused.body["message"] == (
        'Internal error occurred: admission webhook "a.b.c" attempted to modify the object, '
        "which is not supported for this operation"
    )
    hook.answer = patch()  # without operations it is none
    assert (await client.call("DELETE", f"{MAPS}/a")).status == 200


# Order, rounds, versions


async def test_order(client: Client, hook: Webhook) -> None:
    """By the names of configurations, and within one as they are listed."""
    await register(client, MUTATING, webhook_entry(hook.at("/3"), "z.b.c"), name="b")
    entries = [webhook_entry(hook.at("/1"), "z.b.c"), webhook_entry(hook.at("/2"), "a.b.c")]
    await register(client, MUTATING, *entries, name="a")
    await register(client, VALIDATING, webhook_entry(hook.at("/4"), "a.b.c"), name="a")
    await client.create(MAPS, config_map())
    assert hook.asked == ["/1", "/2", "/3", "/4"]


async def test_a_second_round(client: Client, hook: Webhook) -> None:
    """Those who want it are called again when somebody has changed the object after them, once."""
    hook.answers["/b"] = patch(add("/data/b", "1"))
    again = {"reinvocationPolicy": "IfNeeded"}
    entries = [
        webhook_entry(hook.at("/a"), "a.b.c", **again),
        webhook_entry(hook.at("/never"), "n.b.c"),
        webhook_entry(hook.at("/b"), "b.b.c", **again),
        webhook_entry(hook.at("/c"), "c.b.c", **again),
    ]
    await register(client, MUTATING, *entries)
    await client.create(MAPS, config_map())
    assert hook.asked == ["/a", "/never", "/b", "/c", "/a"]
    assert [request["object"]["data"] for request in requests(hook)][-1] == {"a": "b", "b": "1"}
    hook.asked.clear()
    hook.answers["/b"] = patch(add("/data/a", "b"))
    await client.create(MAPS, config_map("b"))
    assert hook.asked == ["/a", "/never", "/b", "/c"], "a patch that changes nothing is no change"


async def test_other_versions_of_the_same_resource(client: Client, hook: Webhook) -> None:
    scalers = "namespaces/default/horizontalpodautoscalers"
    first = rule("horizontalpodautoscalers", "*", apiGroups=["autoscaling"])
    hook.answers["/mutate"] = patch(add("/spec/targetCPUUtilizationPercentage", 33))
    await register(client, MUTATING, webhook_entry(hook.at("/mutate"), "a.b.c", first))
    await register(client, VALIDATING, webhook_entry(hook.client_config, "a.b.c", first, matchPolicy="Exact"))
    body = {
        "metadata": {"name": "a"},
        "spec": {
            "maxReplicas": 3,
            "scaleTargetRef": {"kind": "Deployment", "name": "d", "apiVersion": "apps/v1"},
        },
    }
    made = await client.create(f"/apis/autoscaling/v2/{scalers}", body)
    assert made["apiVersion"] == "autoscaling/v2"
    assert made["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"] == 33
    (request,) = requests(hook)
    assert request["kind"] == {"group": "autoscaling", "version": "v1", "kind": "HorizontalPodAutoscaler"}
    assert request["requestKind"]["version"] == request["requestResource"]["version"] == "v2"
    assert (request["resource"]["version"], request["object"]["apiVersion"]) == ("v1", "autoscaling/v1")


# What else an answer says


async def test_warnings(client: Client, hook: Webhook) -> None:
    hook.answer = lambda review: allow(review, warnings=["mind the gap", "mind the gap", "", "a\nb"])
    await register(client, VALIDATING, webhook_entry(hook.client_config))
    answer = await client.call("POST", MAPS, config_map())
    assert answer.warnings == ('299 - "mind the gap"',)
    hook.answer = lambda review: allow(review, warnings=["x" * 3000, "short", "y" * 3000])
    answer = await client.call("POST", MAPS, config_map("b"))
    assert answer.warnings == (f'299 - "{"x" * 256}"', '299 - "short"', f'299 - "{"y" * 256}"')
    hook.answer = lambda review: allow(review, warnings=[f"{number:0256}" for number in range(40)])
    answer = await client.call("POST", MAPS, config_map("c"))
    assert len(answer.warnings) == 16


async def test_nothing_is_called_for_what_nobody_registered(client: Client, hook: Webhook) -> None:
    await register(client, VALIDATING, webhook_entry(hook.client_config))
    await client.create("/api/v1/namespaces/default/secrets", {"metadata": {"name": "a"}})
    await client.get(f"{MAPS}?limit=1")
    assert hook.reviews == []


async def test_many_at_once(client: Client, hook: Webhook) -> None:
    """All are asked together; the first in their order tells the client why not."""
    hook.answers["/no"] = deny("first")
    hook.answers["/never"] = deny("second")
    entries = [webhook_entry(hook.at(f"/{name}"), f"{name}.b.c") for name in ("yes", "no", "never")]
    await register(client, VALIDATING, *entries)
    refused = await client.call("POST", MAPS, config_map())
    assert refused.body["message"] == 'admission webhook "no.b.c" denied the request: first'
    assert sorted(hook.asked) == ["/never", "/no", "/yes"]


async def test_configurations_are_never_judged(client: Client, hook: Webhook) -> None:
    hook.answer = deny("never")
    entry = webhook_entry(hook.client_config, "a.b.c", EVERYTHING)
    await register(client, VALIDATING, entry)
    await register(client, MUTATING, entry)
    assert (await client.call("POST", MAPS, config_map())).status == 400
    for where in (VALIDATING, MUTATING):
        await client.patch(f"{where}/hooks", {"metadata": {"labels": {"a": "b"}}}, MERGE_PATCH)
        await client.delete(f"{where}/hooks")
    assert (await client.call("POST", MAPS, config_map())).status == 201
