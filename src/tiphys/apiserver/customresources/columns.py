"""The printed columns of a custom resource, from `additionalPrinterColumns` (apiextensions `tableconvertor`)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from tiphys.api.columns import since
from tiphys.api.resource import Column, Object, Table
from tiphys.machinery.jsonpath import JSONPathError, parse_json_path
from tiphys.machinery.meta import name as name_of
from tiphys.machinery.quoting import format_float, go_json

_NAME = Column("Name", format="name", description="Name of the object, unique for its kind and namespace.")
_BEYOND = 1 << 63
_AGE: Object = {
    "name": "Age",
    "type": "date",
    "description": "When the object was created.",
    "jsonPath": ".metadata.creationTimestamp",
}


def table_of(columns: Sequence[Object]) -> Table:
    """The table of a version: the name, and then its columns, or else the age."""
    given = list(columns) or [_AGE]
    try:
        for column in given:
            parse_json_path(column["jsonPath"])
    except JSONPathError:
        given = []  # upstream falls back to the name alone
    paths = [(column["jsonPath"], column["type"]) for column in given]

    def cells(obj: Object, now: datetime) -> list[Any]:
        return [name_of(obj), *(_cell(obj, path, kind, now) for path, kind in paths)]

    return Table((_NAME, *map(_header, given)), cells)


def _header(column: Object) -> Column:
    about = (
        column.get("description")
        or f"Custom resource definition column (in JSONPath format): {column['jsonPath']}"
    )
    return Column(
        column["name"], column["type"], column.get("format") or "", about, column.get("priority") or 0
    )


def _cell(obj: Object, path: str, kind: str, now: datetime) -> Any:
    found = parse_json_path(path).find(obj)
    if not found:
        return None
    value = found[0]
    if kind == "string":
        return _text(value)
    if kind == "boolean":
        return value if isinstance(value, bool) else None
    if kind == "date":
        return _date(value, now) if isinstance(value, str) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return _integer(value) if kind == "integer" else float(value)


def _integer(value: int | float) -> int:
    """What does not fit into 64 bits becomes the least of all, as where upstream runs (amd64)."""
    whole = int(value)
    return whole if -_BEYOND <= whole < _BEYOND else -_BEYOND


def _text(value: Any) -> str:
    """As kubectl's jsonpath prints one value."""
    if isinstance(value, str):
        return value
    if value is None:
        return "<no value>"
    return format_float(value) if isinstance(value, float) else go_json(value)


def _date(text: str, now: datetime) -> str:
    try:
        return since(text, now)
    except ValueError:
        return "<invalid>"
