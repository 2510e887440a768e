"""Printed columns of resource claims, classes and slices. Names, order and cells are upstream's."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from tiphys.api.columns import AGE, NAME, age
from tiphys.api.resource import Column, Object, Table
from tiphys.machinery.meta import is_deleting, name


def _claim_cells(obj: Object, now: datetime) -> list[Any]:
    return [name(obj), _state(obj), age(obj, now)]


def _state(claim: Object) -> str:
    """`allocated,reserved`"""
    status = claim.get("status") or {}
    states = ["deleted"] if is_deleting(claim) else []
    if status.get("allocation") is not None:
        states.append("allocated")
        if status.get("reservedFor"):
            states.append("reserved")
    elif not states:
        states.append("pending")
    return ",".join(states)


RESOURCE_CLAIM = Table(
    (NAME, Column("State", description="Whether devices were given, and to whom."), AGE), _claim_cells
)


def _slice_cells(obj: Object, now: datetime) -> list[Any]:
    spec = obj.get("spec") or {}
    return [
        name(obj),
        spec.get("nodeName") or "",
        spec.get("driver") or "",
        (spec.get("pool") or {}).get("name") or "",
        age(obj, now),
    ]


RESOURCE_SLICE = Table(
    (
        NAME,
        Column("Node", description="Node that has the devices."),
        Column("Driver", description="Driver of the devices."),
        Column("Pool", description="Pool that the slice is part of."),
        AGE,
    ),
    _slice_cells,
)
