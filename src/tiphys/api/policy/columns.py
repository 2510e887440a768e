"""Printed columns of disruption budgets. Names, order and cells are upstream's."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from tiphys.api.columns import AGE, NAME, age
from tiphys.api.resource import Column, Object, Table
from tiphys.machinery.meta import name


def _cells(obj: Object, now: datetime) -> list[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    return [
        name(obj),
        _limit(spec.get("minAvailable")),
        _limit(spec.get("maxUnavailable")),
        status.get("disruptionsAllowed") or 0,
        age(obj, now),
    ]


def _limit(value: int | str | None) -> str:
    return "N/A" if value is None else str(value)


POD_DISRUPTION_BUDGET = Table(
    (
        NAME,
        Column("Min Available", description="So many pods must stay available."),
        Column("Max Unavailable", description="So many pods may be unavailable."),
        Column(
            "Allowed Disruptions", type="integer", description="Number of pods that may be disrupted now."
        ),
        AGE,
    ),
    _cells,
)
