"""Webhooks for what is sent below objects, and for questions of which nothing is stored."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

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
    patch,
    pod,
    register,
    requests,
    rule,
    webhook_entry,
)
from definitions import GROUP, TABS, define, definition, version
from served import MERGE_PATCH, Client, Object, running
from webhook_server import Webhook

from tiphys.store.sqlite import SQLiteStore
from tiphys.testing.clock import FakeClock

DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
SCALES = rule("*/scale", "UPDATE", apiGroups=["*"], apiVersions=["*"])


def deployment() -> Object:
    labels = {"a": "b"}
    template = {"metadata": {"labels": labels}, "spec": pod()["spec"]}
    return {
        "metadata": {"name": "d"},
        "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": template},
    }


async def test_scales(client: Client, hook: Webhook) -> None:
    await client.create(DEPLOYMENTS, deployment())
    hook.answers["/cap"] = patch({"op": "replace", "path": "/spec/replicas", "value": 4})
    await register(client, MUTATING, webhook_entry(hook.at("/cap"), "a.b.c", SCALES))
    await register(client, VALIDATING, webhook_entry(hook.client_config, "a.b.c", SCALES))
    for number in (7, 8):
        scaled = await client.patch(f"{DEPLOYMENTS}/d/scale", {"spec": {"replicas": number}}, MERGE_PATCH)
        assert scaled["spec"]["replicas"] == 4
    assert (await client.get(f"{DEPLOYMENTS}/d"))["spec"]["replicas"] == 4
    first, second = requests(hook)[:2]
    assert first["kind"] == {"group": "autoscaling", "version": "v1", "kind": "Scale"}
    assert (first["resource"]["resource"], first["subResource"]) == ("deployments", "scale")
    assert (first["oldObject"]["spec"], first["object"]["spec"]) == ({"replicas": 1}, {"replicas": 7})
    assert second["object"]["spec"] == {"replicas": 4}
    await client.patch(f"{DEPLOYMENTS}/d", {"spec": {"replicas": 2}})
    assert len(hook.reviews) == 4, "a write of the object itself is none of its Scale"


async def test_scales_of_custom_resources(client: Client, hook: Webhook) -> None:
    scale = {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}
    await define(client, definition(version(subresources={"scale": scale, "status": {}})))
    spec = {"cronSpec": "* * * * *", "replicas": 1}
    await client.create(TABS, {"metadata": {"name": "a"}, "spec": spec})
    hook.answer = deny("enough")
    await register(client, VALIDATING, webhook_entry(hook.client_config, "a.b.c", SCALES))
    refused = await client.call(
        "PATCH", f"{TABS}/a/scale", {"spec": {"replicas": 5}}, content_type=MERGE_PATCH
    )
    assert refused.body["message"] == 'admission webhook "a.b.c" denied the request: enough'
    assert requests(hook)[0]["resource"] == {"group": GROUP, "version": "v1", "resource": "crontabs"}


async def test_bindings(client: Client, hook: Webhook) -> None:
    await client.create(PODS, pod())
    hook.answer = patch({"op": "replace", "path": "/target/name", "value": "other"})
    await register(client, MUTATING, webhook_entry(hook.client_config, "a.b.c", rule("pods/binding")))
    await client.create(
        f"{PODS}/a/binding", {"metadata": {"name": "a"}, "target": {"kind": "Node", "name": "n"}}
    )
    assert (await client.get(f"{PODS}/a"))["spec"]["nodeName"] == "other"
    (request,) = requests(hook)
    assert (request["kind"]["kind"], request["object"]["target"]["name"]) == ("Binding", "n")


async def test_evictions(client: Client, hook: Webhook) -> None:
    await client.create(PODS, pod())
    hook.answer = deny("not now", code=429)
    await register(client, VALIDATING, webhook_entry(hook.client_config, "a.b.c", rule("pods/eviction")))
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "a"}}
    refused = await client.call("POST", f"{PODS}/a/eviction", eviction)
    assert (refused.status, refused.body["message"]) == (
        429,
        'admission webhook "a.b.c" denied the request: not now',
    )
    assert requests(hook)[0]["kind"] == {"group": "policy", "version": "v1", "kind": "Eviction"}
    await register(client, MUTATING, webhook_entry(hook.at("/x"), "b.b.c", rule("pods/*", "*")))
    hook.answer = allow
    hook.reviews.clear()
    assert (await client.call("POST", f"{PODS}/a/eviction", eviction)).status == 201
    assert {(each["operation"], each["subResource"]) for each in requests(hook)} == {("CREATE", "eviction")}


@pytest.mark.parametrize(
    ("group", "plural", "spec", "namespaced"),
    [
        ("authentication.k8s.io", "tokenreviews", {"token": "x"}, False),
        ("authentication.k8s.io", "selfsubjectreviews", None, False),
        ("authorization.k8s.io", "selfsubjectrulesreviews", {"namespace": "a"}, False),
        (
            "authorization.k8s.io",
            "subjectaccessreviews",
            {"nonResourceAttributes": {"path": "/"}, "user": "a"},
            False,
        ),
        (
            "authorization.k8s.io",
            "localsubjectaccessreviews",
            {"resourceAttributes": {"namespace": "nowhere", "verb": "get"}, "user": "a"},
            True,
        ),
    ],
)
async def test_reviews(
    client: Client, hook: Webhook, group: str, plural: str, spec: Object | None, *, namespaced: bool
) -> None:
    """v1.36 shows them to webhooks, too."""
    where = f"/apis/{group}/v1/{'namespaces/nowhere/' if namespaced else ''}{plural}"
    body = {"spec": spec} if spec else {}
    everything = rule("*", apiGroups=[group], apiVersions=["*"])
    await register(client, VALIDATING, webhook_entry(hook.client_config, "a.b.c", everything))
    assert (await client.call("POST", where, body)).status == 201
    (request,) = requests(hook)
    assert request["resource"]["resource"] == plural
    assert "status" not in request["object"]
    hook.answer = deny("no questions")
    assert (await client.call("POST", where, body)).body["message"].endswith("no questions")


async def test_proxies(client: Client, hook: Webhook) -> None:
    hook.answer = deny("no way")
    await register(client, VALIDATING, webhook_entry(hook.client_config, "a.b.c", rule("*/proxy", "CONNECT")))
    refused = await client.call("GET", f"{PODS}/http:a:80/proxy/some/page")
    assert refused.body["message"] == 'admission webhook "a.b.c" denied the request: no way'
    (request,) = requests(hook)
    assert request["object"] == {"kind": "PodProxyOptions", "apiVersion": "v1", "path": "/some/page"}


async def test_nothing_is_made_where_no_namespace_is(client: Client, hook: Webhook) -> None:
    await register(client, MUTATING, webhook_entry(hook.client_config))
    refused = await client.call("POST", MAPS.replace("default", "nowhere"), config_map())
    assert (refused.status, refused.body["message"]) == (404, 'namespaces "nowhere" not found')
    assert hook.reviews == []


# What is counted and written down


async def test_metrics(client: Client, hook: Webhook) -> None:
    hook.answers["/no"] = deny("no", code=403)
    never = [{"name": "never", "expression": "false"}]
    broken = [{"name": "broken", "expression": "object.nothing"}]
    entries = [
        webhook_entry(hook.at("/yes"), "yes.b.c"),
        webhook_entry(hook.at("/no"), "no.b.c"),
        webhook_entry({"url": "https://127.0.0.1:1/"}, "open.b.c", failurePolicy="Ignore"),
        webhook_entry(hook.at("/x"), "never.b.c", matchConditions=never),
        webhook_entry(
            hook.at("/x"),
            "broken.b.c",
            matchConditions=[{**broken[0], "expression": "object.nothing == 1"}],
            failurePolicy="Ignore",
        ),
    ]
    await register(client, VALIDATING, *entries)
    assert (await client.call("POST", MAPS, config_map())).status == 403
    text = (await client.call("GET", "/metrics")).raw.decode()
    found = {
        line
        for line in text.splitlines()
        if re.match(r"apiserver_admission_(webhook|match_condition)_\w+(total|count)\{", line)
    }

    def series(name: str, *labels: tuple[str, str]) -> str:
        shown = ",".join(f'{key}="{value}"' for key, value in labels)
        return f"apiserver_admission_{name}{{{shown}}} 1"

    validating = ("type", "validating")
    create = ("operation", "CREATE")
    expected = {
        series(
            "webhook_request_total",
            ("code", code),
            ("name", name),
            create,
            ("rejected", rejected),
            validating,
        )
        for code, name, rejected in (
            ("200", "yes.b.c", "false"),
            ("403", "no.b.c", "true"),
            ("503", "open.b.c", "false"),
        )
    }
    expected |= {
        series("webhook_fail_open_count", ("name", "open.b.c"), validating),
        series(
            "webhook_rejection_count",
            ("error_type", "no_error"),
            ("name", "no.b.c"),
            create,
            ("rejection_code", "403"),
            validating,
        ),
        series(
            "match_condition_evaluation_errors_total",
            ("kind", "webhook"),
            ("name", "broken.b.c"),
            create,
            validating,
        ),
        *(
            series(
                "match_condition_exclusions_total", ("kind", "webhook"), ("name", name), create, validating
            )
            for name in ("never.b.c", "broken.b.c")
        ),
    }
    assert expected <= found


@pytest.fixture
async def audited(clock: FakeClock, signing_key: bytes, tmp_path: Path) -> AsyncIterator[tuple[Client, Path]]:
    policy, log = tmp_path / "policy.yaml", tmp_path / "audit.log"
    policy.write_text(
        "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules:\n"
        "- level: Request\n  verbs: [create]\n  resources: [{group: '', resources: [configmaps]}]\n"
        "- level: Metadata\n  verbs: [update]\n  resources: [{group: '', resources: [configmaps]}]\n"
    )
    told = {"audit_policy_file": str(policy), "audit_log_path": str(log)}
    async with running(clock, signing_key, **told) as server:
        log.write_bytes(b"")
        yield Client(server), log


async def test_audit_annotations(audited: tuple[Client, Path], hook: Webhook) -> None:
    client, log = audited
    hook.answers["/mutate"] = patch(add("/data/x", "y"))
    hook.answer = lambda review: allow(review, auditAnnotations={"why": "because"})
    rules = rule("configmaps", "CREATE UPDATE")
    entries = [
        webhook_entry(hook.at("/mutate"), "m.b.c", rules, reinvocationPolicy="IfNeeded"),
        webhook_entry({"url": "https://127.0.0.1:1/"}, "open.b.c", rules, failurePolicy="Ignore"),
        webhook_entry(hook.at("/again"), "n.b.c", rules),
    ]
    await register(client, MUTATING, *entries)
    open_too = webhook_entry({"url": "https://127.0.0.1:1/"}, "open.b.c", rules, failurePolicy="Ignore")
    await register(client, VALIDATING, webhook_entry(hook.client_config, "v.b.c", rules), open_too)
    made = await client.create(MAPS, config_map())
    await client.put(f"{MAPS}/a", {**made, "data": {"a": "c"}})
    written, updated = (orjson.loads(line).get("annotations") for line in log.read_bytes().splitlines())

    def said(webhook: str, *, mutated: bool) -> str:
        return f'{{"configuration":"hooks","webhook":"{webhook}","mutated":{"true" if mutated else "false"}}}'

    patched = '[{"op":"add","path":"/data/x","value":"y"}]'
    assert {name: value for name, value in written.items() if "authorization" not in name} == {
        "mutation.webhook.admission.k8s.io/round_0_index_0": said("m.b.c", mutated=True),
        "patch.webhook.admission.k8s.io/round_0_index_0": (
            f'{{"configuration":"hooks","webhook":"m.b.c","patch":{patched},"patchType":"JSONPatch"}}'
        ),
        "mutation.webhook.admission.k8s.io/round_0_index_1": said("open.b.c", mutated=False),
        "failed-open.mutation.webhook.admission.k8s.io/round_0_index_1": "open.b.c",
        "mutation.webhook.admission.k8s.io/round_0_index_2": said("n.b.c", mutated=False),
        "n.b.c/why": "because",
        "v.b.c/why": "because",
        "failed-open.validating.webhook.admission.k8s.io/round_0_index_1": "open.b.c",
    }
    assert "patch.webhook.admission.k8s.io/round_0_index_0" not in updated, (
        "it says more than the level allows"
    )


async def test_a_server_starts_whatever_its_webhooks_say(
    clock: FakeClock, signing_key: bytes, tmp_path: Path
) -> None:
    """One that is unreachable neither keeps the server from starting, nor itself from being removed."""
    needed = "endpoints endpointslices servicecidrs/status clusterroles configmaps"
    everything = rule(needed, "*", apiGroups=["*"], apiVersions=["*"])
    lost = webhook_entry({"url": "https://127.0.0.1:1/"}, "a.b.c", everything)
    async with running(clock, signing_key, store=SQLiteStore(tmp_path / "store.db")) as server:
        for where in (VALIDATING, MUTATING):
            await register(Client(server), where, lost)
    async with running(clock, signing_key, store=SQLiteStore(tmp_path / "store.db")) as server:
        client = Client(server)
        assert (await client.call("POST", MAPS, config_map())).status == 500
        for where in (VALIDATING, MUTATING):
            await client.delete(f"{where}/hooks")
        await client.create(MAPS, config_map())
