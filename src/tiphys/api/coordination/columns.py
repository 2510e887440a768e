"""Printed columns of leases and of who would like one. Names, order and cells are upstream's."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from tiphys.api.columns import AGE, NAME, age
from tiphys.api.resource import Column, Object, Table
from tiphys.machinery.meta import name


def _lease_cells(obj: Object, now: datetime) -> list[Any]:
    return [name(obj), (obj.get("spec") or {}).get("holderIdentity") or "", age(obj, now)]


LEASE = Table((NAME, Column("Holder", description="Who holds the lease."), AGE), _lease_cells)


def _candidate_cells(obj: Object, now: datetime) -> list[Any]:
    spec = obj.get("spec") or {}
    fields = ("leaseName", "binaryVersion", "emulationVersion")
    return [name(obj), *(spec.get(field) or "" for field in fields), age(obj, now)]


LEASE_CANDIDATE = Table(
    (
        NAME,
        Column("LeaseName", description="Lease that is wanted."),
        Column("BinaryVersion", description="Version of the candidate."),
        Column("EmulationVersion", description="Version that the candidate behaves as."),
        AGE,
    ),
    _candidate_cells,
)
