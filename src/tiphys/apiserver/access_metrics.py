"""What is counted of who asks and what they may do. Every request adds to it: the series are kept at hand."""

from __future__ import annotations

from tiphys.apiserver.authorization.interface import Decision, Verdict
from tiphys.machinery.metrics import PENDING_LIMIT, Registry, exponential

_SECONDS = exponential(0.001, 2, 15)
_ALONE = frozenset({"admin", "client", "kube_proxy", "kubelet", "system:serviceaccount:kube-system:default"})
_RESULTS = {Verdict.ALLOW: "allowed", Verdict.DENY: "denied", Verdict.NO_OPINION: "no-opinion"}


class AuthenticationMetrics:
    def __init__(self, registry: Registry) -> None:
        attempts = registry.counter(
            "authentication_attempts", "Requests whose sender was looked for, by what was found.", ("result",)
        )
        took = registry.histogram(
            "authentication_duration_seconds", "How long it took to find the sender.", _SECONDS, ("result",)
        )
        self._users = registry.counter(
            "authenticated_user_requests", "Requests by user: few are told apart.", ("username",)
        )
        self._found, self._took = attempts.labels("success"), took.labels("success")
        self._missed, self._missing_took = attempts.labels("failure"), took.labels("failure")
        self._other = self._users.labels("other")

    def succeeded(self, name: str, seconds: float) -> None:
        self._found.value += 1
        pending = self._took.pending
        pending.append(seconds)
        if len(pending) >= PENDING_LIMIT:
            self._took.fold()
        if name in _ALONE:
            self._users.labels(name).value += 1
        elif "@" in name:
            self._users.labels("email_id").value += 1
        else:
            self._other.value += 1

    def failed(self, seconds: float) -> None:
        self._missed.value += 1
        self._missing_took.observe(seconds)


class AuthorizationMetrics:
    def __init__(self, registry: Registry) -> None:
        attempts = registry.counter(
            "authorization_attempts_total", "Requests that were judged, by the judgement.", ("result",)
        )
        took = registry.histogram(
            "authorization_duration_seconds", "How long the judgement took.", _SECONDS, ("result",)
        )
        self._series = {
            verdict: (attempts.labels(result), took.labels(result)) for verdict, result in _RESULTS.items()
        }
        self._allowed = self._series[Verdict.ALLOW]

    def decided(self, decision: Decision, seconds: float) -> None:
        if decision.verdict is Verdict.ALLOW:
            served, took = self._allowed
        else:
            served, took = self._series[decision.verdict]
        served.value += 1
        pending = took.pending
        pending.append(seconds)
        if len(pending) >= PENDING_LIMIT:
            took.fold()
