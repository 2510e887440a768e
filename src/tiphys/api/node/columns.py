"""Printed columns of runtime classes. Names, order and cells are upstream's."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from tiphys.api.columns import AGE, NAME, age
from tiphys.api.resource import Column, Object, Table
from tiphys.machinery.meta import name


def _cells(obj: Object, now: datetime) -> list[Any]:
    return [name(obj), obj.get("handler") or "", age(obj, now)]


RUNTIME_CLASS = Table(
    (NAME, Column("Handler", description="Configuration of the container runtime."), AGE), _cells
)
