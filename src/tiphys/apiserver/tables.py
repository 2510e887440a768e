"""Tables: what `kubectl get` prints, made on the server (meta.k8s.io/v1 Table)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

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
        self._api_version = f"meta.k8s.io/{version}"
        self._table: Table = row.table or DEFAULT_TABLE

    def table(
        self, objects: Sequence[Object], meta: Object, now: datetime, *, headers: bool = True
    ) -> Object:
        """A whole Table; without `headers` (later events of a watch) the columns are left out."""
        rows = [self._row(item, now) for item in objects]
        table: Object = {
            "kind": "Table",
            "apiVersion": self._api_version,
            "metadata": meta,
            "columnDefinitions": self._columns() if headers else None,
            "rows": rows,
        }
        return table

    def _row(self, item: Object, now: datetime) -> Object:
        table = self._table
        row: Object = {"cells": table.cells(item, now)}
        if table.conditions is not None and (found := table.conditions(item)):
            row["conditions"] = found
        if self.include == "Metadata":
            partial = {"kind": "PartialObjectMetadata", "apiVersion": self._api_version}
            row["object"] = {**partial, "metadata": item["metadata"]}
        elif self.include == "Object":
            row["object"] = item
        return row

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
