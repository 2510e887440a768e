"""Printed columns of autoscalers. Names, order and cells are upstream's."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from tiphys.api.autoscaling.conversion import to_v2
from tiphys.api.columns import AGE, NAME, NONE, UNKNOWN, UNSET, age
from tiphys.api.resource import Column, Object, Table
from tiphys.machinery.meta import name

SHOWN = 2
"""So many metrics are printed; the others are counted."""


def _cells(obj: Object, now: datetime) -> list[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    target = spec.get("scaleTargetRef") or {}
    minimum = spec.get("minReplicas")
    return [
        name(obj),
        f"{target.get('kind', '')}/{target.get('name', '')}",
        targets(spec.get("metrics") or [], status.get("currentMetrics") or []),
        UNSET if minimum is None else str(minimum),
        spec.get("maxReplicas") or 0,
        status.get("currentReplicas") or 0,
        age(obj, now),
    ]


def targets(wanted: list[Object], measured: list[Object]) -> str:
    """`cpu: 5%/80%, 12/100 + 1 more...`"""
    if not wanted:
        return NONE
    texts = [
        _metric(metric, measured[position] if position < len(measured) else {})
        for position, metric in enumerate(wanted)
    ]
    shown = ", ".join(texts[:SHOWN])
    return f"{shown} + {len(texts) - SHOWN} more..." if len(texts) > SHOWN else shown


def _metric(wanted: Object, measured: Object) -> str:
    print_one = _PRINTERS.get(wanted.get("type", ""))
    if print_one is None:
        return "<unknown type>"
    kind, describe = print_one
    source = wanted.get(kind) or {}
    return describe(source, source.get("target") or {}, (measured.get(kind) or {}).get("current") or {})


def _resource(source: Object, target: Object, current: Object) -> str:
    label = source.get("name", "")
    if target.get("averageValue") is not None:
        return f"{label}: {_shown(current.get('averageValue'))}/{target['averageValue']}"
    utilization, goal = current.get("averageUtilization"), target.get("averageUtilization")
    have = UNKNOWN if utilization is None else f"{utilization}%"
    return f"{label}: {have}/{'<auto>' if goal is None else f'{goal}%'}"


def _pods(source: Object, target: Object, current: Object) -> str:
    return f"{_shown(current.get('averageValue'))}/{target.get('averageValue', UNKNOWN)}"


def _value_or_average(source: Object, target: Object, current: Object) -> str:
    if target.get("averageValue") is not None:
        return f"{_shown(current.get('averageValue'))}/{target['averageValue']} (avg)"
    return f"{_shown(current.get('value'))}/{target.get('value', UNKNOWN)}"


def _shown(value: Any) -> str:
    return UNKNOWN if value is None else str(value)


_PRINTERS: dict[str, tuple[str, Callable[[Object, Object, Object], str]]] = {
    "Resource": ("resource", _resource),
    "ContainerResource": ("containerResource", _resource),
    "Pods": ("pods", _pods),
    "Object": ("object", _value_or_average),
    "External": ("external", _value_or_average),
}
_COLUMNS = (
    NAME,
    Column("Reference", description="What is scaled."),
    Column("Targets", description="Metrics as they are and as they should be."),
    Column("MinPods", description="There are never fewer pods."),
    Column("MaxPods", description="There are never more pods."),
    Column("Replicas", description="Number of pods that there are."),
    AGE,
)
HORIZONTAL_POD_AUTOSCALER = Table(_COLUMNS, _cells)
HORIZONTAL_POD_AUTOSCALER_V1 = Table(_COLUMNS, lambda obj, now: _cells(to_v2(obj), now))
