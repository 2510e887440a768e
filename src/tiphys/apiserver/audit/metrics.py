"""What is counted of audit."""

from __future__ import annotations

from tiphys.machinery.metrics import Registry


class AuditMetrics:
    def __init__(self, registry: Registry) -> None:
        self.events = registry.counter(
            "apiserver_audit_event_total", "Audit events that were made and given to a backend."
        )
        self.errors = registry.counter(
            "apiserver_audit_error_total",
            "Audit events that may have been lost, by who lost them.",
            ("plugin",),
        )
        self.levels = registry.counter(
            "apiserver_audit_level_total",
            "Requests, by the level that the audit policy has for them.",
            ("level",),
        )
        self.rejected = registry.counter(
            "apiserver_audit_requests_rejected_total",
            "Requests that were refused because they could not be audited.",
        )
