"""Taints and tolerations: whether a pod may stand a node. For the scheduler, the eviction of pods and DaemonSets alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Taint = Mapping[str, Any]
Toleration = Mapping[str, Any]


def tolerates(toleration: Toleration, taint: Taint) -> bool:
    """v1.Toleration.ToleratesTaint: an empty effect or key matches all of them; Exists matches any value."""
    if toleration.get("effect") and toleration["effect"] != taint.get("effect"):
        return False
    if toleration.get("key") and toleration["key"] != taint.get("key"):
        return False
    if toleration.get("operator") == "Exists":
        return True
    if not toleration.get("key"):
        return False
    return bool((toleration.get("value") or "") == (taint.get("value") or ""))


def toleration_of(tolerations: Iterable[Toleration], taint: Taint) -> Toleration | None:
    """The first toleration that tolerates the taint."""
    return next((toleration for toleration in tolerations if tolerates(toleration, taint)), None)
