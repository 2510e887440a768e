"""Cluster roles that consist of others: `admin`, `edit` and `view` take the rules of every role that is labelled for them.

A custom resource's author adds a small role with such a label, and everybody who is bound to `view` may view.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from tiphys.client.cache import View
from tiphys.client.resources import CLUSTERROLES
from tiphys.client.transport import Object
from tiphys.controllers.actions import NOTHING, Plan, Update
from tiphys.controllers.runner import Controller, Watch
from tiphys.machinery import meta
from tiphys.machinery.selectors import label_selector_from_dict


def observe(role: Object, view: View) -> list[Object]:
    """The rules of all roles that this one consists of, each once, by the names of the roles."""
    selectors = [label_selector_from_dict(each) for each in _selectors(role)]
    chosen = [
        other
        for other in view.list(CLUSTERROLES)
        if meta.name(other) != meta.name(role)
        and any(selector.matches(meta.labels(other)) for selector in selectors)
    ]
    rules: list[Object] = []
    for other in sorted(chosen, key=meta.name):
        rules += [rule for rule in other.get("rules") or () if rule not in rules]
    return rules


def plan(role: Object, rules: list[Object], now: datetime) -> Plan:
    if not _selectors(role) or (role.get("rules") or []) == rules:
        return NOTHING
    return Plan(
        (Update(CLUSTERROLES, {**role, "rules": rules}),), reason="the roles that it consists of changed"
    )


def _selectors(role: Object) -> list[Object]:
    selectors: list[Object] = (role.get("aggregationRule") or {}).get("clusterRoleSelectors") or []
    return selectors


def _concerned(changed: Object, view: View) -> Iterable[str]:
    """Every role that consists of others: there are few."""
    return (meta.name(role) for role in view.list(CLUSTERROLES) if _selectors(role))


CONTROLLER = Controller(
    name="clusterrole-aggregation-controller",
    kind=CLUSTERROLES,
    observe=observe,
    plan=plan,
    watches=[Watch(CLUSTERROLES, _concerned)],
    workers=1,
)
