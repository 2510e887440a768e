"""A taint remembers since when it is there: pods that tolerate it for a time are evicted by that."""

from __future__ import annotations

from tiphys.api.resource import Object


def device_taint_rule(new: Object, old: Object | None) -> None:
    taint = (new.get("spec") or {}).get("taint")
    if taint is None or taint.get("timeAdded"):
        return
    before = ((old or {}).get("spec") or {}).get("taint") or {}
    if (before.get("key"), before.get("effect"), before.get("value")) == (
        taint.get("key"),
        taint.get("effect"),
        taint.get("value"),
    ):
        taint["timeAdded"] = before.get("timeAdded")
    elif old is None:
        taint["timeAdded"] = new["metadata"].get("creationTimestamp")
