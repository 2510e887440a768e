"""Deletes requests that are done with (`pkg/controller/certificates/cleaner`): signed, denied or failed an hour ago, or left lying
for a day, or for a certificate that has expired. Upstream looks every hour; here each goes when its time comes."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import datetime, timedelta

from cryptography import x509

from tiphys.client.cache import View
from tiphys.client.resources import CERTIFICATESIGNINGREQUESTS
from tiphys.client.transport import Object
from tiphys.controllers.actions import NOTHING, Delete, Plan
from tiphys.controllers.runner import Controller
from tiphys.machinery import meta

DONE = timedelta(hours=1)
PENDING = timedelta(hours=24)


def observe(csr: Object, view: View) -> None:
    del csr, view


def plan(csr: Object, observed: None, now: datetime) -> Plan:
    ends = list(_ends(csr))
    if not ends:
        return NOTHING
    end, reason = min(ends)
    left = (end - now).total_seconds()
    if left > 0:
        return Plan((), left, f"it stays until {meta.format_time(end)}")
    deletion = Delete(CERTIFICATESIGNINGREQUESTS, meta.name(csr), uid=meta.uid(csr))
    return Plan((deletion,), reason=reason)


def _ends(csr: Object) -> Iterator[tuple[datetime, str]]:
    """When it may go, and why."""
    status = csr.get("status") or {}
    signed, conditions = status.get("certificate"), status.get("conditions") or ()
    if not conditions:
        created = meta.metadata(csr).get("creationTimestamp")
        if created:
            yield meta.parse_time(created) + PENDING, "nobody decided for a day"
    for condition in conditions:
        kind, time = condition.get("type"), condition.get("lastUpdateTime")
        if kind == "Approved" and signed and (expiry := _expiry(signed)) is not None:
            yield expiry, "its certificate has expired"
        if not time:
            continue
        if kind in ("Denied", "Failed"):
            yield meta.parse_time(time) + DONE, f"it has been {kind.lower()} for an hour"
        elif kind == "Approved":
            life = DONE if signed else PENDING
            yield meta.parse_time(time) + life, "it was approved long ago"


def _expiry(certificate: str) -> datetime | None:
    try:
        return x509.load_pem_x509_certificate(base64.b64decode(certificate)).not_valid_after_utc
    except ValueError:
        return None


CONTROLLER = Controller(
    name="certificatesigningrequest-cleaner-controller",
    kind=CERTIFICATESIGNINGREQUESTS,
    observe=observe,
    plan=plan,
)
