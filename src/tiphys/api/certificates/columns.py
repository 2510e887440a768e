"""Printed columns of certificate requests and trust bundles. Names, order and cells are upstream's."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from tiphys.api.columns import AGE, NAME, NONE, age, human_duration
from tiphys.api.resource import Column, Object, Table
from tiphys.machinery.meta import conditions, is_condition_true, name


def _request_cells(obj: Object, now: datetime) -> list[Any]:
    spec = obj.get("spec") or {}
    seconds = spec.get("expirationSeconds")
    return [
        name(obj),
        age(obj, now),
        spec.get("signerName") or NONE,
        spec.get("username") or "",
        NONE if seconds is None else human_duration(seconds),
        _request_condition(obj),
    ]


def _request_condition(request: Object) -> str:
    """`Approved,Issued`"""
    types = {condition.get("type") for condition in conditions(request)}
    verdict = "Denied" if "Denied" in types else "Approved" if "Approved" in types else "Pending"
    failed = ",Failed" if "Failed" in types else ""
    issued = ",Issued" if (request.get("status") or {}).get("certificate") else ""
    return verdict + failed + issued


_SIGNER = Column("SignerName", description="Who shall sign.")
CERTIFICATE_SIGNING_REQUEST = Table(
    (
        NAME,
        AGE,
        _SIGNER,
        Column("Requestor", description="User who asks."),
        Column("RequestedDuration", description="How long the certificate shall be valid."),
        Column("Condition", description="Whether it was approved, and issued."),
    ),
    _request_cells,
)


def _bundle_cells(obj: Object, now: datetime) -> list[Any]:
    return [name(obj), (obj.get("spec") or {}).get("signerName") or NONE]


CLUSTER_TRUST_BUNDLE = Table((NAME, _SIGNER), _bundle_cells)


def _pod_request_cells(obj: Object, now: datetime) -> list[Any]:
    spec = obj.get("spec") or {}
    found = conditions(obj)
    state = next(
        (each for each in ("Denied", "Failed", "Issued") if is_condition_true(found, each)), "Pending"
    )
    fields = ("podName", "serviceAccountName", "nodeName", "signerName")
    return [name(obj), *(spec.get(field) or "" for field in fields), state]


POD_CERTIFICATE_REQUEST = Table(
    (
        NAME,
        Column("PodName", description="Pod that the certificate is for."),
        Column("ServiceAccountName", description="Service account of the pod."),
        Column("NodeName", description="Node of the pod."),
        _SIGNER,
        Column("State", description="Whether it was issued."),
    ),
    _pod_request_cells,
)
