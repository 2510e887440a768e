"""ValidatingAdmissionPolicy: what is refused, in which words, and what is only said."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from definitions import GROUP as CUSTOM
from definitions import TABS, define
from policies import BINDINGS, MAPS, POLICIES, add, config_map, rule, validating
from served import Client

DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"


def deployment(name: str, replicas: int = 1, **metadata: Any) -> dict[str, Any]:
    labels = {"app": name}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "busybox"}]}}
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": pod}
    return {"metadata": {"name": name, **metadata}, "spec": spec}


BIG = {"size": "big"}
DENIED = (
    "configmaps \"a\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'p-binding' denied request: "
)
DIVIDES = "1 / size(object.data) > 0"


@pytest.mark.parametrize(
    ("spec", "data", "message"),
    [
        (validating("object.data.size != 'big'"), BIG, "failed expression: object.data.size != 'big'"),
        (validating("object.data.size != 'big'"), {"size": "small"}, ""),
        (validating({"expression": "false", "message": " no bigs "}), BIG, "no bigs"),
        (
            validating(
                {
                    "expression": "false",
                    "message": "no",
                    "messageExpression": "'not ' + object.data.size + ' in ' + namespaceObject.metadata.name",
                }
            ),
            BIG,
            "not big in default",
        ),
        (validating({"expression": "false", "message": "no", "messageExpression": "'a\\nb'"}), BIG, "no"),
        (
            validating({"expression": "false", "message": "no", "messageExpression": "object.data.x + 'y'"}),
            BIG,
            "no",
        ),
        (validating({"expression": "false", "messageExpression": "' '"}), BIG, "failed expression: false"),
        (validating("true", "1 == 2", "1 == 3"), BIG, "failed expression: 1 == 2"),
        (
            validating("object.data.color == 'red'"),
            BIG,
            "expression 'object.data.color == 'red'' resulted in error: no such key: color",
        ),
        (validating("object.data.color == 'red'", failurePolicy="Ignore"), BIG, ""),
        (validating("false", failurePolicy="Ignore"), BIG, "failed expression: false"),
        (validating("oldObject == null && request.operation == 'CREATE'"), BIG, ""),
        (validating("object.metadata.namespace == namespaceObject.metadata.name"), BIG, ""),
        (
            validating("variables.a__b == 1", variables=[{"name": "a__b", "expression": "1"}]),
            BIG,
            "",
        ),
        (
            validating(
                "!has(request.subResource) && request.name == 'a' && request.namespace == 'default' && request.dryRun == false"
            ),
            BIG,
            "",
        ),
        (
            validating("request.userInfo.username == 'admin' && 'system:masters' in request.userInfo.groups"),
            BIG,
            "",
        ),
        (
            validating(
                "request.kind.kind == 'ConfigMap' && request.requestResource.resource == 'configmaps'"
            ),
            BIG,
            "",
        ),
        (
            validating(
                "variables.b == 3",
                variables=[
                    {"name": "a", "expression": "size(object.data.size)"},
                    {"name": "b", "expression": "variables.a + 1"},
                ],
            ),
            BIG,
            "failed expression: variables.b == 3",
        ),
        (
            validating("variables.a == 'x'", variables=[{"name": "a", "expression": "object.data.x"}]),
            BIG,
            "expression 'variables.a == 'x'' resulted in error: "
            'composited variable "a" fails to evaluate: no such key: x',
        ),
        (
            validating(
                "has(variables.a) && 1 == 1", variables=[{"name": "a", "expression": "object.data.x"}]
            ),
            BIG,
            "",
        ),
        (
            validating("false", matchConditions=[{"name": "c", "expression": "object.data.size == 'x'"}]),
            BIG,
            "",
        ),
        (
            validating("false", matchConditions=[{"name": "c", "expression": "object.data.size == 'big'"}]),
            BIG,
            "failed expression: false",
        ),
        (
            validating("true", matchConditions=[{"name": "c", "expression": "object.data.x == 'x'"}]),
            BIG,
            "expression 'object.data.x == 'x'' resulted in error: no such key: x",
        ),
        (
            validating(
                "false",
                matchConditions=[
                    {"name": "c", "expression": "object.data.x == 'x'"},
                    {"name": "d", "expression": "object.data.y == 'y'"},
                ],
            ),
            BIG,
            "[expression 'object.data.x == 'x'' resulted in error: no such key: x, "
            "expression 'object.data.y == 'y'' resulted in error: no such key: y]",
        ),
        (
            validating(
                "false",
                matchConditions=[
                    {"name": "c", "expression": "object.data.x == 'x'"},
                    {"name": "d", "expression": "object.data.size == 'x'"},
                ],
            ),
            BIG,
            "",
        ),
        (
            validating(
                "false",
                failurePolicy="Ignore",
                matchConditions=[{"name": "c", "expression": "object.data.x == 'x'"}],
            ),
            BIG,
            "",
        ),
        (validating("authorizer.requestResource.check('delete').allowed()"), BIG, ""),
        (
            validating(
                "authorizer.serviceAccount('default', 'x').group('').resource('pods').check('get').allowed()"
            ),
            BIG,
            "failed expression: authorizer.serviceAccount('default', 'x').group('').resource('pods')"
            ".check('get').allowed()",
        ),
        (validating("object.metadata.namespace == 'default'", rules=[rule("secrets")]), BIG, ""),
        (validating("false", matchConstraints={"objectSelector": {"matchLabels": {"a": "b"}}}), BIG, ""),
        (validating("false", matchConstraints={"namespaceSelector": {"matchLabels": {"a": "b"}}}), BIG, ""),
        (validating("false", matchConstraints={"excludeResourceRules": [rule()]}), BIG, ""),
        (validating("false", rules=[rule(resourceNames=["b"])]), BIG, ""),
    ],
)
async def test_outcomes(client: Client, spec, data, message):
    await add(client, "p", spec)
    answer = await client.call("POST", MAPS, config_map("a", data))
    if not message:
        assert answer.status == 201, answer.body
        return
    assert answer.body["message"] == DENIED + message
    assert (answer.status, answer.body["reason"]) == (422, "Invalid")
    cause = {"message": (DENIED + message).partition("forbidden: ")[2]}
    assert answer.body["details"] == {"name": "a", "kind": "configmaps", "causes": [cause]}


@pytest.mark.parametrize(
    ("reason", "code"),
    [("Forbidden", 403), ("Unauthorized", 401), ("RequestEntityTooLarge", 413), ("Invalid", 422)],
)
async def test_reasons(client, reason, code):
    await add(client, "p", validating({"expression": "false", "message": "no", "reason": reason}))
    answer = await client.call("POST", MAPS, config_map())
    assert (answer.status, answer.body["reason"], answer.body["message"]) == (code, reason, f"{DENIED}no")


async def test_warnings_and_the_audit_log(clock, signing_key, tmp_path):
    from served import running

    rules, log = tmp_path / "policy.yaml", tmp_path / "audit.log"
    rules.write_text(
        "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Metadata}]\nomitStages: [RequestReceived]"
    )
    async with running(clock, signing_key, audit_policy_file=str(rules), audit_log_path=str(log)) as server:
        client = Client(server)
        audits = [
            {"key": "size", "valueExpression": "'it is ' + object.data.size"},
            {"key": "nothing", "valueExpression": "null"},
            {"key": "empty", "valueExpression": "' '"},
        ]
        spec = validating("true", {"expression": "false", "message": "no"}, auditAnnotations=audits)
        await add(client, "p", spec, validationActions=["Warn", "Audit"])
        answer = await client.call("POST", MAPS, config_map("a", BIG))
        assert answer.status == 201
        assert answer.warnings == (
            "299 - \"Validation failed for ValidatingAdmissionPolicy 'p' with binding 'p-binding': no\"",
        )
        told = orjson.loads(log.read_bytes().splitlines()[-1])["annotations"]
        assert told["p/size"] == "it is big"
        assert not {"p/nothing", "p/empty"} & set(told)
        assert orjson.loads(told["validation.policy.admission.k8s.io/validation_failure"]) == [
            {
                "message": "no",
                "policy": "p",
                "binding": "p-binding",
                "expressionIndex": 1,
                "validationActions": ["Warn", "Audit"],
            }
        ]
        metrics = (await client.call("GET", "/metrics")).raw.decode()
        for action in ("warn", "audit"):
            assert (
                "apiserver_validating_admission_policy_check_total"
                f'{{enforcement_action="{action}",error_type="invalid_error",policy="p",policy_binding="p-binding"}} 1'
            ) in metrics
        answer = await client.call("POST", MAPS, config_map("b", {"other": "x"}))
        assert answer.body["message"].endswith(
            "denied request: expression ''it is ' + object.data.size' resulted in error: no such key: size"
        )


COSTLY = "variables.all.all(x, variables.all.all(y, x != y + 1000))"
LOOP = f"cel.bind(l, [{','.join(map(str, range(400)))}], l.all(x, l.all(y, x != y + 1000)))"
NUMBERS = [{"name": "all", "expression": "[" + ",".join(map(str, range(400))) + "]"}]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            validating(
                "variables.all.all(x, variables.all.all(y, variables.all.all(z, z >= 0)))", variables=NUMBERS
            ),
            "resulted in error: operation cancelled: actual cost limit exceeded",
        ),
        (
            validating(*[COSTLY] * 15, variables=NUMBERS),
            "validation failed due to running out of cost budget, no further validation rules will be run",
        ),
        (
            validating(
                *[{"expression": "true", "messageExpression": f"{COSTLY} ? 'a' : 'b'"}] * 15,
                variables=NUMBERS,
            ),
            "failed messageExpression: validation failed due to running out of cost budget",
        ),
        (
            validating("true", matchConditions=[{"name": f"c{n}", "expression": LOOP} for n in range(5)]),
            "validation failed due to running out of cost budget",
        ),
    ],
)
async def test_budgets(client, spec, message):
    await add(client, "p", spec)
    answer = await client.call("POST", MAPS, config_map())
    assert message in answer.body["message"]


# Parameters


async def limit(client: Client, name: str, size: str, namespace: str = "default", **metadata: Any) -> None:
    path = MAPS.replace("/default/", f"/{namespace}/").replace("configmaps", "secrets")
    await client.create(path, {"metadata": {"name": name, **metadata}, "stringData": {"limit": size}})


SECRET = {"apiVersion": "v1", "kind": "Secret"}
USES = {"expression": "params == null || object.data.size != string(params.data.limit)", "message": "no"}
BY_NAME = {"name": "one", "parameterNotFoundAction": "Deny"}
BY_LABEL = {"selector": {"matchLabels": {"use": "it"}}, "parameterNotFoundAction": "Deny"}
DENY_TEXT = (
    "failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction"
)


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        (BY_NAME, "no"),
        (BY_LABEL, "no"),
        ({**BY_NAME, "name": "two"}, DENY_TEXT),
        ({**BY_NAME, "name": "two", "parameterNotFoundAction": "Allow"}, ""),
        ({**BY_NAME, "namespace": "kube-system"}, DENY_TEXT),
        ({**BY_NAME, "namespace": "kube-public"}, ""),
        ({**BY_LABEL, "selector": {"matchLabels": {"use": "other"}}}, DENY_TEXT),
        ({**BY_LABEL, "selector": {}}, "no"),
        (None, ""),
    ],
)
async def test_parameters(client: Client, reference, message):
    await limit(client, "one", "big", labels={"use": "it"})
    await limit(client, "zero", "none", labels={"use": "it"})
    await limit(client, "one", "none", "kube-public")
    # What a Secret says is base64: it is the same text on both sides.
    await add(
        client, "p", validating(USES, paramKind=SECRET), **({"paramRef": reference} if reference else {})
    )
    answer = await client.call("POST", MAPS, config_map("a", {"size": "Ymln"}))
    assert (answer.body["message"] if answer.status != 201 else "") == (DENIED + message if message else "")


async def test_parameters_of_the_namespace_of_the_request(client: Client):
    await client.create("/api/v1/namespaces", {"metadata": {"name": "other"}})
    await limit(client, "one", "big")
    await limit(client, "one", "none", "other")
    await add(client, "p", validating(USES, paramKind=SECRET), paramRef=BY_NAME)
    big = config_map("a", {"size": "Ymln"})
    assert (await client.call("POST", MAPS, big)).status == 422
    assert (await client.call("POST", MAPS.replace("default", "other"), big)).status == 201


async def test_parameters_that_cannot_be(client: Client):
    await add(
        client, "p", validating(USES, paramKind={"apiVersion": "a.b/v1", "kind": "C"}), paramRef=BY_NAME
    )
    answer = await client.call("POST", MAPS, config_map())
    assert answer.body["message"] == (
        "configmaps \"a\" is forbidden: ValidatingAdmissionPolicy 'p' denied request: failed to configure policy: "
        "failed to find resource referenced by paramKind: 'a.b/v1, Kind=C'"
    )
    await client.delete(f"{POLICIES}/p")
    roles = [rule("clusterroles", "rbac.authorization.k8s.io")]
    await add(client, "q", validating(USES, paramKind=SECRET, rules=roles), paramRef=BY_NAME)
    role = {"metadata": {"name": "r"}, "rules": []}
    answer = await client.call("POST", "/apis/rbac.authorization.k8s.io/v1/clusterroles", role)
    assert answer.body["message"].endswith(
        "failed to configure binding: "
        "cannot use namespaced paramRef in policy binding that matches cluster-scoped resources"
    )


async def test_parameters_that_are_custom_resources(client: Client):
    await define(client)
    spec = validating(
        {"expression": "object.data.size != params.spec.image", "messageExpression": "'no ' + params.kind"},
        paramKind={"apiVersion": f"{CUSTOM}/v1", "kind": "CronTab"},
    )
    await add(client, "p", spec, paramRef=BY_NAME)
    tab = {
        "apiVersion": f"{CUSTOM}/v1",
        "kind": "CronTab",
        "metadata": {"name": "one"},
        "spec": {"image": "big"},
    }
    await client.create(TABS, tab)
    answer = await client.call("POST", MAPS, config_map("a", BIG))
    assert answer.body["message"] == f"{DENIED}no CronTab"


# Which requests, and when


async def test_updates_deletions_and_subresources(client: Client):
    rules = [rule("deployments deployments/status", "apps", operations=["UPDATE", "DELETE"])]
    await client.create(DEPLOYMENTS, deployment("a"))
    await add(
        client,
        "p",
        validating(
            {
                "expression": "request.operation == 'DELETE' ? oldObject.spec.replicas == 0 && object == null : "
                "object.spec.replicas >= oldObject.spec.replicas",
                "message": "less",
            },
            rules=rules,
        ),
    )
    assert (await client.call("DELETE", f"{DEPLOYMENTS}/a")).status == 422
    await client.patch(f"{DEPLOYMENTS}/a", {"spec": {"replicas": 5}})
    patch = {"content_type": "application/merge-patch+json"}
    answer = await client.call("PATCH", f"{DEPLOYMENTS}/a", {"spec": {"replicas": 0}}, **patch)
    assert (answer.status, answer.body["message"]) == (
        422,
        "deployments.apps \"a\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'p-binding' denied request: less",
    )
    await client.delete(f"{POLICIES}/p")
    await client.delete(f"{DEPLOYMENTS}/a")


async def test_bindings_narrow_and_policies_without_are_idle(client: Client):
    await client.create(POLICIES, {"metadata": {"name": "p"}, "spec": validating("false")})
    await client.create(MAPS, config_map("free"))
    selector = {"matchResources": {"objectSelector": {"matchLabels": {"judge": "me"}}}}
    body = {"policyName": "p", "validationActions": ["Deny"], **selector}
    await client.create(BINDINGS, {"metadata": {"name": "p-binding"}, "spec": body})
    await client.create(MAPS, config_map("b"))
    assert (await client.call("POST", MAPS, config_map("a", labels={"judge": "me"}))).status == 422
    await client.delete(f"{BINDINGS}/p-binding")
    await client.create(MAPS, config_map("a", labels={"judge": "me"}))


async def test_a_policy_that_changes_counts_at_once(client: Client):
    await add(client, "p", validating("false"))
    assert (await client.call("POST", MAPS, config_map())).status == 422
    written = await client.get(f"{POLICIES}/p")
    written["spec"]["validations"] = [{"expression": "true"}]
    await client.put(f"{POLICIES}/p", written)
    await client.create(MAPS, config_map())


async def test_other_versions_of_the_same_object(client: Client):
    spec = validating(
        "object.apiVersion == 'autoscaling/v2' && object.spec.metrics[0].resource.target.averageUtilization < 50 "
        "&& request.requestKind.version == 'v1' && request.kind.version == 'v2'",
        rules=[rule("horizontalpodautoscalers", "autoscaling", "v2")],
    )
    await add(client, "p", spec)
    path = "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers"
    target = {"kind": "Deployment", "name": "d", "apiVersion": "apps/v1"}
    body = {"maxReplicas": 3, "scaleTargetRef": target, "targetCPUUtilizationPercentage": 40}
    await client.create(path, {"metadata": {"name": "good"}, "spec": body})
    answer = await client.call(
        "POST", path, {"metadata": {"name": "bad"}, "spec": {**body, "targetCPUUtilizationPercentage": 60}}
    )
    assert answer.status == 422


async def test_nobody_locks_themselves_out(client: Client):
    every = [{"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"], "resources": ["*/*"]}]
    await add(client, "p", validating("false", rules=every))
    assert (await client.call("POST", MAPS, config_map())).status == 422
    review = {"spec": {"nonResourceAttributes": {"path": "/", "verb": "get"}}}
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    assert (await client.call("POST", path, review)).status == 201
    await client.delete(f"{POLICIES}/p")
    await client.create(MAPS, config_map())


async def test_dry_run_and_connect(client: Client):
    await add(client, "p", validating({"expression": "!request.dryRun", "message": "dry"}))
    assert (await client.call("POST", f"{MAPS}?dryRun=All", config_map())).status == 422
    await client.create(MAPS, config_map())


async def test_custom_resources(client: Client):
    await define(client)
    spec = validating(
        {
            "expression": "object.spec.replicas <= 3",
            "messageExpression": "'too many: ' + string(object.spec.replicas)",
        },
        rules=[rule("crontabs", CUSTOM)],
    )
    await add(client, "p", spec)
    tab = {
        "apiVersion": f"{CUSTOM}/v1",
        "kind": "CronTab",
        "metadata": {"name": "t"},
        "spec": {"replicas": 4},
    }
    answer = await client.call("POST", TABS, tab)
    assert answer.body["message"].endswith("denied request: too many: 4")
    await client.create(TABS, {**tab, "spec": {"replicas": 3}})


async def test_connections(client: Client):
    rules = [rule("pods/exec", operations=["CONNECT"])]
    spec = validating(
        {
            "expression": "!object.command.exists(c, c == 'sh') && object.kind == 'PodExecOptions'",
            "messageExpression": "'no shell by ' + request.operation + ' to ' + request.subResource",
        },
        rules=rules,
    )
    await add(client, "p", spec)
    pod = {
        "metadata": {"name": "p"},
        "spec": {"nodeName": "n", "containers": [{"name": "c", "image": "busybox"}]},
    }
    await client.create("/api/v1/namespaces/default/pods", pod)
    answer = await client.call("GET", "/api/v1/namespaces/default/pods/p/exec?command=sh&stdout=1")
    assert (answer.status, answer.body["message"]) == (
        422,
        "pods \"p\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'p-binding' denied request: "
        "no shell by CONNECT to exec",
    )


async def test_a_namespace_is_in_itself(client: Client):
    spec = validating(
        "request.namespace == 'shop' && namespaceObject == null && object.metadata.name == 'shop'",
        rules=[rule("namespaces")],
        matchConstraints={"namespaceSelector": {"matchLabels": {"team": "a"}}},
    )
    await add(client, "p", spec)
    await client.create("/api/v1/namespaces", {"metadata": {"name": "shop", "labels": {"team": "a"}}})
    other = {"metadata": {"name": "other", "labels": {"team": "a"}}}
    assert (await client.call("POST", "/api/v1/namespaces", other)).status == 422
    await client.create("/api/v1/namespaces", {"metadata": {"name": "other"}})


async def test_collections_and_server_side_apply(client: Client):
    await client.create(MAPS, config_map("kept", labels={"keep": "yes"}))
    await client.create(MAPS, config_map("gone"))
    spec = validating(
        "request.operation != 'DELETE' || !has(oldObject.metadata.labels) || !('keep' in oldObject.metadata.labels)",
        "object == null || !has(object.data) || !('bad' in object.data)",
        rules=[rule(operations=["*"])],
    )
    await add(client, "p", spec)
    assert (await client.call("DELETE", f"{MAPS}/kept")).status == 422
    await client.delete(f"{MAPS}/gone")
    apply = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kept"}, "data": {"bad": "1"}}
    headers = {"content_type": "application/apply-patch+yaml"}
    answer = await client.call("PATCH", f"{MAPS}/kept?fieldManager=me", apply, **headers)
    assert answer.status == 422
    assert "'bad' in object.data" in answer.body["message"]


async def test_conditions_are_counted(client: Client):
    conditions = [
        {"name": "fails", "expression": "object.data.x == 'x'"},
        {"name": "small", "expression": "object.data.size != 'big'"},
    ]
    await add(client, "p", validating("false", matchConditions=conditions))
    await client.create(MAPS, config_map("a", BIG))
    assert (await client.call("POST", MAPS, config_map("b", {"size": "small"}))).status == 422
    metrics = (await client.call("GET", "/metrics")).raw.decode()
    labels = '{kind="policy",name="p",operation="CREATE",type="validate"}'
    assert f"apiserver_admission_match_condition_exclusions_total{labels} 1" in metrics
    assert f"apiserver_admission_match_condition_evaluation_errors_total{labels} 2" in metrics
    assert f"apiserver_admission_match_condition_evaluation_seconds_count{labels} 2" in metrics
