"""Printed columns of storage versions. Names, order and cells are upstream's."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from tiphys.api.columns import AGE, NAME, UNSET, age, list_with_more
from tiphys.api.resource import Column, Object, Table
from tiphys.machinery.meta import name


def _cells(obj: Object, now: datetime) -> list[Any]:
    status = obj.get("status") or {}
    versions = [
        f"{each.get('apiServerID', '')}={each.get('encodingVersion', '')}"
        for each in status.get("storageVersions") or ()
    ]
    common = status.get("commonEncodingVersion")
    return [
        name(obj),
        UNSET if common is None else common,
        list_with_more(versions) or UNSET,
        age(obj, now),
    ]


STORAGE_VERSION = Table(
    (
        NAME,
        Column("CommonEncodingVersion", description="Version that all servers write, if they agree."),
        Column("StorageVersions", description="Version that each server writes."),
        AGE,
    ),
    _cells,
)
