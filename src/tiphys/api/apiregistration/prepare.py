"""An APIService without a service is served by the API server itself, and so available from the start."""

from __future__ import annotations

from tiphys.api.resource import Object


def api_service(new: Object, old: Object | None) -> None:
    if old is not None or (new.get("spec") or {}).get("service") is not None:
        return
    created = new["metadata"].get("creationTimestamp")
    available = {
        "type": "Available",
        "status": "True",
        **({"lastTransitionTime": created} if created else {}),
        "reason": "Local",
        "message": "Local APIServices are always available",
    }
    new["status"] = {"conditions": [available]}
