"""Counting probe results: thresholds, and what they make of a container. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from tiphys.machinery.frozen import frozen

Kind = Literal["startup", "liveness", "readiness"]
FIELDS: Mapping[Kind, str] = {
    "startup": "startupProbe",
    "liveness": "livenessProbe",
    "readiness": "readinessProbe",
}


@frozen
class Tally:
    """Results of one probe of one running container. Liveness begins as a success, readiness and startup as a failure."""

    kind: Kind
    failure_threshold: int = 3
    success_threshold: int = 1
    verdict: bool = False
    streak: int = 0
    last: bool | None = None

    def count(self, *, succeeded: bool) -> Tally:
        """After one more result. The verdict turns once enough results in a row say so."""
        streak = self.streak + 1 if succeeded == self.last else 1
        threshold = self.success_threshold if succeeded else self.failure_threshold
        verdict = succeeded if streak >= threshold else self.verdict
        return replace(self, verdict=verdict, streak=streak, last=succeeded)

    @property
    def has_failed(self) -> bool:
        """Enough failures in a row, and not merely no success yet."""
        return self.last is False and self.streak >= self.failure_threshold


def tally(kind: Kind, probe: Mapping[str, Any]) -> Tally:
    return Tally(
        kind,
        failure_threshold=probe.get("failureThreshold") or 3,
        success_threshold=probe.get("successThreshold") or 1,
        verdict=kind == "liveness",
    )
