"""Counts that a disruption budget always shows."""

from __future__ import annotations

from tiphys.api.defaults import part
from tiphys.api.resource import Object


def pod_disruption_budget(obj: Object) -> None:
    part(obj, "spec")
    status = part(obj, "status")
    for count in ("disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"):
        status.setdefault(count, 0)
