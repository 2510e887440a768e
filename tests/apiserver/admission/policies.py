"""Admission policies and bindings for tests."""

from __future__ import annotations

from typing import Any

from served import Client, Object

GROUP = "/apis/admissionregistration.k8s.io/v1"
POLICIES = f"{GROUP}/validatingadmissionpolicies"
BINDINGS = f"{GROUP}/validatingadmissionpolicybindings"
MUTATING = f"{GROUP}/mutatingadmissionpolicies"
MUTATING_BINDINGS = f"{GROUP}/mutatingadmissionpolicybindings"
MAPS = "/api/v1/namespaces/default/configmaps"


def rule(resources: str = "configmaps", group: str = "", versions: str = "v1", **more: Any) -> Object:
    return {
        "apiGroups": [group],
        "apiVersions": [versions],
        "operations": ["CREATE", "UPDATE"],
        "resources": resources.split(),
        **more,
    }


def validating(*expressions: str | Object, rules: list[Object] | None = None, **spec: Any) -> Object:
    """Expressions are validations, or texts of them."""
    validations = [{"expression": each} if isinstance(each, str) else each for each in expressions]
    constraints = {"resourceRules": rules or [rule()], **spec.pop("matchConstraints", {})}
    return {"matchConstraints": constraints, "validations": validations, **spec}


def mutating(*expressions: str, rules: list[Object] | None = None, **spec: Any) -> Object:
    constraints = {"resourceRules": rules or [rule()], **spec.pop("matchConstraints", {})}
    return {
        "matchConstraints": constraints,
        "mutations": [mutation(each) for each in expressions],
        "reinvocationPolicy": "Never",
        **spec,
    }


def mutation(expression: str) -> Object:
    if expression.lstrip().startswith("Object"):
        return {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}}
    return {"patchType": "JSONPatch", "jsonPatch": {"expression": expression}}


async def add(client: Client, name: str, spec: Object, **binding: Any) -> None:
    """A policy and a binding `<name>-binding`."""
    changes = "mutations" in spec
    policies, bindings = (MUTATING, MUTATING_BINDINGS) if changes else (POLICIES, BINDINGS)
    await client.create(policies, {"metadata": {"name": name}, "spec": spec})
    bound = {"policyName": name, **({} if changes else {"validationActions": ["Deny"]}), **binding}
    await client.create(bindings, {"metadata": {"name": f"{name}-binding"}, "spec": bound})


def config_map(name: str = "a", data: Object | None = None, **metadata: Any) -> Object:
    return {"metadata": {"name": name, **metadata}, "data": data or {}}
