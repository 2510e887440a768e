"""The priority levels and flow schemas that every server keeps: the mandatory ones, and those that upstream suggests."""

from __future__ import annotations

from typing import Any

Object = dict[str, Any]
_EVERYBODY = ("system:unauthenticated", "system:authenticated")
_LEASE_VERBS = ("get", "create", "update")


def _level(name: str, shares: int, lendable: int, queues: tuple[int, int] | None) -> Object:
    """A limited level; `queues`: how many, and the size of a hand."""
    response: Object = {"type": "Reject"}
    if queues is not None:
        count, hand = queues
        response = {
            "type": "Queue",
            "queuing": {"queues": count, "handSize": hand, "queueLengthLimit": 50},
        }
    limited = {
        "nominalConcurrencyShares": shares,
        "limitResponse": response,
        "lendablePercent": lendable,
    }
    return _object("PriorityLevelConfiguration", name, {"type": "Limited", "limited": limited})


def _object(kind: str, name: str, spec: Object) -> Object:
    return {
        "kind": kind,
        "apiVersion": "flowcontrol.apiserver.k8s.io/v1",
        "metadata": {"name": name},
        "spec": spec,
    }


def _schema(name: str, level: str, precedence: int, distinguisher: str, rule: Object) -> Object:
    spec: Object = {"priorityLevelConfiguration": {"name": level}, "matchingPrecedence": precedence}
    if distinguisher:
        spec["distinguisherMethod"] = {"type": distinguisher}
    return _object("FlowSchema", name, {**spec, "rules": [rule]})


def _users(*names: str) -> list[Object]:
    return [{"kind": "User", "user": {"name": name}} for name in names]


def _groups(*names: str) -> list[Object]:
    return [{"kind": "Group", "group": {"name": name}} for name in names]


def _system_accounts(*names: str) -> list[Object]:
    return [
        {"kind": "ServiceAccount", "serviceAccount": {"namespace": "kube-system", "name": name}}
        for name in names
    ]


def _resources(
    verbs: tuple[str, ...], group: str, resources: tuple[str, ...], *, cluster: bool = False
) -> Object:
    rule: Object = {"verbs": list(verbs), "apiGroups": [group], "resources": list(resources)}
    if cluster:
        rule["clusterScope"] = True
    return {**rule, "namespaces": ["*"]}


def _everything(subjects: list[Object]) -> Object:
    return {
        "subjects": subjects,
        "resourceRules": [_resources(("*",), "*", ("*",), cluster=True)],
        "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
    }


EXEMPT = "exempt"
CATCH_ALL = "catch-all"
_LEASES = _resources(_LEASE_VERBS, "coordination.k8s.io", ("leases",))
MANDATORY_LEVELS = (
    _level(CATCH_ALL, 5, 0, None),
    _object(
        "PriorityLevelConfiguration",
        EXEMPT,
        {"type": "Exempt", "exempt": {"nominalConcurrencyShares": 0, "lendablePercent": 0}},
    ),
)
MANDATORY_SCHEMAS = (
    _schema(EXEMPT, EXEMPT, 1, "", _everything(_groups("system:masters"))),
    _schema(CATCH_ALL, CATCH_ALL, 10000, "ByUser", _everything(_groups(*_EVERYBODY))),
)
SUGGESTED_LEVELS = (
    _level("system", 30, 33, (64, 6)),
    _level("node-high", 40, 25, (64, 6)),
    _level("leader-election", 10, 0, (16, 4)),
    _level("workload-high", 40, 50, (128, 6)),
    _level("workload-low", 100, 90, (128, 6)),
    _level("global-default", 20, 50, (128, 6)),
)
SUGGESTED_SCHEMAS = (
    _schema("system-nodes", "system", 500, "ByUser", _everything(_groups("system:nodes"))),
    _schema(
        "system-node-high",
        "node-high",
        400,
        "ByUser",
        {
            "subjects": _groups("system:nodes"),
            "resourceRules": [
                _resources(("*",), "", ("nodes", "nodes/status"), cluster=True),
                _resources(("*",), "coordination.k8s.io", ("leases",)),
            ],
        },
    ),
    _schema(
        "probes",
        EXEMPT,
        2,
        "",
        {
            "subjects": _groups(*_EVERYBODY),
            "nonResourceRules": [
                {"verbs": ["get"], "nonResourceURLs": ["/healthz", "/readyz", "/livez"]},
            ],
        },
    ),
    _schema(
        "system-leader-election",
        "leader-election",
        100,
        "ByUser",
        {
            "subjects": [
                *_users("system:kube-controller-manager", "system:kube-scheduler"),
                *_system_accounts("*"),
            ],
            "resourceRules": [_LEASES],
        },
    ),
    _schema(
        "workload-leader-election",
        "leader-election",
        200,
        "ByUser",
        {
            "subjects": _system_accounts("*"),
            "resourceRules": [_resources(_LEASE_VERBS, "", ("endpoints", "configmaps")), _LEASES],
        },
    ),
    _schema(
        "endpoint-controller",
        "workload-high",
        150,
        "ByUser",
        {
            "subjects": [
                *_users("system:kube-controller-manager"),
                *_system_accounts("endpoint-controller", "endpointslicemirroring-controller"),
            ],
            "resourceRules": [_resources(_LEASE_VERBS, "", ("endpoints",))],
        },
    ),
    _schema(
        "kube-controller-manager",
        "workload-high",
        800,
        "ByNamespace",
        _everything(_users("system:kube-controller-manager")),
    ),
    _schema(
        "kube-scheduler", "workload-high", 800, "ByNamespace", _everything(_users("system:kube-scheduler"))
    ),
    _schema(
        "kube-system-service-accounts",
        "workload-high",
        900,
        "ByNamespace",
        _everything(_system_accounts("*")),
    ),
    _schema(
        "service-accounts", "workload-low", 9000, "ByUser", _everything(_groups("system:serviceaccounts"))
    ),
    _schema("global-default", "global-default", 9900, "ByUser", _everything(_groups(*_EVERYBODY))),
)
