"""What a write of a certificate request may not decide for itself (`pkg/registry/certificates/certificates`).

A request stays as it was made. Approvers write conditions through `/approval`, signers the certificate through `/status`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tiphys.api.resource import Object

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
        status["conditions"] = _with_times(conditions, old)
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
        found["conditions"] = [*kept, *_with_times(others, old)]


def _with_times(conditions: list[Object], old: Object) -> list[Object]:
    """Transition times come from what was there; there is no clock here, so a new one without a time has none."""
    before = {each.get("type"): each for each in (old.get("status") or {}).get("conditions") or ()}
    result = []
    for condition in conditions:
        known = before.get(condition.get("type")) or {}
        time = known.get("lastTransitionTime")
        if (
            time
            and not condition.get("lastTransitionTime")
            and known.get("status") == condition.get("status")
        ):
            condition = {**condition, "lastTransitionTime": time}
        result.append(condition)
    return result
