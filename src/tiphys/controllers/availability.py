"""When pods will have been ready for long enough: nobody else tells a controller that time has passed."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from tiphys.client.transport import Object
from tiphys.controllers.pods import available_at


def next_available_seconds(pods: Iterable[Object], min_ready_seconds: int, now: datetime) -> float | None:
    """Until the next of the ready pods is available; None when nobody waits for that."""
    if not min_ready_seconds:
        return None
    moments = (available_at(pod, min_ready_seconds) for pod in pods)
    waits = [(moment - now).total_seconds() for moment in moments if moment is not None and moment > now]
    return min(waits, default=None)
