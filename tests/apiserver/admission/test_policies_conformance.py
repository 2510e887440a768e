"""What the conformance suite asks of ValidatingAdmissionPolicy and MutatingAdmissionPolicy ([sig-api-machinery])."""

from __future__ import annotations

from typing import Any

import pytest
from policies import BINDINGS, GROUP, MUTATING, MUTATING_BINDINGS, POLICIES, add, mutating, rule, validating
from served import Client, Object

SPACE = "/apis/apps/v1/namespaces/e2e"
ON_DEPLOYMENTS = [rule("deployments", "apps")]
MARKED = {"namespaceSelector": {"matchLabels": {"e2e-123": "true"}}}


def workload(name: str, replicas: int) -> Object:
    labels = {"app": "nginx"}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "nginx", "image": "nginx"}]}}
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": pod}
    return {"metadata": {"name": name, "labels": labels}, "spec": spec}


@pytest.fixture
async def marked(client: Client) -> Client:
    """The namespace of the test carries the label by which the policies choose it; `default` does not."""
    await client.create("/api/v1/namespaces", {"metadata": {"name": "e2e", "labels": {"e2e-123": "true"}}})
    return client


@pytest.mark.conformance(
    "ValidatingAdmissionPolicy [Privileged:ClusterAdmin] should validate against a Deployment"
)
async def test_a_deployment_is_validated(marked: Client):
    validation = {
        "expression": "object.spec.replicas > 1",
        "messageExpression": "'wants replicas > 1, got ' + object.spec.replicas",
    }
    spec = validating(validation, rules=ON_DEPLOYMENTS, matchConstraints=MARKED)
    await add(marked, "e2e.policy.example.com", spec, matchResources=MARKED)
    answer = await marked.call("POST", f"{SPACE}/deployments", workload("marker-deployment", 1))
    assert (answer.status, answer.body["reason"]) == (422, "Invalid")
    # A string and a number cannot be added: the message falls back to the expression.
    assert answer.body["message"].endswith("denied request: failed expression: object.spec.replicas > 1")
    await marked.create(f"{SPACE}/deployments", workload("replicated", 2))
    await marked.create(f"{SPACE}/replicasets", workload("non-replicated", 1))
    await marked.create(f"{SPACE.replace('e2e', 'default')}/deployments", workload("elsewhere", 1))


@pytest.mark.conformance(
    "ValidatingAdmissionPolicy [Privileged:ClusterAdmin] should allow expressions to refer variables."
)
async def test_expressions_refer_to_variables(marked: Client):
    spec = validating(
        "variables.replicas > 1",
        "variables.oddReplicas",
        variables=[
            {"name": "replicas", "expression": "object.spec.replicas"},
            {"name": "oddReplicas", "expression": "variables.replicas % 2 == 1"},
        ],
        rules=ON_DEPLOYMENTS,
        matchConstraints=MARKED,
    )
    await add(marked, "e2e.policy.example.com", spec, matchResources=MARKED)
    for replicas, failed in ((1, "variables.replicas > 1"), (2, "variables.oddReplicas")):
        answer = await marked.call("POST", f"{SPACE}/deployments", workload("d", replicas))
        assert answer.body["message"].endswith(f"failed expression: {failed}")
    await marked.create(f"{SPACE}/deployments", workload("odd", 3))


@pytest.mark.conformance("MutatingAdmissionPolicy [Privileged:ClusterAdmin] should mutate a Deployment")
@pytest.mark.conformance(
    "MutatingAdmissionPolicy [Privileged:ClusterAdmin] should mutate a Deployment with annotations"
)
@pytest.mark.parametrize("version", ["v1", "v1beta1"])
async def test_a_deployment_is_mutated(marked: Client, version):
    expressions = [
        'Object{\n  metadata: Object.metadata{\n    annotations: {\n      "mutated-by": "admission-policy"\n    }\n  }\n}',
        "Object{spec: Object.spec{replicas: object.spec.replicas + 1}}",
    ]
    spec = mutating(*expressions, rules=ON_DEPLOYMENTS, matchConstraints=MARKED)
    group = GROUP.replace("/v1", f"/{version}")
    await marked.create(
        f"{group}/mutatingadmissionpolicies", {"metadata": {"name": "m.example.com"}, "spec": spec}
    )
    bound = {"policyName": "m.example.com", "matchResources": MARKED}
    await marked.create(
        f"{group}/mutatingadmissionpolicybindings", {"metadata": {"name": "b.example.com"}, "spec": bound}
    )
    made = await marked.create(f"{SPACE}/deployments", workload("test-deployment", 2))
    assert made["metadata"]["annotations"]["mutated-by"] == "admission-policy"
    assert made["spec"]["replicas"] == 3
    other = await marked.create(f"{SPACE.replace('e2e', 'default')}/deployments", workload("elsewhere", 2))
    assert other["spec"]["replicas"] == 2


BOUND = {"policyName": "p.example.com"}
MUTATE = mutating(
    "Object{metadata: Object.metadata{annotations: {'my-foo-annotation': 'myAnnotationValue'}}}",
    rules=[rule("deployments", "apps", operations=["CREATE"])],
)
VALIDATE = validating("object.spec.replicas <= 100", rules=ON_DEPLOYMENTS)


@pytest.mark.parametrize(
    ("path", "spec", "change"),
    [
        (POLICIES, VALIDATE, {"failurePolicy": "Ignore"}),
        (BINDINGS, {**BOUND, "validationActions": ["Deny"]}, {"validationActions": ["Warn"]}),
        (MUTATING, MUTATE, {"failurePolicy": "Ignore"}),
        (MUTATING_BINDINGS, BOUND, {"policyName": "q.example.com"}),
    ],
)
async def test_operations(client: Client, path: str, spec: Object, change: dict[str, Any]):
    plural = path.rpartition("/")[2]
    groups = (await client.get("/apis"))["groups"]
    [group] = [each for each in groups if each["name"] == "admissionregistration.k8s.io"]
    assert "v1" in [each["version"] for each in group["versions"]]
    assert (await client.get("/apis/admissionregistration.k8s.io"))["versions"] == group["versions"]
    served = {each["name"]: each for each in (await client.get(GROUP))["resources"]}
    assert set(served[plural]["verbs"]) == {
        "create", "delete", "deletecollection", "get", "list", "patch", "update", "watch",
    }  # fmt: skip
    assert (f"{plural}/status" in served) == (plural == "validatingadmissionpolicies")

    template = {"metadata": {"generateName": "e2e-example-", "labels": {"e2e": "mine"}}, "spec": spec}
    selected = f"{path}?labelSelector=e2e%3Dmine"
    made = [await client.create(path, template) for _ in range(3)][-1]
    target = f"{path}/{made['metadata']['name']}"
    assert (await client.get(target))["metadata"]["uid"] == made["metadata"]["uid"]
    listed = await client.get(selected)
    assert len(listed["items"]) == 3
    watch = await client.watch(f"{selected}&watch=1&resourceVersion={listed['metadata']['resourceVersion']}")
    patched = await client.patch(target, {"metadata": {"annotations": {"patched": "true"}}, "spec": change})
    assert {**patched["spec"], **change} == patched["spec"]
    patched["metadata"]["annotations"]["updated"] = "true"
    updated = await client.put(target, patched)
    assert updated["metadata"]["annotations"] == {"patched": "true", "updated": "true"}
    assert [kind for kind, _ in watch.summary()] == ["MODIFIED", "MODIFIED"]
    watch.leave()
    if f"{plural}/status" in served:
        updated["status"] = {"observedGeneration": 1, "conditions": []}
        assert (await client.put(f"{target}/status", updated))["status"]["observedGeneration"] == 1
        patch = {"metadata": {"annotations": {"patchedstatus": "true"}}, "status": {"observedGeneration": 2}}
        assert (await client.patch(f"{target}/status", patch))["status"]["observedGeneration"] == 2
    await client.delete(target)
    assert (await client.call("GET", target)).status == 404
    assert len((await client.get(selected))["items"]) == 2
    await client.delete(selected)
    assert (await client.get(selected))["items"] == []
