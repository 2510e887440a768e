"""Tables: what `kubectl get` prints, made on the server (meta.k8s.io/v1 Table).

Of most rows nothing changes with time but the age. Their bytes are made once and kept with the record, in two pieces around
the age; the metadata beside them is a slice of the record's own bytes. So a list that is printed again decodes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import orjson

from tiphys.api.columns import DEFAULT_TABLE, since
from tiphys.api.resource import Object, Resource, Table
from tiphys.apiserver.records import Record
from tiphys.machinery import errors
from tiphys.machinery.errors import FieldError, Path

INCLUDE = ("Metadata", "Object", "None")
_LATER = timedelta(days=36_500)
"""By then every text about a length of time is another one."""


class TablePrinter:
    """Makes Tables of one kind. `include` is how much of each object goes with its row (`includeObject`)."""

    def __init__(self, row: Resource, *, include: str = "", version: str = "v1") -> None:
        self.include = include or "Metadata"
        if self.include not in INCLUDE:
            fault = FieldError.invalid(
                Path("includeObject"), include, "must be 'Metadata', 'Object', 'None', or empty"
            )
            raise errors.bad_request(f"Unable to convert to Table as requested: {fault}")
        self.version = version
        self._api_version = f"meta.k8s.io/{version}"
        self._table: Table = row.table or DEFAULT_TABLE

    def frame(self, meta: Object, *, headers: bool = True) -> tuple[bytes, bytes]:
        """What stands around the rows; without `headers` (later events of a watch) the columns are left out."""
        table: Object = {
            "kind": "Table",
            "apiVersion": self._api_version,
            "metadata": meta,
            "columnDefinitions": self._columns() if headers else None,
            "rows": [],
        }
        return orjson.dumps(table)[:-2], b"]}"

    def row(self, item: Object, now: datetime) -> bytes:
        """The row of an object that is no record, or not as this table needs it."""
        row = _cells(self._table, item, now)
        if self.include == "Metadata":
            partial = {"kind": "PartialObjectMetadata", "apiVersion": self._api_version}
            row["object"] = {**partial, "metadata": item["metadata"]}
        elif self.include == "Object":
            row["object"] = item
        return orjson.dumps(row)

    def rows(self, records: Iterable[Record], now: datetime) -> list[bytes]:
        """The rows of records that are in the version of the table."""
        include, ages, table = self.include, _Ages(now), self._table
        partial = b',"object":{"kind":"PartialObjectMetadata","apiVersion":"%b","metadata":' % (
            self._api_version.encode()
        )
        rows: list[bytes] = []
        for record in records:
            printed = record.printed
            if printed is None or printed.table is not table:
                printed = _print(table, record, now)
                if printed is None:
                    rows.append(self.row(record.printable, now))
                    continue
                record.printed = printed
            cells, data = printed.before, record.data
            if printed.created is not None:
                cells = b"%b%b%b" % (cells, ages[printed.created], printed.after)
            if include == "Metadata":
                rows.append(b"%b%b%b}}" % (cells, partial, data[printed.begin : printed.end]))
            else:
                rows.append(cells + b"}" if include == "None" else b'%b,"object":%b}' % (cells, data))
        return rows

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


class Printed:
    """The row of a record in one table, up to its object."""

    __slots__ = ("after", "before", "begin", "created", "end", "table")

    def __init__(self, table: Table, span: tuple[int, int], before: bytes) -> None:
        self.table = table
        self.begin, self.end = span
        """Where the metadata stands in the bytes of the record."""
        self.before = before
        self.created: str | None = None
        """The time since when it ages, and then there is an age between `before` and `after`."""
        self.after = b""


def _print(table: Table, record: Record, now: datetime) -> Printed | None:
    """None: the row tells of other times than the age, so that it must be made anew each time."""
    obj = record.peek()
    span = record.metadata_span(obj["metadata"])
    if span is None:
        return None
    row = _cells(table, obj, now)
    cells, later = row["cells"], table.cells(obj, now + _LATER)
    changing = [place for place, cell in enumerate(cells) if cell != later[place]]
    if not changing:
        return Printed(table, span, orjson.dumps(row)[:-1])
    created, place = obj["metadata"].get("creationTimestamp"), changing[0]
    if len(changing) > 1 or cells[place] != since(created, now):
        return None
    printed = Printed(table, span, b'%b%b"' % (b'{"cells":[', _joined(cells[:place], b"%b,")))
    printed.created = created
    rest = orjson.dumps(row).removeprefix(b'{"cells":' + orjson.dumps(cells))
    printed.after = b'"%b]%b' % (_joined(cells[place + 1 :], b",%b"), rest[:-1])
    return printed


def _joined(cells: list[Any], form: bytes) -> bytes:
    return b"".join([form % orjson.dumps(cell) for cell in cells])


class _Ages(dict[str, bytes]):
    """How old what was made at a time is: thousands of objects were made in few different seconds."""

    def __init__(self, now: datetime) -> None:
        self._now = now

    def __missing__(self, created: str) -> bytes:
        text = self[created] = since(created, self._now).encode()
        return text


def _cells(table: Table, obj: Object, now: datetime) -> dict[str, Any]:
    row: dict[str, Any] = {"cells": table.cells(obj, now)}
    if table.conditions is not None and (found := table.conditions(obj)):
        row["conditions"] = found
    return row
