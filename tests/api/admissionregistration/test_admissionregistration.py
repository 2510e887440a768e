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
            ["spec.paramRef.name: Forbidden: name and selector are mutually exclusive"],
        ),
    ],
)
def test_bindings(refusals, change, messages):
    assert (
        refusals(BINDING, {"spec": {"policyName": "p", "validationActions": ["Deny"], **change}}) == messages
    )
