"""Cluster roles that consist of others follow them."""

from __future__ import annotations

from typing import Any

from tiphys.client.resources import CLUSTERROLES
from tiphys.controllers.cluster_role_aggregation import CONTROLLER
from tiphys.testing.world import World

LABEL = "rbac.authorization.k8s.io/aggregate-to-view"
PODS = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}
CRONS = {"apiGroups": ["stable.example.com"], "resources": ["crontabs"], "verbs": ["get"]}


def put(world: World, name: str, *rules: Any, **labels: str) -> None:
    world.api.put(CLUSTERROLES, {"metadata": {"name": name, "labels": labels}, "rules": list(rules)})


def rules(world: World, name: str) -> Any:
    return next(role for role in world.api.objects(CLUSTERROLES) if role["metadata"]["name"] == name)["rules"]


async def test_a_role_takes_the_rules_of_those_that_are_labelled_for_it(world: World) -> None:
    selectors = [{"matchLabels": {LABEL: "true"}}]
    view = {"metadata": {"name": "view"}, "aggregationRule": {"clusterRoleSelectors": selectors}}
    world.api.put(CLUSTERROLES, {**view, "rules": None})
    put(world, "b", PODS, **{LABEL: "true"})
    put(world, "other", CRONS)
    await world.start(CONTROLLER)
    assert rules(world, "view") == [PODS]
    put(world, "a", CRONS, PODS, **{LABEL: "true"})
    await world.settle()
    assert rules(world, "view") == [CRONS, PODS]
    written = world.api.resource_version
    await world.settle()
    assert world.api.resource_version == written
    put(world, "a", CRONS)
    await world.settle()
    assert rules(world, "view") == [PODS]
    assert rules(world, "other") == [CRONS]
