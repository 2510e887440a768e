"""What the chain knows of a sort of request, and when it must look again; and that it counts what it does not do."""

from __future__ import annotations

from typing import Any

from counting import NAMESPACE, QUOTAS, quota
from served import Client

from tiphys.apiserver.server import APIServer

MAPS = f"{NAMESPACE}/configmaps"
ADMISSION = "/apis/admissionregistration.k8s.io/v1"
_PLUGIN = "apiserver_admission_controller_admission_duration_seconds_count"
_STEP = "apiserver_admission_step_admission_duration_seconds_count"


def counts(server: APIServer, operation: str = "CREATE") -> dict[tuple[str, str, bool], int]:
    """Of every plugin ("": all together): how often it was passed, or refused something, by kind."""
    found: dict[tuple[str, str, bool], int] = {}
    for line in server.metrics.render().decode().splitlines():
        name, _, rest = line.partition("{")
        if name in (_PLUGIN, _STEP):
            labels, _, value = rest.rpartition("} ")
            of = dict(each.split("=") for each in labels.replace('"', "").split(","))
            if of["operation"] == operation:
                found[of.get("name", ""), of["type"], of["rejected"] == "true"] = int(value)
    return found


def since(server: APIServer, before: dict[tuple[str, str, bool], int]) -> dict[tuple[str, str, bool], int]:
    return {of: more for of, count in counts(server).items() if (more := count - before.get(of, 0))}


async def make(client: Client, name: str, namespace: str = "default") -> Any:
    target = f"/api/v1/namespaces/{namespace}/configmaps"
    return await client.call("POST", target, {"metadata": {"name": name}})


async def test_who_has_nothing_to_say_is_counted(client: Client, server: APIServer) -> None:
    await make(client, "a")
    before = counts(server)
    for number in range(70):  # more than are kept to be counted together
        assert (await make(client, f"b{number}")).status == 201
    changing = (
        *("", "NamespaceLifecycle", "NodeRestriction"),
        *("MutatingAdmissionPolicy", "MutatingAdmissionWebhook", "ResourceQuota"),
    )
    refusing = ("", "ValidatingAdmissionPolicy", "ValidatingAdmissionWebhook", "ResourceQuota")
    expected = {(name, "admit", False): 70 for name in changing}
    assert since(server, before) == expected | {(name, "validate", False): 70 for name in refusing}


async def test_of_a_refusal_those_before_it_are_counted(client: Client, server: APIServer) -> None:
    assert (await make(client, "a", "missing")).status == 404
    before = counts(server)
    assert (await make(client, "a", "missing")).status == 404
    assert since(server, before) == {("", "admit", True): 1, ("NamespaceLifecycle", "admit", True): 1}


async def test_the_first_quota_holds_at_once_and_the_last_no_longer(client: Client) -> None:
    assert (await make(client, "a")).status == 201
    none = {"count/configmaps": "0"}
    await client.create(QUOTAS, quota("q", none))
    await client.patch(f"{QUOTAS}/q/status", {"status": {"hard": none, "used": none}})
    assert (await make(client, "b")).status == 403
    await client.delete(f"{QUOTAS}/q")
    assert (await make(client, "b")).status == 201


async def test_the_first_policy_holds_at_once_and_the_last_no_longer(
    client: Client, server: APIServer
) -> None:
    assert (await make(client, "a")).status == 201
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}
    spec = {"matchConstraints": {"resourceRules": [rule]}, "validations": [{"expression": "false"}]}
    policies = f"{ADMISSION}/validatingadmissionpolicies"
    bindings = f"{ADMISSION}/validatingadmissionpolicybindings"
    await client.create(policies, {"metadata": {"name": "p"}, "spec": spec})
    assert (await make(client, "b")).status == 201
    bound = {"policyName": "p", "validationActions": ["Deny"]}
    await client.create(bindings, {"metadata": {"name": "p"}, "spec": bound})
    before = counts(server)
    assert (await make(client, "c")).status == 422
    assert since(server, before)["ValidatingAdmissionPolicy", "validate", True] == 1
    assert (await client.call("POST", f"{NAMESPACE}/secrets", {"metadata": {"name": "s"}})).status == 201
    await client.delete(f"{bindings}/p")
    assert (await make(client, "c")).status == 201


async def test_the_first_webhook_is_called_at_once(client: Client) -> None:
    assert (await make(client, "a")).status == 201
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}
    hook = {
        "name": "nobody.tiphys.test",
        "clientConfig": {"url": "https://127.0.0.1:1/"},
        "rules": [rule],
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
    }
    configurations = f"{ADMISSION}/validatingwebhookconfigurations"
    await client.create(configurations, {"metadata": {"name": "w"}, "webhooks": [hook]})
    answer = await make(client, "b")
    assert answer.status == 500
    assert "failed calling webhook" in answer.body["message"]
    await client.delete(f"{configurations}/w")
    assert (await make(client, "b")).status == 201
