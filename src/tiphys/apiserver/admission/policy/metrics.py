"""What is counted of policies (`policy/validating/metrics`, `policy/mutating/metrics`)."""

from __future__ import annotations

from tiphys.machinery.metrics import BETA, Registry

_SECONDS = (0.0000005, 0.001, 0.01, 0.1, 1.0)
_MUTATING = ("policy", "policy_binding", "error_type")
_VALIDATING = (*_MUTATING, "enforcement_action")


class PolicyMetrics:
    """Of a validating policy, what it refused, warned of, wrote down or failed at; of a mutating one, every mutation."""

    def __init__(self, registry: Registry) -> None:
        self._validations = registry.counter(
            "apiserver_validating_admission_policy_check_total",
            "Validations that failed, by policy, binding, kind of error and what was done about it.",
            _VALIDATING,
            stability=BETA,
        )
        self._validating = registry.histogram(
            "apiserver_validating_admission_policy_check_duration_seconds",
            "How long the evaluation of a policy took whose validations failed.",
            _SECONDS,
            _VALIDATING,
            stability=BETA,
        )
        self._mutations = registry.counter(
            "apiserver_mutating_admission_policy_check_total",
            "Mutations by policies, by policy, binding and kind of error.",
            _MUTATING,
        )
        self._mutating = registry.histogram(
            "apiserver_mutating_admission_policy_check_duration_seconds",
            "How long a mutation by a policy took.",
            _SECONDS,
            _MUTATING,
        )

    def validated(self, seconds: float, policy: str, binding: str, error_type: str, action: str) -> None:
        """`action`: allow, deny, audit or warn."""
        self._validations.inc(policy, binding, error_type, action)
        self._validating.observe(seconds, policy, binding, error_type, action)

    def mutated(self, seconds: float, policy: str, binding: str, error_type: str) -> None:
        self._mutations.inc(policy, binding, error_type)
        self._mutating.observe(seconds, policy, binding, error_type)


def error_type(message: str) -> str:
    """The kind of error that a message tells of; "no_error" when there is none."""
    if not message:
        return "no_error"
    if message.startswith("compilation"):
        return "compile_error"
    if message.startswith("validation failed due to running out of cost budget"):
        return "out_of_budget"
    return "invalid_error"
