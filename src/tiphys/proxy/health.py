"""Whether the service proxy is well, as load balancers ask it: kube-proxy's /healthz and /livez (port 10256).

It is well as long as no change of a Service or its endpoints waits for too long. /healthz says too that nobody should send anything to a
node that is about to go (KEP-3836).
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from tiphys.machinery.clock import Clock
from tiphys.net.http import Request, Response
from tiphys.proxy.metrics import ProxyMetrics

Object = dict[str, Any]
PORT = 10256
LATE_SECONDS = 60.0
"""Upstream's: twice its sync period."""
LEAVING_TAINT = "ToBeDeletedByClusterAutoscaler"


class ProxyHealth:
    def __init__(self, clock: Clock, metrics: ProxyMetrics | None = None) -> None:
        self._clock = clock
        self._metrics = metrics or ProxyMetrics()
        self._waiting_since: float | None = None
        self._last_updated: datetime | None = None
        self.is_eligible = True
        """Whether the node stays; until it is known it does."""

    def queued(self) -> None:
        """Something has changed that the rules do not follow yet."""
        if self._waiting_since is None:
            self._waiting_since = self._clock.monotonic()

    def updated(self) -> None:
        self._waiting_since = None
        self._last_updated = self._clock.now()

    def see(self, node: Object | None) -> None:
        taints = ((node or {}).get("spec") or {}).get("taints") or ()
        is_leaving = any(taint["key"] == LEAVING_TAINT for taint in taints)
        self.is_eligible = node is not None and "deletionTimestamp" not in node["metadata"] and not is_leaving

    @property
    def is_well(self) -> bool:
        since = self._waiting_since
        return since is None or self._last_updated is None or self._clock.monotonic() - since < LATE_SECONDS

    def handle(self, request: Request) -> Response:
        match request.path:
            case "/healthz":
                well = self.is_well and self.is_eligible
                eligible = f', "nodeEligible": {str(self.is_eligible).lower()}'
                counter = self._metrics.healthz
            case "/livez":
                well, eligible, counter = self.is_well, "", self._metrics.livez
            case _:
                return not_found()
        now = self._clock.now()
        updated = now if well else self._last_updated
        code = 200 if well else 503
        counter.inc(str(code))
        text = f'{{"lastUpdated": "{_written(updated)}","currentTime": "{_written(now)}"{eligible}}}'
        return as_json(code, text)


def as_json(code: int, text: str) -> Response:
    headers = [("content-type", "application/json"), ("x-content-type-options", "nosniff")]
    return Response(code, headers, text.encode())


def not_found() -> Response:
    """Go's."""
    headers = [("content-type", "text/plain; charset=utf-8"), ("x-content-type-options", "nosniff")]
    return Response(404, headers, b"404 page not found\n")


def _written(time: datetime | None) -> str:
    """As Go's time.Time writes itself."""
    if time is None:
        return "0001-01-01 00:00:00 +0000 UTC"
    fraction = f".{time.microsecond:06d}".rstrip("0") if time.microsecond else ""
    return f"{time:%Y-%m-%d %H:%M:%S}{fraction} +0000 UTC"
