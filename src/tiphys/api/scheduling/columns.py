"""Printed columns of priority classes and of groups of pods. Those of priority classes are upstream's."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from tiphys.api.columns import AGE, NAME, age
from tiphys.api.resource import Column, Object, Table
from tiphys.machinery.meta import name


def _priority_class_cells(obj: Object, now: datetime) -> list[Any]:
    return [
        name(obj),
        obj.get("value") or 0,
        bool(obj.get("globalDefault")),
        age(obj, now),
        obj.get("preemptionPolicy") or "",
    ]


PRIORITY_CLASS = Table(
    (
        NAME,
        Column("Value", type="integer", description="Priority of pods of the class."),
        Column("Global-Default", type="boolean", description="Whether pods without a class have it."),
        AGE,
        Column("PreemptionPolicy", description="Whether pods of the class may displace others."),
    ),
    _priority_class_cells,
)
