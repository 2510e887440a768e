"""Somebody who may write every role and binding, and holds nothing else, tries to have more: by every way of writing."""

from __future__ import annotations

from typing import Any

import pytest
from served import JSON_PATCH, MERGE_PATCH, STRATEGIC, Client, Object

RBAC = "/apis/rbac.authorization.k8s.io/v1"
ROLES = f"{RBAC}/namespaces/default/roles"
BINDINGS = f"{RBAC}/namespaces/default/rolebindings"
APPLY = "application/apply-patch+yaml"
EVERYTHING = {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}
HARMLESS = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}
ME = [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "delegate"}]


def role(plural: str, name: str, *rules: Object) -> Object:
    kind = "ClusterRole" if plural == "clusterroles" else "Role"
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": kind,
        "metadata": {"name": name},
        "rules": list(rules),
    }


def reference(name: str) -> Object:
    return {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name}


@pytest.fixture
async def delegate(client: Client) -> Client:
    """May get pods, and do with roles and bindings whatever has a verb of its own, but neither `escalate` nor `bind`."""
    verbs = ["create", "get", "list", "update", "patch", "delete", "deletecollection"]
    written = {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["*"], "verbs": verbs}
    await client.create(f"{RBAC}/clusterroles", role("clusterroles", "delegate", written, HARMLESS))
    await client.create(f"{RBAC}/clusterroles", role("clusterroles", "mine", HARMLESS))
    await client.create(ROLES, role("roles", "mine", HARMLESS))
    binding = {"metadata": {"name": "delegate"}, "roleRef": reference("delegate"), "subjects": ME}
    await client.create(f"{RBAC}/clusterrolebindings", binding)
    return client.as_user("delegate", "system:authenticated")


def writes_of_a_role(path: str, plural: str) -> list[tuple[str, str, Any, dict[str, str]]]:
    more = role(plural, "mine", EVERYTHING)
    new = role(plural, "new", EVERYTHING)
    add = [{"op": "add", "path": "/rules/-", "value": EVERYTHING}]
    return [
        ("POST", path, new, {}),
        ("POST", f"{path}?dryRun=All", new, {}),
        ("POST", path, {**new, "metadata": {"generateName": "n-"}}, {}),
        ("PUT", f"{path}/mine", more, {}),
        ("PUT", f"{path}/new", new, {}),
        ("PATCH", f"{path}/mine", {"rules": [EVERYTHING]}, {"content_type": MERGE_PATCH}),
        ("PATCH", f"{path}/mine", {"rules": [EVERYTHING]}, {"content_type": STRATEGIC}),
        ("PATCH", f"{path}/mine", add, {"content_type": JSON_PATCH}),
        ("PATCH", f"{path}/mine?fieldManager=m&force=true", more, {"content_type": APPLY}),
        ("PATCH", f"{path}/new?fieldManager=m", new, {"content_type": APPLY}),
    ]


async def test_no_way_of_writing_a_role_gives_more(client: Client, delegate: Client) -> None:
    came_through = []
    for plural, path in (("roles", ROLES), ("clusterroles", f"{RBAC}/clusterroles")):
        for method, target, body, headers in writes_of_a_role(path, plural):
            answer = await delegate.call(method, target, body, **headers)
            # A PUT of what is not there is 404 where updates do not create.
            if answer.status not in (403, 404):
                came_through.append((method, target, answer.status))
        assert (await client.get(f"{path}/mine"))["rules"] == [HARMLESS]
    assert came_through == []
    answer = await delegate.call("POST", ROLES, role("roles", "new", HARMLESS))
    assert answer.status == 201, "what one holds may be given on"


async def test_no_way_of_writing_a_binding_gives_more(client: Client, delegate: Client) -> None:
    came_through = []
    for path in (BINDINGS, f"{RBAC}/clusterrolebindings"):
        kind = "RoleBinding" if path == BINDINGS else "ClusterRoleBinding"
        head = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind}
        theirs = {**head, "metadata": {"name": "theirs"}, "roleRef": reference("cluster-admin")}
        await client.create(path, theirs)
        new = {**theirs, "metadata": {"name": "new"}, "subjects": ME}
        for method, target, body, headers in (
            ("POST", path, new, {}),
            ("PUT", f"{path}/theirs", {**theirs, "subjects": ME}, {}),
            ("PUT", f"{path}/new", new, {}),
            ("PATCH", f"{path}/theirs", {"subjects": ME}, {"content_type": MERGE_PATCH}),
            ("PATCH", f"{path}/theirs", {"subjects": ME}, {"content_type": STRATEGIC}),
            (
                "PATCH",
                f"{path}/theirs",
                [{"op": "add", "path": "/subjects", "value": ME}],
                {"content_type": JSON_PATCH},
            ),
            (
                "PATCH",
                f"{path}/theirs?fieldManager=m&force=true",
                {**theirs, "subjects": ME},
                {"content_type": APPLY},
            ),
            ("PATCH", f"{path}/new?fieldManager=m", new, {"content_type": APPLY}),
        ):
            answer = await delegate.call(method, target, body, **headers)
            if answer.status not in (403, 404):
                came_through.append((method, target, answer.status))
        assert "subjects" not in await client.get(f"{path}/theirs")
    assert came_through == []


@pytest.mark.parametrize("kind", [MERGE_PATCH, STRATEGIC])
async def test_what_a_binding_refers_to_never_changes(client: Client, kind: str) -> None:
    await client.create(BINDINGS, {"metadata": {"name": "b"}, "roleRef": reference("view"), "subjects": ME})
    answer = await client.call("PATCH", f"{BINDINGS}/b", {"roleRef": reference("edit")}, content_type=kind)
    assert answer.status == 422
    assert answer.body["message"].endswith("cannot change roleRef")


async def test_subjects_get_their_group(client: Client) -> None:
    subjects = [
        {"kind": "User", "name": "u"},
        {"kind": "Group", "name": "g"},
        {"kind": "ServiceAccount", "name": "s", "namespace": "default"},
    ]
    made = await client.create(
        BINDINGS, {"metadata": {"name": "b"}, "roleRef": reference("view"), "subjects": subjects}
    )
    group = "rbac.authorization.k8s.io"
    assert [each.get("apiGroup", "") for each in made["subjects"]] == [group, group, ""]
