"""How long a kubelet's certificates are good, looked up when somebody scrapes: what alerts on expiring certificates go by."""

from __future__ import annotations

from math import inf
from pathlib import Path

from tiphys.machinery.clock import Clock
from tiphys.machinery.metrics import Registry
from tiphys.net.tls import validity_of
from tiphys.net.tls_files import Pair


class CertificateMetrics:
    """`client`, `server`: where the certificates in use are."""

    def __init__(self, registry: Registry, clock: Clock, *, client: Pair, server: Pair) -> None:
        self._clock = clock
        self._gauges = [
            (
                pair,
                registry.gauge(
                    f"kubelet_certificate_manager_{name}_ttl_seconds",
                    f"Time until the kubelet's {name} certificate expires; infinite when there is none.",
                ),
            )
            for name, pair in (("client", client), ("server", server))
        ]
        errors = "Renewals of the kubelet's {} certificate that failed."
        self.client_failures = registry.counter(
            "kubelet_certificate_manager_client_expiration_renew_errors", errors.format("client")
        )
        self.server_failures = registry.counter(
            "kubelet_server_expiration_renew_errors", errors.format("server")
        )
        registry.before_scrape(self._collect)

    def _collect(self) -> None:
        for pair, gauge in self._gauges:
            gauge.set(self._seconds_left(pair))

    def _seconds_left(self, pair: Pair) -> float:
        certificate, _ = pair.current()
        try:
            _, end = validity_of(Path(certificate).read_text())
        except (OSError, ValueError):
            return inf
        return round((end - self._clock.now()).total_seconds())
