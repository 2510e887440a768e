"""What one pod adds to its kubelet's metrics: how long it took until it ran, and how long looks at it take."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tiphys.kubelet import spec
from tiphys.kubelet.metrics import KubeletMetrics
from tiphys.kubelet.spec import Object
from tiphys.machinery import meta
from tiphys.machinery.clock import Clock

_KINDS: Mapping[spec.Kind, str] = {
    "init": "init_container",
    "main": "container",
    "ephemeral": "ephemeral_container",
}


class PodMetrics:
    """Made when the kubelet sees the pod first."""

    def __init__(self, metrics: KubeletMetrics, clock: Clock, pod: Object) -> None:
        self._metrics = metrics
        self._clock = clock
        self._seen_at = clock.monotonic()
        self._operation = "create"
        self._is_starting = (pod.get("status") or {}).get("phase") in (None, "", "Pending")

    @contextmanager
    def look(self) -> Iterator[None]:
        began = self._clock.monotonic()
        yield
        self._metrics.pod_worked(self._operation, self._clock.monotonic() - began)
        self._operation = "sync"

    def reported(self, pod: Object, status: Mapping[str, Any]) -> None:
        phase = status.get("phase")
        if self._is_starting and phase != "Pending":
            self._is_starting = False
            created_at = meta.metadata(pod).get("creationTimestamp")
            if phase == "Running" and created_at:
                since_created = (self._clock.now() - meta.parse_time(created_at)).total_seconds()
                self._metrics.pod_runs(self._clock.monotonic() - self._seen_at, max(since_created, 0.0))

    def sandbox_started(self, *, failed: bool = False) -> None:
        self._metrics.sandbox_started(failed=failed)


def container_started(metrics: KubeletMetrics, pod: Object, name: str, failure: str = "") -> None:
    """Or not: `failure` is the reason of its state."""
    for kind, told in _KINDS.items():
        if any(container["name"] == name for container in spec.containers(pod, kind)):
            metrics.container_started(told, failure)
