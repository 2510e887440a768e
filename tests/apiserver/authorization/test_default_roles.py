"""The roles that every cluster begins with: there, mended, and left alone where an administrator says so."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from served import Client

from tiphys.api.scheme import built_in
from tiphys.apiserver.authorization.default_roles import defaults, read
from tiphys.apiserver.authorization.reconcile import mend, reconcile
from tiphys.apiserver.server import APIServer
from tiphys.controllers.catalog import CATALOG

ROLES = "/apis/rbac.authorization.k8s.io/v1/clusterroles"
BINDINGS = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
# Kinds that are no more, or that the API server asks the authorizer about without serving them.
UNSERVED = {"extensions", "metrics.k8s.io", "custom.metrics.k8s.io", "external.metrics.k8s.io"}


def test_every_controller_of_ours_has_a_role_to_act_in() -> None:
    roles = (role for plural in ("clusterroles", "roles") for role in defaults().objects[plural])
    named = {role["metadata"]["name"] for role in roles}
    assert {f"system:controller:{entry.account}" for entry in CATALOG if entry.account} <= named


def rules() -> Iterator[tuple[str, str]]:
    for plural in ("clusterroles", "roles"):
        for role in defaults().objects[plural]:
            for rule in role["rules"]:
                for group in rule.get("apiGroups", ()):
                    yield from ((group, resource) for resource in rule["resources"])


def test_every_group_in_a_rule_is_one_that_is_served() -> None:
    groups = {row.group for row in built_in()} | UNSERVED | {"*"}
    assert {group for group, _ in rules()} <= groups


def test_the_file_says_what_it_looks_like() -> None:
    found = read(
        "# a comment\n\nsee +admin <view\n  get list: core,apps: pods = a b\n  get: /healthz /livez/*\n"
        "kube-system/own\n  *: *: *\nx -> ClusterRole see: user:u group:g account:n/a\n"
    ).objects
    (see,), (own,), (binding,) = found["clusterroles"], found["roles"], found["clusterrolebindings"]
    assert see["rules"] == [
        {
            "apiGroups": ["", "apps"],
            "resources": ["pods"],
            "verbs": ["get", "list"],
            "resourceNames": ["a", "b"],
        },
        {"nonResourceURLs": ["/healthz", "/livez/*"], "verbs": ["get"]},
    ]
    assert see["metadata"]["labels"]["rbac.authorization.k8s.io/aggregate-to-admin"] == "true"
    assert see["aggregationRule"]["clusterRoleSelectors"] == [
        {"matchLabels": {"rbac.authorization.k8s.io/aggregate-to-view": "true"}}
    ]
    assert own["metadata"]["namespace"] == "kube-system"
    assert own["rules"] == [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]
    assert [each["kind"] for each in binding["subjects"]] == ["User", "Group", "ServiceAccount"]


async def test_a_start_mends_what_was_taken_and_keeps_what_was_added(
    server: APIServer, client: Client
) -> None:
    added = {"apiGroups": ["x.io"], "resources": ["things"], "verbs": ["get"]}
    role = await client.get(f"{ROLES}/system:basic-user")
    complete = role["rules"]
    await client.put(f"{ROLES}/system:basic-user", {**role, "rules": [added]})
    kept = {
        "metadata": {"annotations": {"rbac.authorization.kubernetes.io/autoupdate": "false"}},
        "rules": [],
    }
    await client.patch(f"{ROLES}/system:discovery", kept)
    binding = await client.get(f"{BINDINGS}/system:basic-user")
    await client.put(f"{BINDINGS}/system:basic-user", {**binding, "subjects": []})
    await client.delete(f"{ROLES}/system:node")
    await reconcile(server)
    mended = (await client.get(f"{ROLES}/system:basic-user"))["rules"]
    assert mended[0] == added
    assert len(mended) > len(complete)
    assert (await client.get(f"{ROLES}/system:discovery"))["rules"] in ([], None)
    assert (await client.get(f"{BINDINGS}/system:basic-user"))["subjects"] == binding["subjects"]
    assert (await client.get(f"{ROLES}/system:node"))["rules"]
    version = (await client.get(ROLES))["metadata"]["resourceVersion"]
    await reconcile(server)
    assert (await client.get(ROLES))["metadata"]["resourceVersion"] == version


async def test_a_binding_to_another_role_is_made_anew(server: APIServer, client: Client) -> None:
    wanted = next(
        each
        for each in defaults().objects["clusterrolebindings"]
        if each["metadata"]["name"] == "system:basic-user"
    )
    other = {**wanted, "roleRef": {**wanted["roleRef"], "name": "view"}}
    assert mend(other, wanted) is None
    await client.delete(f"{BINDINGS}/system:basic-user")
    await client.create(BINDINGS, {**other, "metadata": {"name": "system:basic-user"}})
    await reconcile(server)
    assert (await client.get(f"{BINDINGS}/system:basic-user"))["roleRef"]["name"] == "system:basic-user"


@pytest.mark.parametrize("path", ["/healthz", "/livez", "/readyz", "/version"])
async def test_what_everybody_may_see(client: Client, path: str) -> None:
    assert (await client.anonymous().call("GET", path)).status == 200
    assert (await client.anonymous().call("GET", "/apis")).status == 403
