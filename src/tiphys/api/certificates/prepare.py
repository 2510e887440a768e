"""What a write of a certificate request may not decide for itself (`pkg/registry/certificates/certificates`).

A request stays as it was made. Approvers write conditions through `/approval`, signers the certificate through `/status`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from tiphys.api.resource import Object
from tiphys.machinery.meta import format_time

_VERDICTS = ("Approved", "Denied")


def certificate_signing_request(new: Object, old: Object | None) -> None:
    if old is not None:
        new["spec"] = old["spec"]


def requested_by(new: Object, user: Mapping[str, Any]) -> None:
    """A request says who asks; signers and approvers rely on it, so it is the API server's word and never the client's."""
    spec = new.setdefault("spec", {})
    for name in ("username", "uid", "groups", "extra"):
        if user.get(name):
            spec[name] = user[name]
        else:
            spec.pop(name, None)


def approval(new: Object, old: Object | None) -> None:
    if old is None:
        return
    conditions = (new.get("status") or {}).get("conditions")
    new["spec"] = old["spec"]
    status = dict(old.get("status") or {})
    if conditions:
        status["conditions"] = conditions
    else:
        status.pop("conditions", None)
    new["status"] = status


def status(new: Object, old: Object | None) -> None:
    """A signer cannot approve: those two conditions stay as they are."""
    if old is None:
        return
    new["spec"] = old["spec"]
    found = new.setdefault("status", {})
    before = (old.get("status") or {}).get("conditions") or []
    others = [each for each in found.get("conditions") or () if each.get("type") not in _VERDICTS]
    kept = [each for each in before if each.get("type") in _VERDICTS]
    found.pop("conditions", None)
    if kept or others:
        found["conditions"] = [*kept, *others]


def condition_times(new: Object, old: Object, now: datetime) -> None:
    """A condition that says nothing of its times was written now; one that was there before as it is has changed when it says."""
    status = new.get("status") or {}
    conditions, before = status.get("conditions") or [], (old.get("status") or {}).get("conditions") or []
    if not conditions or conditions == before:
        return
    known = {(each.get("type"), each.get("status")): each.get("lastTransitionTime") for each in before}
    moment = format_time(now)
    status["conditions"] = [
        {
            **each,
            "lastUpdateTime": each.get("lastUpdateTime") or moment,
            "lastTransitionTime": each.get("lastTransitionTime")
            or known.get((each.get("type"), each.get("status")))
            or moment,
        }
        for each in conditions
    ]
