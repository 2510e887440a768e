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
        self._pending: list[float] = []
        """How long those took who were found and are not counted yet, and how many of them are told apart."""
        self._told_apart = 0
        registry.before_scrape(self._fold)

    def succeeded(self, name: str, seconds: float) -> None:
        if name in _ALONE:
            self._tell_apart(name)
        elif "@" in name:
            self._tell_apart("email_id")
        pending = self._pending
        pending.append(seconds)
        if len(pending) >= PENDING_LIMIT:
            self._fold()

    def _tell_apart(self, name: str) -> None:
        self._users.labels(name).value += 1
        self._told_apart += 1

    def _fold(self) -> None:
        count = len(self._pending)
        self._found.value += count
        self._other.value += count - self._told_apart
        self._took.observe_all(self._pending)
        self._told_apart = 0
        self._pending.clear()

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
        self._pending: list[float] = []
        """How long the judgements took that allowed something and are not counted yet."""
        registry.before_scrape(self._fold)

    def decided(self, decision: Decision, seconds: float) -> None:
        if decision.verdict is Verdict.ALLOW:
            pending = self._pending
            pending.append(seconds)
            if len(pending) >= PENDING_LIMIT:
                self._fold()
        else:
            served, took = self._series[decision.verdict]
            served.value += 1
            took.observe(seconds)

    def _fold(self) -> None:
        served, took = self._series[Verdict.ALLOW]
        served.value += len(self._pending)
        took.observe_all(self._pending)
        self._pending.clear()
