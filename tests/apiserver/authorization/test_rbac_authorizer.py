"""Role-based access control over the API: who may, why, and what the refusals say."""

from __future__ import annotations

from typing import Any

import pytest
from served import Client

RBAC = "/apis/rbac.authorization.k8s.io/v1"
ROLES = f"{RBAC}/namespaces/default/roles"
BINDINGS = f"{RBAC}/namespaces/default/rolebindings"
PODS = "/api/v1/namespaces/default/pods"
REVIEWS = "/apis/authorization.k8s.io/v1"
USERS = "system:authenticated"
ROLE = {"kind": "Role", "name": "r"}


def eve(client: Client, *groups: str) -> Client:
    return client.as_user("eve", *groups, USERS)


async def bind(
    client: Client, rules: list[Any], *, kind: str = "User", name: str = "eve", **more: str
) -> None:
    await client.create(ROLES, {"metadata": {"name": "r"}, "rules": rules})
    subjects = [{"kind": kind, "name": name, **more}]
    await client.create(BINDINGS, {"metadata": {"name": "b"}, "subjects": subjects, "roleRef": ROLE})


def rule(verbs: str, resources: str, *names: str, groups: str = "") -> dict[str, Any]:
    made: dict[str, Any] = {
        "apiGroups": groups.split(","),
        "resources": resources.split(),
        "verbs": verbs.split(),
    }
    return {**made, "resourceNames": list(names)} if names else made


async def test_nobody_may_anything_until_a_role_is_bound(client: Client) -> None:
    refused = await eve(client).call("GET", PODS)
    assert (refused.status, refused.body["reason"]) == (403, "Forbidden")
    assert refused.body["message"] == (
        'pods is forbidden: User "eve" cannot list resource "pods" in API group "" in the namespace "default"'
    )
    await bind(client, [rule("list", "pods")])
    assert (await eve(client).call("GET", PODS)).status == 200
    assert (await eve(client).call("GET", "/api/v1/pods")).status == 403
    assert (await eve(client).call("GET", "/api/v1/namespaces/kube-system/pods")).status == 403
    await client.delete(f"{BINDINGS}/b")
    assert (await eve(client).call("GET", PODS)).status == 403


async def test_a_role_that_changes_holds_at_once(client: Client) -> None:
    await bind(client, [rule("get", "secrets")])
    assert (await eve(client).call("GET", PODS)).status == 403
    await client.put(f"{ROLES}/r", {"metadata": {"name": "r"}, "rules": [rule("*", "*", groups="*")]})
    assert (await eve(client).call("GET", PODS)).status == 200
    await client.delete(f"{ROLES}/r")
    refused = await eve(client).call("GET", PODS)
    assert refused.body["message"].endswith(
        'in the namespace "default": RBAC: role.rbac.authorization.k8s.io "r" not found'
    )


@pytest.mark.parametrize(
    ("given", "method", "target", "status"),
    [
        (rule("get", "pods", "mine"), "GET", f"{PODS}/mine", 404),
        (rule("get", "pods", "mine"), "GET", f"{PODS}/other", 403),
        (rule("get", "pods", "mine"), "GET", PODS, 403),
        (rule("list", "pods", "mine"), "GET", f"{PODS}?fieldSelector=metadata.name%3Dmine", 200),
        (rule("get", "pods"), "GET", f"{PODS}/p/log", 403),
        (rule("get", "pods/log"), "GET", f"{PODS}/p/log", 404),
        (rule("get", "pods/log"), "GET", f"{PODS}/p", 403),
        (rule("get", "*/log"), "GET", f"{PODS}/p/log", 404),
        (
            rule("get", "*/scale", groups="apps"),
            "GET",
            "/apis/apps/v1/namespaces/default/deployments/d/scale",
            404,
        ),
        (rule("get", "*"), "GET", f"{PODS}/p/log", 404),
        (rule("*", "pods"), "DELETE", f"{PODS}/p", 404),
        (rule("get", "pods", groups="apps"), "GET", f"{PODS}/p", 403),
        (rule("get", "pods", groups="*"), "GET", f"{PODS}/p", 404),
    ],
)
async def test_what_a_rule_covers(
    client: Client, given: dict[str, Any], method: str, target: str, status: int
) -> None:
    await bind(client, [given])
    assert (await eve(client).call(method, target)).status == status


async def test_groups_and_service_accounts(client: Client) -> None:
    await bind(client, [rule("list", "pods")], kind="Group", name="devs")
    assert (await eve(client, "devs").call("GET", PODS)).status == 200
    assert (await eve(client).call("GET", PODS)).status == 403
    account = [{"kind": "ServiceAccount", "name": "bot", "namespace": "default"}]
    await client.create(BINDINGS, {"metadata": {"name": "c"}, "subjects": account, "roleRef": ROLE})
    bot = client.as_user("system:serviceaccount:default:bot", USERS)
    assert (await bot.call("GET", PODS)).status == 200
    other = client.as_user("system:serviceaccount:other:bot", USERS)
    assert (await other.call("GET", PODS)).status == 403


async def test_paths_outside_the_api(client: Client) -> None:
    urls = {"nonResourceURLs": ["/metrics", "/debug/*"], "verbs": ["get"]}
    await client.create(f"{RBAC}/clusterroles", {"metadata": {"name": "m"}, "rules": [urls]})
    subjects = [{"kind": "User", "name": "eve"}]
    binding = {
        "metadata": {"name": "m"},
        "subjects": subjects,
        "roleRef": {"kind": "ClusterRole", "name": "m"},
    }
    refused = await eve(client).call("GET", "/debug/x")
    assert refused.body["message"] == 'forbidden: User "eve" cannot get path "/debug/x"'
    await client.create(f"{RBAC}/clusterrolebindings", binding)
    assert (await eve(client).call("GET", "/debug/x")).status == 404
    assert (await eve(client).call("GET", "/debug")).status == 403
    assert (await eve(client).call("POST", "/debug/x")).status == 403


async def test_reviews_say_why(client: Client) -> None:
    await bind(client, [rule("list", "pods")])
    asked = {"resourceAttributes": {"namespace": "default", "verb": "list", "resource": "pods"}}
    mine = await eve(client).create(f"{REVIEWS}/selfsubjectaccessreviews", {"spec": asked})
    assert mine["status"] == {
        "allowed": True,
        "reason": 'RBAC: allowed by RoleBinding "b/default" of Role "r" to User "eve"',
    }
    asked["resourceAttributes"]["verb"] = "delete"
    theirs = await client.create(f"{REVIEWS}/subjectaccessreviews", {"spec": {"user": "eve", **asked}})
    assert theirs["status"] == {"allowed": False}
    all_of = await eve(client).create(
        f"{REVIEWS}/selfsubjectrulesreviews", {"spec": {"namespace": "default"}}
    )
    assert {"verbs": ["list"], "apiGroups": [""], "resources": ["pods"]} in all_of["status"]["resourceRules"]
    assert all_of["status"]["incomplete"] is False


# Escalation


async def test_nobody_grants_what_they_do_not_hold(client: Client) -> None:
    await bind(
        client,
        [rule("create get patch update", "roles", groups="rbac.authorization.k8s.io"), rule("get", "pods")],
    )
    fine = {"metadata": {"name": "fine"}, "rules": [rule("get", "pods", "one")]}
    assert (await eve(client).call("POST", ROLES, fine)).status == 201
    much = {"metadata": {"name": "much"}, "rules": [rule("get list", "secrets"), rule("get", "pods")]}
    refused = await eve(client, "devs").call("POST", ROLES, much)
    assert refused.status == 403
    assert refused.body["message"] == (
        'roles.rbac.authorization.k8s.io "much" is forbidden: user "eve" (groups=["devs" "system:authenticated"]) '
        "is attempting to grant RBAC permissions not currently held:\n"
        '{APIGroups:[""], Resources:["secrets"], Verbs:["get" "list"]}'
    )
    grown = {"rules": [rule("get", "pods"), rule("get", "secrets")]}
    patched = await eve(client).call(
        "PATCH", f"{ROLES}/fine", grown, content_type="application/merge-patch+json"
    )
    assert patched.status == 403


async def test_who_binds_must_hold_the_role_or_be_allowed_to_bind(client: Client) -> None:
    await bind(client, [rule("create", "rolebindings", groups="rbac.authorization.k8s.io")])
    wanted = {
        "metadata": {"name": "up"},
        "subjects": [{"kind": "User", "name": "eve"}],
        "roleRef": {"kind": "ClusterRole", "name": "cluster-admin"},
    }
    assert (await eve(client).call("POST", BINDINGS, wanted)).status == 403
    missing = {**wanted, "roleRef": {"kind": "ClusterRole", "name": "nope"}}
    assert (await eve(client).call("POST", BINDINGS, missing)).status == 404
    allowed = [
        rule("create", "rolebindings", groups="rbac.authorization.k8s.io"),
        rule("bind", "clusterroles", "cluster-admin", groups="rbac.authorization.k8s.io"),
    ]
    await client.put(f"{ROLES}/r", {"metadata": {"name": "r"}, "rules": allowed})
    assert (await eve(client).call("POST", BINDINGS, wanted)).status == 201
    assert (await eve(client).call("GET", PODS)).status == 200


async def test_only_administrators_make_roles_of_roles(client: Client) -> None:
    everything_but = rule("*", "*", groups="*")
    await client.create(f"{RBAC}/clusterroles", {"metadata": {"name": "almost"}, "rules": [everything_but]})
    subjects = [{"kind": "User", "name": "eve"}]
    reference = {"kind": "ClusterRole", "name": "almost"}
    binding = {"metadata": {"name": "almost"}, "subjects": subjects, "roleRef": reference}
    await client.create(f"{RBAC}/clusterrolebindings", binding)
    selectors = [{"matchLabels": {"a": "b"}}]
    role = {"metadata": {"name": "sum"}, "aggregationRule": {"clusterRoleSelectors": selectors}}
    # "*" on every resource includes the verb escalate, which is asked first.
    assert (await eve(client).call("POST", f"{RBAC}/clusterroles", role)).status == 201


async def test_what_one_may_not_use_is_forbidden_whether_it_exists_or_not(client: Client) -> None:
    assert (await eve(client).call("GET", "/apis/nope.example.com/v1/things")).status == 403
    assert (await client.call("GET", "/apis/nope.example.com/v1/things")).status == 404


async def test_a_namespace_is_in_itself(client: Client) -> None:
    """`view` in a namespace lets one get the namespace, too."""
    await bind(client, [rule("get", "namespaces")])
    assert (await eve(client).call("GET", "/api/v1/namespaces/default")).status == 200
    assert (await eve(client).call("GET", "/api/v1/namespaces/kube-system")).status == 403


async def test_rules_with_and_without_names_beside_each_other(client: Client) -> None:
    rules = [rule("get", "pods", "a"), rule("get", "pods", "b", "c"), rule("get", "secrets")]
    await bind(client, [*rules, rule("get", "secrets", "a"), rule("get delete", "pods", "d")])
    status = {
        name: (await eve(client).call("GET", f"{PODS}/{name}")).status for name in ("a", "b", "c", "d", "e")
    }
    assert status == {"a": 404, "b": 404, "c": 404, "d": 404, "e": 403}
    assert (await eve(client).call("DELETE", f"{PODS}/a")).status == 403
    assert (await eve(client).call("DELETE", f"{PODS}/d")).status == 404
    assert (await eve(client).call("GET", "/api/v1/namespaces/default/secrets/x")).status == 404
