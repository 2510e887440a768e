"""What is counted of encryption at rest."""

from __future__ import annotations

from datetime import datetime

from tiphys.machinery.metrics import Registry


class EncryptionMetrics:
    def __init__(self, registry: Registry) -> None:
        self._total = registry.counter(
            "apiserver_encryption_config_controller_automatic_reloads_total",
            "Reloads of the encryption configuration.",
            ("status",),
        )
        self._last = registry.gauge(
            "apiserver_encryption_config_controller_automatic_reload_last_timestamp_seconds",
            "When the encryption configuration was last reloaded.",
            ("status",),
        )

    def count(self, status: str, now: datetime) -> None:
        self._total.inc(status)
        self._last.set(now.timestamp(), status)
