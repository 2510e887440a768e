"""Printed columns of API services. Names, order and cells are upstream's (kube-aggregator)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from tiphys.api.columns import AGE, NAME, age
from tiphys.api.resource import Column, Object, Table
from tiphys.machinery.meta import conditions, find_condition, name


def _cells(obj: Object, now: datetime) -> list[Any]:
    service = (obj.get("spec") or {}).get("service")
    where = "Local" if service is None else f"{service.get('namespace', '')}/{service.get('name', '')}"
    return [name(obj), where, _available(obj), age(obj, now)]


def _available(obj: Object) -> str:
    condition = find_condition(conditions(obj), "Available")
    if condition is None:
        return "Unknown"
    status: str = condition.get("status", "")
    return status if status == "True" else f"{status} ({condition.get('reason', '')})"


API_SERVICE = Table(
    (
        NAME,
        Column("Service", description="Service that serves the group, or Local."),
        Column("Available", description="Whether it can be reached."),
        AGE,
    ),
    _cells,
)
