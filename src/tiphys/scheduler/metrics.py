"""What the scheduler counts: scheduler_*."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tiphys.machinery.metrics import STABLE, Registry, exponential

SCHEDULED, UNSCHEDULABLE, ERROR = "scheduled", "unschedulable", "error"
_SECONDS = exponential(0.001, 2, 15)
_RESULT = ("result", "profile")


class SchedulerMetrics:
    """`profile`: the scheduler's name. `waiting` says how many pods wait in which of the queue's places."""

    def __init__(self, registry: Registry, profile: str, waiting: Callable[[], Mapping[str, int]]) -> None:
        self._profile = profile
        self._waiting = waiting
        self._attempts = registry.counter(
            "scheduler_schedule_attempts_total", "Tries to place a pod, by result.", _RESULT, stability=STABLE
        )
        self._took = registry.histogram(
            "scheduler_scheduling_attempt_duration_seconds",
            "How long tries took, binding included.",
            _SECONDS,
            _RESULT,
            stability=STABLE,
        )
        self._decided = registry.histogram(
            "scheduler_scheduling_algorithm_duration_seconds", "How long decisions took.", _SECONDS
        ).labels()
        self._tries = registry.histogram(
            "scheduler_pod_scheduling_attempts",
            "Tries that it took until a pod was placed.",
            exponential(1, 2, 5),
            stability=STABLE,
        ).labels()
        self._pending = registry.gauge(
            "scheduler_pending_pods", "Pods that wait, by where.", ("queue",), stability=STABLE
        )
        registry.before_scrape(self._collect)

    def _collect(self) -> None:
        for place, count in self._waiting().items():
            self._pending.set(count, place)

    def decided(self, seconds: float) -> None:
        self._decided.observe(seconds)

    def tried(self, result: str, seconds: float, *, tries: int = 0) -> None:
        """A try has ended; `tries`: of a pod that has its place now."""
        self._attempts.inc(result, self._profile)
        self._took.observe(seconds, result, self._profile)
        if result == SCHEDULED:
            self._tries.observe(tries)
