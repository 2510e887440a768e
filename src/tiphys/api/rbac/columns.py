"""Printed columns of bindings; roles print their name and when they were created. As upstream."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from tiphys.api.columns import AGE, NAME, age
from tiphys.api.resource import Column, Object, Table
from tiphys.machinery.meta import name


def _cells(obj: Object, now: datetime) -> list[Any]:
    role = obj.get("roleRef") or {}
    subjects = obj.get("subjects") or ()
    accounts = (
        f"{subject.get('namespace', '')}/{subject.get('name', '')}"
        for subject in subjects
        if subject.get("kind") == "ServiceAccount"
    )
    return [
        name(obj),
        f"{role.get('kind', '')}/{role.get('name', '')}",
        age(obj, now),
        _names(subjects, "User"),
        _names(subjects, "Group"),
        ", ".join(accounts),
    ]


def _names(subjects: Any, kind: str) -> str:
    return ", ".join(subject.get("name", "") for subject in subjects if subject.get("kind") == kind)


BINDING = Table(
    (
        NAME,
        Column("Role", description="Role that the subjects are given."),
        AGE,
        Column("Users", priority=1, description="Users that are bound."),
        Column("Groups", priority=1, description="Groups that are bound."),
        Column("ServiceAccounts", priority=1, description="Service accounts that are bound."),
    ),
    _cells,
)
