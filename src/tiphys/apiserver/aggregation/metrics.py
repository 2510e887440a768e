"""Which APIServices are not available, under upstream's names (kube-aggregator `controllers/status/metrics`)."""

from __future__ import annotations

from tiphys.apiserver.aggregation.availability import Finding
from tiphys.apiserver.aggregation.services import APIServices, is_available
from tiphys.machinery.metrics import Registry


class AvailabilityMetrics:
    def __init__(self, registry: Registry, services: APIServices) -> None:
        self._services = services
        self._unavailable = registry.gauge(
            "aggregator_unavailable_apiservice",
            "Whether an APIService is not available (1), by its name.",
            ("name",),
        )
        self._counted = registry.counter(
            "aggregator_unavailable_apiservice_total",
            "How often an APIService became unavailable, by its name and by the reason.",
            ("name", "reason"),
        )
        registry.before_scrape(self._collect)

    def _collect(self) -> None:
        self._unavailable.clear()
        for _, service in self._services:
            self._unavailable.set(0 if is_available(service) else 1, service["metadata"]["name"])

    def found(self, name: str, finding: Finding) -> None:
        """A finding that was news."""
        if finding.status != "True":
            self._counted.inc(name, finding.reason)
