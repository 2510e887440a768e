"""What a service proxy counts, under kube-proxy's names (those of its nftables mode)."""

from __future__ import annotations

from datetime import datetime

from tiphys.machinery.metrics import Registry, exponential

FAMILY = "IPv4"
_SECONDS = exponential(0.001, 2, 15)
_PROGRAMMING_SECONDS = (
    0.0, 0.25, 0.5,
    *(float(at) for at in range(1, 60)),
    *(float(at) for at in range(60, 120, 5)),
    *(float(at) for at in range(120, 301, 30)),
)  # fmt: skip


class ProxyMetrics:
    def __init__(self, registry: Registry | None = None) -> None:
        registry = registry or Registry()
        gauge, counter, family = registry.gauge, registry.counter, ("ip_family",)
        prefix = "kubeproxy_sync_proxy_rules"

        self._syncs = registry.histogram(
            f"{prefix}_duration_seconds", "How long changes of the rules took.", _SECONDS, family
        )
        self._full_syncs = registry.histogram(
            "kubeproxy_sync_full_proxy_rules_duration_seconds",
            "How long it took to make all rules anew.",
            _SECONDS,
            family,
        )
        self._partial_syncs = registry.histogram(
            "kubeproxy_sync_partial_proxy_rules_duration_seconds",
            "How long it took to change some rules.",
            _SECONDS,
            family,
        )
        self._programming = registry.histogram(
            "kubeproxy_network_programming_duration_seconds",
            "Time from the change of a pod or Service to the rules that follow it.",
            _PROGRAMMING_SECONDS,
            family,
        )
        self._last_synced = gauge(
            f"{prefix}_last_timestamp_seconds", "When the rules were last as they should be.", family
        )
        self._last_queued = gauge(
            f"{prefix}_last_queued_timestamp_seconds", "When the rules were last to be changed.", family
        )
        self._failures = counter(
            f"{prefix}_nftables_sync_failures_total", "Changes that the packet filter did not take.", family
        )
        self._endpoints = counter(f"{prefix}_endpoint_changes_total", "Changes of endpoints.").labels()
        self._endpoints_pending = gauge(
            f"{prefix}_endpoint_changes_pending", "Changes of endpoints that the rules do not follow yet."
        ).labels()
        self._services = counter(f"{prefix}_service_changes_total", "Changes of Services.").labels()
        self._services_pending = gauge(
            f"{prefix}_service_changes_pending", "Changes of Services that the rules do not follow yet."
        ).labels()
        self.no_local_endpoints = gauge(
            f"{prefix}_no_local_endpoints_total",
            "Services of the traffic policy Local that have endpoints, but none on this node.",
            ("ip_family", "traffic_policy"),
        )
        self.healthz = counter("kubeproxy_proxy_healthz_total", "Answers of /healthz, by code.", ("code",))
        self.livez = counter("kubeproxy_proxy_livez_total", "Answers of /livez, by code.", ("code",))

    def service_changed(self) -> None:
        self._services.value += 1
        self._services_pending.value += 1

    def endpoints_changed(self) -> None:
        self._endpoints.value += 1
        self._endpoints_pending.value += 1

    def queued(self, now: datetime) -> None:
        self._last_queued.set(now.timestamp(), FAMILY)

    def taken_up(self) -> None:
        """What comes from now on is for the next step."""
        self._services_pending.value = self._endpoints_pending.value = 0

    def synced(self, now: datetime, seconds: float, *, is_full: bool) -> None:
        self._syncs.observe(seconds, FAMILY)
        (self._full_syncs if is_full else self._partial_syncs).observe(seconds, FAMILY)
        self._last_synced.set(now.timestamp(), FAMILY)

    def programmed(self, seconds: float) -> None:
        self._programming.observe(seconds, FAMILY)

    def failed(self) -> None:
        self._failures.inc(FAMILY)
