"""What is below an object: scale, binding, eviction, tokens, ephemeral containers; and reviews, which are stored nowhere."""

import base64

import orjson
import pytest
from served import JSON_PATCH, MERGE_PATCH, STRATEGIC, Client, Object

from tiphys.client.inprocess import LocalIdentity
from tiphys.testing.clock import FakeClock

DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
PODS = "/api/v1/namespaces/default/pods"
ACCOUNTS = "/api/v1/namespaces/default/serviceaccounts"
REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews"
TEMPLATE: Object = {
    "metadata": {"labels": {"app": "web"}},
    "spec": {"containers": [{"name": "c", "image": "i"}]},
}
WEB: Object = {
    "metadata": {"name": "web"},
    "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": TEMPLATE},
}


async def pod(client: Client, name: str = "p", **labels: str) -> Object:
    body = {
        "metadata": {"name": name, "labels": labels},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    }
    return await client.create(PODS, body)


# Scale


async def test_scale_shows_three_numbers(client: Client) -> None:
    made = await client.create(DEPLOYMENTS, WEB)
    await client.patch(f"{DEPLOYMENTS}/web/status", {"status": {"replicas": 1}})
    scale = await client.get(f"{DEPLOYMENTS}/web/scale")
    assert (scale["kind"], scale["apiVersion"]) == ("Scale", "autoscaling/v1")
    assert (scale["spec"], scale["status"]) == ({"replicas": 2}, {"replicas": 1, "selector": "app=web"})
    assert scale["metadata"]["uid"] == made["metadata"]["uid"]


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (MERGE_PATCH, {"spec": {"replicas": 5}}),
        (STRATEGIC, {"spec": {"replicas": 5}}),
        (JSON_PATCH, [{"op": "replace", "path": "/spec/replicas", "value": 5}]),
    ],
)
async def test_scale_can_be_patched(client: Client, kind: str, body: object) -> None:
    await client.create(DEPLOYMENTS, WEB)
    scaled = await client.patch(f"{DEPLOYMENTS}/web/scale", body, kind)
    assert (scaled["kind"], scaled["spec"]) == ("Scale", {"replicas": 5})
    found = await client.get(f"{DEPLOYMENTS}/web")
    assert (found["spec"]["replicas"], found["metadata"]["generation"]) == (5, 2)


async def test_scale_can_be_replaced_and_to_zero(client: Client) -> None:
    await client.create(DEPLOYMENTS, WEB)
    scale = await client.get(f"{DEPLOYMENTS}/web/scale")
    zero = await client.put(f"{DEPLOYMENTS}/web/scale", {**scale, "spec": {"replicas": 0}})
    assert zero["spec"] == {}
    assert (await client.get(f"{DEPLOYMENTS}/web"))["spec"]["replicas"] == 0
    stale = await client.call("PUT", f"{DEPLOYMENTS}/web/scale", {**scale, "spec": {"replicas": 1}})
    assert (stale.status, stale.body["reason"]) == (409, "Conflict")


async def test_scale_is_never_negative(client: Client) -> None:
    await client.create(DEPLOYMENTS, WEB)
    answer = await client.call(
        "PATCH", f"{DEPLOYMENTS}/web/scale", {"spec": {"replicas": -1}}, content_type=MERGE_PATCH
    )
    assert (answer.status, answer.body["reason"]) == (422, "Invalid")
    assert "spec.replicas: Invalid value: -1: must be greater than or equal to 0" in answer.body["message"]


async def test_scale_of_nothing(client: Client) -> None:
    assert (await client.call("GET", f"{DEPLOYMENTS}/nope/scale")).status == 404
    assert (await client.call("GET", f"{PODS}/p/scale")).status == 404


# Binding


@pytest.mark.parametrize("target", [f"{PODS}/p/binding", "/api/v1/namespaces/default/bindings"])
async def test_a_binding_gives_a_pod_its_node(client: Client, target: str) -> None:
    await pod(client)
    binding = {
        "metadata": {"name": "p", "annotations": {"by": "test"}},
        "target": {"kind": "Node", "name": "n"},
    }
    answer = await client.call("POST", target, binding)
    assert (answer.status, answer.body["kind"], answer.body["status"]) == (201, "Status", "Success")
    bound = await client.get(f"{PODS}/p")
    assert bound["spec"]["nodeName"] == "n"
    assert bound["metadata"]["annotations"] == {"by": "test"}
    (scheduled,) = (each for each in bound["status"]["conditions"] if each["type"] == "PodScheduled")
    assert scheduled["status"] == "True"
    again = await client.call("POST", f"{PODS}/p/binding", binding)
    assert (again.status, again.body["reason"]) == (409, "Conflict")
    assert again.body["message"] == (
        'Operation cannot be fulfilled on pods/binding "p": pod p is already assigned to node "n"'
    )


async def test_a_binding_of_another_pod_of_that_name(client: Client) -> None:
    await pod(client)
    answer = await client.call(
        "POST", f"{PODS}/p/binding", {"metadata": {"uid": "old"}, "target": {"name": "n"}}
    )
    assert answer.status == 409
    assert (await client.call("POST", f"{PODS}/nope/binding", {"target": {"name": "n"}})).status == 404


@pytest.mark.parametrize(
    ("target", "field"), [({"kind": "Pod", "name": "n"}, "target.kind"), ({"name": ""}, "target.name")]
)
async def test_a_binding_needs_a_node(client: Client, target: Object, field: str) -> None:
    await pod(client)
    answer = await client.call("POST", f"{PODS}/p/binding", {"target": target})
    assert (answer.status, answer.body["details"]["causes"][0]["field"]) == (422, field)


# Eviction


async def budget(client: Client, allowed: int) -> None:
    path = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"
    spec = {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}}
    made = await client.create(path, {"metadata": {"name": "b"}, "spec": spec})
    status = {
        "observedGeneration": made["metadata"].get("generation", 0),
        "disruptionsAllowed": allowed,
        "currentHealthy": 1 + allowed,
        "desiredHealthy": 1,
        "expectedPods": 1 + allowed,
    }
    await client.patch(f"{path}/b/status", {"status": status})


async def running(client: Client, *, ready: bool = True) -> None:
    await pod(client, app="web")
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    await client.patch(f"{PODS}/p/status", {"status": {"phase": "Running", "conditions": conditions}})


EVICTION: Object = {
    "metadata": {"name": "p", "namespace": "default"},
    "deleteOptions": {"gracePeriodSeconds": 0},
}


async def test_an_eviction_deletes(client: Client) -> None:
    await running(client)
    answer = await client.call("POST", f"{PODS}/p/eviction", EVICTION)
    assert (answer.status, answer.body["status"]) == (201, "Success")
    assert (await client.call("GET", f"{PODS}/p")).status == 404


async def test_a_budget_that_allows_it_pays(client: Client) -> None:
    await running(client)
    await budget(client, 1)
    assert (await client.call("POST", f"{PODS}/p/eviction", EVICTION)).status == 201
    left = await client.get("/apis/policy/v1/namespaces/default/poddisruptionbudgets/b")
    assert left["status"].get("disruptionsAllowed", 0) == 0
    assert list(left["status"]["disruptedPods"]) == ["p"]


async def test_a_budget_that_is_spent_refuses(client: Client) -> None:
    await running(client)
    await budget(client, 0)
    answer = await client.call("POST", f"{PODS}/p/eviction", EVICTION)
    assert (answer.status, answer.body["reason"]) == (429, "TooManyRequests")
    assert answer.body["message"] == "Cannot evict pod as it would violate the pod's disruption budget."
    assert answer.body["details"]["causes"] == [
        {
            "reason": "DisruptionBudget",
            "message": "The disruption budget b needs 1 healthy pods and has 1 currently",
        }
    ]
    assert (await client.call("GET", f"{PODS}/p")).status == 200


BUDGETS = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"


async def test_an_evicted_pod_says_why_it_goes(client: Client) -> None:
    await running(client)
    await client.patch(f"{PODS}/p", {"metadata": {"finalizers": ["example.com/wait"]}})
    assert (await client.call("POST", f"{PODS}/p/eviction", EVICTION)).status == 201
    conditions = (await client.get(f"{PODS}/p"))["status"]["conditions"]
    (found,) = (each for each in conditions if each["type"] == "DisruptionTarget")
    assert (found["status"], found["reason"]) == ("True", "EvictionByEvictionAPI")
    assert found["message"] == "Eviction API: evicting"


async def test_a_budget_that_was_changed_must_be_counted_first(client: Client) -> None:
    await running(client)
    await budget(client, 1)
    await client.patch(f"{BUDGETS}/b", {"spec": {"minAvailable": 2}})
    answer = await client.call("POST", f"{PODS}/p/eviction", EVICTION)
    assert (answer.status, answer.body["details"]["retryAfterSeconds"]) == (429, 10)
    (cause,) = answer.body["details"]["causes"]
    assert cause["message"] == "The disruption budget b is still being processed by the server."


async def test_a_dry_eviction_asks_the_budget_and_takes_nothing(client: Client) -> None:
    await running(client)
    await budget(client, 1)
    for target, body in (
        (f"{PODS}/p/eviction?dryRun=All", EVICTION),
        (f"{PODS}/p/eviction", {**EVICTION, "deleteOptions": {"dryRun": ["All"]}}),
    ):
        assert (await client.call("POST", target, body)).status == 201
    assert "DisruptionTarget" not in str(await client.get(f"{PODS}/p"))
    assert (await client.get(f"{BUDGETS}/b"))["status"]["disruptionsAllowed"] == 1
    await client.patch(f"{BUDGETS}/b/status", {"status": {"disruptionsAllowed": 0}})
    assert (await client.call("POST", f"{PODS}/p/eviction?dryRun=All", EVICTION)).status == 429


async def test_a_pod_that_is_not_ready_costs_nothing_while_enough_others_are(client: Client) -> None:
    await running(client, ready=False)
    await budget(client, 0)
    assert (await client.call("POST", f"{PODS}/p/eviction", EVICTION)).status == 201
    left = (await client.get(f"{BUDGETS}/b"))["status"]
    assert "disruptedPods" not in left


async def test_a_pod_that_is_not_ready_may_always_go_if_the_budget_says_so(client: Client) -> None:
    await running(client, ready=False)
    await budget(client, 0)
    await client.patch(f"{BUDGETS}/b/status", {"status": {"currentHealthy": 0}})
    assert (await client.call("POST", f"{PODS}/p/eviction", EVICTION)).status == 429
    await client.patch(f"{BUDGETS}/b", {"spec": {"unhealthyPodEvictionPolicy": "AlwaysAllow"}})
    assert (await client.call("POST", f"{PODS}/p/eviction", EVICTION)).status == 201


async def test_an_eviction_of_another_pod_of_that_name(client: Client) -> None:
    await running(client)
    body = {**EVICTION, "deleteOptions": {"preconditions": {"uid": "old"}}}
    answer = await client.call("POST", f"{PODS}/p/eviction", body)
    assert (answer.status, answer.body["reason"]) == (409, "Conflict")
    assert "the UID in the precondition (old) does not match the UID in record" in answer.body["message"]
    wrong = {**EVICTION, "metadata": {"name": "q"}}
    answer = await client.call("POST", f"{PODS}/p/eviction", wrong)
    assert (answer.status, answer.body["message"]) == (
        400,
        "name in URL does not match name in Eviction object",
    )


# Tokens


async def token(client: Client, **spec: object) -> Object:
    return await client.create(f"{ACCOUNTS}/default/token", {"spec": spec})


async def review(client: Client, text: str, **spec: object) -> Object:
    found: Object = (await client.create(REVIEWS, {"spec": {"token": text, **spec}}))["status"]
    return found


async def test_a_token_says_whose_it_is(client: Client, clock: FakeClock) -> None:
    made = await token(client)
    assert (made["kind"], made["spec"]["expirationSeconds"]) == ("TokenRequest", 3600)
    assert made["status"]["expirationTimestamp"] == "2026-01-01T01:00:00Z"
    header, claims, _ = made["status"]["token"].split(".")
    decoded = orjson.loads(base64.urlsafe_b64decode(claims + "=="))
    assert decoded["sub"] == "system:serviceaccount:default:default"
    assert decoded["kubernetes.io"]["namespace"] == "default"
    assert decoded["exp"] - decoded["iat"] == 3600
    assert b"ES256" in base64.urlsafe_b64decode(header + "==")
    status = await review(client, made["status"]["token"])
    assert status["authenticated"] is True
    assert status["user"]["username"] == "system:serviceaccount:default:default"
    assert set(status["user"]["groups"]) == {
        "system:serviceaccounts",
        "system:serviceaccounts:default",
        "system:authenticated",
    }
    await clock.advance(3661)  # a minute is allowed for clocks that differ
    assert "authenticated" not in await review(client, made["status"]["token"])


async def test_a_token_opens_the_door(client: Client) -> None:
    bearer = f"Bearer {(await token(client))['status']['token']}"
    nobody = client.anonymous()
    assert (await nobody.call("GET", PODS, authorization=bearer)).status == 403
    bindings = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings"
    account = {"kind": "ServiceAccount", "name": "default", "namespace": "default"}
    role = {"kind": "ClusterRole", "name": "system:aggregate-to-view"}
    await client.create(bindings, {"metadata": {"name": "see"}, "subjects": [account], "roleRef": role})
    assert (await nobody.call("GET", PODS, authorization=bearer)).status == 200
    who = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    found = await nobody.call("POST", who, {}, authorization=bearer)
    assert found.body["status"]["userInfo"]["username"] == "system:serviceaccount:default:default"
    await client.delete(f"{ACCOUNTS}/default")
    assert (await nobody.call("GET", PODS, authorization=bearer)).status == 401


async def test_a_token_dies_with_its_pod(client: Client) -> None:
    await pod(client)
    bound = await token(client, boundObjectRef={"kind": "Pod", "apiVersion": "v1", "name": "p"})
    text = bound["status"]["token"]
    status = await review(client, text)
    assert status["user"]["extra"]["authentication.kubernetes.io/pod-name"] == ["p"]
    await client.delete(f"{PODS}/p")
    assert "authenticated" not in await review(client, text)


async def test_a_token_is_for_its_audience(client: Client) -> None:
    text = (await token(client, audiences=["vault"]))["status"]["token"]
    assert "authenticated" not in await review(client, text)
    assert (await review(client, text, audiences=["vault", "x"]))["audiences"] == ["vault"]
    assert (await client.anonymous().call("GET", PODS, authorization=f"Bearer {text}")).status == 401


@pytest.mark.parametrize("text", ["nonsense", "a.b.c", "e30.e30.AAAA", "..", "\u00fc.x.y"])
async def test_forged_tokens(client: Client, text: str) -> None:
    assert (await review(client, text)).get("authenticated") is None


async def test_a_changed_token_is_no_token(client: Client) -> None:
    head, claims, signature = (await token(client))["status"]["token"].split(".")
    decoded = orjson.loads(base64.urlsafe_b64decode(claims + "=="))
    decoded["sub"] = "system:serviceaccount:kube-system:default"
    forged = base64.urlsafe_b64encode(orjson.dumps(decoded)).rstrip(b"=").decode()
    assert (await review(client, f"{head}.{forged}.{signature}")).get("authenticated") is None


@pytest.mark.parametrize("seconds", [1, 599, (1 << 32) + 1])
async def test_how_long_a_token_may_live(client: Client, seconds: int) -> None:
    answer = await client.call("POST", f"{ACCOUNTS}/default/token", {"spec": {"expirationSeconds": seconds}})
    assert (answer.status, answer.body["details"]["causes"][0]["field"]) == (422, "spec.expirationSeconds")


async def test_what_a_token_cannot_be_bound_to(client: Client) -> None:
    for reference, code in (
        ({"kind": "Deployment", "name": "d"}, 400),
        ({"kind": "Pod", "name": "nope"}, 404),
        ({"kind": "Pod", "name": "p", "uid": "x"}, 409),
    ):
        if reference.get("uid"):
            await pod(client)
        answer = await client.call(
            "POST", f"{ACCOUNTS}/default/token", {"spec": {"boundObjectRef": reference}}
        )
        assert answer.status == code, answer.body


# Access reviews


async def test_may_i(client: Client) -> None:
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    attributes = {"verb": "delete", "resource": "pods", "namespace": "default"}
    assert (await client.create(path, {"spec": {"resourceAttributes": attributes}}))["status"][
        "allowed"
    ] is True
    eve = client.as_user("eve", "system:authenticated")
    assert (await eve.create(path, {"spec": {"resourceAttributes": attributes}}))["status"][
        "allowed"
    ] is False
    rules = await eve.create(
        "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", {"spec": {"namespace": "default"}}
    )
    assert rules["status"]["incomplete"] is False


async def test_may_they(client: Client) -> None:
    path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
    for groups, allowed in ((["system:masters"], True), ([], False)):
        spec = {"user": "x", "groups": groups, "nonResourceAttributes": {"path": "/metrics", "verb": "get"}}
        assert (await client.create(path, {"spec": spec}))["status"]["allowed"] is allowed
    assert (await client.call("POST", path, {"spec": {"user": "x"}})).status in (400, 422)
    local = "/apis/authorization.k8s.io/v1/namespaces/default/localsubjectaccessreviews"
    spec = {"user": "x", "resourceAttributes": {"namespace": "other", "verb": "get", "resource": "pods"}}
    assert (await client.call("POST", local, {"spec": spec})).status in (400, 422)


# The others


async def test_ephemeral_containers_join_and_nothing_else_changes(client: Client) -> None:
    await pod(client)
    wanted = {
        "spec": {
            "ephemeralContainers": [{"name": "debug", "image": "busybox"}],
            "containers": [{"name": "c", "image": "evil"}],
        }
    }
    changed = await client.patch(f"{PODS}/p/ephemeralcontainers", wanted, STRATEGIC)
    assert [each["name"] for each in changed["spec"]["ephemeralContainers"]] == ["debug"]
    assert changed["spec"]["containers"][0]["image"] == "i"
    plain = await client.call(
        "PATCH", f"{PODS}/p", {"spec": {"ephemeralContainers": []}}, content_type=MERGE_PATCH
    )
    assert plain.status in (200, 422)
    assert (await client.get(f"{PODS}/p"))["spec"]["ephemeralContainers"]
    bare = await client.call("PUT", f"{PODS}/p/ephemeralcontainers", {})
    assert bare.status in (200, 422)  # nothing is asked for: nothing, or that what is there must stay


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize(
    "path", ["/api/v1/nodes/n", f"{PODS}/p", "/api/v1/namespaces/default/services/kubernetes"]
)
async def test_a_proxy_is_not_the_object_itself(client: Client, path: str, method: str) -> None:
    await client.create("/api/v1/nodes", {"metadata": {"name": "n"}})
    await pod(client)
    before = await client.get(path)
    for below in ("/proxy", "/proxy/x"):
        body = {"metadata": {"name": "other", "labels": {"x": "y"}}}
        answer = await client.call(
            method, path + below, body, content_type=MERGE_PATCH if method == "PATCH" else "application/json"
        )
        assert answer.body.get("kind") in (None, "Status"), answer.body
    assert await client.get(path) == before


async def test_component_statuses_are_deprecated_but_there(client: Client) -> None:
    answer = await client.call("GET", "/api/v1/componentstatuses")
    assert [item["metadata"]["name"] for item in answer.body["items"]] == [
        "controller-manager",
        "etcd-0",
        "scheduler",
    ]
    assert answer.warnings == ('299 - "v1 ComponentStatus is deprecated in v1.19+"',)
    scheduler = await client.get("/api/v1/componentstatuses/scheduler")
    assert scheduler["metadata"] == {"name": "scheduler"}
    assert scheduler["conditions"][0]["type"] == "Healthy"
    for selector, found in (
        ("labelSelector=a%3Db", []),
        ("fieldSelector=metadata.name%3Detcd-0", ["etcd-0"]),
        ("labelSelector=%21a", ["controller-manager", "etcd-0", "scheduler"]),
    ):
        listed = await client.get(f"/api/v1/componentstatuses?{selector}")
        assert [item["metadata"]["name"] for item in listed["items"]] == found
    assert (await client.call("GET", "/api/v1/componentstatuses/nope")).status == 404


async def test_streams_need_a_pod_with_a_node(client: Client) -> None:
    await pod(client)
    for target in (f"{PODS}/p/exec?command=x", f"{PODS}/p/attach", f"{PODS}/p/portforward"):
        answer = await client.call("GET", target)
        assert 400 <= answer.status < 500, (target, answer.body)
    assert (await client.call("GET", f"{PODS}/p/log")).raw == b""  # nothing was said yet
    assert (await client.call("GET", f"{PODS}/nope/log")).status == 404


async def test_identities_of_clients_in_the_process(client: Client) -> None:
    someone = Client(client.server, LocalIdentity("system:node:n", ("system:nodes", "system:authenticated")))
    found = await someone.create("/apis/authentication.k8s.io/v1/selfsubjectreviews", {})
    assert found["status"]["userInfo"]["username"] == "system:node:n"
