"""Tables: what `kubectl get` prints, made on the server (meta.k8s.io/v1 Table).

Of a row nothing changes with time but how long ago something was. Its bytes are made once and kept with the record, in pieces
around those texts; the metadata beside them is a slice of the record's own bytes. So a list that is printed again decodes nothing,
and what is kept is some 200 bytes a row, little beside the 5 KB of a pod.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from datetime import datetime
from functools import lru_cache
from typing import Any, TypeAlias

import orjson

from tiphys.api.columns import DEFAULT_TABLE, Later, since
from tiphys.api.resource import Object, Resource, Table
from tiphys.apiserver.records import Record
from tiphys.machinery import errors
from tiphys.machinery.errors import FieldError, Path

INCLUDE = ("Metadata", "Object", "None")
Printed: TypeAlias = tuple[Table, slice, bytes, str | None, bytes, tuple[tuple[str, bytes], ...]]
"""What is kept of a row: its table, where in the bytes of its record the metadata stands, the row up to a time, that time, what comes
behind it up to the object; and then further times, each with what comes behind it. A row without any has None."""
_MARK = orjson.dumps(Later.MARK)[1:-1]
_SHARED = 1024
"""How many endings of rows and places of metadata are remembered: those of objects made from one template are the same."""


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
        self._later = Later()
        partial = b'"kind":"PartialObjectMetadata","apiVersion":"%b","metadata":' % self._api_version.encode()
        self._before_object, self._behind, self._whole = {
            "Metadata": (b',"object":{%b' % partial, b"}},", None),
            "Object": (b',"object":', b"},", slice(None)),
            "None": (b"", b"},", slice(0)),
        }[self.include]

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

    def rows(self, records: Iterable[Record], ages: Ages) -> list[bytes]:
        """The rows of records that are in the version of the table, each with a comma behind it, in pieces."""
        table, before_object, behind, whole = self._table, self._before_object, self._behind, self._whole
        pieces: list[bytes] = []
        for record in records:
            printed = record.printed
            if printed is None or printed[0] is not table:
                printed = self._print(record)
                if printed is None:
                    pieces += (self.row(record.printable, ages.now), b",")
                    continue
                record.printed = printed
            _, span, before, time, after, more = printed
            if more:
                after = b"".join((after, *(piece for each, text in more for piece in (ages[each], text))))
            pieces += (before, ages[time], after, before_object, record.data[whole or span], behind)
        return pieces

    def _print(self, record: Record) -> Printed | None:
        """None: it must be made anew each time, for we did not write its bytes, or they look like our marks."""
        obj, later = record.peek(), self._later
        span = record.metadata_span(obj["metadata"])
        later.asked = 0
        before, *rest = orjson.dumps(_cells(self._table, obj, later))[:-1].split(_MARK)
        if span is None or len(rest) != 2 * later.asked:
            return None
        place = _slice(*span)
        if not rest:
            return (self._table, place, before, None, b"", ())
        times = [sys.intern(time.decode()) for time in rest[::2]]
        more = tuple(zip(times[1:], rest[3::2], strict=True))
        return (self._table, place, before, times[0], _shared(rest[1]), more)

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


@lru_cache(maxsize=_SHARED)
def _slice(begin: int, end: int) -> slice:
    return slice(begin, end)


@lru_cache(maxsize=_SHARED)
def _shared(text: bytes) -> bytes:
    return text


class Ages(dict[str | None, bytes]):
    """How long ago times were: thousands of objects were made in few different seconds. Of no time there is nothing to say."""

    def __init__(self, now: datetime) -> None:
        super().__init__({None: b""})
        self.now = now

    def __missing__(self, time: str | None) -> bytes:
        text = self[time] = since(time, self.now).encode()
        return text


def _cells(table: Table, obj: Object, now: datetime) -> dict[str, Any]:
    row: dict[str, Any] = {"cells": table.cells(obj, now)}
    if table.conditions is not None and (found := table.conditions(obj)):
        row["conditions"] = found
    return row
