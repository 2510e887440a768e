"""A taint remembers since when it is there: pods that tolerate it for a time are evicted by that."""

from __future__ import annotations

from tiphys.api.resource import Object

_SAME = ("key", "value", "effect")


def device_taint_rule(new: Object, old: Object | None) -> None:
    """A taint without a time gets that of the rule's creation, and keeps it for as long as it is the same taint."""
    taint = (new.get("spec") or {}).get("taint")
    if taint is None or taint.get("timeAdded"):
        return
    if old is None:
        time = new["metadata"].get("creationTimestamp")
    else:
        before = (old.get("spec") or {}).get("taint") or {}
        same = all(taint.get(field) == before.get(field) for field in _SAME)
        time = before.get("timeAdded") if same else None
    if time:
        taint["timeAdded"] = time
