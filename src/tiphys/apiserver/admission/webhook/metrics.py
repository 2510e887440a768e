"""What is counted of admission webhooks. Labels and buckets are upstream's (`pkg/admission/metrics`)."""

from __future__ import annotations

from tiphys.machinery.metrics import STABLE, Registry

_HIGHEST_CODE = 600
_CONDITION = ("kind", "name", "operation", "type")
ConditionLabels = tuple[str, str, str, str]
"""("webhook" or "policy", name, operation, type)."""


class WebhookMetrics:
    """One for a server. `type` is "admit" or "validating", as upstream has it."""

    def __init__(self, registry: Registry) -> None:
        self._seconds = registry.histogram(
            "apiserver_admission_webhook_admission_duration_seconds",
            "How long an admission webhook took.",
            (0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 10, 25),
            ("name", "operation", "rejected", "type"),
            stability=STABLE,
        )
        self._requests = registry.counter(
            "apiserver_admission_webhook_request_total",
            "Calls of an admission webhook, by what came of them.",
            ("code", "name", "operation", "rejected", "type"),
        )
        self._rejections = registry.counter(
            "apiserver_admission_webhook_rejection_count",
            "Requests that an admission webhook refused, or that were refused because it failed.",
            ("error_type", "name", "operation", "rejection_code", "type"),
        )
        self._open = registry.counter(
            "apiserver_admission_webhook_fail_open_count",
            "Requests that went on although an admission webhook failed.",
            ("name", "type"),
        )
        self._condition_errors = registry.counter(
            "apiserver_admission_match_condition_evaluation_errors_total",
            "Match conditions that could not be evaluated.",
            _CONDITION,
        )
        self._exclusions = registry.counter(
            "apiserver_admission_match_condition_exclusions_total",
            "Requests that match conditions excluded.",
            _CONDITION,
        )
        self._condition_seconds = registry.histogram(
            "apiserver_admission_match_condition_evaluation_seconds",
            "How long the match conditions of a webhook or policy took.",
            (0.005, 0.025, 0.1, 0.5, 1.0, 2.5),
            _CONDITION,
        )

    def called(
        self, name: str, kind: str, operation: str, seconds: float, *, outcome: tuple[bool, int]
    ) -> None:
        """`outcome`: whether the request was refused, and the code of that."""
        rejected, code = outcome
        refused = "true" if rejected else "false"
        self._seconds.observe(seconds, name, operation, refused, kind)
        self._requests.inc(str(min(code, _HIGHEST_CODE)), name, operation, refused, kind)

    def rejected(self, name: str, kind: str, operation: str, error_type: str, *, code: int) -> None:
        """`error_type`: calling_webhook_error, apiserver_internal_error, or no_error for a refusal."""
        self._rejections.inc(error_type, name, operation, str(min(code, _HIGHEST_CODE)), kind)

    def failed_open(self, name: str, kind: str) -> None:
        self._open.inc(name, kind)

    def conditions_took(self, labels: ConditionLabels, seconds: float) -> None:
        self._condition_seconds.observe(seconds, *labels)

    def condition_failed(self, labels: ConditionLabels) -> None:
        self._condition_errors.inc(*labels)

    def excluded(self, labels: ConditionLabels) -> None:
        self._exclusions.inc(*labels)
