"""Printed columns of API priority and fairness. Names, order and cells are upstream's."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from tiphys.api.columns import AGE, NAME, NONE, age
from tiphys.api.resource import Column, Object, Table
from tiphys.machinery.meta import conditions, find_condition, name


def _flow_schema_cells(obj: Object, now: datetime) -> list[Any]:
    spec = obj.get("spec") or {}
    dangling = find_condition(conditions(obj), "Dangling")
    return [
        name(obj),
        (spec.get("priorityLevelConfiguration") or {}).get("name") or "",
        spec.get("matchingPrecedence") or 0,
        (spec.get("distinguisherMethod") or {}).get("type") or NONE,
        age(obj, now),
        "?" if dangling is None else dangling.get("status", ""),
    ]


FLOW_SCHEMA = Table(
    (
        NAME,
        Column("PriorityLevel", description="Priority level of matching requests."),
        Column("MatchingPrecedence", description="Schemas with less are tried first."),
        Column("DistinguisherMethod", description="What tells flows apart."),
        AGE,
        Column("MissingPL", description="Whether the priority level does not exist."),
    ),
    _flow_schema_cells,
)


def _level_cells(obj: Object, now: datetime) -> list[Any]:
    spec = obj.get("spec") or {}
    limited = spec.get("limited") or {}
    queuing = (limited.get("limitResponse") or {}).get("queuing") or {}
    sizes = (queuing.get(field, NONE) for field in ("queues", "handSize", "queueLengthLimit"))
    return [
        name(obj),
        spec.get("type") or "",
        limited.get("nominalConcurrencyShares", NONE),
        *sizes,
        age(obj, now),
    ]


PRIORITY_LEVEL_CONFIGURATION = Table(
    (
        NAME,
        Column("Type", description="Exempt or Limited."),
        Column("NominalConcurrencyShares", description="Shares of the server's concurrency."),
        Column("Queues", description="Number of queues."),
        Column("HandSize", description="Number of queues that a flow is dealt."),
        Column("QueueLengthLimit", description="Length at which a queue is full."),
        AGE,
    ),
    _level_cells,
)
