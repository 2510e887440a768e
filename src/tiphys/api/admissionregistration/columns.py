"""Printed columns of webhooks and admission policies. Names, order and cells are upstream's."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from tiphys.api.columns import AGE, NAME, UNSET, age
from tiphys.api.resource import Column, Object, Table
from tiphys.machinery.meta import name


def _webhook_cells(obj: Object, now: datetime) -> list[Any]:
    return [name(obj), len(obj.get("webhooks") or ()), age(obj, now)]


WEBHOOK_CONFIGURATION = Table(
    (NAME, Column("Webhooks", type="integer", description="Number of webhooks."), AGE), _webhook_cells
)


def _policy(heading: str, field: str) -> Table:
    def cells(obj: Object, now: datetime) -> list[Any]:
        spec = obj.get("spec") or {}
        return [name(obj), len(spec.get(field) or ()), _kind(spec.get("paramKind")), age(obj, now)]

    return Table(
        (
            NAME,
            Column(heading, type="integer", description=f"Number of {field}."),
            Column("ParamKind", description="Kind of the parameters."),
            AGE,
        ),
        cells,
    )


def _kind(reference: Object | None) -> str:
    if reference is None:
        return UNSET
    return f"{reference.get('apiVersion', '')}/{reference.get('kind', '')}"


VALIDATING_ADMISSION_POLICY = _policy("Validations", "validations")
MUTATING_ADMISSION_POLICY = _policy("Mutations", "mutations")


def _binding_cells(obj: Object, now: datetime) -> list[Any]:
    spec = obj.get("spec") or {}
    return [name(obj), spec.get("policyName") or "", _parameters(spec.get("paramRef")), age(obj, now)]


def _parameters(reference: Object | None) -> str:
    if reference is None:
        return UNSET
    if reference.get("namespace"):
        return f"{reference['namespace']}/{reference.get('name', '')}"
    return reference.get("name") or ""


BINDING = Table(
    (
        NAME,
        Column("PolicyName", description="Policy that is put in force."),
        Column("ParamRef", description="Parameters of the policy."),
        AGE,
    ),
    _binding_cells,
)
"""Of a validating and of a mutating policy."""
