"""Webhooks and admission policies."""

import pytest

VALIDATING, MUTATING, POLICY, BINDING = (
    f"admissionregistration.k8s.io/v1 {kind}"
    for kind in (
        "ValidatingWebhookConfiguration",
        "MutatingWebhookConfiguration",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
    )
)
MUTATING_POLICIES = [
    f"admissionregistration.k8s.io/{version} MutatingAdmissionPolicy"
    for version in ("v1", "v1beta1", "v1alpha1")
]
RULE = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
GOOD = {
    "name": "check.example.com",
    "clientConfig": {"url": "https://example.com/check"},
    "sideEffects": "None",
    "admissionReviewVersions": ["v1"],
    "rules": [RULE],
}


def webhooks(**change):
    return {"webhooks": [{**GOOD, **change}]}


def test_what_a_webhook_is_given(written):
    service = {"service": {"name": "s", "namespace": "n"}}
    (webhook,) = written(VALIDATING, webhooks(clientConfig=service))["webhooks"]
    assert webhook["failurePolicy"] == "Fail"
    assert webhook["matchPolicy"] == "Equivalent"
    assert webhook["timeoutSeconds"] == 10
    assert webhook["namespaceSelector"] == webhook["objectSelector"] == {}
    assert webhook["clientConfig"]["service"]["port"] == 443
    assert webhook["rules"][0]["scope"] == "*"
    assert "reinvocationPolicy" not in webhook
    assert written(MUTATING, webhooks())["webhooks"][0]["reinvocationPolicy"] == "Never"


def rules(**change):
    return webhooks(rules=[{**RULE, **change}])


@pytest.mark.parametrize(
    ("fields", "messages"),
    [
        (webhooks(), []),
        ({"webhooks": [GOOD, GOOD]}, ['webhooks[1].name: Duplicate value: "check.example.com"']),
        (
            webhooks(name="check"),
            [
                'webhooks[0].name: Invalid value: "check": should be a domain with at least three segments separated by dots'
            ],
        ),
        (
            webhooks(sideEffects=None),
            ["webhooks[0].sideEffects: Required value: must specify one of None, NoneOnDryRun"],
        ),
        (
            webhooks(sideEffects="Some"),
            [
                'webhooks[0].sideEffects: Unsupported value: "Some": supported values: "None", "NoneOnDryRun"',
            ],
        ),
        (
            webhooks(timeoutSeconds=31),
            [
                "webhooks[0].timeoutSeconds: Invalid value: 31: the timeout value must be between 1 and 30 seconds",
            ],
        ),
        (
            webhooks(failurePolicy="Maybe"),
            ['webhooks[0].failurePolicy: Unsupported value: "Maybe": supported values: "Fail", "Ignore"'],
        ),
        (
            webhooks(admissionReviewVersions=[]),
            ["webhooks[0].admissionReviewVersions: Required value: must specify one of v1, v1beta1"],
        ),
        (
            webhooks(admissionReviewVersions=["v7"]),
            [
                'webhooks[0].admissionReviewVersions: Invalid value: ["v7"]: must include at least one of v1, v1beta1'
            ],
        ),
        (
            webhooks(clientConfig={}),
            ["webhooks[0].clientConfig: Required value: exactly one of url or service is required"],
        ),
        (
            webhooks(clientConfig={"url": "http://example.com"}),
            [
                'webhooks[0].clientConfig.url: Invalid value: "http": "https" is the only allowed URL scheme; desired format: https://host[/path]'
            ],
        ),
        (
            webhooks(clientConfig={"service": {"name": "s", "port": 0}}),
            [
                "webhooks[0].clientConfig.service.namespace: Required value: service namespace is required",
                "webhooks[0].clientConfig.service.port: Invalid value: 0: port is not valid: must be between 1 and 65535, inclusive",
            ],
        ),
        (rules(operations=[]), ["webhooks[0].rules[0].operations: Required value"]),
        (
            rules(operations=["*", "CREATE"]),
            [
                'webhooks[0].rules[0].operations: Invalid value: ["*","CREATE"]: if \'*\' is present, must not specify other operations'
            ],
        ),
        (
            rules(apiGroups=["*", "apps"]),
            [
                'webhooks[0].rules[0].apiGroups: Invalid value: ["*","apps"]: if \'*\' is present, must not specify other API groups'
            ],
        ),
        (rules(resources=["*/*"]), []),
        (
            rules(resources=["*/*", "pods"]),
            [
                'webhooks[0].rules[0].resources: Invalid value: ["*/*","pods"]: if \'*/*\' is present, must not specify other resources'
            ],
        ),
        (
            rules(resources=["pods/*", "pods/status"]),
            [
                "webhooks[0].rules[0].resources[1]: Invalid value: \"pods/status\": if 'pods/*' is present, must not specify pods/status"
            ],
        ),
        (
            webhooks(matchConditions=[{"name": "a", "expression": "true"}, {"name": "a", "expression": ""}]),
            [
                "webhooks[0].matchConditions[1].expression: Required value",
                'webhooks[0].matchConditions[1].name: Duplicate value: "a"',
            ],
        ),
        (
            webhooks(matchConditions=[{"name": "a", "expression": "... [] bad"}]),
            [
                'webhooks[0].matchConditions[0].expression: Invalid value: "... [] bad": compilation failed: '
                "ERROR: <input>:1:2: Syntax error: mismatched input '.' expecting IDENTIFIER\n | ... [] bad\n | .^"
            ],
        ),
        (
            webhooks(matchConditions=[{"name": "a", "expression": "object.spec.replicas"}]),
            [
                'webhooks[0].matchConditions[0].expression: Invalid value: "object.spec.replicas": '
                "must evaluate to bool but got dyn"
            ],
        ),
    ],
)
@pytest.mark.parametrize("kind", [VALIDATING, MUTATING])
def test_webhooks(refusals, kind, fields, messages):
    assert refusals(kind, fields) == messages


def test_conditions_that_do_not_change_are_not_judged_again(refusals):
    bad = webhooks(matchConditions=[{"name": "a", "expression": "nope"}])
    assert refusals(VALIDATING, {"webhooks": bad["webhooks"]}, old=bad) == []
    other = webhooks(matchConditions=[{"name": "b", "expression": "nope"}])
    assert len(refusals(VALIDATING, other, old=bad)) == 1


MATCH = {"resourceRules": [RULE]}


PARAMS = {"apiVersion": "example.com/v1", "kind": "Limit"}


def policy(**change):
    return {"spec": {"matchConstraints": MATCH, "validations": [{"expression": "true"}], **change}}


def test_what_a_policy_is_given(written):
    spec = written(POLICY, policy())["spec"]
    assert spec["failurePolicy"] == "Fail"
    assert spec["matchConstraints"]["matchPolicy"] == "Equivalent"
    assert spec["matchConstraints"]["namespaceSelector"] == {}
    assert spec["matchConstraints"]["resourceRules"][0]["scope"] == "*"


@pytest.mark.parametrize(
    ("fields", "messages"),
    [
        (policy(), []),
        (policy(matchConstraints=None), ["spec.matchConstraints: Required value"]),
        (
            policy(validations=[]),
            [
                "spec.validations: Required value: validations or auditAnnotations must contain at least one item",
                "spec.auditAnnotations: Required value: validations or auditAnnotations must contain at least one item",
            ],
        ),
        (
            policy(validations=[{"expression": " "}]),
            ["spec.validations[0].expression: Required value: expression is not specified"],
        ),
        (
            policy(validations=[{"expression": "true", "message": "a\nb"}]),
            ['spec.validations[0].message: Invalid value: "a\\nb": message must not contain line breaks'],
        ),
        (
            policy(variables=[{"name": "a-b", "expression": "1"}]),
            ['spec.variables[0].name: Invalid value: "a-b": name is not a valid CEL identifier'],
        ),
        (policy(paramKind={"kind": "K"}), ["spec.paramKind.apiVersion: Required value"]),
    ],
)
def test_policies(refusals, fields, messages):
    assert refusals(POLICY, fields) == messages


def one(expression, **more):
    return [{"expression": expression, **more}]


@pytest.mark.parametrize(
    ("change", "messages"),
    [
        ({"validations": one("object.spec.replicas > 1 && params == null"), "paramKind": PARAMS}, []),
        (
            {"validations": one("object.x == params.y")},
            [
                'spec.validations[0].expression: Invalid value: "object.x == params.y": compilation failed: ERROR: '
                "<input>:1:13: undeclared reference to 'params' (in container '')\n | object.x == params.y\n | ............^"
            ],
        ),
        (
            {"validations": one("object.spec.replicas")},
            [
                'spec.validations[0].expression: Invalid value: "object.spec.replicas": '
                "must evaluate to bool but got dyn"
            ],
        ),
        (
            {"validations": one("true", messageExpression="1")},
            [
                'spec.validations[0].messageExpression: Invalid value: "1": must evaluate to string but got int'
            ],
        ),
        (
            {"validations": one("true", messageExpression="string(authorizer == authorizer)")},
            [
                'spec.validations[0].messageExpression: Invalid value: "string(authorizer == authorizer)": compilation '
                "failed: ERROR: <input>:1:8: undeclared reference to 'authorizer' (in container '')\n"
                " | string(authorizer == authorizer)\n | .......^\n"
                "ERROR: <input>:1:22: undeclared reference to 'authorizer' (in container '')\n"
                " | string(authorizer == authorizer)\n | .....................^"
            ],
        ),
        (
            {"validations": one("true", messageExpression=" ")},
            ['spec.validations[0].messageExpression: Invalid value: " ": must be non-empty if specified'],
        ),
        ({"validations": one("true\n&& true")}, []),
        (
            {"variables": [{"name": "a", "expression": "1"}], "validations": one("variables.a == 'x'")},
            [
                "spec.validations[0].expression: Invalid value: \"variables.a == 'x'\": compilation failed: ERROR: "
                "<input>:1:13: found no matching overload for '_==_' applied to '(int, string)'\n"
                " | variables.a == 'x'\n | ............^"
            ],
        ),
        (
            {
                "variables": [
                    {"name": "a", "expression": "b.c"},
                    {"name": "d", "expression": "variables.a + 1"},
                ],
                "validations": one("variables.d == 2 && variables.e"),
            },
            [
                'spec.variables[0].expression: Invalid value: "b.c": compilation failed: ERROR: <input>:1:1: '
                "undeclared reference to 'b' (in container '')\n | b.c\n | ^",
                'spec.validations[0].expression: Invalid value: "variables.d == 2 && variables.e": compilation failed: '
                "ERROR: <input>:1:30: undefined field 'e'\n | variables.d == 2 && variables.e\n"
                " | .............................^",
            ],
        ),
        (
            {"auditAnnotations": [{"key": "k", "valueExpression": "1 + 1"}]},
            [
                'spec.auditAnnotations[0].valueExpression: Invalid value: "1 + 1": '
                "must evaluate to one of [string null_type] but got int"
            ],
        ),
        (
            {"auditAnnotations": [{"key": "k", "valueExpression": "'a'"}] * 2},
            ['spec.auditAnnotations[1].key: Duplicate value: "k"'],
        ),
        (
            {"paramKind": {"apiVersion": "a/b/c", "kind": "9K"}},
            [
                'spec.paramKind.apiVersion: Invalid value: "a/b/c": unexpected GroupVersion string: a/b/c',
                'spec.paramKind.kind: Invalid value: "9K": may have mixed case, but should otherwise match: '
                "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic "
                "character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for "
                "validation is '[a-z]([-a-z0-9]*[a-z0-9])?')",
            ],
        ),
    ],
)
def test_expressions_of_policies(refusals, change, messages):
    assert refusals(POLICY, policy(**change)) == messages


@pytest.mark.parametrize(
    ("mutation", "message"),
    [
        ("Object{spec: Object.spec{replicas: 1 + variables.n}}", ""),
        ("has(object.spec) ? Object{} : Object{metadata: Object.metadata{labels: {'a': 'b'}}}", ""),
        ("Object.spec{}", "must evaluate to Object but got Object.spec"),
        ("{'spec': {'replicas': 1}}", "must evaluate to Object but got map(string, map(string, int))"),
        ("[JSONPatch{op: 'add', path: '/a/' + jsonpatch.escapeKey('b/c'), value: Object.a{b: 1}}]", ""),
        ("[JSONPatch{op: 'test', path: '/a', value: 1}] + [JSONPatch{op: 'remove', path: '/a'}]", ""),
        ("[1]", "must evaluate to list(JSONPatch) but got list(int)"),
    ],
)
def test_mutations(refusals, mutation, message):
    patch = "JSONPatch" in mutation or mutation == "[1]"
    kind, field = ("JSONPatch", "jsonPatch") if patch else ("ApplyConfiguration", "applyConfiguration")
    spec = {
        "matchConstraints": MATCH,
        "reinvocationPolicy": "Never",
        "variables": [{"name": "n", "expression": "1"}],
        "mutations": [{"patchType": kind, field: {"expression": mutation}}],
    }
    found = refusals(MUTATING_POLICIES[0], {"spec": spec})
    shown = f'spec.mutations[0].{field}.expression: Invalid value: "{mutation}": {message}'
    assert found == ([shown] if message else [])


@pytest.mark.parametrize("kind", MUTATING_POLICIES)
def test_mutating_policies(refusals, kind):
    patch = {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": "Object{}"}}
    good = {"matchConstraints": MATCH, "reinvocationPolicy": "Never", "mutations": [patch]}
    assert refusals(kind, {"spec": good}) == []
    assert refusals(kind, {"spec": {**good, "mutations": []}}) == [
        "spec.mutations: Required value: mutations must contain at least one item"
    ]
    wrong = {"patchType": "JSONPatch", "applyConfiguration": {"expression": "Object{}"}}
    assert [text.split(":")[0] for text in refusals(kind, {"spec": {**good, "mutations": [wrong]}})] == [
        "spec.mutations[0].jsonPatch",
        "spec.mutations[0].applyConfiguration",
    ]


@pytest.mark.parametrize(
    ("change", "messages"),
    [
        ({}, []),
        ({"policyName": ""}, ["spec.policyName: Required value"]),
        (
            {"validationActions": []},
            ["spec.validationActions: Required value: at least one validation action is required"],
        ),
        (
            {"validationActions": ["Deny", "Warn"]},
            [
                'spec.validationActions: Invalid value: ["Deny","Warn"]: must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)'
            ],
        ),
        (
            {"paramRef": {"parameterNotFoundAction": "Deny"}},
            ["spec.paramRef: Required value: one of name or selector must be specified"],
        ),
        (
            {"paramRef": {"name": "n", "selector": {}, "parameterNotFoundAction": "Deny"}},
            [
                "spec.paramRef.name: Forbidden: name and selector are mutually exclusive",
                "spec.paramRef.selector: Forbidden: name and selector are mutually exclusive",
            ],
        ),
    ],
)
def test_bindings(refusals, change, messages):
    assert (
        refusals(BINDING, {"spec": {"policyName": "p", "validationActions": ["Deny"], **change}}) == messages
    )
