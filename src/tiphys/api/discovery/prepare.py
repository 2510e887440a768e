"""What a write of an endpoint slice may not decide for itself (upstream's `pkg/registry/discovery/endpointslice`)."""

from __future__ import annotations

from tiphys.api.resource import Object


def endpoint_slice(new: Object, old: Object | None) -> None:
    """Labels count as intent too: they say whose endpoints these are."""
    if old is None:
        return
    metadata, before = new["metadata"], old["metadata"]
    if (metadata.get("labels") or {}) != (before.get("labels") or {}):
        metadata["generation"] = before.get("generation", 0) + 1
