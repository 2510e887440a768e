"""API priority and fairness."""

import pytest

SCHEMA, LEVEL = (
    f"flowcontrol.apiserver.k8s.io/v1 {kind}" for kind in ("FlowSchema", "PriorityLevelConfiguration")
)
PEOPLE = {"kind": "Group", "group": {"name": "system:authenticated"}}
RESOURCES = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"]}


def schema(**change):
    return {"spec": {"priorityLevelConfiguration": {"name": "global-default"}, **change}}


def ruled(**change):
    return schema(rules=[{"subjects": [PEOPLE], "resourceRules": [RESOURCES], **change}])


def test_what_they_are_given(written):
    assert written(SCHEMA, schema())["spec"]["matchingPrecedence"] == 1000
    limited = {"limitResponse": {"type": "Queue", "queuing": {}}}
    spec = written(LEVEL, {"spec": {"type": "Limited", "limited": limited}})["spec"]
    assert spec["limited"] == {
        "nominalConcurrencyShares": 30,
        "lendablePercent": 0,
        "limitResponse": {
            "type": "Queue",
            "queuing": {"queues": 64, "handSize": 8, "queueLengthLimit": 50},
        },
    }
    spec = written(LEVEL, {"spec": {"type": "Exempt", "exempt": {}}})["spec"]
    assert spec["exempt"] == {"nominalConcurrencyShares": 0, "lendablePercent": 0}


@pytest.mark.parametrize(
    ("fields", "messages"),
    [
        (ruled(), []),
        (
            schema(matchingPrecedence=-1),
            ["spec.matchingPrecedence: Invalid value: -1: must be a positive value"],
        ),
        (
            schema(matchingPrecedence=10001),
            ["spec.matchingPrecedence: Invalid value: 10001: must not be greater than 10000"],
        ),
        (
            schema(matchingPrecedence=1),
            [
                "spec.matchingPrecedence: Invalid value: 1: only the schema named 'exempt' may have matchingPrecedence 1"
            ],
        ),
        (
            {"spec": {}},
            ["spec.priorityLevelConfiguration.name: Required value: must reference a priority level"],
        ),
        (
            ruled(subjects=[]),
            ["spec.rules[0].subjects: Required value: subjects must contain at least one value"],
        ),
        (
            ruled(subjects=[{"kind": "User"}]),
            ["spec.rules[0].subjects[0].user: Required value: user is required when subject kind is 'User'"],
        ),
        (
            ruled(resourceRules=[]),
            [
                "spec.rules[0]: Required value: at least one of resourceRules and nonResourceRules has to be non-empty"
            ],
        ),
        (
            ruled(resourceRules=[{**RESOURCES, "namespaces": []}]),
            [
                "spec.rules[0].resourceRules[0].namespaces: Required value: resource rules that are not cluster scoped must supply at least one namespace"
            ],
        ),
        (
            ruled(nonResourceRules=[{"verbs": ["get"], "nonResourceURLs": ["/a/*/b", "/ok/*", "x"]}]),
            [
                'spec.rules[0].nonResourceRules[0].nonResourceURLs[0]: Invalid value: "/a/*/b": wildcards can only do suffix matching after a slash',
                'spec.rules[0].nonResourceRules[0].nonResourceURLs[2]: Invalid value: "x": must start with slash',
            ],
        ),
    ],
)
def test_schemas(refusals, fields, messages):
    assert refusals(SCHEMA, fields) == messages


def limited(**response):
    return {"spec": {"type": "Limited", "limited": {"limitResponse": response}}}


@pytest.mark.parametrize(
    ("fields", "messages"),
    [
        (limited(type="Reject"), []),
        (limited(type="Queue", queuing={}), []),
        ({"spec": {"type": "Exempt"}}, []),
        (
            {"spec": {"type": "Limited"}},
            ["spec.limited: Required value: must not be empty when type is Limited"],
        ),
        (
            {"spec": {"type": "Free"}},
            ['spec.type: Unsupported value: "Free": supported values: "Exempt", "Limited"'],
        ),
        (
            limited(type="Reject", queuing={}),
            [
                "spec.limited.limitResponse.queuing: Forbidden: must be nil if limited.limitResponse.type is not Limited"
            ],
        ),
        (
            limited(type="Queue", queuing={"queues": 2, "handSize": 3}),
            [
                "spec.limited.limitResponse.queuing.handSize: Invalid value: 3: should not be greater than queues (2)"
            ],
        ),
    ],
)
def test_levels(refusals, fields, messages):
    assert refusals(LEVEL, fields) == messages
