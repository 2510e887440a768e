"""What is counted of the rules (`x-kubernetes-validations`) of custom resources."""

from __future__ import annotations

from tiphys.machinery.clock import Clock
from tiphys.machinery.metrics import Registry
from tiphys.machinery.timing import Timing

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Prometheus' own, which upstream leaves them at."""


def rule_timing(registry: Registry, clock: Clock) -> Timing:
    compiled = registry.histogram(
        "apiserver_cel_compilation_duration_seconds",
        "How long rules of custom resources took to be compiled.",
        _SECONDS,
    )
    evaluated = registry.histogram(
        "apiserver_cel_evaluation_duration_seconds",
        "How long the rules of a custom resource took to be evaluated.",
        _SECONDS,
    )
    return Timing(clock.monotonic, compiled.labels().observe, evaluated.labels().observe)
