"""Acting as somebody else, as far as roles let one."""

from __future__ import annotations

from typing import Any

import pytest
from served import Client

from tiphys.net.http import repeated

WHO = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
RBAC = "/apis/rbac.authorization.k8s.io/v1"


async def who(client: Client, **headers: str) -> Any:
    answer = await client.call("POST", WHO, {}, **headers)
    return (
        answer.body["status"]["userInfo"] if answer.status == 201 else (answer.status, answer.body["message"])
    )


async def allow(client: Client, *rules: dict[str, Any]) -> Client:
    """Somebody who may impersonate what the rules say."""
    await client.create(f"{RBAC}/clusterroles", {"metadata": {"name": "i"}, "rules": list(rules)})
    subjects = [{"kind": "User", "name": "eve"}]
    reference = {"kind": "ClusterRole", "name": "i"}
    binding = {"metadata": {"name": "i"}, "subjects": subjects, "roleRef": reference}
    await client.create(f"{RBAC}/clusterrolebindings", binding)
    return client.as_user("eve", "system:authenticated")


def rule(resource: str, *names: str, group: str = "") -> dict[str, Any]:
    made: dict[str, Any] = {"apiGroups": [group], "resources": [resource], "verbs": ["impersonate"]}
    return {**made, "resourceNames": list(names)} if names else made


async def test_an_administrator_acts_as_anybody(client: Client) -> None:
    assert await who(client, impersonate_user="bob", impersonate_group=repeated("a", "b", ", ")) == {
        "username": "bob",
        "groups": ["a", "b", "system:authenticated"],
    }
    assert await who(
        client, impersonate_user="bob", impersonate_uid="7", **{"impersonate-extra-acme.com%2Fx": "1"}
    ) == {
        "username": "bob",
        "groups": ["system:authenticated"],
        "uid": "7",
        "extra": {"acme.com/x": ["1"]},
    }


@pytest.mark.parametrize(
    ("name", "groups"),
    [
        (
            "system:serviceaccount:kube-system:x",
            ["system:serviceaccounts", "system:serviceaccounts:kube-system", "system:authenticated"],
        ),
        ("system:anonymous", ["system:unauthenticated"]),
    ],
)
async def test_groups_that_come_with_a_name(client: Client, name: str, groups: list[str]) -> None:
    answer = await client.call("POST", WHO, {}, impersonate_user=name)
    if name == "system:anonymous":
        assert answer.status == 403
        assert 'User "system:anonymous" cannot create' in answer.body["message"]
    else:
        assert answer.body["status"]["userInfo"]["groups"] == groups


async def test_every_part_must_be_allowed(client: Client) -> None:
    eve = await allow(
        client,
        rule("users", "bob"),
        rule("groups", "devs"),
        rule("userextras/scopes", "view", group="authentication.k8s.io"),
    )
    assert (await who(eve, impersonate_user="bob", impersonate_group="devs"))["username"] == "bob"
    assert await who(eve, impersonate_user="root") == (
        403,
        'users "root" is forbidden: User "eve" cannot impersonate resource "users" in API group "" at the cluster scope',
    )
    assert (
        await who(eve, impersonate_user="bob", impersonate_group=repeated("devs", "system:masters", ", "))
    )[0] == 403
    assert (await who(eve, impersonate_user="bob", impersonate_extra_scopes="view"))["extra"] == {
        "scopes": ["view"]
    }
    assert (await who(eve, impersonate_user="bob", impersonate_extra_scopes="edit"))[0] == 403
    assert (await who(eve, impersonate_user="bob", impersonate_uid="1"))[0] == 403


async def test_service_accounts_are_asked_for_by_namespace(client: Client) -> None:
    eve = await allow(client, rule("serviceaccounts", "bot"))
    assert (await who(eve, impersonate_user="system:serviceaccount:default:bot"))["username"].endswith(":bot")
    refused = await who(eve, impersonate_user="system:serviceaccount:default:other")
    assert refused[1] == (
        'serviceaccounts "other" is forbidden: User "eve" cannot impersonate resource "serviceaccounts" '
        'in API group "" in the namespace "default"'
    )


async def test_what_is_done_is_done_as_the_other(client: Client) -> None:
    refused = await client.call("GET", "/api/v1/secrets", impersonate_user="bob")
    assert refused.body["message"].startswith('secrets is forbidden: User "bob" cannot list')
    assert (await client.call("GET", "/api/v1/secrets", impersonate_group="devs")).status == 500
