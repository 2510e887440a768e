"""MutatingAdmissionPolicy: what objects become, what is refused, and who is called again."""

from __future__ import annotations

from typing import Any

import pytest
from definitions import GROUP as CUSTOM
from definitions import TABS, define
from policies import MAPS, MUTATING, add, config_map, mutating, rule
from served import Client

DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
PODS = "/api/v1/namespaces/default/pods"
ON_PODS = [rule("pods")]
BIG = {"size": "big"}


def pod(name: str = "p", **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "busybox"}], **spec}}


@pytest.mark.parametrize(
    ("expressions", "changed"),
    [
        (["Object{metadata: Object.metadata{labels: {'a': 'b'}}}"], {"labels": {"a": "b"}}),
        (["Object{data: {'extra': object.data.size + '!'}}"], {"data": {**BIG, "extra": "big!"}}),
        (["Object{data: {'size': 'small'}}"], {"data": {"size": "small"}}),
        (["Object{}"], {}),
        (
            ["Object{data: {'n': '1'}}", "Object{data: {'m': object.data.n + '2'}}"],
            {"data": {**BIG, "n": "1", "m": "12"}},
        ),
        (["has(object.immutable) ? Object{} : Object{immutable: true}"], {"immutable": True}),
        (["[JSONPatch{op: 'add', path: '/data/n', value: '1'}]"], {"data": {**BIG, "n": "1"}}),
        (["[JSONPatch{op: 'remove', path: '/data/size'}]"], {"data": None}),
        (
            [
                "[JSONPatch{op: 'add', path: '/metadata/labels', value: {}},"
                " JSONPatch{op: 'add', path: '/metadata/labels/' + jsonpatch.escapeKey('x.y/z'), value: 'v'}]"
            ],
            {"labels": {"x.y/z": "v"}},
        ),
        (
            [
                "[JSONPatch{op: 'test', path: '/data/size', value: 'other'},"
                " JSONPatch{op: 'remove', path: '/data/size'}]"
            ],
            {},
        ),
        (
            ["[JSONPatch{op: 'copy', from: '/data/size', path: '/data/same'}]"],
            {"data": {**BIG, "same": "big"}},
        ),
        (["[JSONPatch{op: 'add', path: '/immutable', value: 1 == 1}]"], {"immutable": True}),
    ],
)
async def test_outcomes(client: Client, expressions, changed):
    before = await client.create(MAPS, config_map("before", BIG))
    if len(expressions) == 1 and not expressions[0].startswith(("Object", "[")):
        spec = mutating("Object{}")
        spec["mutations"][0]["applyConfiguration"]["expression"] = expressions[0]
    else:
        spec = mutating(*expressions)
    await add(client, "m", spec)
    after = await client.create(MAPS, config_map("after", BIG))
    for field in ("labels", "annotations"):
        assert after["metadata"].get(field) == changed.get(field)
    assert after.get("data") == changed.get("data", before["data"])
    assert after.get("immutable") == changed.get("immutable")
    assert after["metadata"]["name"] == "after"


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        (
            "Object{spec: Object.wrong{nodeName: 'n'}}",
            'type mismatch: unexpected type name "Object.wrong", expected "Object.spec", '
            "which matches field name path from root Object type",
        ),
        (
            "Object{spec: Object.spec{nope: 1}}",
            "error applying patch: failed to convert patch object to typed object: .spec.nope: field not declared in schema",
        ),
        (
            "Object{spec: Object.spec{nodeName: 3}}",
            "error applying patch: failed to convert patch object to typed object: "
            ".spec.nodeName: expected string, got &value.valueUnstructured{Value:3}",
        ),
        (
            "Object{spec: Object.spec{tolerations: [Object.spec.tolerations{key: 'k'}]}}",
            "error applying patch: invalid ApplyConfiguration: "
            "may not mutate atomic arrays, maps or structs: .spec.tolerations",
        ),
        (
            "Object{spec: Object.spec{containers: [Object.spec.containers{name: 'c', command: ['sh']}], "
            "nodeSelector: {'a': 'b'}}}",
            "error applying patch: invalid ApplyConfiguration: "
            "may not mutate atomic arrays, maps or structs: .spec.containers[0].command, .spec.nodeSelector",
        ),
        (
            "Object{metadata: Object.metadata{labels: {'a': object.metadata.labels.b}}}",
            "expression 'Object{metadata: Object.metadata{labels: {'a': object.metadata.labels.b}}}' resulted in error: "
            "no such key: labels",
        ),
        (
            "[JSONPatch{op: 'remove', path: '/spec/nope'}]",
            "JSONPath: error in remove for path: '/spec/nope': Unable to remove nonexistent key: nope: missing value",
        ),
        (
            "[JSONPatch{op: 'add', path: '/spec/x', value: Object.spec{a: Object.spec.b{}}}]",
            'type mismatch: unexpected type name "Object.spec.b", expected "Object.spec.a", '
            "which matches field name path from root Object type",
        ),
    ],
)
async def test_refusals(client: Client, expression, reason):
    await add(client, "m", mutating(expression, rules=ON_PODS))
    answer = await client.call("POST", PODS, pod())
    message = f"policy 'm' with binding 'm-binding' denied request: {reason}"
    assert answer.body["message"] == message
    assert (answer.status, answer.body["reason"]) == (403, "Invalid")
    assert answer.body["details"] == {"name": "p", "kind": "pods", "causes": [{"message": message}]}
    await client.delete(f"{MUTATING}/m")
    spec = mutating(expression, rules=ON_PODS, failurePolicy="Ignore")
    await client.create(MUTATING, {"metadata": {"name": "m"}, "spec": spec})
    await client.create(PODS, pod())


async def test_patches_that_make_no_object(client: Client):
    await add(client, "m", mutating("[JSONPatch{op: 'add', path: '/spec/nope', value: 1}]", rules=ON_PODS))
    answer = await client.call("POST", PODS, pod())
    assert (answer.status, answer.body["message"]) == (
        500,
        'Internal error occurred: strict decoding error: unknown field "spec.nope"',
    )


async def test_lists_merge_by_their_keys_and_defaults_are_filled_in(client: Client):
    sidecar = (
        "Object{spec: Object.spec{initContainers: [Object.spec.initContainers{"
        "name: 'mesh', image: 'mesh:1', restartPolicy: 'Always', args: []}]}}"
    ).replace(", args: []", "")
    await add(client, "m", mutating(sidecar, rules=ON_PODS))
    made = await client.create(PODS, pod(initContainers=[{"name": "first", "image": "busybox"}]))
    assert [each["name"] for each in made["spec"]["initContainers"]] == ["first", "mesh"] or [
        each["name"] for each in made["spec"]["initContainers"]
    ] == ["mesh", "first"]
    mesh = next(each for each in made["spec"]["initContainers"] if each["name"] == "mesh")
    assert mesh["terminationMessagePath"] == "/dev/termination-log"
    assert mesh["restartPolicy"] == "Always"


async def test_conditions_variables_and_parameters(client: Client):
    await client.create(MAPS, config_map("settings", {"team": "red"}))
    spec = mutating(
        "Object{metadata: Object.metadata{labels: {'team': variables.team}}}",
        rules=ON_PODS,
        variables=[{"name": "team", "expression": "params.data.team + '-' + namespaceObject.metadata.name"}],
        matchConditions=[{"name": "c", "expression": "object.metadata.name != 'free'"}],
        paramKind={"apiVersion": "v1", "kind": "ConfigMap"},
    )
    reference = {"name": "settings", "parameterNotFoundAction": "Deny"}
    await add(client, "m", spec, paramRef=reference)
    assert (await client.create(PODS, pod("a")))["metadata"]["labels"] == {"team": "red-default"}
    assert "labels" not in (await client.create(PODS, pod("free")))["metadata"]
    await client.delete(f"{MAPS}/settings")
    answer = await client.call("POST", PODS, pod("b"))
    assert (answer.status, answer.body["reason"], answer.body["message"]) == (
        403,
        "Forbidden",
        "policy 'm' with binding 'm-binding' denied request: failed to configure binding: "
        "no params found for policy binding with `Deny` parameterNotFoundAction",
    )


COUNT = "Object{metadata: Object.metadata{labels: {'n': string(int(object.metadata.?labels.n.orValue('0')) + 1)}}}"


@pytest.mark.parametrize(("policy", "count"), [("Never", "1"), ("IfNeeded", "2")])
async def test_reinvocation(client: Client, policy, count):
    await add(client, "m", mutating(COUNT, reinvocationPolicy=policy))
    assert (await client.create(MAPS, config_map()))["metadata"]["labels"] == {"n": count}


async def test_a_policy_sees_what_a_later_one_has_done(client: Client):
    see = "object.?data.late.hasValue() ? Object{data: {'seen': 'yes'}} : Object{}"
    spec = mutating("Object{}", reinvocationPolicy="IfNeeded")
    spec["mutations"][0]["applyConfiguration"]["expression"] = see
    await add(client, "a", spec)
    await add(client, "b", mutating("Object{data: {'late': '1'}}"))
    assert (await client.create(MAPS, config_map()))["data"] == {"late": "1", "seen": "yes"}


async def test_updates_and_owners(client: Client):
    rules = [rule(operations=["UPDATE"])]
    await client.create(f"{MAPS}?fieldManager=me", config_map("a", BIG))
    await add(client, "m", mutating("Object{data: {'by': request.userInfo.username}}", rules=rules))
    changed = await client.patch(f"{MAPS}/a?fieldManager=me", {"data": {"size": "small"}})
    assert changed["data"] == {"size": "small", "by": "admin"}
    [owner] = changed["metadata"]["managedFields"]
    assert owner["manager"] == "me"
    assert "f:by" not in owner["fieldsV1"]["f:data"]


async def test_what_makes_a_bad_object_is_found(client: Client):
    await add(client, "m", mutating("Object{metadata: Object.metadata{labels: {'a b': 'c'}}}"))
    answer = await client.call("POST", MAPS, config_map())
    assert answer.status == 422
    assert "metadata.labels" in answer.body["message"]


async def test_other_versions(client: Client):
    rules = [rule("horizontalpodautoscalers", "autoscaling", "v2")]
    expression = "Object{spec: Object.spec{minReplicas: size(object.spec.metrics) + 1}}"
    await add(client, "m", mutating(expression, rules=rules))
    path = "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers"
    target = {"kind": "Deployment", "name": "d", "apiVersion": "apps/v1"}
    body = {"maxReplicas": 3, "scaleTargetRef": target, "targetCPUUtilizationPercentage": 40}
    made = await client.create(path, {"metadata": {"name": "a"}, "spec": body})
    assert (made["apiVersion"], made["spec"]["minReplicas"]) == ("autoscaling/v1", 2)
    assert made["spec"]["targetCPUUtilizationPercentage"] == 40


async def test_custom_resources(client: Client):
    await define(client)
    expression = "Object{spec: Object.spec{replicas: 3}}"
    await add(client, "m", mutating(expression, rules=[rule("crontabs", CUSTOM)]))
    tab = {
        "apiVersion": f"{CUSTOM}/v1",
        "kind": "CronTab",
        "metadata": {"name": "t"},
        "spec": {"cronSpec": "x"},
    }
    made = await client.create(TABS, tab)
    assert made["spec"] == {"cronSpec": "x", "replicas": 3, "image": "busybox"}


async def test_the_metric(client: Client):
    await add(client, "m", mutating("Object{}", "Object{data: {'a': object.data.x}}", failurePolicy="Ignore"))
    await client.create(MAPS, config_map())
    metrics = (await client.call("GET", "/metrics")).raw.decode()
    for kind in ("no_error", "invalid_error"):
        labels = f'error_type="{kind}",policy="m",policy_binding="m-binding"'
        assert f"apiserver_mutating_admission_policy_check_total{{{labels}}} 1" in metrics
