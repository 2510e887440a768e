"""Printed columns of what nodes and pods use. Names, order and cells are metrics-server's."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from tiphys.api.columns import NAME
from tiphys.api.resource import Column, Object, Table
from tiphys.machinery.meta import name
from tiphys.machinery.quantity import ZERO, parse

_COLUMNS = (
    NAME,
    Column("cpu", format="quantity", description="Processor that is used, in cores."),
    Column("memory", format="quantity", description="Memory that is used."),
    Column("Window", format="duration", description="How long was measured."),
)


def _node(obj: Object, now: datetime) -> list[Any]:
    usage = obj.get("usage") or {}
    return [name(obj), usage.get("cpu", "0"), usage.get("memory", "0"), obj.get("window", "")]


def _pod(obj: Object, now: datetime) -> list[Any]:
    """All containers together."""
    containers = obj.get("containers") or ()
    usages = [container.get("usage") or {} for container in containers]
    amounts = [
        str(sum((parse(usage.get(resource, "0")) for usage in usages), ZERO))
        for resource in ("cpu", "memory")
    ]
    return [name(obj), *amounts, obj.get("window", "")]


NODE_METRICS = Table(_COLUMNS, _node)
POD_METRICS = Table(_COLUMNS, _pod)
