"""Fields that an event of events.k8s.io always shows, also when they say nothing."""

from __future__ import annotations

from tiphys.api.resource import Object


def event(obj: Object) -> None:
    for field in ("regarding", "deprecatedSource"):
        obj.setdefault(field, {})
