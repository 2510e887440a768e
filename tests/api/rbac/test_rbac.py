"""Roles and bindings."""

import pytest

ROLE, CLUSTER_ROLE, BINDING, CLUSTER_BINDING = (
    f"rbac.authorization.k8s.io/v1 {kind}"
    for kind in ("Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding")
)
RULE = {"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}
ACCOUNT = {"kind": "ServiceAccount", "name": "web", "namespace": "default"}


def bound(*subjects, kind="ClusterRole", name="view"):
    return {"roleRef": {"kind": kind, "name": name}, "subjects": list(subjects)}


def test_groups_are_filled_in(written):
    binding = written(BINDING, bound({"kind": "User", "name": "ann"}, ACCOUNT))
    assert binding["roleRef"]["apiGroup"] == "rbac.authorization.k8s.io"
    assert binding["subjects"][0]["apiGroup"] == "rbac.authorization.k8s.io"
    assert "apiGroup" not in binding["subjects"][1]
    assert written(ROLE, {})["rules"] == []


@pytest.mark.parametrize(
    ("rule", "messages"),
    [
        (RULE, []),
        (
            {},
            [
                "rules[0].verbs: Required value: verbs must contain at least one value",
                "rules[0].apiGroups: Required value: resource rules must supply at least one api group",
                "rules[0].resources: Required value: resource rules must supply at least one resource",
            ],
        ),
        (
            {"verbs": ["get"], "nonResourceURLs": ["/metrics"]},
            [
                'rules[0].nonResourceURLs: Invalid value: ["/metrics"]: namespaced rules cannot apply to non-resource URLs'
            ],
        ),
    ],
)
def test_rules(refusals, rule, messages):
    assert refusals(ROLE, {"rules": [rule]}) == messages


def test_cluster_roles(refusals):
    urls = {"verbs": ["get"], "nonResourceURLs": ["/metrics"]}
    assert refusals(CLUSTER_ROLE, {"rules": [urls]}) == []
    assert refusals(CLUSTER_ROLE, {"rules": [{**RULE, **urls}]}) == [
        'rules[0].nonResourceURLs: Invalid value: ["/metrics"]: rules cannot apply to both regular resources and non-resource URLs'
    ]
    assert refusals(CLUSTER_ROLE, {"aggregationRule": {}}) == [
        "aggregationRule.clusterRoleSelectors: Required value: at least one clusterRoleSelector required if aggregationRule is non-nil"
    ]


@pytest.mark.parametrize(
    ("kind", "fields", "messages"),
    [
        (BINDING, bound(ACCOUNT, kind="Role"), []),
        (CLUSTER_BINDING, bound(ACCOUNT), []),
        (
            CLUSTER_BINDING,
            bound(ACCOUNT, kind="Role"),
            ['roleRef.kind: Unsupported value: "Role": supported values: "ClusterRole"'],
        ),
        (BINDING, bound(name=""), ["roleRef.name: Required value"]),
        (
            CLUSTER_BINDING,
            bound({"kind": "ServiceAccount", "name": "web"}),
            ["subjects[0].namespace: Required value"],
        ),
        (
            BINDING,
            bound({"kind": "Robot", "name": "r"}),
            [
                'subjects[0].kind: Unsupported value: "Robot": supported values: "ServiceAccount", "User", "Group"'
            ],
        ),
        (
            BINDING,
            bound({"kind": "User", "name": "ann", "apiGroup": "other"}),
            [
                'subjects[0].apiGroup: Unsupported value: "other": supported values: "rbac.authorization.k8s.io"'
            ],
        ),
    ],
)
def test_bindings(refusals, kind, fields, messages):
    assert refusals(kind, fields) == messages


def test_the_role_of_a_binding_stays(refusals):
    found = refusals(BINDING, bound(ACCOUNT, name="edit"), old=bound(ACCOUNT))
    assert len(found) == 1
    assert found[0].startswith("roleRef: Invalid value: ")
    assert found[0].endswith(": cannot change roleRef")
