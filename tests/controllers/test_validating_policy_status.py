"""What the type checker finds in the expressions of policies, and how it comes into their status."""

from __future__ import annotations

from typing import Any

import pytest

from tiphys.api.admissionregistration.type_checking import check, kinds_of, resources_of
from tiphys.api.scheme import built_in
from tiphys.api.types import TYPES, schema_of
from tiphys.client.resources import VALIDATINGADMISSIONPOLICIES
from tiphys.controllers.validating_policy_status import CONTROLLER
from tiphys.machinery.gvk import GroupVersionKind, GroupVersionResource
from tiphys.machinery.schema.expressions import expression_type
from tiphys.testing.world import World

SCHEME = built_in()
DEPLOYMENT = GroupVersionKind("apps", "v1", "Deployment")
CONFIG_MAP = expression_type(TYPES.struct("core/v1.ConfigMap"))


def rule(resources: list[str], groups: list[str] | None = None, versions: list[str] | None = None) -> Any:
    return {
        "apiGroups": groups or ["apps"],
        "apiVersions": versions or ["v1"],
        "operations": ["*"],
        "resources": resources,
    }


def spec(*expressions: str, rules: Any = (), **more: Any) -> Any:
    validations = [{"expression": each} for each in expressions]
    return {"matchConstraints": {"resourceRules": list(rules)}, "validations": validations, **more}


def deployment_type() -> Any:
    return expression_type(schema_of(SCHEME.by_kind(DEPLOYMENT)).struct)


@pytest.mark.parametrize(
    ("expression", "complaint"),
    [
        ("object.spec.replicas > 1 && oldObject.spec.replicas < 3", ""),
        ("object.metadata.creationTimestamp < timestamp('2030-01-01T00:00:00Z')", ""),
        ("object.spec.template.spec.containers.all(c, c.image.startsWith('a'))", ""),
        ("object.spec.template.spec.containers.all(c, c.resources.limits['cpu'] == '1')", ""),
        (
            "object.spec.strategy.rollingUpdate.maxSurge == 1 || object.spec.strategy.rollingUpdate.maxSurge == '5%'",
            "",
        ),
        ("object.metadata.labels['a'] == 'b' && 'c' in object.metadata.annotations", ""),
        ("variables.n > 3 && variables.text == 'x'", ""),
        ("request.userInfo.username == 'a' && authorizer.path('/x').check('get').allowed()", ""),
        ("namespaceObject.metadata.name == object.metadata.__namespace__ && request.namespace == 'x'", ""),
        ("object.spec.bar == 1", "1:12: undefined field 'bar'\n | object.spec.bar == 1\n | ...........^"),
        (
            "object.spec.replicas == 'x'",
            "1:22: found no matching overload for '_==_' applied to '(int, string)'\n"
            " | object.spec.replicas == 'x'\n | .....................^",
        ),
        ("variables.m", "1:10: undefined field 'm'\n | variables.m\n | .........^"),
        (
            "params.x == 1",
            "1:1: undeclared reference to 'params' (in container '')\n | params.x == 1\n | ^",
        ),
    ],
)
def test_findings(expression, complaint):
    variables = [
        {"name": "n", "expression": "object.spec.replicas + 1"},
        {"name": "text", "expression": "object.spec.wrong"},
    ]
    found = check(spec(expression, variables=variables), [(DEPLOYMENT, deployment_type())], None)
    shown = f"apps/v1, Kind=Deployment: ERROR: <input>:{complaint}\n"
    assert found == ([{"fieldRef": "spec.validations[0].expression", "warning": shown}] if complaint else [])


def test_messages_parameters_and_several_kinds():
    wanted = spec("object.data.size() > 0")
    wanted["validations"][0]["messageExpression"] = "params.data.a + object.nope"
    kind = GroupVersionKind("", "v1", "ConfigMap")
    found = check(wanted, [(kind, CONFIG_MAP), (DEPLOYMENT, deployment_type())], CONFIG_MAP)
    assert [each["fieldRef"].rpartition(".")[2] for each in found] == ["expression", "messageExpression"]
    assert found[0]["warning"].startswith(
        "apps/v1, Kind=Deployment: ERROR: <input>:1:7: undefined field 'data'"
    )
    first, second = found[1]["warning"].split("\n\n")
    assert first.startswith("/v1, Kind=ConfigMap: ERROR: <input>:1:23: undefined field 'nope'")
    assert second.startswith("apps/v1, Kind=Deployment: ERROR")


def test_which_kinds():
    rules = [
        rule(["deployments", "deployments/scale", "*"]),
        rule(["pods"], ["*"]),
        rule(["pods"], [""], ["v1", "*"]),
        rule(["secrets", "configmaps"], [""], ["v1", "v9"]),
    ]
    assert resources_of(spec(rules=rules)) == [
        [GroupVersionResource("apps", "v1", "deployments")],
        [],
        [],
        [
            GroupVersionResource("", version, name)
            for version in ("v1", "v9")
            for name in ("configmaps", "secrets")
        ],
    ]
    served = {row.gvr: row.gvk for row in SCHEME}
    assert [kind.kind for kind in kinds_of(spec(rules=rules), served)] == [
        "ConfigMap",
        "Secret",
        "Deployment",
    ]
    core = sorted(row.plural for row in SCHEME if row.group_version == ("", "v1"))
    assert len(kinds_of(spec(rules=[rule(core, [""]), rules[0]]), served)) == 10


@pytest.mark.parametrize("row", list(SCHEME), ids=lambda row: f"{row.api_version}.{row.kind}")
def test_every_kind_has_a_type(row):
    made = expression_type(schema_of(row).struct)
    assert {"apiVersion", "kind"} <= set(made.fields)


def put(world: World, *expressions: str, generation: int = 1, **status: Any) -> None:
    policy = {
        "metadata": {"name": "p", "generation": generation},
        "spec": spec(*expressions, rules=[rule(["deployments"])]),
        "status": status,
    }
    world.api.put(VALIDATINGADMISSIONPOLICIES, policy)


def status(world: World) -> Any:
    return world.api.objects(VALIDATINGADMISSIONPOLICIES)[0]["status"]


async def test_the_loop(world: World) -> None:
    put(world, "object.spec.replicas > 1")
    await world.start(CONTROLLER)
    assert status(world) == {"observedGeneration": 1, "typeChecking": {}}
    put(world, "object.replicas > 1", generation=2, observedGeneration=1)
    await world.settle()
    assert status(world) == {
        "observedGeneration": 2,
        "typeChecking": {
            "expressionWarnings": [
                {
                    "fieldRef": "spec.validations[0].expression",
                    "warning": "apps/v1, Kind=Deployment: ERROR: <input>:1:7: undefined field 'replicas'\n"
                    " | object.replicas > 1\n | ......^\n",
                }
            ]
        },
    }
    written = world.api.resource_version
    put(world, "object.nope", generation=2, observedGeneration=2)
    await world.settle()
    assert world.api.resource_version == written + 1
