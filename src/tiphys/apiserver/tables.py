"""Tables: what `kubectl get` prints, made on the server (meta.k8s.io/v1 Table)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from tiphys.api.columns import DEFAULT_TABLE
from tiphys.api.resource import Object, Resource, Table
from tiphys.machinery import errors

INCLUDE = ("Metadata", "Object", "None")


class TablePrinter:
    """Makes Tables of one kind. `include` is how much of each object goes with its row (`includeObject`)."""

    def __init__(self, row: Resource, *, include: str = "", version: str = "v1") -> None:
        self.include = include or "Metadata"
        if self.include not in INCLUDE:
            raise errors.bad_request(
                f'unrecognized includeObject value: "{include}"; must be one of Metadata, Object, None'
            )
        self.version = version
        self._table: Table = row.table or DEFAULT_TABLE

    def table(
        self, objects: Sequence[Object], meta: Object, now: datetime, *, headers: bool = True
    ) -> Object:
        """A whole Table; without `headers` (later events of a watch) the columns are left out."""
        cells = self._table.cells
        rows = [
            {"cells": cells(item, now), **self._conditions(item), **self._object(item)} for item in objects
        ]
        table: Object = {
            "kind": "Table",
            "apiVersion": f"meta.k8s.io/{self.version}",
            "metadata": meta,
            "columnDefinitions": self._columns() if headers else None,
            "rows": rows,
        }
        return table

    def _conditions(self, item: Object) -> dict[str, Any]:
        found = self._table.conditions(item) if self._table.conditions is not None else None
        return {"conditions": found} if found else {}

    def _columns(self) -> list[Object]:
        return [
            {
                "name": column.name,
                "type": column.type,
                "format": column.format,
                "description": column.description,
                "priority": column.priority,
            }
            for column in self._table.columns
        ]

    def _object(self, item: Object) -> dict[str, Any]:
        if self.include == "Object":
            return {"object": item}
        if self.include == "None":
            return {}
        partial = {"kind": "PartialObjectMetadata", "apiVersion": f"meta.k8s.io/{self.version}"}
        return {"object": {**partial, "metadata": item["metadata"]}}
