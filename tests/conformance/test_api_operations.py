"""Kinds of which the suite asks that they take every verb: made, read, listed, watched, patched, replaced, deleted, and their status."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from served import Client, Object, settle

FLOW = "flowcontrol.apiserver.k8s.io"
ADMISSION = "admissionregistration.k8s.io"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"


@dataclass(frozen=True)
class Kind:
    group: str
    plural: str
    kind: str
    spec: Object
    patched: tuple[tuple[str, ...], Any]
    """A field of the spec, and what a patch makes of it."""
    updated: Any
    """What an update makes of that."""
    status: bool = True

    @property
    def path(self) -> str:
        return f"/apis/{self.group}/v1/{self.plural}"


RULE = {
    "subjects": [{"kind": "User", "user": {"name": "nobody-of-the-kind"}}],
    "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
}
MATCHES = {
    "resourceRules": [
        {"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["deployments"]}
    ]
}
FLOW_SCHEMA = Kind(
    FLOW, "flowschemas", "FlowSchema",
    {
        "matchingPrecedence": 10000,
        "priorityLevelConfiguration": {"name": "global-default"},
        "distinguisherMethod": {"type": "ByUser"},
        "rules": [RULE],
    },
    (("matchingPrecedence",), 9999), 9000,
)  # fmt: skip
PRIORITY_LEVEL = Kind(
    FLOW, "prioritylevelconfigurations", "PriorityLevelConfiguration",
    {"type": "Limited", "limited": {"nominalConcurrencyShares": 2, "limitResponse": {"type": "Reject"}}},
    (("limited", "nominalConcurrencyShares"), 4), 6,
)  # fmt: skip
VALIDATING = Kind(
    ADMISSION, "validatingadmissionpolicies", "ValidatingAdmissionPolicy",
    {"matchConstraints": MATCHES, "validations": [{"expression": "object.spec.replicas > 1"}]},
    (("failurePolicy",), "Ignore"), "Fail",
)  # fmt: skip
VALIDATING_BINDING = Kind(
    ADMISSION, "validatingadmissionpolicybindings", "ValidatingAdmissionPolicyBinding",
    {"policyName": "replicas", "validationActions": ["Deny"]},
    (("validationActions",), ["Warn"]), ["Audit"], status=False,
)  # fmt: skip
MUTATION = {
    "patchType": "ApplyConfiguration",
    "applyConfiguration": {"expression": "Object{spec: Object.spec{replicas: 3}}"},
}
MUTATING = Kind(
    ADMISSION, "mutatingadmissionpolicies", "MutatingAdmissionPolicy",
    {"matchConstraints": MATCHES, "mutations": [MUTATION], "reinvocationPolicy": "Never"},
    (("failurePolicy",), "Ignore"), "Fail", status=False,
)  # fmt: skip
MUTATING_BINDING = Kind(
    ADMISSION, "mutatingadmissionpolicybindings", "MutatingAdmissionPolicyBinding",
    {"policyName": "replicas"}, (("policyName",), "other"), "third", status=False,
)  # fmt: skip


def field(obj: Object, path: tuple[str, ...]) -> Any:
    for name in path:
        obj = obj[name]
    return obj


def nested(path: tuple[str, ...], value: Any) -> Any:
    return {path[0]: nested(path[1:], value)} if path else value


async def items(client: Client, target: str) -> int:
    return len((await client.get(target))["items"])


async def is_discovered(client: Client, kind: Kind) -> None:
    groups = {group["name"]: group for group in (await client.get("/apis"))["groups"]}
    for group in (groups[kind.group], await client.get(f"/apis/{kind.group}")):
        assert "v1" in [version["version"] for version in group["versions"]]
    listed = {resource["name"] for resource in (await client.get(f"/apis/{kind.group}/v1"))["resources"]}
    assert kind.plural in listed
    assert (f"{kind.plural}/status" in listed) is kind.status


async def takes_every_verb(client: Client, kind: Kind, patch: str) -> None:
    await is_discovered(client, kind)
    wanted = {"metadata": {"generateName": "e2e-", "labels": {"e2e": "yes"}}, "spec": kind.spec}
    made = [await client.create(kind.path, wanted) for _ in range(3)][-1]
    one, chosen = f"{kind.path}/{made['metadata']['name']}", f"{kind.path}?labelSelector=e2e%3Dyes"
    assert (await client.get(one))["metadata"]["uid"] == made["metadata"]["uid"]
    listed = await client.get(chosen)
    assert len(listed["items"]) == 3
    watch = await client.watch(f"{chosen}&watch=true&resourceVersion={listed['metadata']['resourceVersion']}")

    where, value = kind.patched
    change = {"metadata": {"annotations": {"patched": "true"}}, "spec": nested(where, value)}
    patched = await client.patch(one, change, patch)
    assert patched["metadata"]["annotations"] == {"patched": "true"}
    assert field(patched["spec"], where) == value
    assert int(patched["metadata"]["resourceVersion"]) > int(made["metadata"]["resourceVersion"])
    current = await client.get(one)
    current["metadata"]["annotations"]["updated"] = "true"
    field(current["spec"], where[:-1])[where[-1]] = kind.updated
    updated = await client.put(one, current)
    assert updated["metadata"]["annotations"] == {"patched": "true", "updated": "true"}
    assert field(updated["spec"], where) == kind.updated
    seen = watch.events()
    assert {how for how, _ in seen} == {"MODIFIED"}, "controllers may change an object, too"
    assert updated in [obj for _, obj in seen]

    if kind.status:
        await has_a_status_of_its_own(client, kind, one)
    await client.delete(one)
    assert (await client.call("GET", one)).status == 404
    assert await items(client, chosen) == 2
    await client.delete(chosen)
    assert await items(client, chosen) == 0


async def has_a_status_of_its_own(client: Client, kind: Kind, one: str) -> None:
    found = await client.get(f"{one}/status")
    assert (found["apiVersion"], found["kind"]) == (f"{kind.group}/v1", kind.kind)
    # As clients in Go write it: a time that is not set is null.
    first = {"type": "PatchStatusFailed", "status": "False", "reason": "e2e", "message": ""}
    first["lastTransitionTime"] = "2026-01-01T00:00:00Z" if kind.group == ADMISSION else None  # type: ignore[assignment]
    patched = await client.patch(f"{one}/status", {"status": {"conditions": [first]}})
    assert "PatchStatusFailed" in [condition["type"] for condition in patched["status"]["conditions"]]
    second = {**first, "type": "StatusUpdateFailed", "message": "Set from a test"}
    await settle()  # a controller writes the status, too: clients would try again
    current = await client.get(one)
    current["status"]["conditions"].append(second)
    replaced = await client.put(f"{one}/status", current)
    assert "StatusUpdateFailed" in [condition["type"] for condition in replaced["status"]["conditions"]]


@pytest.mark.conformance("API priority and fairness should support FlowSchema API operations")
async def test_flow_schemas(client: Client) -> None:
    await takes_every_verb(client, FLOW_SCHEMA, MERGE)


@pytest.mark.conformance("API priority and fairness should support PriorityLevelConfiguration API operations")
async def test_priority_levels(client: Client) -> None:
    await takes_every_verb(client, PRIORITY_LEVEL, MERGE)


@pytest.mark.conformance(
    "ValidatingAdmissionPolicy [Privileged:ClusterAdmin] should support ValidatingAdmissionPolicy API operations"
)
async def test_validating_policies(client: Client) -> None:
    await takes_every_verb(client, VALIDATING, STRATEGIC)


@pytest.mark.conformance(
    "ValidatingAdmissionPolicy [Privileged:ClusterAdmin] should support ValidatingAdmissionPolicyBinding API operations"
)
async def test_validating_policy_bindings(client: Client) -> None:
    await takes_every_verb(client, VALIDATING_BINDING, STRATEGIC)


@pytest.mark.conformance(
    "MutatingAdmissionPolicy [Privileged:ClusterAdmin] should support MutatingAdmissionPolicy API operations"
)
async def test_mutating_policies(client: Client) -> None:
    await takes_every_verb(client, MUTATING, STRATEGIC)


@pytest.mark.conformance(
    "MutatingAdmissionPolicy [Privileged:ClusterAdmin] should support MutatingAdmissionPolicyBinding API operations"
)
async def test_mutating_policy_bindings(client: Client) -> None:
    await takes_every_verb(client, MUTATING_BINDING, STRATEGIC)
